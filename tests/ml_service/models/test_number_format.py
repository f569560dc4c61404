from pathlib import Path

import pytest

from ml_service.models.number_format import NumberFormat, cpu_number_format, processor_flags

AVX2 = "processor : 0\nmodel name : A desktop\nflags : fpu sse4_2 avx avx2 fma\n"
AVX512 = "processor : 0\nflags : fpu avx2 avx512f avx512_bf16\n"
AVX512_WITHOUT_BFLOAT16 = "processor : 0\nflags : fpu avx2 avx512f avx512_vnni\n"
AMX = "processor : 0\nflags : fpu avx2 avx512f amx_bf16 amx_tile\n"
ARM_SERVER = "processor\t: 0\nFeatures\t: fp asimd sve bf16 i8mm\n"
ARM_BOARD = "processor\t: 0\nFeatures\t: fp asimd crc32\n"


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        (AVX2, "float32"),
        (AVX512, "bfloat16"),
        (AVX512_WITHOUT_BFLOAT16, "float32"),
        (AMX, "bfloat16"),
        (ARM_SERVER, "bfloat16"),
        (ARM_BOARD, "float32"),
    ],
)
def test_the_format_follows_the_processor(cpuinfo: str, expected: NumberFormat, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(cpuinfo)

    assert cpu_number_format("auto", processor_flags(tmp_path / "cpuinfo")) == expected


def test_what_the_operator_wants_goes_first() -> None:
    assert cpu_number_format("float32", {"avx512_bf16"}) == "float32"
    assert cpu_number_format("bfloat16", {"avx2"}) == "bfloat16"


def test_an_unknown_processor_computes_in_float32(tmp_path: Path) -> None:
    assert cpu_number_format("auto", processor_flags(tmp_path / "missing")) == "float32"
