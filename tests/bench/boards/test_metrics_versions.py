"""Results of two versions of the metrics stand apart everywhere, and the keys of version 1 stay what they are."""

from dataclasses import replace

import pytest

from bench import records
from bench.boards import compare, leaderboard, lookup
from bench.boards.cell_results import read_cells
from bench.runs import grid
from bench.runs import run as runs
from bench.runs.rows import RowSpec
from protocols.errors import UserError
from protocols.evaluation import metrics
from protocols.progress import Quiet


@pytest.fixture
def both(write_cell, tmp_path):
    """Two cells whose records are there in two versions."""
    for extractor in ("id", "random"):
        for path in write_cell("sasrec", extractor, "gate"):
            old = records.read(path)
            records.write(path.parent, replace(old, metrics_version=2, key="new" + old.key), records.users(path))
    return tmp_path


def test_cells_and_boards_of_two_versions_stand_apart(both):
    found = read_cells(records.find(both))
    assert [cell.board_key for cell in found] == [("b", 1), ("b", 1), ("b", 2), ("b", 2)]
    assert {len(cell.found) for cell in found} == {2}
    assert [len(board.rows) for board in leaderboard.boards(both)] == [2, 2]
    reports = compare.grid(found, pairs=True)
    assert [len(report.lines) for report in reports] == [1, 1]


def test_cells_of_two_versions_are_never_compared(both):
    old, _, new, _ = read_cells(records.find(both))
    with pytest.raises(UserError, match="never compared: metrics version 1 and 2"):
        lookup.choose(*(str(next(iter(cell.found))) for cell in (old, new)), [])


def test_another_version_has_keys_of_its_own_and_is_planned_anew(tiny_world, tmp_path, monkeypatch):
    request = runs.Request([RowSpec("pop")], tmp_path / "cache", tmp_path / "results", "tiny")
    before = runs.run(request, Quiet())
    folds = len(before.paths)
    assert [planned.done for planned in grid.plan(request, folds)] == [folds]
    assert runs.run(request, Quiet()).cached == folds
    monkeypatch.setattr(metrics, "VERSION", 2)
    assert [planned.done for planned in grid.plan(request, folds)] == [0]
    _, jobs = runs.prepare(request, Quiet())
    assert not {job.key for job in jobs} & {records.read(path).key for path in before.paths}
    assert not {job.search_key for job in jobs} & {path.stem for path in before.paths}
