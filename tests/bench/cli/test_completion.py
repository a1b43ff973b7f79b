"""Completion of names by the shell; options that count once."""

import pytest
from click.shell_completion import BashComplete

from bench import registry
from bench.cli import cli
from bench.runs import cell_files


def completed(*words):
    shell = BashComplete(cli, {}, "bench", "_BENCH_COMPLETE")
    return [item.value for item in shell.get_completions(list(words[:-1]), words[-1])]


@pytest.mark.parametrize("kind", ["extractor", "model", "dataset", "protocol"])
def test_names_of_plugins_are_completed(kind):
    assert completed("run", f"--{kind}", "") == sorted(registry.known(kind))


def test_names_inside_others_presets_fusions_commands_and_options_are_completed():
    assert completed("run", "--extractor", "shuffled:capt") == ["shuffled:captions"]
    assert completed("run", "--extractor", "concat:captions+tit") == ["concat:captions+titles"]
    assert completed("run", "--preset", "") == sorted(path.stem for path in cell_files.PRESETS.glob("*.yaml"))
    assert "gate" in completed("run", "--fusion", "ga")
    assert sorted(completed("verif")) == ["verify", "verify-table"]
    assert "--rerun" in completed("verify", "--r")
    assert completed("list", "extr") == ["extractors"]


def test_rows_of_boards_are_completed(write_cell, tmp_path, monkeypatch):
    write_cell("sasrec", "captions", "gate")
    write_cell("pop", "-", "-", seeds=(0,))
    monkeypatch.setenv("BENCH_RESULTS", str(tmp_path))
    for command in ("show", "compare", "diff", "explain", "latency"):
        assert completed(command, "") == ["pop", "sasrec/captions/gate"]
        assert completed(command, "sas") == ["sasrec/captions/gate"]
    assert completed("leaderboard", "--baseline", "p") == ["pop"]
    next(tmp_path.rglob("s1-*.json")).write_text("no json")
    assert completed("show", "p") == ["pop"]
    monkeypatch.setenv("BENCH_RESULTS", str(tmp_path / "none"))
    assert completed("show", "x") == ["x"]


def test_an_option_that_counts_once_is_not_given_twice(bench):
    refused = bench("run", "--extractor", "captions", "--extractor", "titles")
    assert refused.exit_code == 2
    assert "--extractor is given twice" in refused.stderr and "bench grid" in refused.stderr
    assert bench("features", "list", "--cache", "a", "--cache", "b").exit_code == 2
    assert "--seeds is given twice" in bench("run", "--model", "pop", "--seeds", "1", "--seeds=2").stderr
    other = bench("run", "--model", "pop", "--set", "sasrec.dmi=1", "--set", "sasrec.dim=1")
    assert "did you mean 'dim'" in other.stderr


def test_nan_is_no_number_of_a_command(bench, tmp_path):
    for value in ("nan", "inf"):
        done = bench("verify", tmp_path / "x.zip", "--rerun", "1", "--tolerance", value)
        assert done.exit_code == 2 and f"--tolerance {value}: expected a finite number" in done.stderr
