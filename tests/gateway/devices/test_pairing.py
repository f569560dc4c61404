from tests.factories import paired_device
from tests.fixtures.gateway import GatewayProcess


def test_pairs(gateway: GatewayProcess) -> None:
    device = paired_device(gateway.url)
    other = paired_device(gateway.url, device)
    print(device.client.get("/api/devices").json())
    assert other.account_id == device.account_id
