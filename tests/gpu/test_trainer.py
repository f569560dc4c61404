"""The trainer alone on a GPU."""

from pathlib import Path

from tests.fixtures.training import trained
from tests.gpu.machine import needs_gpu

pytestmark = needs_gpu


def test_preferences_are_learned_in_bfloat16(smollm2: Path, tmp_path: Path) -> None:
    job = trained(tmp_path / "dpo", smollm2, method="dpo", epochs=1, learning_rate=5e-5)
    assert job.result.eval_loss is not None
    assert job.result.baseline_eval_loss is not None
    assert job.result.peak_memory_mib
    print(f"{job.result.total_steps} steps of DPO in {job.said_at[-1] - job.said_at[0]:.1f} s, {job.result.peak_memory_mib} MiB of the GPU")
