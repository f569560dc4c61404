"""The gateway's public API for Python programs."""

from assistant_client.async_client import AsyncClient
from assistant_client.client import Client
from assistant_client.exchange import Retries
from assistant_client.storage import FileStore, KeyringStore, MemoryStore

__all__ = ["AsyncClient", "Client", "FileStore", "KeyringStore", "MemoryStore", "Retries"]
