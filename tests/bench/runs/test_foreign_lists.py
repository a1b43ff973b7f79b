"""Folds that are exported, and lists of other software that come back as a row."""

import json

import numpy as np
import pandas as pd
import pytest

from bench import records
from bench.boards import leaderboard
from bench.runs import fold_export, import_lists
from bench.runs import run as runs
from protocols.errors import UserError
from protocols.progress import Quiet


@pytest.fixture
def request_for(tiny_world, tmp_path):
    def make(rows=(), **more):
        return runs.Request(list(rows), tmp_path / "cache", tmp_path / "results", "tiny", **more)

    return make


@pytest.fixture
def exported(request_for, tmp_path):
    def export(form, **more):
        context, _ = runs.prepare(request_for(**more), Quiet())
        fold_export.export(context, form, tmp_path / form)
        return tmp_path / form

    return export


def popular(folder, fold, counts):
    """Every unseen candidate of every user, by how often it was taken."""
    here = folder / f"fold-{fold}-test"
    histories, candidates = (pd.read_csv(here / f"{what}.csv", dtype=str) for what in ("histories", "candidates"))
    score = candidates["item_id"].map(counts).fillna(0).to_numpy()
    known = score > 0  # `pop` has no score for items without events
    lists = []
    for user, seen in histories.groupby("user_id")["item_id"]:
        free = known & ~candidates["item_id"].isin(seen)
        lists.append(pd.DataFrame({"user_id": user, "item_id": candidates["item_id"][free], "score": score[free]}))
    return pd.concat(lists).assign(fold=fold)


def lists_of(folder):
    folds = {entry["folder"].split("-")[1] for entry in json.loads((folder / "manifest.json").read_text())["folds"]}
    fits = {f: pd.read_csv(folder / f"fold-{f}-test/fit.csv", dtype=str) for f in folds}
    return pd.concat([popular(folder, int(f), fits[f]["item_id"].value_counts()) for f in sorted(folds)])


def results(paths):
    found = {records.read(path).fold: (records.read(path), records.users(path)) for path in paths}
    assert all(record.status == "ok" for record, _ in found.values())
    return found


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_popularity_counted_elsewhere_is_the_row_pop_user_by_user(request_for, exported, tmp_path, ending):
    lists, file = lists_of(exported("csv")), tmp_path / f"lists.{ending}"
    getattr(lists, f"to_{ending}")(file, index=False)
    mine = results(import_lists.import_lists(file, "their-pop", request_for(), Quiet()).paths)
    ours = runs.run(request_for([runs.RowSpec("pop")]), Quiet()).paths
    for fold, (record, users) in results(ours).items():
        pd.testing.assert_frame_equal(mine[fold][1], users)
        assert mine[fold][0].board == record.board
    (board,) = leaderboard.boards(tmp_path / "results")
    assert {row.label for row in board.rows} == {"pop", "imported:their-pop"}
    assert len({row.mean["ndcg@10"] for row in board.rows}) == 1


def test_ranks_count_from_the_best_and_seeds_are_records_of_their_own(request_for, exported, tmp_path):
    lists, file = lists_of(exported("csv")), tmp_path / "lists.csv"
    lists["rank"] = lists.groupby(["fold", "user_id"])["score"].rank(method="dense", ascending=False).astype(int)
    upside_down = lists.assign(rank=1000 - lists["rank"], seed=2)
    pd.concat([lists.assign(seed=1), upside_down]).drop(columns="score").to_csv(file, index=False)
    paths = import_lists.import_lists(file, "two", request_for(), Quiet()).paths
    found = {seed: np.mean([records.read(p).metrics["ndcg@10"] for p in paths if records.read(p).seed == seed])
             for seed in (1, 2)}  # fmt: skip
    assert found[1] > 2 * found[2]
    pop = runs.run(request_for([runs.RowSpec("pop")]), Quiet()).paths
    assert found[1] == pytest.approx(np.mean([records.read(p).metrics["ndcg@10"] for p in pop]))


def spoiled(lists, how):
    first = lists.iloc[0]
    if how == "unknown":
        return lists.replace({"item_id": {first["item_id"]: "no such item"}})
    if how == "missing":
        return lists[lists["user_id"] != first["user_id"]]
    if how == "twice":
        return pd.concat([lists, lists.iloc[[0, 1]]])
    if how == "no fold":
        return lists.drop(columns="fold")
    if how == "other fold":
        return lists.assign(fold=lists["fold"] + 1)
    if how == "no score":
        return lists.drop(columns="score")
    if how == "half":
        return lists.assign(fold=lists["fold"] + 0.5)
    return lists.assign(score=np.where(np.arange(len(lists)) == 2, np.nan, lists["score"]))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("unknown", r"fold 0: no candidates of this fold: \d+ items? \(the first: 'no such item' of user"),
        ("missing", r"fold 0: 1 of \d+ users have no list \(the first: "),
        ("twice", r"fold 0: more than once in a list: 2 items"),
        ("no fold", "no column `fold`, and the protocol has folds 0, 1"),
        ("other fold", r"fold\(s\) 1, 2, 3, 4, and the protocol has folds 0, 1, 2, 3"),
        ("no score", "has columns user_id, item_id, fold"),
        ("half", "fold '0.5' is no number"),
        ("empty", "row 2: score is empty"),
    ],
)
def test_lists_that_cannot_be_compared_are_refused_with_their_number(request_for, exported, tmp_path, how, message):
    file = tmp_path / "lists.parquet"
    spoiled(lists_of(exported("csv")).reset_index(drop=True), how).to_parquet(file, index=False)
    with pytest.raises(UserError, match=message) as caught:
        import_lists.import_lists(file, "x", request_for(), Quiet())
    assert caught.value.remedy or how in ("empty", "half")
    assert not list((tmp_path / "results").rglob("*.json"))


def test_what_a_user_has_seen_is_refused(request_for, exported, tmp_path):
    folder, file = exported("csv"), tmp_path / "lists.csv"
    seen = pd.read_csv(folder / "fold-0-test/histories.csv", dtype=str).iloc[[0]].assign(score=9.0, fold=0)
    pd.concat([lists_of(folder), seen.drop(columns="position")]).to_csv(file, index=False)
    with pytest.raises(UserError, match="their user took them before the border: 1 item "):
        import_lists.import_lists(file, "x", request_for(), Quiet())


@pytest.mark.parametrize("name", ["", "a b", "../up", "x" * 61])
def test_a_name_is_one_word(request_for, tmp_path, name):
    with pytest.raises(UserError, match="--name"):
        import_lists.import_lists(tmp_path / "lists.csv", name, request_for(), Quiet())


def test_files_that_are_none_are_refused(request_for, tmp_path):
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and no more")
    for file in (broken, tmp_path / "absent.csv", tmp_path / "absent.parquet"):
        with pytest.raises(UserError, match=str(file)):
            import_lists.import_lists(file, "x", request_for(), Quiet())


def test_an_export_holds_the_problem_of_every_fold_and_replaces_nothing(request_for, exported):
    folder = exported("csv")
    context, _ = runs.prepare(request_for(), Quiet())
    for fold in context.folds:
        for stage in ("validation", "test"):
            problem, here = (
                context.protocol.problem(context.dataset, fold, stage),
                folder / f"fold-{fold.index}-{stage}",
            )
            fit, histories, targets, candidates = (
                pd.read_csv(here / f"{what}.csv", dtype={"user_id": str, "item_id": str})
                for what in ("fit", "histories", "targets", "candidates")
            )
            assert fit["timestamp"].tolist() == problem.training.timestamp.tolist()
            assert fit["timestamp"].max() < fold.window(stage)[0]
            assert set(candidates["item_id"]) == set(problem.training.items[problem.task.candidates])
            for frame, lists in ((histories, problem.task.histories), (targets, problem.task.targets)):
                by_user = dict(iter(frame.groupby("user_id")["item_id"]))
                for user, items in zip(problem.task.users, lists, strict=True):
                    assert by_user[user].tolist() == problem.training.items[items].tolist()
    with pytest.raises(UserError, match="is there already"):
        fold_export.export(context, "csv", folder)


def test_rectools_gets_its_columns(exported):
    folder = exported("rectools")
    plain = pd.read_csv(exported("csv") / "fold-1-test/fit.csv", dtype={"user_id": str, "item_id": str})
    frame = pd.read_csv(folder / "fold-1-test/fit.csv", dtype={"user_id": str, "item_id": str})
    assert list(frame) == ["user_id", "item_id", "weight", "datetime"]  # rectools.Columns.Interactions
    times = pd.to_datetime(frame["datetime"]).to_numpy("datetime64[ms]").astype(np.int64)
    assert times.tolist() == plain["timestamp"].tolist() and (frame["weight"] == 1).all()


def test_recbole_reads_its_files_and_its_counts_come_back_as_pop(request_for, exported, tmp_path, monkeypatch):
    from recbole.config import Config
    from recbole.data import create_dataset

    from recommenders.recbole import compat

    compat.apply()
    monkeypatch.setattr("sys.argv", ["bench"])
    monkeypatch.chdir(tmp_path)
    one = {"options": {"protocol": {"folds": 1}}}
    folder, lists = exported("recbole", **one), []
    for fold in range(1):
        settings = {
            "data_path": str(folder),
            "benchmark_filename": ["fit", "targets", "targets"],
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        }
        dataset = create_dataset(Config(model="Pop", dataset=f"fold-{fold}-test", config_dict=settings))
        fit, _, _ = dataset.build()
        tokens = dataset.id2token("item_id", fit.inter_feat["item_id"].numpy())
        lists.append(popular(folder, fold, pd.Series(tokens).value_counts()))
        assert (np.diff(fit.inter_feat["timestamp"].numpy()) == 1).all()
    file = tmp_path / "lists.parquet"
    pd.concat(lists).drop(columns="fold").to_parquet(file, index=False)  # of one fold, it need not be said
    mine = results(import_lists.import_lists(file, "recbole-pop", request_for(**one), Quiet()).paths)
    for fold, (_, users) in results(runs.run(request_for([runs.RowSpec("pop")], **one), Quiet()).paths).items():
        pd.testing.assert_frame_equal(mine[fold][1], users)


def test_the_commands_export_and_import(bench, simulate_dataset, tmp_path):
    dataset = simulate_dataset(seed=5)
    dataset.interactions.to_csv(tmp_path / "log.csv", index=False)
    own = [f"interactions={tmp_path / 'log.csv'}", "time_unit=ms", "check_times=false"]
    words = ["--dataset", "csv", *(word for one in own for word in ("--set", f"csv.{one}"))]
    words += ["--cache", tmp_path / "c", "--results", tmp_path / "r"]
    done = bench("data", "export", *words, "-o", tmp_path / "out")
    assert done.exit_code == 0 and "fold-0-validation: " in done.stdout
    lists_of(tmp_path / "out").to_csv(tmp_path / "lists.csv", index=False)
    done = bench("import", tmp_path / "lists.csv", "--name", "theirs", *words, "--json")
    assert done.exit_code == 0
    assert [row["model"] for row in json.loads(done.stdout)["boards"][0]["rows"]] == ["imported:theirs"]
    for command in ("explain", "latency"):
        told = bench(command, "imported:theirs", "--cache", tmp_path / "c", "--results", tmp_path / "r")
        assert told.exit_code == 2 and "imported:theirs was imported" in told.stderr
    assert bench("show", "imported:theirs", "--cache", tmp_path / "c", "--results", tmp_path / "r").exit_code == 0
