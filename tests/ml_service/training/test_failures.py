"""What ends a job: each with one sentence, and with nothing of a sample in what is said or logged."""

import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ml_service.training.failures import FULL_DISK, OUT_OF_MEMORY, TrainingFailed, sentence, where
from ml_service.training.spec import CHECKPOINTS, Failure, Progress, TrainingSpec
from shared.contracts.training import TrainingSample
from tests.fixtures.training import TrainerProcess, spec_of, style_samples, write_job

SECRET = "the safe is behind the mirror"


@pytest.fixture
def spec(smollm2: Path) -> TrainingSpec:
    return spec_of(smollm2, epochs=1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB, less than a checkpoint; only root may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def failure_of(folder: Path, *before: str) -> tuple[Failure, TrainerProcess]:
    process = TrainerProcess(folder, before=before)
    last = process.run()
    assert isinstance(last, Failure), last
    assert all(isinstance(said, Progress) for said in process.said[:-1])
    assert SECRET not in last.error + process.stderr()
    return last, process


def test_a_corrupt_sample_is_named(tmp_path: Path, spec: TrainingSpec) -> None:
    samples = [*style_samples(), TrainingSample(id="s-37", input=SECRET, output=" ")]
    failure, _ = failure_of(write_job(tmp_path / "job", spec, samples))
    assert failure.error == "Sample 37 (s-37) is corrupt: its output is empty."


def test_a_loss_that_is_no_number_stops_it_at_once(tmp_path: Path, spec: TrainingSpec) -> None:
    hot = msgspec.structs.replace(spec, learning_rate=1e30, epochs=20)
    failure, process = failure_of(write_job(tmp_path / "job", hot, style_samples()))
    assert failure.error.startswith("The loss is no longer a number")
    last = process.said[-2]
    assert isinstance(last, Progress)
    assert last.step < 5
    assert all(point.loss == point.loss for point in last.history)


def test_a_full_disk_is_said(small_disk: Path, spec: TrainingSpec) -> None:
    failure, _ = failure_of(write_job(small_disk / "job", spec, style_samples()))
    assert failure.error == FULL_DISK
    assert not list((small_disk / "job" / CHECKPOINTS).glob("*/complete"))


def test_memory_that_does_not_suffice_is_said(tmp_path: Path, spec: TrainingSpec) -> None:
    failure, _ = failure_of(write_job(tmp_path / "job", spec, style_samples()), "prlimit", "--data=900000000")
    assert failure.error == OUT_OF_MEMORY


def test_a_model_that_is_not_there_is_said(tmp_path: Path, spec: TrainingSpec) -> None:
    (tmp_path / "empty").mkdir()
    folder = write_job(tmp_path / "job", msgspec.structs.replace(spec, checkpoint=str(tmp_path / "empty")), style_samples())
    failure, _ = failure_of(folder)
    assert "smollm2-135m-instruct could not be loaded" in failure.error
    assert str(tmp_path) not in failure.error


def test_a_job_that_cannot_be_read_is_said(tmp_path: Path, spec: TrainingSpec) -> None:
    folder = write_job(tmp_path / "job", spec, style_samples())
    (folder / "spec.json").write_bytes(b"{}")
    failure, _ = failure_of(folder)
    assert failure.error == "The job's spec.json is missing or damaged."


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), FULL_DISK),
        (caused(RuntimeError("saving failed"), OSError(errno.EDQUOT, "quota")), FULL_DISK),
        (RuntimeError("[enforce fail at inline_container.cc:672] . PytorchStreamWriter failed writing file data/3"), FULL_DISK),
        (MemoryError(), OUT_OF_MEMORY),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried"), OUT_OF_MEMORY),
        (caused(ValueError("x"), TrainingFailed("Too few.")), "Too few."),
        (KeyError(SECRET), "Training stopped because of an unexpected error (KeyError); the training worker's log says where."),
    ],
)
def test_errors_become_sentences(error: Exception, said: str) -> None:
    assert sentence(error) == said


def test_the_log_says_where_without_the_message() -> None:
    def lookup() -> str:
        return dict[str, str]()[SECRET[::-1][::-1]]

    with pytest.raises(KeyError) as caught:
        lookup()
    assert "in lookup" in where(caught.value)
    assert SECRET not in where(caught.value)
