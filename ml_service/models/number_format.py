"""In which number format a model is computed with. Serving and training both ask here; the model's files stay as they are.

A processor without instructions for bfloat16 only emulates it: the bundled model then writes 14 tokens a second for 32 streams, and reads a
prompt of 2,000 tokens in 31 s; in float32 it is 60 tokens a second and 7 s (two cores with AVX2). float16 overflows in training, and
is slow on every processor.
"""

from collections.abc import Set
from pathlib import Path
from typing import Final, Literal

NumberFormat = Literal["bfloat16", "float32"]

BFLOAT16_FLAGS: Final = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Flags of /proc/cpuinfo: x86's AVX-512 BF16 and AMX, and ARM's BF16. One of them is enough."""
CPU_STEP_TOKENS: Final[dict[NumberFormat, int]] = {"bfloat16": 1024, "float32": 512}
"""Tokens that one step on a CPU computes at most, prompts among them: about a second's work of two cores. While a step lasts, no answer
goes on and no abort is heeded. With 512 a long prompt's first token would come 8 % later in bfloat16; in float32 it does not."""
_CPUINFO: Final = Path("/proc/cpuinfo")


def cpu_number_format(wanted: Literal["auto", "bfloat16", "float32"], flags: Set[str] | None = None) -> NumberFormat:
    """The format for models on a processor: what is wanted (`CPU_NUMBER_FORMAT`), or what a processor with these flags, by default this
    machine's, is fast with.
    """
    if wanted != "auto":
        return wanted
    found = processor_flags() if flags is None else flags
    return "bfloat16" if BFLOAT16_FLAGS & found else "float32"


def processor_flags(cpuinfo: Path = _CPUINFO) -> frozenset[str]:
    """What this machine's processor says that it can do; nothing where the kernel has no such file."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(word for line in lines if line.lower().startswith(("flags", "features")) for word in line.split())
