"""What both recipes share of the training loop: its arguments, its reports, its checkpoints, and that a loss is a number."""

import math
import os
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ml_service.training.failures import TrainingFailed
from ml_service.training.lora import precision
from ml_service.training.memory import peak_mib
from ml_service.training.spec import CHECKPOINTS, Reporter, TrainingSpec
from shared.contracts.training import LossPoint

BATCH_SIZE = 4
"""Replies a step and device: few, because people begin with a few dozen samples, and each step should teach."""
TRAINING_SHARE = 90.0
"""Percent of the progress that training is; the rest is evaluation."""
MOST_POINTS = 200
_COMPLETE = "complete"
"""An empty file that is written last into a checkpoint: without it, the process was killed while it wrote."""


def arguments(spec: TrainingSpec, folder: Path, rows: int, *, accumulated: int = 1) -> dict[str, Any]:
    """Arguments that TRL's configurations take, for so many rows of the data set one after the other, all epochs together.

    The learning rate rises over the first tenth of the steps and falls along a cosine: with a few dozen steps, a constant one would either
    end in noise or begin with it. Losses are reported as means over equal stretches, at most `MOST_POINTS` of them.
    """
    on_gpu = torch.cuda.is_available()
    steps = math.ceil(rows / (accumulated * int(os.environ.get("WORLD_SIZE", "1"))))
    return {
        "output_dir": str(folder / CHECKPOINTS),
        "num_train_epochs": 1,
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": accumulated,
        "learning_rate": spec.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": steps // 10,
        "weight_decay": 0.0,
        "seed": spec.seed,
        "bf16": precision(spec) is torch.bfloat16,
        "use_cpu": not on_gpu,
        "dataloader_pin_memory": on_gpu,
        "train_sampling_strategy": "sequential",  # `dataset.lessons` has shuffled
        "remove_unused_columns": False,
        "max_length": None,  # `dataset` has seen to it
        "logging_steps": math.ceil(steps / MOST_POINTS),
        "logging_nan_inf_filter": False,
        "save_strategy": "no",  # `Checkpoints` decides
        "save_total_limit": 2,
        "ddp_find_unused_parameters": False,
        "report_to": "none",
        "disable_tqdm": True,
    }


def run(trainer: Any, spec: TrainingSpec, folder: Path, reporter: Reporter) -> None:
    """Train to the end, from the last checkpoint if there is one.

    Raises:
        TrainingFailed: the loss is no longer a number.
    """
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Reports(reporter, spec.epochs))
    trainer.add_callback(Checkpoints())
    trainer.train(resume_from_checkpoint=last_checkpoint(folder / CHECKPOINTS))


def checked(loss: torch.Tensor) -> torch.Tensor:
    """The loss of a step, if it is a number."""
    if not torch.isfinite(loss):
        raise TrainingFailed(
            "The loss is no longer a number: the learning rate is too high for these samples. Start again with a lower one."
        )
    return loss


def last_checkpoint(folder: Path) -> str | None:
    """The newest complete checkpoint; incomplete ones are deleted."""
    found = []
    for checkpoint in folder.glob("checkpoint-*"):
        if (checkpoint / _COMPLETE).exists():
            found.append(checkpoint)
        else:
            shutil.rmtree(checkpoint, ignore_errors=True)  # another process may be at it too
    return str(max(found, key=lambda checkpoint: int(checkpoint.name.rpartition("-")[2]))) if found else None


class Reports(TrainerCallback):  # type: ignore[misc]
    """Tells the reporter of each step."""

    def __init__(self, reporter: Reporter, epochs: int) -> None:
        self._reporter = reporter
        self._epochs = epochs

    def on_train_begin(self, _args: TrainingArguments, state: TrainerState, _control: TrainerControl, **_: Any) -> None:
        self._report(state)

    def on_step_end(self, _args: TrainingArguments, state: TrainerState, _control: TrainerControl, **_: Any) -> None:
        self._report(state)

    def on_log(self, _args: TrainingArguments, state: TrainerState, _control: TrainerControl, **_: Any) -> None:
        self._report(state)

    def _report(self, state: TrainerState) -> None:
        history = [LossPoint(step=entry["step"], loss=entry["loss"]) for entry in state.log_history if "loss" in entry]
        share = state.global_step / max(state.max_steps, 1)
        self._reporter.report(
            progress=TRAINING_SHARE * share,
            epoch=round(self._epochs * share, 3),
            step=state.global_step,
            total_steps=state.max_steps,
            loss=history[-1].loss if history else None,
            history=history,
            peak_memory_mib=peak_mib(),
        )


class Checkpoints(TrainerCallback):  # type: ignore[misc]
    """Saves as often as costs a fiftieth of the time, at least two seconds apart, and after the last step."""

    def __init__(self) -> None:
        self._saved_at = time.monotonic()
        self._cost = 0.0

    def on_step_end(self, _args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        now = time.monotonic()
        due = [now - self._saved_at > max(2.0, 50 * self._cost) or state.global_step >= state.max_steps]
        broadcast_object_list(due)  # several processes save together, or wait for each other for ever
        if due[0]:
            control.should_save = True
            self._saved_at = now

    def on_save(self, args: TrainingArguments, state: TrainerState, _control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero:
            (Path(args.output_dir) / f"checkpoint-{state.global_step}" / _COMPLETE).touch()
        now = time.monotonic()
        self._cost, self._saved_at = now - self._saved_at, now
