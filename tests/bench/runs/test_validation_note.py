"""A validation window that leaves too little is told by the run, the record, the board and `bench data check`."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from bench import records, registry, tables
from bench.boards import leaderboard
from bench.runs import run as runs
from bench.runs import worker
from bench.runs.rows import RowSpec
from protocols.dataset import Dataset, DatasetPlugin
from protocols.splitting.rolling import DAY


def fortnight():
    rng = np.random.default_rng(0)
    users, items, times = rng.integers(0, 60, 1200), rng.integers(0, 30, 1200), rng.integers(0, 15 * DAY, 1200)
    log = pd.DataFrame({"user_id": [f"u{u}" for u in users], "item_id": [f"i{i}" for i in items], "timestamp": times})
    return Dataset.build("short", "1", log, pd.DataFrame(index=[f"i{i}" for i in range(30)]))


@dataclass(frozen=True)
class Short(DatasetPlugin):
    name: ClassVar[str] = "short"

    def load(self, cache, progress):
        return fortnight()


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    honest = registry.load
    monkeypatch.setattr(registry, "load", lambda kind, name: Short if name == "short" else honest(kind, name))


@pytest.mark.parametrize(
    ("knobs", "told"), [({}, "too short for a validation window of 7d"), ({"validation_window": "6d"}, "window of 6d")]
)
def test_run_record_and_board_say_it(tmp_path, spoken, knobs, told):
    request = runs.Request(
        [RowSpec("pop")],
        tmp_path / "cache",
        tmp_path / "results",
        "short",
        options={"rolling-7d": {"folds": 1, **knobs}},
    )
    context, (job,) = runs.prepare(request, spoken)
    assert any(told in line for line in spoken.lines)
    path = worker.compute(context, job)
    assert told in records.read(path).fold_info["validation_note"]
    assert f"VALIDATION, fold 0: {context.folds[0].info['validation_note']}." in tables.render(
        leaderboard.build([path]), "md"
    )


def test_data_check_says_it(bench, tmp_path):
    done = bench("data", "check", "short", "--cache", tmp_path)
    assert "rolling-7d: the log is too short" in done.output  # four windows of seven days
