from pathlib import Path

import pytest

from gateway.settings import Settings
from shared.settings import SettingDescription, describe

PAGE = Path(__file__).parents[3] / "docs" / "LIMITS.md"
LIMITS = [setting for setting in describe(Settings) if setting.variable.startswith("MAX_")]


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.variable)
def test_the_page_has_every_limit_with_its_default(limit: SettingDescription) -> None:
    assert f"| `{limit.variable}` | {limit.default} |" in PAGE.read_text()
