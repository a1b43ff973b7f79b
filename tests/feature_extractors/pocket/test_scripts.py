"""The scripts that build, train and evaluate pocket checkpoints: outside of the wheel, and run as documented."""

import ast
import importlib
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
EXCLUDED = tuple(PROJECT["exclude"])
SOURCES = [path for package in PROJECT["packages"] for path in sorted((ROOT / package).rglob("*.py"))]
SCRIPTS = [
    path.relative_to(ROOT)
    for kind in ("training", "evaluation")
    for path in sorted((ROOT / "feature_extractors/pocket" / kind).glob("*.py"))
    if "\ndef main(" in path.read_text()
]
COMMANDS = {
    (match[1], match[2])
    for path in [*(ROOT / "feature_extractors").rglob("*.md"), *SOURCES]
    for match in re.finditer(r"python -m (feature_extractors\.pocket\.[\w.]+)((?: -[^`\n]+)?)", path.read_text())
}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def test_nothing_in_the_wheel_imports_a_package_that_is_left_out_of_it():
    assert {Path(one).name for one in EXCLUDED} == {"building", "training", "evaluation"}
    hidden = tuple(one.replace("/", ".") + "." for one in EXCLUDED)
    kept = [path for path in SOURCES if not path.relative_to(ROOT).as_posix().startswith(EXCLUDED)]
    assert len(kept) > 200
    bad = {(str(path), name) for path in kept for name in imported(path) if f"{name}.".startswith(hidden)}
    assert not bad


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_script_is_documented_and_takes_the_documented_options(script, capsys, monkeypatch):
    name = ".".join(script.with_suffix("").parts)
    commands = [options for module, options in COMMANDS if module == name]
    assert commands, f"no docstring and no README gives the command of {name}"
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(name).main()
    said = capsys.readouterr().out
    assert ended.value.code == 0
    options = {option for one in commands for option in re.findall(r"--[a-z-]+", one)}
    assert options <= set(re.findall(r"--[a-z-]+", said))


def test_every_documented_command_is_a_script():
    documented = {module.rstrip(".") for module, _ in COMMANDS}
    assert documented == {".".join(script.with_suffix("").parts) for script in SCRIPTS}
