"""The term of a score by age: rates that it starts from, gradients, and the mean over a window."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from protocols.ranking_problem import TrainingData
from recommenders.base import FitRequest
from recommenders.bpr import BPR
from recommenders.sasrec import SASRec
from recommenders.training import losses
from recommenders.training.age import EDGES, AgeTerm, log_rates

DAY = 86_400_000
LIFE = 3 * DAY  # what is younger is taken ten times as often


@pytest.fixture(scope="module")
def data():
    """A log in which nothing but the age of an item counts; the newest ten items are cold."""
    rng = np.random.default_rng(0)
    n_items, n_users, border = 210, 300, 60 * DAY
    release = np.sort(rng.integers(0, border, n_items - 10))
    release = np.concatenate([release, rng.integers(border - DAY, border + 2 * DAY, 10)])
    time = np.sort(rng.integers(5 * DAY, border - DAY, 6000))
    user, item = rng.integers(0, n_users, len(time)), np.empty(len(time), dtype=np.int64)
    for at, moment in enumerate(time):
        age = moment - release[:-10]
        weight = np.where(age < 0, 0.0, np.where(age < LIFE, 10.0, 1.0))
        item[at] = rng.choice(n_items - 10, p=weight / weight.sum())
    taken = np.flatnonzero(np.bincount(item, minlength=n_items - 10))
    place = np.full(n_items, -1)
    place[taken] = np.arange(len(taken))
    rest = np.setdiff1d(np.arange(n_items), taken)
    place[rest] = len(taken) + np.arange(len(rest))
    order = np.argsort(place)
    return TrainingData(
        items=np.array([f"i{i:03d}" for i in order]),
        n_warm=len(taken),
        users=np.array([f"u{u:03d}" for u in range(n_users)]),
        user=user,
        item=place[item],
        timestamp=time,
        border=border,
        release=release[order],
        end=border + 7 * DAY,
        dated=True,
    )


def test_rates_are_those_of_the_log(data):
    rates = log_rates(data)
    young, old = rates[:-1][EDGES <= LIFE].mean(), rates[8:-4].mean()
    assert young - old == pytest.approx(np.log(10), abs=0.3)
    assert rates[-1] == 0  # nothing is as old as that


@pytest.mark.parametrize("kind", ["softmax", "in-batch", "sampled", "bce"])
def test_losses_with_ages_have_the_gradients_of_autograd(data, kind):
    torch.manual_seed(0)
    releases = torch.from_numpy(np.sort(data.release[: data.n_warm]))
    time = torch.from_numpy(data.timestamp[-200:])
    released = torch.searchsorted(releases, time, right=True)
    target = (torch.rand(200) * released).long()
    hidden, table = torch.randn(200, 8), torch.randn(data.n_warm, 8)
    own = AgeTerm(data)
    every = own.values.detach()[torch.bucketize((time[:, None] - releases).clamp(min=0), own.edges, right=True)]
    sequence, member = torch.arange(200) % 7, torch.rand(7, data.n_warm) < 0.1
    results = []
    for ours in (True, False):
        h, w, v = (x.detach().clone().requires_grad_() for x in (hidden, table, own.values))
        terms = v[torch.bucketize((time[:, None] - releases).clamp(min=0), own.edges, right=True)]
        torch.testing.assert_close(terms.detach(), every)
        ages = losses.Ages(v.flip(0), own.cuts(releases, time))
        logits = h @ w.T + terms
        torch.manual_seed(3)
        if kind == "softmax":
            hidden_ones = torch.arange(data.n_warm) >= released[:, None]
            loss = (
                losses.full_softmax(h, w, target, released, ages)
                if ours
                else F.cross_entropy(logits.masked_fill(hidden_ones, -torch.inf), target)
            )
        elif kind == "in-batch":
            items = target.unique()
            out = (member[sequence] | (torch.arange(data.n_warm) >= released[:, None])).scatter(
                1, target[:, None], False
            )
            count = torch.bincount(target, minlength=data.n_warm).log()
            columns = (logits + count).scatter_add(1, target[:, None], -count[target][:, None])
            loss = (
                losses.in_batch_softmax(h, w, target, released, sequence, member, None, ages)
                if ours
                else F.cross_entropy(columns.masked_fill(out, -torch.inf)[:, items], torch.searchsorted(items, target))
            )
        elif kind == "sampled":
            drawn = (torch.rand(20) * released.max()).long()
            out = (drawn >= released[:, None]) | (drawn == target[:, None])
            kept = torch.cat([logits.gather(1, target[:, None]), logits[:, drawn].masked_fill(out, -torch.inf)], dim=1)
            torch.manual_seed(3)
            loss = (
                losses.sampled_softmax(h, w, target, released, 20, ages)
                if ours
                else F.cross_entropy(kept, torch.zeros_like(target))
            )
        else:
            drawn = (torch.rand(200) * released).long()
            taken, other = (logits.gather(1, one[:, None])[:, 0] for one in (target, drawn))
            torch.manual_seed(3)
            loss = (
                losses.binary_cross_entropy(h, w, target, released, ages)
                if ours
                else -(F.logsigmoid(taken) + F.logsigmoid(-other)).mean()
            )
        (2 * loss).backward()
        results.append((loss, h.grad, w.grad, v.grad))
    for mine, reference in zip(*results, strict=True):
        torch.testing.assert_close(mine, reference)


def test_the_term_of_a_window_is_its_mean(data):
    term = AgeTerm(data)
    found = term.window().numpy()
    moments = np.linspace(data.border, data.end, 5001)[:-1]
    for item in range(len(data.items)):
        age = moments - data.release[item]
        rate = np.exp(term.values.detach().numpy()[np.searchsorted(EDGES, age, side="right")])
        expected = np.log(np.mean(np.where(age >= 0, rate, 0.0)))
        assert found[item] == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("model", [BPR, SASRec])
def test_young_items_rank_first_where_age_is_all_that_counts(model, data):
    request = FitRequest(data, seed=1, epochs=3)
    users, histories = list(data.users[:50]), data.sequences[:50]
    aged, plain = (model(freshness=how).fit(request).scorer.score(users, histories) for how in ("age", "none"))
    # the last day of the log is not fitted on: the youngest warm items are a day old at the border
    young = np.flatnonzero(data.border - data.release[: data.n_warm] < LIFE)
    assert len(young) > 4
    share = [np.mean(np.isin(s[:, : data.n_warm].argsort(axis=1)[:, -len(young) :], young)) for s in (aged, plain)]
    assert share[0] > share[1] + 0.2


@pytest.mark.parametrize("model", [BPR, SASRec])
def test_ids_alone_score_cold_items_by_their_age(model, data):
    users, histories = list(data.users[:50]), data.sequences[:50]
    aged, plain = (model(freshness=how).fit(FitRequest(data, seed=1, epochs=2)).scorer for how in ("age", "none"))
    cold = aged.score(users, histories)[:, data.n_warm :]
    assert np.isfinite(cold).all()
    expected = aged.ages.numpy()[data.n_warm :]  # all have the same id vector: they differ by age alone
    np.testing.assert_allclose(cold - cold[:, :1], np.tile(expected - expected[0], (50, 1)), atol=1e-5)
    assert (plain.score(users, histories)[:, data.n_warm :] == -np.inf).all()


def test_without_release_times_or_with_later_negatives_there_is_no_term(data):
    assert not BPR().knows_ages(replace(data, dated=False))
    assert not BPR(negatives="warm").knows_ages(data)
    assert not BPR(freshness="none").knows_ages(data)
    assert BPR().knows_ages(data)
