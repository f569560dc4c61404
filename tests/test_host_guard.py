"""Which hosts a service goes by."""

import pytest

from gateway.settings import Settings as GatewaySettings
from ml_service.settings import Settings as MlServiceSettings
from shared.host_guard import AllowedHosts
from shared.settings import SettingsError, load

GATEWAY = {"DATABASE_URL": "postgresql://x", "REDIS_URL": "redis://x", "JWT_KEYS": "one:" + "k" * 32}


@pytest.mark.parametrize("host", ["localhost", "app.localhost", "127.0.0.1", "127.8.9.10", "::1"])
@pytest.mark.parametrize("listening", ["127.0.0.1", "::1", "192.168.1.20", "0.0.0.0", "localhost"])
def test_this_machines_own_names_are_always_allowed(listening: str, host: str) -> None:
    assert host in AllowedHosts(listening, [])


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "evillocalhost", "192.168.1.20", "127.0.0.1.evil.example", "", "*"]
)
def test_on_loopback_nothing_else_is(host: str) -> None:
    assert host not in AllowedHosts("127.0.0.1", [])


def test_the_address_that_it_listens_on_is_allowed_and_no_other() -> None:
    hosts = AllowedHosts("192.168.1.20", [])

    assert "192.168.1.20" in hosts
    assert "192.168.1.21" not in hosts


@pytest.mark.parametrize("listening", ["0.0.0.0", "::"])
def test_on_every_address_every_address_is_allowed_but_no_name(listening: str) -> None:
    """Probes of a cluster ask a pod by its address, and a phone at home asks the laptop by its own: an address cannot be rebound."""
    hosts = AllowedHosts(listening, [])

    assert "10.42.0.17" in hosts
    assert "fd00::7" in hosts
    assert "evil.example" not in hosts


def test_names_are_allowed_as_they_are_given() -> None:
    hosts = AllowedHosts("0.0.0.0", ["Assistant.example.org", "ml_service", "gateway.home.svc.cluster.local"])

    assert "assistant.example.org" in hosts
    assert "ml_service" in hosts
    assert "gateway.home.svc.cluster.local" in hosts
    assert "www.assistant.example.org" not in hosts


def test_a_wildcard_stands_for_every_name_below_and_not_for_the_name_itself() -> None:
    hosts = AllowedHosts("127.0.0.1", ["*.example.org"])

    assert "a.example.org" in hosts
    assert "b.a.example.org" in hosts
    assert "example.org" not in hosts
    assert "evilexample.org" not in hosts


def test_a_star_allows_every_name() -> None:
    assert "whatever.example" in AllowedHosts("127.0.0.1", ["*"])


@pytest.mark.parametrize("names", ["assistant.example.org:443", "https://assistant.example.org", "example.*", "a b"])
@pytest.mark.parametrize(("settings", "environment"), [(GatewaySettings, GATEWAY), (MlServiceSettings, {})])
def test_what_is_no_name_stops_the_start(
    settings: type[GatewaySettings | MlServiceSettings], environment: dict[str, str], names: str
) -> None:
    with pytest.raises(SettingsError, match="ALLOWED_HOSTS cannot be used"):
        load(settings, {**environment, "ALLOWED_HOSTS": names})


@pytest.mark.parametrize("origin", ["app.example.org", "*", "https://*.example.org", "https://app.example.org/"])
def test_what_is_no_origin_stops_the_start(origin: str) -> None:
    with pytest.raises(SettingsError, match="CORS_ORIGINS cannot be used"):
        load(GatewaySettings, {**GATEWAY, "CORS_ORIGINS": origin})


@pytest.mark.parametrize("proxies", ["*", "10.0.0.1,*", "0.0.0.0/0", "::/0"])
def test_a_proxy_that_is_everybody_stops_the_start(proxies: str) -> None:
    with pytest.raises(SettingsError, match="TRUSTED_PROXIES cannot be used: it names everybody"):
        load(GatewaySettings, {**GATEWAY, "TRUSTED_PROXIES": proxies})


def test_proxies_are_addresses_and_networks() -> None:
    assert load(GatewaySettings, {**GATEWAY, "TRUSTED_PROXIES": "10.0.0.1, 10.42.0.0/16"}).trusted_proxies == ["10.0.0.1", "10.42.0.0/16"]
