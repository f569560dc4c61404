from dataclasses import fields, replace
from typing import Any

import pytest

from ml_service.cache.keys import answer_key, named_key
from ml_service.engine.protocol import Sampling

SAMPLING = Sampling(max_tokens=10, seed=1)


def test_a_key_names_its_scope_and_hides_everything_else() -> None:
    scope = "0199a1b2-1111-7000-8000-0123456789ab"
    assert answer_key(scope, "model", [1, 2], SAMPLING).startswith(f"cache:{scope}:")
    key = named_key(scope, "model", "the dog ate it")
    assert "dog" not in key


def test_each_part_makes_another_key() -> None:
    keys = [
        answer_key("scope", "model", [1, 2], SAMPLING),
        answer_key("other", "model", [1, 2], SAMPLING),
        answer_key("scope", "model+1", [1, 2], SAMPLING),
        answer_key("scope", "model", [1, 2, 3], SAMPLING),
        named_key("scope", "model", "name"),
        named_key("other", "model", "name"),
    ]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("field", [field.name for field in fields(Sampling)])
def test_every_sampling_field_is_in_the_key(field: str) -> None:
    other: Any = {"stop": ("x",), "seed": 2}.get(field, 1.5)
    assert answer_key("s", "m", [1], replace(SAMPLING, **{field: other})) != answer_key("s", "m", [1], SAMPLING)
