"""The gateway's public API for Python programs."""
