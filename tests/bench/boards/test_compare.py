"""From records to comparisons, in one process and on the command line."""

import csv
import io
import json
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from bench import records, tables
from bench.boards import compare, lookup
from bench.boards.cell_results import CellResults, read_cells
from bench.cli.compare import compare as command
from protocols.errors import BenchError, DataError, UserError
from protocols.evaluation.significance_tests import holm

SEEDS = (1, 2, 3, 4, 5)


@pytest.fixture
def board(write_cell):
    write_cell("pop", "-", "-", seeds=(0,), lift=-0.08)
    write_cell("sasrec", "id", "id", seeds=SEEDS)
    write_cell("sasrec", "captions", "gate", seeds=SEEDS, lift=0.05)
    write_cell("sasrec", "random", "gate", seeds=SEEDS)
    return write_cell


@pytest.fixture
def found(board, tmp_path):
    return read_cells(records.find(tmp_path))


def test_two_runs_over_all_their_seeds_and_folds(found):
    a, b = lookup.choose("captions", "sasrec/id/id", found)
    assert (len(a.found), a.seeds, a.folds) == (10, [1, 2, 3, 4, 5], 2)
    (line,) = compare.compare(a, b).lines
    assert line.found.effect == pytest.approx(0.05, abs=0.01)
    assert 0 < line.found.low < line.found.effect < line.found.high
    assert line.found.mean_a == pytest.approx(np.mean([records.users(p)["ndcg@10"].mean() for p in a.found]))
    assert line.found.n_users == 200
    assert line.significant
    assert line.p_adjusted is None


def test_a_run_can_be_named_by_any_of_its_records_by_its_folder_and_by_its_id(found):
    wanted = lookup.choose("sasrec captions gate", "pop", found)[0]
    for path in wanted.found:
        (run,) = lookup.select(str(path), [])
        assert run.found.keys() == wanted.found.keys()
    assert lookup.select(str(path.parent), [])[0].found.keys() == wanted.found.keys()
    assert lookup.select(wanted.cell.id[:8], found) == [wanted]
    assert lookup.select(wanted.cell.folder.name, found) == [wanted]
    with pytest.raises(UserError, match="records of 4 rows"):
        lookup.select(str(path.parents[1]), [])


def test_names_that_fit_nothing_or_too_much(found):
    with pytest.raises(UserError, match=r"known: .*sasrec/captions/gate"):
        lookup.select("titles", found)
    with pytest.raises(UserError, match=r"'sasrec' fits 3 runs.*sasrec captions gate"):
        lookup.choose("sasrec", "pop", found)
    with pytest.raises(UserError, match="the same run"):
        lookup.choose("pop", "pop", found)


def rewrite(path, folder, **changes):
    record = records.read(path)
    return records.write(folder, replace(record, **changes), records.users(path))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"cell": {"dataset": "other"}}, "dataset 'toy' and 'other'"),
        ({"cell": {"options": {"protocol": {"window": "3d"}}}}, "protocol.window None and '3d'"),
        ({"dataset": {"fingerprint": "f" * 64}}, "dataset content  and ffffffffffffffff"),
        ({"fold_info": {"folds": 3, "border": "2025-01-02"}}, "folds 2 and 3; border of fold 0 None and 2025-01-02"),
        ({}, "fingerprints b and another"),
    ],
)
def test_runs_of_different_boards_are_refused_with_what_differs(found, tmp_path, changes, says):
    path = next(iter(lookup.select("captions", found)[0].found))
    changes = {k: {**getattr(records.read(path), k), **v} for k, v in changes.items()}
    rewrite(path, tmp_path / "elsewhere", board="another", **changes)
    with pytest.raises(UserError, match="never compared: " + says) as caught:
        lookup.choose("pop", str(tmp_path / "elsewhere"), found)
    assert caught.value.exit_code == 2


def test_a_run_without_all_its_folds_is_refused(found):
    a, b = lookup.choose("captions", "pop", found)
    list(a.found)[2].unlink()
    short = CellResults(a.cell, a.board, dict(list(a.found.items())[1:]))
    with pytest.raises(UserError, match="1 result missing"):
        compare.compare(short, b)


def test_every_row_against_the_baseline_is_one_holm_family(found):
    (report,) = compare.grid(found, baseline="id")
    assert [line.a for line in report.lines] == ["sasrec captions gate", "sasrec random gate", "pop"]
    assert {line.b for line in report.lines} == {"sasrec id id"}
    assert report.correction == "Holm"
    p = [line.found.p for line in report.lines]
    assert [line.p_adjusted for line in report.lines] == pytest.approx(holm(p))
    assert [line.significant for line in report.lines] == [True, False, True]


def test_a_grid_holds_every_pair_once(found):
    first, pairs = compare.grid(found, baseline="id", pairs=True)
    assert (first.correction, pairs.correction) == ("Holm", "Benjamini-Hochberg")
    assert len({frozenset((line.a, line.b)) for line in pairs.lines}) == len(pairs.lines) == 6
    assert all(line.found.effect > 0 for line in pairs.lines)
    (alone,) = (line for line in pairs.lines if (line.a, line.b) == ("sasrec captions gate", "sasrec id id"))
    direct = compare.compare(*lookup.choose("captions", "id", found)).lines[0]
    assert alone.found.p == direct.found.p
    assert (alone.found.low, alone.found.high) == pytest.approx((direct.found.low, direct.found.high))


def test_rows_that_lack_a_seed_are_left_out_of_a_grid_and_named(board, tmp_path):
    board("sasrec", "titles", "gate", seeds=(1, 2))
    (report,) = compare.grid(read_cells(records.find(tmp_path)), baseline="id")
    assert not any("titles" in line.a for line in report.lines)
    assert (
        "not compared: sasrec titles gate: 6 results missing (seed 3 fold 0, seed 3 fold 1, seed 4 fold 0, ...)"
        in report.notes
    )


def test_boards_stand_apart_and_one_without_the_baseline_is_passed_over(board, tmp_path):
    board("sasrec", "titles", "add", board="c")
    board("sasrec", "titles", "gate", board="c")
    found = read_cells(records.find(tmp_path))
    assert [report.facts["board"] for report in compare.grid(found, baseline="id")] == ["b"]
    assert [report.facts["board"] for report in compare.grid(found, pairs=True)] == ["b", "c"]
    with pytest.raises(UserError, match="no board"):
        compare.grid(found, baseline="truth")


def test_two_cells_that_differ_in_options_only_are_told_apart(board, tmp_path):
    (path, *_) = lookup.select("id", read_cells(records.find(tmp_path)))[0].found
    for old in sorted(path.parent.glob("*.json")):
        cell = {**records.read(old).cell, "options": {"model": {"dim": 16}}}
        rewrite(old, tmp_path / "wider", cell=cell)
    found = read_cells(records.find(tmp_path))
    (report,) = compare.grid(found, baseline="id")
    twins = [run.cell.id for run in lookup.select("id", found)]
    assert len(twins) == 2
    assert report.lines[0].b in {f"sasrec id id ({cell})" for cell in twins}
    assert "2 rows fit 'id'" in report.notes[0]
    with pytest.raises(UserError, match="fits 2 runs"):
        lookup.choose("captions", "id", found)
    assert lookup.choose("captions", twins[0], found)[1].cell.id == twins[0]


def test_small_boards_are_called_underpowered(write_cell, tmp_path):
    write_cell("sasrec", "id", "id", users=30, lift=-0.02)
    write_cell("sasrec", "random", "gate", users=30, lift=-0.02)
    (report,) = compare.grid(read_cells(records.find(tmp_path)), pairs=True)
    assert "Underpowered: 30 users in the smallest fold." in report.notes
    assert any("for these seeds only" in note for note in report.notes)
    assert report.lines[0].significant is None
    (row,) = report.as_json()["rows"]
    assert (row["p"], row["these_seeds_only"], row["n_seeds"]) == (None, True, 1)
    assert "| - " in tables.comparison(report, "md").splitlines()[4]


def test_a_difference_that_could_be_missed_is_named(write_cell, tmp_path):
    for extractor in ("id", "random"):
        paths = write_cell("sasrec", extractor, "gate", seeds=SEEDS, users=200)
        for path in paths:
            users = records.users(path)
            record = records.read(path)
            rng = np.random.default_rng([len(extractor), record.seed, record.fold])
            users["ndcg@10"] = (rng.random(200) < 0.05).astype(float)
            records.write(path.parent, record, users)
    a, b = lookup.choose("random", "id", read_cells(records.find(tmp_path)))
    report = compare.compare(a, b)
    assert report.lines[0].found.underpowered
    assert any(note.startswith("Underpowered: no difference found") for note in report.notes)


def add_targets(path, advantage=0.0):
    """Three targets a user: warm popular, warm rare, cold; `advantage` brings rare ones up."""
    users = records.users(path)
    n = len(users)
    rng = np.random.default_rng(records.read(path).fold)
    rank = np.stack([rng.integers(1, 6, n), rng.integers(8, 30, n) - int(advantage), np.zeros(n)], axis=1).astype(int)
    users["n_targets"], users["n_history"] = 3, np.arange(n)
    users["target"] = pd.Series([["a", "b", "c"]] * n)
    users["target_events"] = pd.Series([[50, 2, 0]] * n)
    users["target_rank"] = users["target_rank_warm"] = pd.Series([row.tolist() for row in rank])
    users["target_duration"] = pd.Series([[12.0, 40.0, np.nan]] * n)
    records.write(path.parent, records.read(path), users)


def test_slices_show_where_a_difference_comes_from(write_cell, tmp_path):
    for path in write_cell("sasrec", "id", "id", seeds=SEEDS):
        add_targets(path)
    for path in write_cell("sasrec", "captions", "gate", seeds=SEEDS):
        add_targets(path, advantage=6)
    runs = lookup.choose("captions", "id", read_cells(records.find(tmp_path)))
    report = compare.compare_slices(*runs)
    lines = {line.part: line for line in report.lines}
    assert set(lines) == {
        "targets: warm",
        "targets: cold",
        "user activity: Q1 (0 to 49)",
        "user activity: Q2 (50 to 99)",
        "user activity: Q3 (100 to 149)",
        "user activity: Q4 (150 to 199)",
        "item popularity: Q1 (2 to 2)",
        "item popularity: Q3 (50 to 50)",
        "clip duration: <= 30 s (12 to 12)",
        "clip duration: > 30 s (40 to 40)",
    }
    assert lines["item popularity: Q1 (2 to 2)"].significant
    assert lines["clip duration: > 30 s (40 to 40)"].found.effect == lines["item popularity: Q1 (2 to 2)"].found.effect
    assert lines["item popularity: Q3 (50 to 50)"].found.effect == 0
    assert lines["targets: cold"].found.mean_a == 0
    assert lines["user activity: Q1 (0 to 49)"].found.n_users == 50
    # a metric that no record holds is computed from the same ranks
    (line,) = compare.compare(*runs, metric="hr@3").lines
    expected = np.mean([[min(r[:2]) <= 3 for r in records.users(p)["target_rank"]] for p in runs[0].found])
    assert line.found.mean_a == pytest.approx(expected)
    with pytest.raises(UserError, match="a slice already"):
        compare.compare_slices(*runs, metric="ndcg@10_warm")


def with_ids(path):
    """Targets whose first item sounds and whose second does not."""
    users = records.users(path)
    users["target"] = pd.Series([["loud", "quiet", "unknown"]] * len(users))
    records.write(path.parent, records.read(path), users)


def test_audio_heavy_clips_are_slices_where_stored_tags_tell_them(write_cell, tmp_path):
    from feature_extractors.store.lance import FeatureStore, Row
    from feature_extractors.text.sound_windows import Tag, TaggedWindow, dump
    from protocols.features import FeatureSpace

    for extractor, fusion, advantage in (("id", "id", 0), ("captions", "gate", 6)):
        for path in write_cell("sasrec", extractor, fusion, seeds=SEEDS):
            add_targets(path, advantage=advantage)
            with_ids(path)
    cache = tmp_path / "cache"
    music = dump([TaggedWindow(0, 10, [Tag("a harp", "music", 0.5)])])
    for name, config in (("sound-tags.windows", {"classes": [["a harp", "music"]]}), ("sound-tags.text", {})):
        store = FeatureStore(cache / "features", FeatureSpace(name, 1, "text", config))
        store.describe()
        store.add([Row("loud", "1", "ok", "", 0.1, music), Row("quiet", "2", "empty", "digital silence", 0.1, None)])
        store.commit()
    options = ["captions", "id", "--results", str(tmp_path), "--cache", str(cache), "--json"]
    told = CliRunner().invoke(command, [*options, "--slices", "--audio-heavy", "sound-tags.windows"])
    assert told.exit_code == 0, told.output
    (report,) = json.loads(told.output)
    rows = {row["slice"]: row for row in report["rows"]}
    assert {"audio: heavy", "audio: not heavy"} < set(rows)
    without = CliRunner().invoke(command, [*options, "--slices"])
    assert not [row for row in json.loads(without.output)[0]["rows"] if row["slice"].startswith("audio")]
    for more, message in (
        (["--audio-heavy", "sound-tags.windows"], "is for --slices"),
        (["--slices", "--audio-heavy", "sound-tags.text"], "is not of sound-tags.windows"),
    ):
        refused = CliRunner().invoke(command, [*options, *more])
        assert isinstance(refused.exception, UserError)
        assert message in str(refused.exception)


def test_records_without_ranks_say_so(found):
    runs = lookup.choose("captions", "id", found)
    for call in (lambda: compare.compare_slices(*runs), lambda: compare.compare(*runs, metric="hr@3")):
        with pytest.raises(DataError, match=r"sasrec captions gate, s1-f0-\w+\.parquet: .* no rank per target"):
            call()


def test_a_broken_frame_is_named(found):
    a, b = lookup.choose("captions", "id", found)
    path = next(iter(a.found)).with_suffix(".parquet")
    path.write_bytes(b"PAR1 no more")
    with pytest.raises(DataError, match=path.name):
        compare.compare(a, b)


def test_every_format_holds_every_row_and_escapes_names(board, tmp_path):
    board("sasrec", "=cmd|'<x>_#%", "gate", seeds=SEEDS)
    (report,) = compare.grid(read_cells(records.find(tmp_path)), baseline="id")
    markdown = tables.comparison(report, "md")
    assert sum(line.startswith("|") for line in markdown.splitlines()) == 2 + 4
    assert "<x>" not in markdown
    assert "* differs at the 5% level, Holm." in markdown
    assert "&lt; 1e-6 *" in markdown
    latex = tables.comparison(report, "latex")
    assert r"\_\#\%" in latex
    assert latex.count(r"\begin{table*}") == latex.count(r"\end{table*}") == 1
    rows = list(csv.DictReader(io.StringIO(tables.comparison(report, "csv"))))
    assert len(rows) == 4
    assert {float(row["effect"]) for row in rows} == {line.found.effect for line in report.lines}


def run(*words):
    result = CliRunner().invoke(command, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_the_command_line(board, tmp_path):
    text = run("captions", "id", "--results", tmp_path)
    assert "sasrec captions gate | sasrec id id" in text
    both = json.loads(run("--baseline", "id", "--grid", "--json", "--results", tmp_path))
    assert [len(report["rows"]) for report in both] == [3, 6]
    assert both[0]["rows"][0]["significant"] is True
    assert json.loads(run("pop", "id", "--json", "--results", tmp_path))[0]["rows"][0]["relative"] < 0
    for words in ([], ["pop"], ["pop", "id", "--grid"], ["--grid", "--slices"], ["pop", "id", "--metric", "auc"]):
        with pytest.raises(UserError):
            run(*words, "--results", tmp_path)


def test_undefined_numbers_are_null_in_json(write_cell, tmp_path):
    for extractor in ("id", "random"):
        for path in write_cell("sasrec", extractor, "gate", seeds=SEEDS):
            records.write(path.parent, records.read(path), records.users(path).assign(**{"hr@10": 0.0}))
    (row,) = json.loads(run("--grid", "--json", "--metric", "hr@10", "--results", tmp_path))[0]["rows"]
    assert row["relative"] is None
    assert row["p"] == 1.0


def test_rows_on_other_users_are_refused(board, tmp_path):
    for path in lookup.choose("captions", "id", read_cells(records.find(tmp_path)))[0].found:
        records.write(path.parent, records.read(path), records.users(path).iloc[1:])
    a, b = lookup.choose("captions", "id", read_cells(records.find(tmp_path)))
    with pytest.raises(BenchError, match="not evaluated on the same users: user 'u0'"):
        compare.compare(a, b)
    assert asdict(a.cell)["dataset"] == "toy"
