"""The measuring scripts are no tests, but they must not rot: each imports, and each says how it is run."""

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted(one for folder in ("speed", "peers") for one in Path(__file__).parents[1].glob(f"{folder}/*.py"))


def test_there_are_some():
    assert len(SCRIPTS) > 5


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_imports_and_its_docstring_says_the_command(script, monkeypatch):
    monkeypatch.syspath_prepend(str(script.parent))
    spec = importlib.util.spec_from_file_location(f"speed_{script.stem}", script)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        assert error.name.split(".")[0] in ("implicit", "rectools", "pytorch_lightning")  # those of another environment
        pytest.skip(f"{error.name} is of another environment")
    assert f"python tests/{script.parent.name}/{script.name}" in module.__doc__
    assert callable(module.main)
