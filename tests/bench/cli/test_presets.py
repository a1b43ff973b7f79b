"""The shipped files of cells: every name, option and fusion in them makes sense, and they say what is ours."""

import pytest
import yaml

from bench import registry
from bench.runs import run as runs
from bench.runs.cell_files import PRESETS, options_of, read_grid

FILES = sorted(PRESETS.glob("*.yaml"))
REPRODUCTIONS = ("paper1-two-towers", "paper1-sasrec", "dff", "linkedout-recon", "microlens-sasrec")


def test_all_are_there():
    assert {*REPRODUCTIONS, "demo-board", "demo-dose", "demo-grid"} <= {file.stem for file in FILES}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_cell_resolves(file, tmp_path):
    content, rows = read_grid(file)
    request = runs.Request(
        rows, tmp_path, tmp_path, content["dataset"], content["protocol"], options=options_of(content, ())
    )
    registry.check_options(request.options)
    cells = runs.resolve(request)
    assert len({cell.id for cell, _, _ in cells}) == len(rows) >= 2
    for name, options in content.get("set", {}).items():
        both = zip(rows, cells, strict=True)
        reached = [(row, cell) for row, (cell, _, _) in both if name in (cell.dataset, cell.protocol, cell.model)]
        assert reached, f"{name} is set and used by no row"
        for row, cell in reached:
            part = {cell.dataset: "dataset", cell.protocol: "protocol", cell.model: "model"}[name]
            told = cell.options[part]
            own = row.options if part == "model" else {}  # found by tuning
            assert all(told[option] == own.get(option, value) for option, value in options.items())


@pytest.mark.parametrize("name", REPRODUCTIONS)
def test_a_reproduction_has_its_controls_and_says_what_is_whose(name):
    text = (PRESETS / f"{name}.yaml").read_text()
    assert "arXiv" in text and "From the" in text and "Ours" in text.replace("ours", "Ours")
    assert f"--preset {name} " in text
    rows = yaml.safe_load(text)["rows"]
    assert {"model": "pop"} in rows
    assert any(row.get("extractor") == "id" for row in rows)
    if name != "microlens-sasrec":
        assert any(row.get("extractor", "").startswith("shuffled:") for row in rows)


def test_dff_is_what_the_released_code_does(tmp_path):
    content, rows = read_grid(PRESETS / "dff.yaml")
    request = runs.Request(rows, tmp_path, tmp_path, options=options_of(content, ()))
    cell, model, extractor = runs.resolve(request)[1]
    assert (cell.extractor, cell.fusion, extractor.feature) == ("hidden-states", "gate/softmax", "layers")
    assert (model.activation, model.loss, model.lr, model.dim) == ("relu", "in-batch-plain", 1e-5, 2048)
