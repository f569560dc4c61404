from pathlib import Path

import pytest

from ml_service.models.catalogue import CatalogueError, builtin_catalogue, checkpoint, load_catalogue

OPERATORS = """
[models.house-model]
description = "Ours"
source = "folder"
location = "/nowhere"
parameters = 1
disk_gib = 1
context_length = 4096
"""


def test_the_documented_models_are_in_the_catalogue() -> None:
    assert {"ministral-3b-instruct", "smollm2-135m-instruct"} <= set(builtin_catalogue())
    assert builtin_catalogue()["ministral-3b-instruct"].name == "ministral-3b-instruct"


def test_an_operator_adds_models(tmp_path: Path) -> None:
    file = tmp_path / "models.toml"
    file.write_text(OPERATORS)
    catalogue = load_catalogue(file)
    assert catalogue["house-model"].context_length == 4096
    assert "smollm2-135m-instruct" in catalogue
    with pytest.raises(FileNotFoundError, match="house-model"):
        checkpoint(catalogue["house-model"], tmp_path)


@pytest.mark.parametrize(
    "spoil", [("context_length = 4096", "context_length = 'long'"), ("house-model", "../house"), ("disk_gib", "disk_gb")]
)
def test_an_entry_that_cannot_be_used_names_its_file(tmp_path: Path, spoil: tuple[str, str]) -> None:
    file = tmp_path / "models.toml"
    file.write_text(OPERATORS.replace(*spoil).replace("[models.../house]", '[models."../house"]'))
    with pytest.raises(CatalogueError, match=r"models\.toml"):
        load_catalogue(file)
