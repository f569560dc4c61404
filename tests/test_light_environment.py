"""`make test-gateway` has none of the model's libraries: nothing that its tests begin with may import one."""

import subprocess
import sys

LIBRARIES = ("torch", "transformers", "vllm", "trl", "peft", "datasets", "accelerate")
MODULES = ("tests.conftest", "gateway.app", "ml_service.app", "ml_service.jobs.generation_worker", "ml_service.jobs.training_worker")
PROGRAM = f"""
import importlib, sys
sys.modules |= dict.fromkeys({LIBRARIES!r})  # whoever imports one fails
for module in {MODULES!r}:
    importlib.import_module(module)
"""


def test_services_and_fixtures_are_imported_without_them() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
