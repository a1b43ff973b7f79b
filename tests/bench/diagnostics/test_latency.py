"""Requests from stored item vectors: exact lists, the index, catalogues of any size, and the command."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from bench.cli.latency import latency as command
from bench.diagnostics import latency
from bench.runs import run as runs
from bench.runs.rows import RowSpec
from protocols.errors import UserError
from protocols.progress import Quiet


class Dot:
    """User vectors are means of the history's item vectors."""

    def __init__(self, items):
        self.items = torch.from_numpy(items)

    def item_vectors(self):
        return self.items

    def user_vectors(self, users, histories):
        return torch.stack([self.items[torch.from_numpy(history)].mean(dim=0) for history in histories])


@pytest.fixture
def scorer():
    return Dot(np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32))


@pytest.fixture
def wanted():
    rng = np.random.default_rng(1)
    histories = [rng.choice(300, size=5 + k % 9, replace=False) for k in range(30)]
    return latency.requests([f"u{k}" for k in range(30)], histories, count=40, length=8)


def test_requests_have_histories_of_one_length_that_end_with_the_users_own(wanted):
    assert {len(history) for history in wanted.histories} == {8} and len(wanted.users) == 40
    own = np.random.default_rng(1).choice(300, size=5, replace=False)
    at = wanted.users.index("u0")
    assert wanted.histories[at][-5:].tolist() == own.tolist()
    with pytest.raises(UserError, match="history"):
        latency.requests(["u"], [np.zeros(0, np.int64)], 3, 4)


def test_the_exact_list_is_that_of_a_sort_without_what_was_seen(scorer, wanted):
    table = scorer.items.numpy()
    for at in range(5):
        user = scorer.user_vectors(wanted.users[at : at + 1], wanted.histories[at : at + 1])[0]
        found = latency.exact(scorer.items)(user, wanted.histories[at])
        scores = table @ user.numpy()
        scores[wanted.histories[at]] = -np.inf
        assert found.tolist() == np.argsort(-scores)[:10].tolist()


def test_an_index_looked_into_as_a_whole_gives_the_exact_lists(scorer, wanted, tmp_path):
    table = latency.catalogue(scorer.items.numpy(), 900)
    dataset = latency.build_index(table, tmp_path / "index")
    user = scorer.user_vectors(wanted.users[:1], wanted.histories[:1])[0]
    exact = latency.exact(torch.from_numpy(table))(user, wanted.histories[0])
    assert latency.indexed(dataset, 30)(user, wanted.histories[0]).tolist() == exact.tolist()


def test_a_catalogue_of_any_size(scorer):
    vectors = scorer.items.numpy()
    np.testing.assert_array_equal(latency.catalogue(vectors, 40), vectors[:40])
    more = latency.catalogue(vectors, 20_000)
    np.testing.assert_array_equal(more[:300], vectors)
    assert len(np.unique(more, axis=0)) == 20_000
    # the noise adds half of the covariance of what it stands on
    np.testing.assert_allclose(np.cov(more[300:].T), 1.5 * np.cov(vectors.T), atol=0.1)
    np.testing.assert_array_equal(more, latency.catalogue(vectors, 20_000))


def test_rows_tell_what_was_measured(scorer, wanted):
    rows = latency.measure(scorer, wanted, [300, 2000], 0.9, Quiet(), index_from=1000)
    assert [(row.way.split(",")[0], row.items) for row in rows] == [
        ("exact", 300),
        ("exact", 2000),
        ("Lance IVF_FLAT", 2000),
    ]
    assert all(0 < row.p50 <= row.p99 and row.throughput > 0 for row in rows)
    assert rows[0].recall == 1 and rows[2].recall >= 0.85


def test_the_command_serves_a_run_and_refuses_one_without_vectors(tiny_world, tmp_path):
    home = {"cache": tmp_path / "cache", "results": tmp_path / "results"}
    options = {"bpr": {"dim": 8, "max_epochs": 2}, "random": {"dim": 6}, "rolling-7d": {"folds": 1}}
    rows = [RowSpec("bpr", "random", "gate"), RowSpec("pop")]
    runs.run(runs.Request(rows=rows, dataset="tiny", options=options, **home), Quiet())
    where = ["--cache", str(home["cache"]), "--results", str(home["results"])]
    words = ["bpr", "--catalogue", "500", "--requests", "12", "--history", "4", "--json", *where]
    found = CliRunner().invoke(command, words, catch_exceptions=False)
    told = json.loads(found.stdout)
    assert told["run"] == "bpr random gate" and [row["items"] for row in told["rows"]] == [500]
    plain = CliRunner().invoke(command, words[:5] + where, catch_exceptions=False).stdout
    assert "kept weights" in plain and "| exact" in plain
    with pytest.raises(UserError, match="product"):
        CliRunner().invoke(command, ["pop", *where], catch_exceptions=False)
