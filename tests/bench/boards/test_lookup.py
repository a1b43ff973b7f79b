"""Names of runs that fit several: what the error says to type works."""

import shlex

import pytest

from bench import records
from bench.boards import lookup
from bench.boards.cell_results import read_cells
from bench.publishing import publish
from protocols.errors import UserError


@pytest.fixture
def among(write_cell, tmp_path):
    """Three rows on two published boards each, with the same ids of their cells."""
    for board in ("b", "other"):
        local = [write_cell("sasrec", features, fusion, board=board) for features, fusion in
                 (("id", "id"), ("captions", "gate"), ("captions", "add"))]  # fmt: skip
        publish.publish(tmp_path / "toy", tmp_path / "boards")
        for path in (path for paths in local for path in paths):
            path.unlink()
    return read_cells(records.find(tmp_path / "boards"))


def example(error, after="as in "):
    return shlex.split(error.remedy.partition(after)[2].partition(";")[0].partition(", which")[0])


@pytest.mark.parametrize("name", ["sasrec/captions/gate", "captions", "sasrec"])
def test_the_name_of_one_run_in_a_remedy_fits_one(among, name):
    with pytest.raises(UserError, match=r"fits \d runs") as refused:
        lookup.select_one(name, among)
    (typed,) = example(refused.value)
    assert lookup.select_one(typed, among).label.startswith("sasrec")


@pytest.mark.parametrize("names", [("sasrec/captions/gate", "sasrec/id/id"), ("captions", "id"), ("gate", "add")])
def test_the_names_of_two_runs_in_a_remedy_are_a_pair_on_one_board(among, names):
    with pytest.raises(UserError, match=r"fits \d runs") as refused:
        lookup.choose(*names, among)
    a, b = lookup.choose(*example(refused.value), among)
    assert a.board == b.board and a.cell != b.cell
    for name, run in zip(names, (a, b), strict=True):
        assert run in lookup.select(name, among) or run.found.keys() in [
            x.found.keys() for x in lookup.select(name, among)
        ]


def test_an_id_that_fits_one_run_is_the_name_and_boards_are_named_with_their_data(among):
    one = [run for run in among if run.board == "b"]
    assert lookup.address(one[0], one) == one[0].cell.id
    assert lookup.address(one[0], among).endswith(".json")
    with pytest.raises(UserError, match=r"sasrec captions gate \(.*, toy, board other\)"):
        lookup.select_one("sasrec/captions/gate", among)


def test_runs_on_no_common_board_are_told_so_however_many_a_name_fits(write_cell, tmp_path):
    write_cell("pop", "-", "-", seeds=(0,), board="other")
    write_cell("sasrec", "captions", "gate")
    write_cell("sasrec", "captions", "add")
    with pytest.raises(UserError, match="stand on different boards"):
        lookup.choose("captions", "pop", read_cells(records.find(tmp_path)))
