"""The size of a catalogue decides losses and leaves rows out; records, keys and boards say so."""

import pytest

from bench import records, registry, tables
from bench.boards import leaderboard
from bench.runs import run as runs
from bench.runs.rows import RowSpec
from protocols.errors import UserError
from protocols.progress import Quiet

SMALL = {"dim": 8, "inner": 8, "layers": 1, "heads": 1, "max_epochs": 1}


class Said(Quiet):
    def __init__(self):
        self.lines = []

    def say(self, message):
        self.lines.append(message)


def test_what_the_size_decides_is_said_on_the_board_and_stands_in_records(tiny_world, tmp_path):
    large = RowSpec("sasrec", "id", "id", {**SMALL, "softmax_items": 3})
    rows = [RowSpec("pop", "id", "id"), RowSpec("ease", "id", "id", {"max_items": 3}), large]
    said = Said()
    outcome = runs.run(runs.Request(rows, tmp_path / "c", tmp_path / "r", "tiny"), said)
    found = [records.read(path) for path in outcome.paths]
    assert {r.status for r in found} == {"ok"}
    assert {r.cell["model"] for r in found} == {"pop", "sasrec"}
    trained = next(r for r in found if r.cell["model"] == "sasrec")
    chosen = {name: trained.cell["options"]["model"][name] for name in ("loss", "batch")}
    assert chosen == {"loss": "in-batch", "batch": 4096}
    assert any(line.startswith("left out: ease: too many items") and "puresvd" in line for line in said.lines)
    board = leaderboard.build(outcome.paths)
    text = " ".join(tables.layout.notes(board))
    assert "Left out: ease: too many items" in text
    assert "sasrec id id: batch 4096, loss in-batch, chosen for" in text
    assert "log-popularity" in text
    assert not board.unranked


def test_a_run_of_nothing_but_rows_that_are_too_large_is_refused(tiny_world, tmp_path):
    rows = [RowSpec("ease", "id", "id", {"max_items": 3})]
    with pytest.raises(UserError, match="too many items") as caught:
        runs.run(runs.Request(rows, tmp_path / "c", tmp_path / "r", "tiny"), Quiet())
    assert caught.value.exit_code == 2 and "max_items=N" in caught.value.remedy


@pytest.mark.parametrize("name", ["sasrec", "gru4rec", "bert4rec", "hstu"])
def test_defaults_of_small_catalogues_keep_their_options(name):
    model = registry.create("model", name, {})
    assert "softmax_items" not in model.options()
    assert model.for_catalogue(50_000) is model
    assert (model.for_catalogue(50_001).loss, model.for_catalogue(50_001).batch) == ("in-batch", 4096)
    kept = registry.create("model", name, {name: {"softmax_items": 60_000}})
    assert kept.for_catalogue(50_001) is kept
    assert kept.options()["softmax_items"] == 60_000


@pytest.mark.parametrize("name", ["two-towers", "esasrec"])
def test_another_loss_stays(name):
    model = registry.create("model", name, {})
    assert model.for_catalogue(10**6) is model
