"""A model without an item encoder: its only fusion, its controls, its place in a grid."""

import numpy as np
import pytest

from bench import records
from bench.runs import grid, grid_rows
from bench.runs import rows as row_specs
from bench.runs import run as runs
from bench.runs.cell_files import rows_of
from bench.runs.rows import RowSpec
from protocols.errors import UserError
from protocols.progress import Quiet
from recommenders.encoder.fusions import Fusion


@pytest.mark.parametrize(
    ("extractor", "fusion"),
    [("id", "id"), ("captions", "gate"), ("captions", "id"), ("hidden-states", "replace/softmax")],
)
def test_what_it_cannot_do_is_refused_before_anything_is_loaded(extractor, fusion, tmp_path):
    row = RowSpec("content-mean", extractor, fusion)
    with pytest.raises(UserError, match="in one way: fusion") as caught:
        runs.run(runs.Request(rows=[row], cache=tmp_path / "cache", results=tmp_path / "results"), Quiet())
    assert caught.value.exit_code == 2 and not list(tmp_path.iterdir())


def test_a_row_that_names_no_fusion_gets_one_that_the_model_can_do():
    assert rows_of({"model": "content-mean", "extractor": "captions"}) == [
        RowSpec("content-mean", "captions", "replace")
    ]
    assert rows_of({"model": "ease-content", "extractor": "captions"}) == [RowSpec("ease-content", "captions", "add")]
    assert rows_of({"extractor": "captions"}) == [RowSpec("sasrec", "captions", "gate")]
    assert rows_of({"model": "sasrec"}) == [RowSpec("sasrec", "id", "id")]


def test_its_controls_hold_no_row_of_ids():
    assert row_specs.with_controls([RowSpec("content-mean", "captions", "replace")]) == [
        RowSpec("content-mean", "captions", "replace"),
        *(RowSpec(name, "id", "id") for name in row_specs.CONTROLS),
        RowSpec("content-mean", "random:captions", "replace"),
        RowSpec("content-mean", "shuffled:captions", "replace"),
    ]


def test_in_a_grid_it_stands_once_with_every_extractor_of_features():
    axes = {
        "models": ["content-mean", "ease-content"],
        "extractors": ["id", "titles", "hidden-states"],
        "fusions": ["gate"],
        "layers": ["softmax", "last", "3"],
    }
    assert grid_rows.expand(axes) == [
        RowSpec(model, extractor, f"{fusion}{layer}")
        for model, fusion in (("content-mean", "replace"), ("ease-content", "add"))
        for extractor, layer in (("titles", ""), ("hidden-states", "/last"), ("hidden-states", "/3"))
    ]


@pytest.mark.parametrize("text", ["gate", "gate/softmax", "replace/12@visual", "id"])
def test_a_fusion_is_written_as_it_is_read(text):
    assert str(Fusion.parse(text)) == text


def test_leave_one_out_has_no_controls_by_time():
    rows = row_specs.with_controls([RowSpec("pop", "id", "id")], "microlens-loo")
    assert [row.model for row in rows] == ["pop", "ease"]


def test_seeds_are_those_of_the_features_alone(tiny_world, simulate_dataset, tmp_path):
    items = simulate_dataset(seed=5, releases=True).items.index
    np.savez(tmp_path / "v.npz", ids=items.to_numpy(dtype=str), vectors=np.eye(len(items), dtype=np.float32)[:, :8])
    own = f"published:{tmp_path / 'v.npz'}"
    rows = [RowSpec("content-mean", extractor, "replace") for extractor in (own, f"random:{own}")]
    request = runs.Request(rows, tmp_path / "c", tmp_path / "r", "tiny", seeds=(1, 2))
    found = [records.read(path) for path in runs.run(request, Quiet()).paths]
    drawn = [r.cell["extractor"].startswith("random:") for r in found]
    assert {(r.seed, random) for r, random in zip(found, drawn, strict=True)} == {(0, False), (1, True), (2, True)}
    folds = len({r.fold for r in found})
    assert [cell.jobs for cell in grid.plan(request, folds)] == [folds, 2 * folds]
