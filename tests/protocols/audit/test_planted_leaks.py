"""A leak of each kind, planted into the code that makes problems, features and jobs, and found.

Nothing here touches what the audit is given: the function that a run uses is replaced by one that looks at the future,
and then the run goes on as always.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from bench import records, registry
from bench.diagnostics import leak_audit as audits
from bench.runs import run as runs
from bench.runs import worker
from bench.runs.rows import RowSpec
from protocols import features, indexed_log
from protocols.audit.future_counts import largest_partial_correlation
from protocols.audit.leak_audit import KINDS
from protocols.dataset import DatasetPlugin
from protocols.evaluation import ranking
from protocols.progress import Quiet
from protocols.splitting import presets, problem_builder
from protocols.splitting.rolling import DAY
from recommenders.base import FitResult, Recommender


class Scorer:
    def __init__(self, popularity, vectors, weight):
        self.popularity, self.vectors, self.weight = popularity, vectors, weight

    def score(self, users, histories):
        taste = np.stack([self.vectors[h].mean(axis=0) for h in histories])
        return (taste @ self.vectors.T + self.weight * self.popularity).astype(np.float32)


@dataclass(frozen=True)
class Content(Recommender):
    """Similarity of whitened features to the history, and `epochs` times the log-popularity."""

    name: ClassVar[str] = "content"
    standardise: ClassVar[str] = "whiten"

    def fit(self, request):
        given = request.features
        vectors = (given.values - given.mean) @ given.transform
        scorers = {e: Scorer(self.popularity(request.data), vectors, e / 10) for e in range(6)}
        epochs = request.epochs
        if request.validate is not None:
            epochs = max(scorers, key=lambda e: request.validate(scorers[e]))
        return FitResult(scorers[epochs], epochs=epochs)

    def popularity(self, data):
        return np.log1p(data.counts)


@dataclass(frozen=True)
class Tiny(DatasetPlugin):
    name: ClassVar[str] = "tiny"
    dataset: ClassVar = None

    def load(self, cache, progress):
        return self.dataset


@pytest.fixture
def world(simulate_dataset, monkeypatch, tmp_path):
    """A function that prepares a run on a small log, with options of the protocol: (context, jobs)."""
    own = {("dataset", "tiny"): Tiny, ("model", "content"): Content}
    honest = registry.load
    monkeypatch.setattr(registry, "load", lambda kind, name: own.get((kind, name)) or honest(kind, name))

    def prepare(releases=True, **options):
        monkeypatch.setattr(Tiny, "dataset", simulate_dataset(seed=5, releases=releases))
        request = runs.Request(
            rows=[RowSpec("content", "random", "replace")],
            cache=tmp_path / "cache",
            results=tmp_path / "results",
            dataset="tiny",
            options={"rolling-7d": {"folds": 2, **options}, "random": {"dim": 4}},
        )
        return runs.prepare(request, Quiet())

    return prepare


@pytest.fixture
def patch(monkeypatch):
    """patch(owner, name, leak): replace `owner.name` by `leak(owner.name)`."""
    return lambda owner, name, leak: monkeypatch.setattr(owner, name, leak(getattr(owner, name)))


def fitted_on_the_window(patch):
    patch(presets, "fitted_rows", lambda honest: lambda log, border, **k: honest(log, border + DAY, **k))


def core_of_the_whole_log(patch):
    def leak(honest):
        def core(log, border, **knobs):
            whole = honest(log, int(log.time[-1]) + 1, **knobs)
            return whole[log.time[whole] < border]

        return core

    patch(presets, "fitted_rows", leak)


def counts_of_the_whole_log(patch):
    def leak(honest):
        def build(log, **more):
            problem = honest(log, **more)
            codes = np.searchsorted(log.items, problem.training.items)
            problem.training.__dict__["counts"] = np.bincount(log.item, minlength=len(log.items))[codes]
            return problem

        return build

    patch(presets, "build_problem", leak)


def items_of_the_whole_log(patch):
    def leak(honest):
        return lambda log, rows: honest(log, slice(None) if isinstance(rows, slice) else rows)

    patch(problem_builder, "item_flags", leak)


def mean_and_scale_of_all_items(patch):
    patch(features.Features, "align", lambda honest: lambda self, items, warm: honest(self, items, warm | True))


def whitening_of_all_items(patch):
    patch(features.ItemFeatures, "standardised", lambda honest: lambda self, how, warm: honest(self, how, warm | True))


def mean_of_all_items_for_absent_ones(patch):
    def leak(honest):
        def align(self, items, warm):
            self.status[::7] = "missing"
            found = honest(self, items, warm)
            found.values[~found.present] = found.values[found.present].mean(axis=0)
            return found

        return align

    patch(features.Features, "align", leak)


def histories_into_the_window(patch):
    patch(indexed_log.IndexedLog, "spans_of", lambda honest: lambda self, users, limit: honest(self, users, limit + 30))


def validation_on_the_test_window(patch):
    def leak(honest):
        return lambda *a, **k: [b._replace(validation_end=b.end) for b in honest(*a, **k)]

    patch(presets, "rolling_borders", leak)


def epochs_of_the_latest_fold(patch):
    patch(runs, "search_fold", lambda honest: lambda protocol, folds, fold: folds[-1])


def early_stopping_fits_on_the_validation_window(patch):
    def leak(honest):
        def fitted(log, border, **k):
            rows = honest(log, border, **k)
            return np.append(rows, rows[-1] + 1)

        return fitted

    patch(presets, "fitted_rows", leak)


def candidates_released_later(patch):
    patch(
        problem_builder,
        "candidate_flags",
        lambda honest: lambda log, policy, warm, end: honest(log, policy, warm, end + DAY),
    )


def candidates_first_seen_in_the_window(patch):
    def leak(honest):
        def seen(log, policy, warm, end):
            flags = honest(log, policy, warm, end)
            flags[log.item[log.time < end]] = True
            return flags

        return seen

    patch(problem_builder, "candidate_flags", leak)


def releases_from_first_events_of_the_whole_log(patch):
    def leak(honest):
        def release(log, codes, item, timestamp, border):
            first = np.full(len(log.items), np.iinfo(np.int64).max)
            np.minimum.at(first, log.item, log.time)
            return np.minimum(honest(log, codes, item, timestamp, border), first[codes])

        return release

    patch(problem_builder, "_release", leak)


PLANTS = [
    ("parameters", fitted_on_the_window, {}),
    ("k-core", core_of_the_whole_log, {"k_core": 8}),
    ("popularity", counts_of_the_whole_log, {}),
    ("id maps", items_of_the_whole_log, {"candidates": "warm"}),
    ("feature statistics", mean_and_scale_of_all_items, {}),
    ("feature statistics", whitening_of_all_items, {}),
    ("feature statistics", mean_of_all_items_for_absent_ones, {}),
    ("histories", histories_into_the_window, {}),
    ("early stopping", validation_on_the_test_window, {}),
    ("early stopping", epochs_of_the_latest_fold, {}),
    ("early stopping", early_stopping_fits_on_the_validation_window, {}),
    ("candidate set", candidates_released_later, {"candidates": "released"}),
    ("candidate set", candidates_first_seen_in_the_window, {"candidates": "warm"}),
    ("candidate set", releases_from_first_events_of_the_whole_log, {"releases": False, "train_window": "9d"}),
]


@pytest.mark.parametrize("options", [{}, {"k_core": 8}, {"candidates": "warm"}, {"train_window": "9d"}])
def test_without_a_leak_every_verdict_is_good_and_every_record_too(world, options):
    context, jobs = world(**options)
    for job, found in zip(jobs, audits.folds(context, jobs, True, Quiet()), strict=True):
        assert [v["check"] for v in found.verdicts] == [*KINDS, "targets", "future counts", audits.BLACK_BOX]
        assert not found.failed
        record = records.read(worker.compute(context, job))
        assert record.status == "ok", record.error
        assert {v["check"] for v in record.audit} == {*KINDS, "targets", "future counts", "ranker"}


@pytest.mark.parametrize(("kind", "plant", "options"), PLANTS, ids=[plant.__name__ for _, plant, _ in PLANTS])
def test_a_planted_leak_is_found_and_no_result_recorded(world, patch, kind, plant, options):
    plant(patch)
    context, jobs = world(**options)
    found = audits.folds(context, jobs, False, Quiet())
    failed = [verdict["check"] for fold in found for verdict in fold.failed]
    assert kind in failed
    record = records.read(worker.compute(context, jobs[0]))
    assert record.status == "failed"
    assert "leak audit, fold" in record.error
    assert not record.metrics


def test_every_kind_of_leak_was_planted():
    assert {kind for kind, _, _ in PLANTS} == set(KINDS)


@pytest.fixture
def posed(patch):
    """The datasets that problems were made from, the latest last: what a model could get hold of behind our back."""
    found = []
    patch(presets.Rolling, "problem", lambda honest: lambda self, d, f, s: found.append(d) or honest(self, d, f, s))
    return found


def log_popularity_of_the_whole_log(patch, posed):
    """The declared counts are right; the model takes others."""

    def leak(honest):
        def popularity(self, data):
            taken = posed[-1].interactions["item_id"].value_counts()
            return np.log1p(taken.reindex(data.items, fill_value=0).to_numpy())

        return popularity

    patch(Content, "popularity", leak)


def epochs_chosen_on_the_test_window(patch, posed):
    """The declared windows are right; the number of epochs is judged by the targets of the test window."""

    def leak(honest):
        def choose(context, job, problem, request):
            test = context.protocol.problem(posed[-1], context.folds[job.fold], "test")
            judge = ranking.Ranker(test, worker.TIE_SEED).ndcg if len(test.task.users) else lambda scorer: 0.0
            request = replace(context.fit_request(job, test, context.aligned(job, test)), checkpoint=request.checkpoint)
            return job.model.fit(replace(request, validate=judge))

        return choose

    patch(worker, "choose_epochs", leak)


@pytest.mark.parametrize("plant", [log_popularity_of_the_whole_log, epochs_chosen_on_the_test_window])
def test_what_no_declared_check_can_see_is_found_by_the_black_box(world, patch, posed, plant):
    plant(patch, posed)
    context, jobs = world()
    found = audits.folds(context, jobs, True, Quiet())
    failed = [verdict for fold in found for verdict in fold.failed]
    assert {v["check"] for v in failed} == {audits.BLACK_BOX}
    assert "changed future 0: the score of item" in failed[0]["detail"]


def a_target_in_the_history(patch):
    """The problem's histories are right; the ranker adds a target on the way to the model."""

    def leak(honest):
        def init(self, problem, *args, **more):
            honest(self, problem, *args, **more)
            pairs = zip(problem.task.histories, problem.task.targets, strict=True)
            shown = [np.append(history, targets[:1]) for history, targets in pairs]
            self.problem = replace(problem, task=replace(problem.task, histories=shown))

        return init

    patch(ranking.Ranker, "__init__", leak)


def candidates_cut_to_items_of_the_test(patch):
    def leak(honest):
        def init(self, problem, *args, **more):
            honest(self, problem, *args, **more)
            self._out = np.setdiff1d(np.arange(len(problem.training.items)), self.target)

        return init

    patch(ranking.Ranker, "__init__", leak)


def ties_by_popularity_in_the_test(patch):
    def leak(honest):
        def init(self, problem, *args, **more):
            honest(self, problem, *args, **more)
            counts = np.bincount(self.target[self.target >= 0], minlength=len(self.order))
            self.order = np.argsort(np.lexsort((self.order, -counts)))

        return init

    patch(ranking.Ranker, "__init__", leak)


RANKER_PLANTS = [
    (a_target_in_the_history, "the history of user"),
    (candidates_cut_to_items_of_the_test, "the list of user"),
    (ties_by_popularity_in_the_test, "the order of ties of user"),
]


@pytest.mark.parametrize(("plant", "told"), RANKER_PLANTS, ids=[plant.__name__ for plant, _ in RANKER_PLANTS])
def test_a_leak_in_the_ranker_is_found_by_the_black_box(world, patch, plant, told):
    plant(patch)
    context, jobs = world()
    found = audits.folds(context, jobs, True, Quiet())
    failed = [verdict for fold in found for verdict in fold.failed]
    assert {v["check"] for v in failed} == {audits.BLACK_BOX}
    assert told in failed[0]["detail"]


class LevelScorer:
    """All items alike, so that ties decide everything."""

    def __init__(self, n_items):
        self.n_items = n_items

    def score(self, users, histories):
        return np.zeros((len(users), self.n_items), np.float32)


@pytest.mark.parametrize("plant", [plant for plant, _ in RANKER_PLANTS], ids=lambda plant: plant.__name__)
def test_a_leak_in_the_ranker_ends_every_job(world, patch, plant):
    plant(patch)
    if plant is ties_by_popularity_in_the_test:
        patch(Content, "fit", lambda honest: lambda self, request: FitResult(LevelScorer(len(request.data.items))))
    context, jobs = world()
    record = records.read(worker.compute(context, jobs[0]))
    assert record.status == "failed" and not record.metrics
    assert "leak audit: ranker: " in record.error


def test_code_that_reads_the_dataset_beside_the_problem_is_found(world, patch):
    """It holds the dataset of the run, and counts the whole log in every world."""
    context, jobs = world()

    def leak(honest):
        def popularity(self, data):
            taken = context.dataset.interactions["item_id"].value_counts()
            return np.log1p(taken.reindex(data.items, fill_value=0).to_numpy())

        return popularity

    patch(Content, "popularity", leak)
    (failed, *_) = [verdict for fold in audits.folds(context, jobs, True, Quiet()) for verdict in fold.failed]
    assert failed["check"] == audits.BLACK_BOX
    assert "read the log of the dataset" in failed["detail"]
    assert len(context.dataset.interactions)  # and it is given back


def future_count(dataset, fold):
    log = dataset.interactions
    inside = log[(log["timestamp"] >= fold.border) & (log["timestamp"] < fold.end)]
    return inside["item_id"].value_counts().reindex(dataset.items.index, fill_value=0)


def test_a_title_that_holds_the_future_count_is_a_warning(world):
    context, jobs = world()
    honest = Tiny.dataset
    counts = future_count(honest, context.folds[1])
    assert not any(v.get("warning") for fold in audits.folds(context, jobs, False, Quiet()) for v in fold.verdicts)
    titled = honest.items.assign(title=[f"clip 7, {n} likes" for n in counts])
    context = replace(context, dataset=replace(honest, items=titled))
    found = audits.folds(context, jobs, False, Quiet())
    assert "WARNING" in audits.tables(found)
    (warned,) = [v for v in found[1].verdicts if v.get("warning")]
    assert warned["ok"] and "numbers in titles: rank correlation" in warned["detail"]
    record = records.read(worker.compute(context, jobs[1]))
    assert [v["check"] for v in record.audit if v.get("warning")] == ["future counts"]


def test_features_that_hold_the_future_count_are_a_warning():
    rng = np.random.default_rng(0)
    past = rng.integers(0, 40, 300)
    future = np.maximum(0, past + rng.integers(-15, 16, 300))
    honest = np.stack([past + rng.normal(0, 1, 300), rng.normal(size=300)], axis=1)
    assert largest_partial_correlation(honest, past, future)[0] < 0.2  # popular before, and nothing more
    told = np.column_stack([honest, np.log1p(future) + rng.normal(0, 0.1, 300)])
    r, column, suspicious = largest_partial_correlation(told, past, future)
    assert r > 0.8 and column == 2 and suspicious
