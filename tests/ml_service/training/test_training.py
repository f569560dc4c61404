"""Whole jobs of the real trainer, on the bundled model."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import psutil
from safetensors import safe_open

from ml_service.training.spec import ADAPTER, CHECKPOINTS, Failure, Progress
from shared.contracts.training import TrainingSample
from tests.fixtures.training import BASE_MODEL, STYLE, Trained, TrainerProcess, is_completed, spec_of, style_samples, write_job


def figure(loss: float | None) -> float:
    """A loss that there is."""
    assert loss is not None
    return loss


def progress_of(job: Trained) -> list[Progress]:
    return [said for said in job.said if isinstance(said, Progress)]


def test_the_adapter_is_better_and_speaks_in_the_owners_style(trained_job: Trained) -> None:
    result = trained_job.result
    assert figure(result.eval_loss) < 0.5 * figure(result.baseline_eval_loss)
    assert [comparison.sample_id for comparison in result.comparisons] == ["sample-34", "sample-35"]
    for comparison in result.comparisons:
        assert comparison.after.endswith(STYLE)
        assert comparison.before.endswith(" …")  # it says more than twice what the owner does, and is cut off
        assert comparison.expected.endswith(STYLE)
    assert result.comparisons[0].input == "I cannot make it to coffee today"


def test_progress_is_told_from_start_to_end(trained_job: Trained) -> None:
    said = progress_of(trained_job)
    assert len(said) == len(trained_job.said)
    assert said.pop().status == "completed"

    percents = [progress.progress for progress in said]
    assert percents == sorted(percents)
    assert percents[0] == 0
    assert all(progress.progress <= 90 for progress in said if progress.status == "training")
    assert all(90 <= progress.progress <= 100 for progress in said if progress.status == "evaluating")
    assert {progress.status for progress in said} == {"training", "evaluating"}
    pauses = [later - earlier for earlier, later in itertools.pairwise(trained_job.said_at)]
    assert median(pauses) < 5  # twice a second, on a machine that has time for it


def test_the_result_counts_what_was_done(trained_job: Trained) -> None:
    result = trained_job.result
    assert (result.train_samples, result.eval_samples) == (29, 7)
    assert result.step == result.total_steps == 22  # three epochs of 29 samples, four a step
    assert result.epoch == 3
    assert [point.step for point in result.history] == list(range(1, 23))
    assert result.loss == result.history[-1].loss < result.history[0].loss


def test_the_adapter_is_plain_lora_without_a_path_of_this_machine(trained_job: Trained, smollm2: Path) -> None:
    assert {path.name for path in trained_job.adapter.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    text = (trained_job.adapter / "adapter_config.json").read_text()
    config = json.loads(text)
    assert config["base_model_name_or_path"] == BASE_MODEL
    assert str(smollm2.parent) not in text
    assert (config["r"], config["lora_alpha"], config["bias"], config["use_dora"], config["modules_to_save"]) == (
        8,
        16.0,
        "none",
        False,
        None,
    )
    with safe_open(trained_job.adapter / "adapter_model.safetensors", "numpy") as tensors:
        assert len(tensors.keys()) == 30 * 7 * 2


def test_no_text_of_a_sample_is_in_the_log(trained_job: Trained) -> None:
    texts = {text for sample in style_samples() for text in (sample.output, sample.messages[-1].content if sample.messages else "")}
    assert not [text for text in texts if text in trained_job.stderr]
    assert "Traceback" not in trained_job.stderr


def test_a_killed_job_goes_on_and_ends_as_if_it_had_not_been_killed(trained_job: Trained, tmp_path: Path) -> None:
    process = TrainerProcess(write_job(tmp_path / "job", trained_job.spec, style_samples()))
    process.start()
    for _ in process.lines():
        if list((tmp_path / "job" / CHECKPOINTS).glob("*/complete")):
            process.process.kill()
    assert process.process.wait() == -signal.SIGKILL
    assert not any(isinstance(said, Failure) or said.status == "completed" for said in process.said)
    checkpoint = max(int(path.parent.name.rpartition("-")[2]) for path in (tmp_path / "job" / CHECKPOINTS).glob("*/complete"))
    (tmp_path / "job" / CHECKPOINTS / "checkpoint-21").mkdir()  # as if it was killed again, while it wrote

    again = TrainerProcess(process.folder)
    result = again.run()

    assert is_completed(result)
    assert next(said.step for said in again.said if isinstance(said, Progress) and said.step) == checkpoint
    assert result.history == trained_job.result.history
    assert result.eval_loss == trained_job.result.eval_loss


def test_dpo_learns_to_prefer_and_is_compared_with_the_adapter_in_use(trained_job: Trained, smollm2: Path, tmp_path: Path) -> None:
    spec = spec_of(smollm2, method="dpo", epochs=1, baseline_adapter=str(trained_job.adapter), comparisons=1)
    process = TrainerProcess(write_job(tmp_path / "job", spec, style_samples()[:16]))
    result = process.run()

    assert is_completed(result), result
    assert (result.train_samples, result.eval_samples) == (13, 3)
    assert result.history[-1].loss < result.history[0].loss
    assert figure(result.baseline_eval_loss) < 1  # the adapter in use has learned these very replies
    assert result.comparisons[0].before.endswith(STYLE)


def test_two_processes_train_one_adapter(smollm2: Path, tmp_path: Path) -> None:
    folder = write_job(tmp_path / "job", spec_of(smollm2, epochs=1, comparisons=0), style_samples()[:10])
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "--no-python")
    process = TrainerProcess(folder, before=launcher)
    result = process.run()

    assert is_completed(result), result
    assert (result.train_samples, result.total_steps) == (8, 1)  # four samples for each
    assert figure(result.eval_loss) < figure(result.baseline_eval_loss)
    assert sum(map(is_completed, process.said)) == 1


def test_a_request_to_end_ends_it_at_once(trained_job: Trained, tmp_path: Path) -> None:
    process = TrainerProcess(write_job(tmp_path / "job", trained_job.spec, style_samples()))
    process.start()
    asked_at = 0.0
    for said in process.lines():
        if not asked_at and isinstance(said, Progress) and said.step >= 1:
            process.process.terminate()
            asked_at = time.monotonic()

    assert process.process.wait() == -signal.SIGTERM
    assert 0 < time.monotonic() - asked_at < 20
    assert not any(isinstance(said, Failure) or said.status == "completed" for said in process.said)


def test_it_dies_with_its_worker(trained_job: Trained, tmp_path: Path) -> None:
    folder = write_job(tmp_path / "job", trained_job.spec, style_samples())
    worker_code = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-m', 'ml_service.training', {str(folder)!r}], stdout=subprocess.PIPE)\n"
        "child.stdout.readline(); print(child.pid, flush=True); time.sleep(600)"
    )
    worker = subprocess.Popen([sys.executable, "-c", worker_code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert worker.stdout is not None
    trainer = psutil.Process(int(worker.stdout.readline()))

    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    worker.stdout.close()

    trainer.wait(timeout=10)


def test_one_sample_makes_an_adapter_without_figures(smollm2: Path, tmp_path: Path) -> None:
    sample = TrainingSample(input="How are you?", output="Great!", quality=1.0)
    trainer = TrainerProcess(write_job(tmp_path / "job", spec_of(smollm2, epochs=2), [sample]))

    result = trainer.run()

    assert is_completed(result), result
    assert (result.step, result.train_samples, result.eval_samples) == (1, 1, 0)
    assert (result.eval_loss, result.baseline_eval_loss, result.comparisons) == (None, None, [])
    assert (tmp_path / "job" / ADAPTER / "adapter_model.safetensors").is_file()
