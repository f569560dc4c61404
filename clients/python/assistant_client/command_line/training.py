"""`assistant train`"""

import argparse
import time
from contextlib import nullcontext

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from assistant_client.client import Client
from assistant_client.command_line.output import Output
from assistant_client.errors import AssistantError, Conflict
from assistant_client.models import GenerateContext, TrainingJob, TrainingStart

_POLL_SECONDS = 1.0
_PLAIN_STEP = 10
"""Percent between two lines where there is no terminal."""


class NoModel(AssistantError):
    """Nothing says which model serves."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--base-model", help="a name of the catalogue; by default the model that writes the drafts")
    parser.add_argument("--epochs", type=int, default=3, help="how often every sample is learnt from, 1 to 20 (3)")
    parser.add_argument("--learning-rate", type=float, default=1e-4, help="up to 0.01 (0.0001)")
    parser.add_argument("--method", choices=["sft", "dpo"], default="sft", help="dpo learns from drafts that you edited or rejected (sft)")
    parser.add_argument("--no-import", action="store_true", help="do not make samples of your past replies first")
    parser.add_argument("--json", action="store_true", help="the finished training as JSON; no progress")


def run(arguments: argparse.Namespace, client: Client) -> int:
    output = Output()
    job = _follow(client, _start(client, output, arguments), output, quiet=arguments.json)
    if arguments.json:
        output.json(job)
    else:
        _tell_end(job, output)
    return 0 if job.status == "completed" else 1


def _start(client: Client, output: Output, arguments: argparse.Namespace) -> TrainingJob:
    """A new training; or the one that this device has, since there can be only one."""
    if not arguments.no_import:
        with output.notes.status("Making samples of your past replies"):
            imported = client.import_history()
        output.note(f"{imported.imported} new samples of your past replies, {imported.known} known ones")
    training = TrainingStart(
        base_model=arguments.base_model or _serving_model(client),
        epochs=arguments.epochs,
        learning_rate=arguments.learning_rate,
        method=arguments.method,
    )
    try:
        job = client.start_training(training)
    except Conflict:
        device = client.credentials.device_id
        running = [job for job in client.training_jobs().jobs if job.device_id == device and not job.ended]
        if not running:
            raise
        output.note("A training of this device is running already; this follows it")
        return running[0]
    output.note(f"Training {job.base_model} on {job.sample_count} samples; Ctrl-C leaves it running, `assistant train` follows it again")
    return job


def _serving_model(client: Client) -> str:
    """The model that writes the drafts, as the newest draft says it. If there is none yet, one of a single token is made."""
    known = client.drafts(status="completed", page_size=1).responses
    version = known[0].model_version if known else _drafted_by(client)
    if version is None:
        raise NoModel("There are no messages to learn from: assistant import FILE brings some")
    return version.partition("+")[0]


def _drafted_by(client: Client) -> str | None:
    for conversation in client.all_conversations():
        for message in client.messages(conversation.id).messages:
            if message.direction == "incoming" and message.message_type == "text" and message.text:
                return client.draft(message.id, GenerateContext(max_tokens=1)).model_version
    return None


def _follow(client: Client, job: TrainingJob, output: Output, *, quiet: bool) -> TrainingJob:
    """Show how far it is until it has ended."""
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn(), console=output.notes
    )
    live = output.notes.is_terminal and not quiet
    with bar if live else nullcontext():
        task = bar.add_task(job.status, total=100)
        told = 0.0
        while not job.ended:
            time.sleep(_POLL_SECONDS)
            job = client.training_job(job.id)
            bar.update(task, description=_state(job), completed=job.progress)
            if not (live or quiet) and job.progress >= told + _PLAIN_STEP:
                output.note(f"{job.progress:.0f} %  {_state(job)}")
                told = job.progress
    return job


def _state(job: TrainingJob) -> str:
    return job.status if job.loss is None else f"{job.status}, loss {job.loss:.2f}"


def _tell_end(job: TrainingJob, output: Output) -> None:
    if job.status != "completed":
        output.error("The training was cancelled" if job.status == "cancelled" else f"The training failed: {job.error}")
        return
    if job.eval_loss is not None and job.baseline_eval_loss is not None:
        output.line(f"Loss on held-out replies: {job.baseline_eval_loss:.2f} before, {job.eval_loss:.2f} now (lower is better)")
    in_use = "is in use: drafts are written with it" if job.activated else "is not in use"
    output.line(f"The new adapter {in_use}. {job.activation_note or ''}".rstrip())
