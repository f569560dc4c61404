import pytest

from tests.factories import Device, paired_device
from tests.fixtures.gateway import GatewayProcess


@pytest.fixture
def owner(drafting_gateway: GatewayProcess) -> Device:
    """A device of a new account."""
    return paired_device(drafting_gateway.url)
