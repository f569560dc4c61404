"""`assistant export`"""

import argparse
from pathlib import Path

from rich.filesize import decimal
from rich.progress import DownloadColumn, Progress, SpinnerColumn, TextColumn, TransferSpeedColumn

from assistant_client.client import Client
from assistant_client.command_line.output import Output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="where to write the zip, such as export.zip")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it is there")


def run(arguments: argparse.Namespace, client: Client) -> int:
    output = Output()
    if arguments.file.exists() and not arguments.overwrite:
        output.error(f"{arguments.file} is there already: take another name, or --overwrite")
        return 1
    columns = (SpinnerColumn(), TextColumn("Exporting"), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=output.notes, transient=True, disable=not output.notes.is_terminal) as bar:
        task = bar.add_task("export", total=None)
        client.export(arguments.file, on_bytes=lambda count: bar.update(task, completed=count))
    output.line(f"Wrote {arguments.file} ({decimal(arguments.file.stat().st_size)}): all data of the account. Only you can read it")
    return 0
