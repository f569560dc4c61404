"""`make test-gateway` has none of the model's libraries: nothing that its tests begin with may import one."""

import os
import subprocess
import sys

LIBRARIES = ("torch", "transformers", "vllm", "trl", "peft", "datasets", "accelerate")
MODULES = (
    "tests.conftest",
    "gateway.app",
    "ml_service.app",
    "ml_service.jobs.generation_worker",
    "ml_service.jobs.training_worker",
    "assistant_client.command_line.main",
)
PROGRAM = f"""
import importlib, sys
sys.modules |= dict.fromkeys({LIBRARIES!r})  # whoever imports one fails
for module in {MODULES!r}:
    importlib.import_module(module)
"""


def test_services_and_fixtures_are_imported_without_them() -> None:
    environment = {**os.environ, "PYTHONPATH": "clients/python"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
