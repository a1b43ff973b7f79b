"""Tuning: one space and budget for every row, resumable, judged before every test window, told in the records."""

import json
import threading
from dataclasses import replace

import pytest
import yaml
from click.testing import CliRunner
from filelock import FileLock

from bench import records
from bench.cli.grid import grid as grid_command
from bench.cli.tune import tune as command
from bench.runs import run as runs
from bench.runs import tune, worker
from bench.runs.rows import RowSpec
from protocols.errors import BenchError, DataError, UserError
from protocols.evaluation import ranking
from protocols.progress import Quiet
from recommenders.base import Range
from recommenders.bpr import BPR

OPTIONS = {"bpr": {"dim": 8, "max_epochs": 3}, "random": {"dim": 6}, "rolling-7d": {"folds": 2}}
SPACES = {"bpr": {"lr": [0.001, 0.1, "log"]}}


@pytest.fixture
def prepare(tiny_world, tmp_path):
    """A function from a budget and a results folder to what tuning needs."""

    rows = [RowSpec("bpr", "random", "gate"), RowSpec("bpr", "id", "id")]

    def made(budget, folder="results"):
        request = runs.Request(
            rows=rows, cache=tmp_path / "cache", results=tmp_path / folder, dataset="tiny", options=OPTIONS
        )
        context, jobs = runs.prepare(request, Quiet())
        return context, tune.tasks(request, context, jobs, budget, SPACES)

    return made


def test_every_row_gets_the_same_space_and_draws_and_its_own_options_first(prepare):
    context, tasks = prepare(tune.Budget(5))
    assert [task.space for task in tasks] == [tasks[0].space] * 2
    assert tasks[0].space["lr"] == Range(0.001, 0.1, log=True) and set(tasks[0].space) >= {"weight_decay", "init_std"}
    one, two = (tune.tune(context, task) for task in tasks)
    # until the sampler looks at what the trials gave
    assert [t["options"] for t in one["trials"][:2]] == [t["options"] for t in two["trials"][:2]]
    plain = tasks[0].job.model.options()
    assert one["trials"][0]["options"] == {name: plain[name] for name in tasks[0].space}
    assert one["budget"] == two["budget"] and len(one["trials"]) == len(two["trials"]) == 5
    best = max(one["trials"], key=lambda t: t["value"])
    assert one["options"] == best["options"] and one["value"] == best["value"]


def test_a_trial_is_a_fit_judged_on_the_validation_window_of_the_first_fold(prepare):
    context, (task, _) = prepare(tune.Budget(2))
    trial = tune.tune(context, task)["trials"][1]
    problem = context.protocol.problem(context.dataset, context.folds[0], "validation")
    job = replace(task.job, model=replace(task.job.model, **trial["options"]))
    request = context.fit_request(job, problem, context.aligned(job, problem))
    fitted = worker.choose_epochs(context, job, problem, request)
    assert trial["epochs"] == fitted.epochs
    assert trial["value"] == max(note["ndcg@10"] for note in fitted.curve)


def test_stopped_after_any_trial_it_goes_on_to_the_same_trials(prepare, monkeypatch):
    context, (task, _) = prepare(tune.Budget(7), "whole")
    whole = tune.tune(context, task)
    _, (again, _) = prepare(tune.Budget(7), "parts")
    honest, fits = BPR.fit, []

    def stopped(*args, **more):
        fits.append(1)
        if len(fits) == 5:
            raise KeyboardInterrupt
        return honest(*args, **more)

    monkeypatch.setattr(BPR, "fit", stopped)
    with pytest.raises(KeyboardInterrupt):
        tune.tune(context, again)
    assert tune.tune(context, again)["trials"] == whole["trials"]
    assert len(fits) == 8  # four before, the one that was stopped, and three more
    assert tune.tune(context, again) == whole and len(fits) == 8


def test_a_failed_trial_is_a_row_with_its_reason(prepare, monkeypatch):
    context, (task, _) = prepare(tune.Budget(3))
    honest, fits = BPR.fit, []

    def failing(*args, **more):
        fits.append(1)
        if len(fits) == 2:
            raise BenchError("training diverged: the loss is nan")
        return honest(*args, **more)

    monkeypatch.setattr(BPR, "fit", failing)
    report = tune.tune(context, task)
    assert [t["value"] is None for t in report["trials"]] == [False, True, False]
    assert "diverged" in report["trials"][1]["error"] and report["value"] is not None


def test_a_second_process_waits_until_the_first_has_tuned_the_row(prepare):
    context, (_, task) = prepare(tune.Budget(1))
    task.path.parent.mkdir(parents=True)
    done = []
    second = threading.Thread(target=lambda: done.append(tune.tune(context, task)))
    with FileLock(f"{task.path}.held"):  # as a process does that is tuning this row
        second.start()
        second.join(1)
        assert second.is_alive()
        assert not task.path.exists()
    second.join(60)
    assert len(done[0]["trials"]) == 1


@pytest.mark.parametrize(
    "lines",
    [
        b"no JSON\n{}\n",
        b"[1]\n",
        b'{"op_code": 99}\n',
        b'{"op_code": 0, "worker_id": 1}\n',
        b"\xff\xfe\n\n",
        b"null\n1\n",
    ],
)
def test_a_journal_that_cannot_be_read_is_named(prepare, lines):
    context, (task, _) = prepare(tune.Budget(1))
    task.path.parent.mkdir(parents=True)
    task.path.write_bytes(lines)
    with pytest.raises(DataError, match=f"{task.path.name}, the trials of bpr random gate, cannot be read") as raised:
        tune.tune(context, task)
    assert "delete it" in raised.value.remedy
    assert task.path.read_bytes() == lines


def test_halving_ends_trials_early_that_are_behind_but_none_before_epoch_8(prepare, monkeypatch):
    context, (task, _) = prepare(tune.Budget(8, halving=True))
    task = replace(task, job=replace(task.job, model=replace(task.job.model, max_epochs=20)))
    order = iter(range(100))
    values = {}

    class Ranker:
        def __init__(self, *_):
            pass

        def ndcg(self, scorer):
            trial = values.setdefault(id(scorer.encoder) if hasattr(scorer, "encoder") else len(values), next(order))
            return 0.5 - 0.01 * trial  # later trials are worse

    monkeypatch.setattr(ranking, "Ranker", Ranker)
    report = tune.tune(context, task)
    assert any(t["pruned"] for t in report["trials"]) and not report["trials"][0]["pruned"]
    assert all(t["value"] is None and t["best_seen"] is not None for t in report["trials"] if t["pruned"])
    assert all(t["seen_epochs"] >= 8 for t in report["trials"])


@pytest.mark.parametrize("name", ["recent-pop", "itemknn", "ease", "puresvd"])
def test_a_model_without_epochs_is_judged_by_its_fit(tiny_world, tmp_path, name):
    request = runs.Request(
        rows=[RowSpec(name)], cache=tmp_path / "cache", results=tmp_path / "results", dataset="tiny", options=OPTIONS
    )
    context, jobs = runs.prepare(request, Quiet())
    (task,) = tune.tasks(request, context, jobs, tune.Budget(4), {})
    report = tune.tune(context, task)
    assert len(report["trials"]) == 4 and not any(t["error"] for t in report["trials"])
    plain = task.job.model.options()
    assert report["trials"][0]["options"] == {name: plain[name] for name in task.space}
    problem = context.protocol.problem(context.dataset, context.folds[0], "validation")
    for trial in report["trials"]:
        assert all(type(value) is type(plain[name]) for name, value in trial["options"].items())
        model = replace(task.job.model, **trial["options"])
        scorer = model.fit(context.fit_request(task.job, problem, None)).scorer
        assert trial["value"] == ranking.Ranker(problem, worker.TIE_SEED).ndcg(scorer)


def test_a_row_with_its_optimum_at_an_edge_goes_on_beyond_it(prepare, monkeypatch):
    context, (task, _) = prepare(tune.Budget(4))
    task = replace(task, space={"lr": Range(1e-4, 2e-3, log=True)})  # far below the best
    report = tune.tune(context, task)
    assert report["edges"] == ["lr"]
    wider = tune.widened(task, report)
    assert wider.space["lr"].low == 1e-4 and wider.space["lr"].high == pytest.approx(2e-3 * 20**0.5)
    more = tune.tune(context, wider)
    assert more["trials"][0]["options"] == report["options"] and len(more["trials"]) == 2
    both = tune.joined(report, more)
    assert len(both["trials"]) == 4 + 1 and both["value"] == max(report["value"], more["value"])


def test_the_best_trials_on_a_sample_are_judged_again_on_all_users(tiny_world, tmp_path, monkeypatch):
    monkeypatch.setattr(tune, "execute", lambda context, found, *more: [tune.tune(context, task) for task in found])
    request = runs.Request(
        rows=[RowSpec("bpr", "id", "id")],
        cache=tmp_path / "cache",
        results=tmp_path / "results",
        dataset="tiny",
        options=OPTIONS,
        users=30,
    )
    (report,) = tune.search(request, tune.Budget(5), SPACES, Quiet()).values()
    best = sorted(report["trials"], key=lambda t: -t["value"])[:3]
    assert [t["options"] for t in report["finals"]] == [t["options"] for t in best]
    assert [t["value"] for t in report["finals"]] != [t["value"] for t in best]
    assert report["value"] == max(t["value"] for t in report["finals"])
    assert {t["options"]["lr"]: t["value"] for t in report["finals"]}[report["options"]["lr"]] == report["value"]


def test_a_range_is_widened_at_one_end_and_a_share_stays_one():
    assert Range(0.01, 1, log=True).widened(0.011, 0.05) == Range(pytest.approx(0.001), 1, log=True)
    assert Range(0.0, 0.6).widened(0.0, 0.05) == Range(0.0, 0.6)
    assert Range(0.0, 0.6).widened(0.59, 0.05) == Range(0.0, pytest.approx(0.9))


def test_an_optimum_at_the_edge_is_flagged():
    assert Range(0.001, 0.1, log=True).at_edge(0.0011, tune.EDGE)
    assert not Range(0.001, 0.1, log=True).at_edge(0.01, tune.EDGE)
    assert Range(0.0, 0.6).at_edge(0.6, tune.EDGE) and Range(0.0, 0.6).at_edge(0.01, tune.EDGE)
    assert Range(0.1, 0.6).clipped(0) == 0.1 and Range(0.1, 0.6).clipped(2) == 0.6


@pytest.mark.parametrize("words", [[1], [2, 1], [0, 1, "log"], ["a", 1], [0, 1, "ln"], 3])
def test_a_range_without_sense_is_refused(words):
    with pytest.raises(UserError, match=r"sasrec\.lr"):
        Range.parse("sasrec.lr", words)


def test_from_the_command_line_to_records_that_tell_their_trials(tiny_world, tmp_path):
    file = tmp_path / "grid.yaml"
    content = {"dataset": "tiny", "seeds": 1, "set": OPTIONS, "space": SPACES, "budget": {"trials": 9, "users": 40}}
    content["grid"] = {"models": ["pop", "bpr"], "extractors": ["id", "random"], "fusions": ["gate"]}
    file.write_text(yaml.safe_dump(content))
    where = ["--cache", str(tmp_path / "cache"), "--results", str(tmp_path / "results"), "--jobs", "1"]
    runner = CliRunner()
    # the plug-in lives in this process alone: no worker processes here
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tune, "execute", lambda context, found, *more: [tune.tune(context, task) for task in found])
        told = runner.invoke(command, [str(file), "--trials", "2", *where], catch_exceptions=False)
    assert told.exit_code == 0 and "bpr random gate" in told.output
    tuned = yaml.safe_load((tmp_path / "grid-tuned.yaml").read_text())
    assert [row["model"] for row in tuned["rows"]] == ["pop", "bpr", "bpr"]
    assert tuned["rows"][1]["tuning"]["budget"] == {"trials": 2, "halving": False, "seed": 1, "users": 40}
    planned = runner.invoke(grid_command, [str(tmp_path / "grid-tuned.yaml"), "--json", *where], catch_exceptions=False)
    assert planned.exit_code == 0
    for path in records.find(tmp_path / "results"):
        record = records.read(path)
        if record.cell["model"] != "bpr":
            assert record.tuning == {}
            continue
        row = tuned["rows"][1 if record.cell["extractor"] == "id" else 2]
        assert json.loads(json.dumps(record.tuning)) == row["tuning"]
        assert record.cell["options"]["model"]["lr"] == row["options"]["lr"]
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(yaml.safe_dump({**content, "space": {"bpr": {"speed": [0, 1]}}}))
    with pytest.raises(UserError, match="speed"):
        runner.invoke(command, [str(wrong), *where], catch_exceptions=False)
    for budget, message in (
        ({"trails": 2}, "trails"),
        ({"users": 0}, "users: 0"),
        ({"trials": "many"}, "trials"),
        (3, "budget"),
    ):
        wrong.write_text(yaml.safe_dump({**content, "budget": budget}))
        with pytest.raises(UserError, match=message):
            runner.invoke(command, [str(wrong), *where], catch_exceptions=False)


@pytest.mark.slow
def test_processes_tell_every_trial_and_go_on_where_they_were(tmp_path, spoken):
    options = {**OPTIONS, "demo": {"clips": 40, "users": 60, "interactions": 900}}
    rows = [RowSpec("bpr", "random", "gate"), RowSpec("bpr", "id", "id")]
    request = runs.Request(rows=rows, cache=tmp_path / "cache", results=tmp_path / "results", options=options)
    context, jobs = runs.prepare(request, Quiet())
    tune.execute(context, tune.tasks(request, context, jobs, tune.Budget(2), SPACES), 2, spoken)
    assert spoken.tasks == [("tune", 4)]
    assert spoken.steps == 4
    assert set(spoken.notes) == {"bpr random gate", "bpr id id"}
    assert sorted(line.split()[1] for line in spoken.lines) == ["id", "random"]
    reports = tune.execute(context, tune.tasks(request, context, jobs, tune.Budget(3), SPACES), 1, spoken)
    assert spoken.tasks[1:] == [("tune", 6)]
    assert spoken.steps == 4 + 6
    assert [len(report["trials"]) for report in reports] == [3, 3]
