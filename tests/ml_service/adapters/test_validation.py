"""Each way in which an adapter's files can be wrong, and the sentence that says so."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from ml_service.adapters.base_models import Shapes, linear_shapes
from ml_service.adapters.store import PUBLISHED
from ml_service.adapters.validation import Limits, LoraConfig, read_files, validate
from ml_service.engine.protocol import AdapterRefused
from ml_service.models.catalogue import builtin_catalogue
from tests.fixtures.loras import BASE, random_tensors, write_lora
from tests.fixtures.ml_service import DATA_DIR

LIMITS = Limits(max_rank=16, max_bytes=32 * 2**20)
Q_PROJ = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def shapes(smollm2: Path) -> Shapes:
    found = linear_shapes(builtin_catalogue()[BASE], DATA_DIR)
    assert found is not None
    return found


def check(folder: Path, shapes: Shapes | None, limits: Limits = LIMITS) -> LoraConfig:
    return validate(read_files(folder, PUBLISHED, limits), limits, shapes)


def test_what_peft_saves_is_good(smollm2: Path, tmp_path: Path, shapes: Shapes) -> None:
    import torch
    from peft import LoraConfig as PeftConfig
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.bfloat16)
    config = PeftConfig(r=16, lora_alpha=32, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(base, config).save_pretrained(str(tmp_path / "saved"))

    checked = check(tmp_path / "saved", shapes)

    assert (checked.rank, checked.alpha) == (16, 32)
    assert set(checked.targets) == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@pytest.mark.parametrize("dtype", [numpy.float16, numpy.float32])
def test_half_and_single_precision_are_good(lora: Path, tmp_path: Path, shapes: Shapes, dtype: Any) -> None:
    tensors = {name: tensor.astype(dtype) for name, tensor in random_tensors().items()}
    assert check(write_lora(tmp_path / "other", tensors), shapes).rank == 8


def test_the_file_written_anew_is_the_same_whatever_order_and_place_it_came_from(lora: Path, tmp_path: Path) -> None:
    one = write_lora(tmp_path / "one", targets=("q_proj", "v_proj"), base_model_name_or_path="/home/a")
    other = write_lora(tmp_path / "other", targets=("v_proj", "q_proj"), base_model_name_or_path="/home/b", peft_version="9")
    assert check(one, None).encode(BASE) == check(other, None).encode(BASE)
    assert b"/home" not in check(one, None).encode(BASE)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"r": 32}, "rank above 16"),
        ({"r": 0}, "r is missing or"),
        ({"r": True}, "r is missing or"),
        ({"r": "8"}, "r is missing or"),
        ({"lora_alpha": -1}, "lora_alpha"),
        ({"lora_alpha": None}, "lora_alpha"),
        ({"lora_alpha": 1e9}, "lora_alpha"),
        ({"target_modules": ".*"}, "target_modules"),
        ({"target_modules": ["q_proj", "(a+)+$"]}, "target_modules"),
        ({"target_modules": ["k_proj"]}, "not among target_modules"),
        ({"peft_type": "LOHA"}, "peft_type"),
        ({"bias": "all"}, "bias"),
        ({"lora_bias": True}, "lora_bias"),
        ({"use_dora": True}, "use_dora"),
        ({"use_rslora": "yes"}, "use_rslora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights .* plain LoRA"),
        ({"init_lora_weights": "olora"}, "init_lora_weights"),
        ({"rank_pattern": {"(a+)+$": 8}}, "rank_pattern"),
        ({"alpha_pattern": {"q_proj": 8}}, "alpha_pattern"),
        ({"layer_replication": [[0, 4]]}, "layer_replication"),
        ({"use_qalora": True}, "use_qalora"),
        ({"something_new": "on"}, "something_new is not supported"),
    ],
)
def test_a_configuration_that_is_not_served_is_refused(lora: Path, tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(AdapterRefused, match=reason):
        check(write_lora(tmp_path / "bad", **changes), None)


def test_rank_stabilised_scaling_is_served(lora: Path, tmp_path: Path) -> None:
    assert check(write_lora(tmp_path / "rslora", use_rslora=True), None).rslora


@pytest.mark.parametrize("text", ["", "[]", "{", '{"r": ' + "[" * 60_000, "{}", "\x00"])
def test_a_configuration_that_is_no_configuration_is_refused(lora: Path, text: str) -> None:
    (lora / "adapter_config.json").write_text(text)
    with pytest.raises(AdapterRefused, match="adapter_config"):
        check(lora, None)


def truncated(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:-1000])


def cut_in_the_header(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:20])


def empty(weights: Path) -> None:
    weights.write_bytes(b"")


def too_long(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes() + b"more")


def huge_header(weights: Path) -> None:
    weights.write_bytes((2**62).to_bytes(8, "little") + weights.read_bytes()[8:])


def large_header(weights: Path) -> None:
    weights.write_bytes((5 * 2**20).to_bytes(8, "little") + b" " * 6 * 2**20)


def a_pickle(weights: Path) -> None:
    weights.write_bytes(pickle.dumps({"weight": [1.0] * 1000}))


def header_of(weights: Path, change: Callable[[dict[str, Any]], None]) -> None:
    data = weights.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    change(header)
    changed = json.dumps(header).encode()
    weights.write_bytes(len(changed).to_bytes(8, "little") + changed + data[8 + length :])


def overlapping(weights: Path) -> None:
    def change(header: dict[str, Any]) -> None:
        first, second = list(header.values())[:2]
        second["data_offsets"] = first["data_offsets"]
        second["shape"] = first["shape"]

    header_of(weights, change)


def negative(weights: Path) -> None:
    header_of(weights, lambda header: header[f"{Q_PROJ}.lora_A.weight"].update(shape=[-8, -576]))


def a_vector(weights: Path) -> None:
    header_of(weights, lambda header: header[f"{Q_PROJ}.lora_A.weight"].update(shape=[8 * 576]))


def whole_numbers(weights: Path) -> None:
    header_of(weights, lambda header: header[f"{Q_PROJ}.lora_A.weight"].update(dtype="I32"))


def deeply_nested(weights: Path) -> None:
    text = b'{"a":' + b"[" * 100_000
    weights.write_bytes(len(text).to_bytes(8, "little") + text)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (truncated, "damaged or cut off"),
        (cut_in_the_header, "damaged or cut off"),
        (empty, "damaged or cut off"),
        (too_long, "damaged or cut off"),
        (huge_header, "header larger than 4 MiB"),
        (large_header, "header larger than 4 MiB"),
        (a_pickle, "header larger than 4 MiB"),
        (overlapping, "damaged or cut off"),
        (negative, "damaged or cut off"),
        (a_vector, "not matrices"),
        (whole_numbers, "type other than"),
        (deeply_nested, "damaged or cut off"),
    ],
)
def test_damaged_weights_are_refused(lora: Path, damage: Callable[[Path], None], reason: str) -> None:
    damage(lora / "adapter_model.safetensors")
    with pytest.raises(AdapterRefused, match=reason):
        check(lora, None)


def changed(**tensors: Any) -> dict[str, Any]:
    """A good adapter's tensors, with some of them exchanged; None leaves one out."""
    names = {"a": f"{Q_PROJ}.lora_A.weight", "b": f"{Q_PROJ}.lora_B.weight"}
    merged = {**random_tensors(), **{names.get(name, name): tensor for name, tensor in tensors.items()}}
    return {name: tensor for name, tensor in merged.items() if tensor is not None}


def zeros(*shape: int) -> Any:
    return numpy.zeros(shape, numpy.float32)


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({"a": None}, "only one of lora_A and lora_B"),
        ({"a": zeros(4, 576)}, "has rank 4 and 8"),
        ({"a": zeros(4, 576), "b": zeros(576, 4)}, "has rank 4 and 4"),
        ({"a": zeros(8, 3072), "b": zeros(3072, 8)}, "3072 inputs and 3072 outputs"),
        ({"model.embed_tokens.weight": zeros(8, 8)}, "not a LoRA matrix"),
        ({"base_model.model.model.embed_tokens.lora_embedding_A": zeros(8, 8)}, "not a LoRA matrix"),
        (
            {f"base_model.model.model.layers.77.self_attn.q_proj.lora_{side}.weight": zeros(8, 8) for side in "AB"},
            "not a layer of the base",
        ),
        ({f"base_model.model.model.layers.0.mlp.q_proj.lora_{side}.weight": zeros(8, 8) for side in "AB"}, "not a layer"),
        ({"a": numpy.full((8, 576), numpy.nan, numpy.float32)}, "not finite"),
        ({"b": numpy.full((576, 8), numpy.inf, numpy.float16)}, "not finite"),
        ({"b": numpy.full((576, 8), -100.1, numpy.float32)}, "beyond ±100"),
        ({"b": numpy.full((576, 8), 101, numpy.float16)}, "beyond ±100"),
    ],
)
def test_weights_that_do_not_fit_are_refused(lora: Path, tmp_path: Path, shapes: Shapes, tensors: dict[str, Any], reason: str) -> None:
    with pytest.raises(AdapterRefused, match=reason):
        check(write_lora(tmp_path / "bad", changed(**tensors)), shapes)


def test_no_number_is_found_in_bfloat16_too(lora: Path) -> None:
    weights = lora / "adapter_model.safetensors"
    data = weights.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    small = {name: header[name] for name in (f"{Q_PROJ}.lora_A.weight", f"{Q_PROJ}.lora_B.weight")}
    for number, tensor in enumerate(small.values()):
        tensor.update(dtype="BF16", data_offsets=[number * 9216, (number + 1) * 9216])
    text = json.dumps(small).encode()
    body = b"\x80\x3f" * 9215  # ones, and then not a number
    weights.write_bytes(len(text).to_bytes(8, "little") + text + body + b"\xc0\x7f")
    with pytest.raises(AdapterRefused, match="not finite"):
        check(lora, None)
    weights.write_bytes(len(text).to_bytes(8, "little") + text + body + b"\x80\x3f")
    assert check(lora, None).rank == 8
    weights.write_bytes(len(text).to_bytes(8, "little") + text + body + b"\xc9\xc2")  # -100.5
    with pytest.raises(AdapterRefused, match="beyond ±100"):
        check(lora, None)


@pytest.mark.parametrize("dtype", [numpy.float16, numpy.float32])
def test_large_weights_are_good_up_to_a_hundred(lora: Path, tmp_path: Path, dtype: Any) -> None:
    full = {name: numpy.full_like(tensor, -100, dtype) for name, tensor in random_tensors().items()}
    assert check(write_lora(tmp_path / "large", full), None).rank == 8


def test_a_pickle_beside_the_weights_is_refused(lora: Path) -> None:
    (lora / "adapter_model.bin").write_bytes(pickle.dumps("anything"))
    with pytest.raises(AdapterRefused, match="does not belong"):
        check(lora, None)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
def test_a_link_is_not_followed(lora: Path, tmp_path: Path, name: str) -> None:
    (lora / name).rename(tmp_path / "elsewhere")
    (lora / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AdapterRefused, match="not an ordinary file"):
        check(lora, None)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
def test_both_files_must_be_there(lora: Path, name: str) -> None:
    (lora / name).unlink()
    with pytest.raises(AdapterRefused, match=f"no {name}"):
        check(lora, None)


def test_an_adapter_that_is_too_large_is_refused(lora: Path) -> None:
    with pytest.raises(AdapterRefused, match="larger than 1000 bytes"):
        check(lora, None, Limits(max_rank=16, max_bytes=1000))
