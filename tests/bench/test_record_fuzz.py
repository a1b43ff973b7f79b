"""Mutated records: every reading command names the file and goes on, or reads it; none ends with a traceback."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from bench import board_files, records, registry
from bench.boards import leaderboard
from bench.tables import View, render
from protocols.errors import UserError

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**30, -(10**30), 2**53 + 1])
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["", "..", "\ud800", "\x1b[31m", "ok", "failed", "-", "id", "nan"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(value, path=()):
    """All paths to values inside a JSON value."""
    found = [path] if path else []
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            found += places(value[key], (*path, key))
    return found


def mutate(content, draw):
    """Replace, remove or add a value somewhere."""
    *above, last = draw(st.sampled_from(places(content)))
    inside = content
    for key in above:
        inside = inside[key]
    what = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
    if what == "replace":
        inside[last] = draw(VALUES)
    elif what == "remove":
        del inside[last]
    elif isinstance(inside, dict):
        inside[draw(st.text(max_size=5))] = draw(VALUES)
    else:
        inside.insert(last, draw(VALUES))


@pytest.fixture
def board(write_cell, tmp_path, tiny_world, monkeypatch):
    """A small board whose records hold all that real ones do; the file to mutate, and its content."""
    committed = sorted((Path(__file__).parents[2] / "results" / "boards").rglob(board_files.RECORDS))
    whole = json.loads(committed[0].read_text(encoding="utf-8").partition("\n")[0])
    parts = ("audit", "dataset", "features", "training", "environment", "passed", "seconds", "fold_info")
    more = {name: whole[name] for name in parts}
    more["audit"] = more["audit"][:2]
    more["passed"] = {"seeds": "1", "set": {"sasrec": {"dim": 8}}}
    more["fold_info"]["folds"] = 2
    honest = registry.load
    monkeypatch.setattr(registry, "load", lambda kind, name: honest(kind, "tiny" if name == "toy" else name))
    log = honest("dataset", "tiny").dataset
    more["dataset"]["fingerprint"] = log.fingerprint
    (tmp_path / "grid.yaml").write_text("{dataset: tiny, grid: {models: [pop], extractors: [id]}}")
    known = sorted(set(log.interactions["user_id"]))[:12]
    for model, extractor, fusion in (("sasrec", "id", "id"), ("sasrec", "captions", "gate")):
        for path in write_cell(model, extractor, fusion, users=12):
            frame = records.users(path).assign(
                user_id=known, top=[["a", "b"]] * 12, target=[["a"]] * 12, target_rank=[[1]] * 12
            )
            frame["hr@10"] = float(extractor == "captions")
            frame.to_parquet(path.with_suffix(".parquet"))
            content = json.loads(path.read_text(encoding="utf-8")) | more
            content["users_digest"] = records.column_digests(frame)
            path.write_text(json.dumps(content | {"metrics": {"ndcg@20": 0.25, "n_users": 12, "mrr@10": None}}))
    return path, path.read_text(encoding="utf-8")


def mutations(count):
    return settings(
        max_examples=count,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@seed(1)
@given(data=st.data())
@mutations(120)
def test_a_mutated_record_stops_no_reading_command(data, board, bench, tmp_path):
    check(data, board, bench, tmp_path)


@pytest.mark.slow
@seed(2)
@given(data=st.data())
@mutations(1000)
def test_none_of_a_thousand_mutations_stops_a_reading_command(data, board, bench, tmp_path):
    check(data, board, bench, tmp_path)


def check(data, board, bench, tmp_path):
    """Run a reading command over mutated records: it ends with an exit code, and names a file that is no record."""
    path, text = board
    content = json.loads(text)
    for _ in range(data.draw(st.integers(1, 3))):
        mutate(content, data.draw)
    path.write_text(json.dumps(content))
    folder, cache = tmp_path / "toy", tmp_path / "cache"
    words = data.draw(
        st.sampled_from(
            [
                *(["leaderboard", "--format", form] for form in ("md", "csv", "html", "latex", "json")),
                ["show", "sasrec/id"],
                ["show", "sasrec/captions"],
                ["show", str(path), "--curve"],
                ["compare", "--grid"],
                ["cite"],
                ["leaderboard", "--publish", str(tmp_path / "published")],
                ["runs"],
                ["runs", "--failed", "--json"],
                ["report", "-o", str(tmp_path / "site")],
                ["diff", "sasrec/captions", "sasrec/id", "--no-frames", "-o", str(tmp_path / "diff.html")],
                ["diff", str(path), "sasrec/id", "--no-frames", "-o", str(tmp_path / "diff.html")],
                ["explain", "sasrec/captions"],
                ["explain", str(path)],
                ["latency", str(path)],
                ["grid", str(tmp_path / "grid.yaml"), "--plan"],
            ]
        )
    )
    done = bench(*words, env={"BENCH_RESULTS": str(folder), "BENCH_CACHE": str(cache)})
    assert done.exit_code in (0, 1, 2)
    shutil.rmtree(cache, ignore_errors=True)
    shutil.rmtree(tmp_path / "published", ignore_errors=True)
    try:
        records.read(path)
    except UserError:
        assert done.exit_code, done.stderr
        assert path.name in done.stderr


def test_without_mutations_the_commands_read_the_records(board, bench, tmp_path):
    path, _ = board
    env = {"BENCH_RESULTS": str(tmp_path / "toy"), "BENCH_CACHE": str(tmp_path / "cache")}
    pair, place = ["sasrec/captions", "sasrec/id"], str(tmp_path / "out")
    assert bench("diff", *pair, "--no-frames", "-o", place, env=env).stdout.startswith(
        "Of 24 users and folds: 24 served"
    )
    assert bench("grid", tmp_path / "grid.yaml", "--plan", env=env).exit_code == 0
    for words in (["explain", str(path)], ["latency", str(path)]):
        assert "the options of this version are not the record's" in bench(*words, env=env).stderr


BROKEN = {
    "type": '"seed": "one"',
    "nan": '"fold_info": {"anything": NaN}',
    "surrogate": '"device": "\\ud800"',
    "deep": f'"passed": {{"x": {"[" * 100_000}{"]" * 100_000}}}',
    "extra": '"extra": 1',
    "huge": '"fold": ' + "9" * 5000,
    "time": '"fold_info": {"border": "yesterday"}',
    "folds": '"fold_info": {"folds": 1000000000000}',
}


@pytest.mark.parametrize("kind", BROKEN)
def test_one_bad_record_is_named_and_the_others_are_shown(write_cell, bench, tmp_path, kind):
    write_cell("sasrec", "id", "id")
    bad = write_cell("sasrec", "captions", "gate")[0]
    bad.write_text(bad.read_text().rstrip().removesuffix("}") + f",{BROKEN[kind]}}}")
    env = {"BENCH_RESULTS": str(tmp_path / "toy"), "BENCH_CACHE": str(tmp_path / "cache")}
    for words in (["leaderboard"], ["leaderboard"], ["show", "sasrec/id"], ["cite"], ["compare", "--grid"]):
        done = bench(*words, env=env)
        assert done.exit_code == (2 if words[0] == "compare" else 1), done.stderr  # one complete row is no pair
        assert done.stderr.count(f"{bad} is not a run record") == 1
        if words[0] == "leaderboard":
            assert "| sasrec" in done.stdout


def test_boards_are_rendered_without_the_bad_record(write_cell, tmp_path):
    write_cell("sasrec", "id", "id")
    write_cell("pop", "-", "-", seeds=(0,))[0].write_text("{}")
    with pytest.warns(records.Skipped, match="is not a run record"):
        (board,) = leaderboard.boards(tmp_path)
    assert "sasrec" in render(board, "md", View())
