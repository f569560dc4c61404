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


JWT_KEY = f"one:{'k' * 32}"
REQUIRED = {"DATABASE_URL": "postgresql://x", "REDIS_URL": "redis://x", "JWT_KEYS": JWT_KEY}


def test_a_setting_is_read_from_the_file_that_its_variable_names(tmp_path: Path) -> None:
    keys, port = tmp_path / "keys", tmp_path / "port"
    keys.write_text(f"{JWT_KEY},two:{'j' * 32}\n")
    port.write_text("4100\r\n")
    environment = {**REQUIRED, "JWT_KEYS": "", "JWT_KEYS_FILE": str(keys), "PORT_FILE": str(port), "HOST_FILE": ""}

    settings = load(GatewaySettings, environment)

    assert settings.jwt_keys == [JWT_KEY, f"two:{'j' * 32}"]
    assert settings.port == 4100
    assert settings.host == "127.0.0.1"


def test_a_setting_and_its_file_are_not_both_set(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("postgresql://y")

    with pytest.raises(SettingsError) as refused:
        load(GatewaySettings, {**REQUIRED, "DATABASE_URL_FILE": str(file)})

    assert refused.value.problems == ["DATABASE_URL and DATABASE_URL_FILE are both set: keep one of them"]


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "cannot be read: No such file or directory"), (b"\n", "is empty"), (b"secret\xff", "is not text in UTF-8")],
)
def test_a_file_that_cannot_be_used_is_named_by_its_variable(content: bytes | None, why: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(SettingsError) as refused:
        load(GatewaySettings, {**REQUIRED, "ML_SERVICE_TOKEN_FILE": str(file), "PORT": "none"})

    assert "PORT cannot be used" in refused.value.problems[0]
    assert refused.value.problems[1] == f"ML_SERVICE_TOKEN_FILE names a file that {why}"
