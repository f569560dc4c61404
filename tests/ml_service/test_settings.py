import pytest

from ml_service.settings import Settings, is_loopback
from shared.settings import SettingsError, load


def test_the_defaults_listen_on_loopback_only() -> None:
    assert is_loopback(load(Settings, {}).host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "ml-service"])
def test_without_a_token_no_address_beyond_loopback_is_accepted(host: str) -> None:
    with pytest.raises(SettingsError, match="ML_SERVICE_TOKEN is not set"):
        load(Settings, {"HOST": host})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_without_a_token_loopback_is_accepted(host: str) -> None:
    assert load(Settings, {"HOST": host}).host == host


def test_a_token_opens_every_address() -> None:
    assert load(Settings, {"HOST": "0.0.0.0", "ML_SERVICE_TOKEN": "k" * 32}).host == "0.0.0.0"


def test_a_guessable_token_is_refused_and_not_shown() -> None:
    with pytest.raises(SettingsError, match="shorter than 16") as refused:
        load(Settings, {"ML_SERVICE_TOKEN": "hunter2"})
    assert "hunter2" not in str(refused.value)
