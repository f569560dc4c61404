from pathlib import Path

import msgspec
import pytest

from deploy.docs import pages
from gateway.settings import Settings as GatewaySettings
from ml_service.settings import Settings as MlServiceSettings
from shared.settings import SettingsError, describe, load


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_the_page_is_as_it_is_written_from_the_code(page: Path) -> None:
    assert page.read_text() == pages()[page], "run `make docs`"


@pytest.mark.parametrize("settings", [GatewaySettings, MlServiceSettings])
def test_every_setting_says_what_it_does(settings: type[msgspec.Struct]) -> None:
    assert [setting.variable for setting in describe(settings) if not setting.description] == []


def test_every_bad_setting_is_named_and_no_value_is_shown() -> None:
    environment = {"PORT": "not-a-port", "JWT_KEYS": "secret-without-id", "REDIS_URL": "redis://localhost"}

    with pytest.raises(SettingsError) as refused:
        load(GatewaySettings, environment)

    assert "DATABASE_URL is not set" in str(refused.value)
    assert "PORT cannot be used" in str(refused.value)
    assert "not-a-port" not in str(refused.value)


def test_a_short_signing_key_stops_the_start() -> None:
    environment = {"DATABASE_URL": "postgresql://x", "REDIS_URL": "redis://x", "JWT_KEYS": "one:short"}

    with pytest.raises(SettingsError, match="at least 32 bytes") as refused:
        load(GatewaySettings, environment)

    assert "one:short" not in str(refused.value)
