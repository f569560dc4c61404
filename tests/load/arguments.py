"""What `make load` can be told."""

import argparse
from pathlib import Path


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make load", description="A mixed day of many devices. MINUTES=5 ARGS='--devices 50'")
    parser.add_argument("minutes", type=_positive, nargs="?", default=5, help="how long the day takes; by default 5")
    parser.add_argument("--devices", type=int, default=20, help="how many there are, three to an account; by default 20")
    parser.add_argument("--url", type=lambda url: url.rstrip("/"), help="a running gateway; without it, a system is started for this")
    parser.add_argument(
        "--token-of",
        type=_token,
        metavar="FILE",
        help="a file with the token of a device: all devices join its account. For a gateway whose registration is closed",
    )
    parser.add_argument("--engine", choices=("scripted", "vllm"), default="scripted", help="of the system that is started")
    parser.add_argument("--read-p99", type=_positive, metavar="MS", help="99 of 100 reads have to be answered within so many milliseconds")
    arguments = parser.parse_args()
    if arguments.devices < 1:
        parser.error("--devices: at least 1")
    return arguments


def _token(name: str) -> str:
    try:
        return Path(name).read_text().strip()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{name} cannot be read ({error.strerror}): write a device's token into a file") from None


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("must be above 0")
    return number
