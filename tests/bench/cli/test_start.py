"""Starting is quick and light; mistakes end with exit code 2 and a remedy."""

import importlib.util
import os
import subprocess
import sys

import pytest

PROBE = """
import sys
sys.argv = ["bench", *{words!r}]
from bench.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
heavy = {{"torch", "transformers", "recbole", "lance", "av"}} & set(sys.modules)
assert not heavy, heavy
"""
SILENT = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]


@pytest.mark.parametrize("words", [["--help"], ["list", "extractors"], ["list", "models"], ["run", "--help"]])
def test_help_and_list_import_nothing_heavy(words):
    subprocess.run([sys.executable, "-c", PROBE.format(words=words)], check=True, capture_output=True)


@pytest.mark.parametrize("words", [["--help"], ["list", "extractors"]])
def test_help_and_list_start_within_half_a_second_of_processor_time(words):
    # Processor time of the child, best of five: the machine may be busy with something else.
    code = f"import sys; sys.argv = ['bench', *{words!r}]; from bench.cli import main; main()"

    def seconds():
        pid = os.posix_spawn(sys.executable, [sys.executable, "-c", code], os.environ, file_actions=SILENT)
        _, status, used = os.wait4(pid, 0)
        assert status == 0
        return used.ru_utime + used.ru_stime

    assert min(seconds() for _ in range(5)) <= 0.5


TYPOS = [
    (["run", "--extractor", "captoins"], "did you mean 'captions'"),
    (["run", "--extractor", "captions", "--set", "sasrec.dmi=3"], "did you mean 'dim'"),
    (["run", "--extractor", "captions", "--set", "captions.promt=x"], "did you mean 'prompt'"),
    (["run", "--extractor", "captions", "--set", "titles.promt=x"], "unknown option of titles"),
    (["run", "--extractor", "captions", "--set", "sasrec.dim=-5"], "sasrec.dim=-5: expected a number from 0 on"),
    (["run", "--extractor", "captions", "--set", "sasrec.dim=0"], "sasrec.dim=0: expected a number above 0"),
    (["run", "--extractor", "captions", "--set", "sasrec.lr=.nan"], "sasrec.lr=nan: expected a finite number"),
    (["run", "--extractor", "captions", "--set", "demo.clps=3"], "did you mean 'clips'"),
    (["run", "--extractor", "captions", "--protocol", "rollin-7d"], "did you mean 'rolling-7d'"),
    (["run", "--extractor", "captions", "--fusion", "gat"], "did you mean 'gate'"),
    (["run", "--extractor", "captions", "--frames", "unform:4"], "did you mean 'uniform'"),
    (["run", "--extractor", "captions", "--dtype", "float31"], "captions.dtype='float31': expected one of"),
    (["run", "--model", "recbole:NARMM"], "did you mean 'NARM'"),
    (["run", "--preset", "demo-bord"], "did you mean 'demo-board'"),
    (["extract", "--extractor", "captions", "--set", "captions.promt=x"], "did you mean 'prompt'"),
    (["doctor", "--extractor", "captoins"], "did you mean 'captions'"),
    (["grid", "rows.yaml"], "did you mean 'dim'"),
    (["tune", "rows.yaml"], "did you mean 'dim'"),
]


@pytest.mark.parametrize(("words", "says"), TYPOS)
def test_a_typo_is_told_within_a_second_of_processor_time(words, says, tmp_path):
    (tmp_path / "rows.yaml").write_text("rows: [{model: sasrec, options: {dmi: 3}}]")
    code = f"""
import sys
sys.argv = ['bench', *{words!r}]
from bench.cli import main
try:
    main()
except SystemExit as end:
    assert end.code == 2, end.code
heavy = {{"torch", "transformers", "recbole", "pandas", "pyarrow", "scipy", "lance", "av"}} & set(sys.modules)
assert not heavy, heavy
import resource
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime)
"""
    seconds = []
    while not seconds or (min(seconds) > 1 and len(seconds) < 5):  # the machine may be busy with something else
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert says in done.stderr
        seconds.append(float(done.stdout.split()[-1]))
    assert min(seconds) <= 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "--extractor", "caption", "--model", "sasrec"], "did you mean 'captions'"),
        (["run", "--extractor", "captions", "--model", "sasrek"], "did you mean 'sasrec'"),
        (["run", "--extractor", "captions", "--dataset", "demos"], "did you mean 'demo'"),
        (["run", "--extractor", "captions", "--fusion", "gates"], "did you mean 'gate'"),
        (["run", "--extractor", "captions", "--fusion", "id"], "uses none"),
        (["run", "--extractor", "captions", "--set", "sasrec.dims=3"], "did you mean 'dim'"),
        (["run", "--extractor", "captions", "--set", "nonsense"], "NAME.OPTION=VALUE"),
        (["run", "--extractor", "captions", "--seeds", "none"], "seeds"),
        (["run"], "nothing to run"),
        (["run", "--preset", "demo-bord"], "did you mean 'demo-board'"),
        (["run", "--config", "absent.yaml"], "absent.yaml"),
        (["run", "--extractor", "captions", "--protocol", "rolling"], "did you mean 'rolling-7d'"),
        (["check", "--baseline", "absent.json"], "absent.json"),
    ],
)
def test_mistakes_exit_with_2_and_say_what_was_meant(words, says, bench, tmp_path):
    done = bench(*words, env={"BENCH_CACHE": str(tmp_path / "cache"), "BENCH_RESULTS": str(tmp_path / "results")})
    assert done.exit_code == 2, done.stderr
    assert says in done.stderr


def test_unwritable_cache_is_named_with_a_remedy(bench, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    done = bench("run", "--extractor", "id", "--cache", blocked / "cache")
    assert done.exit_code == 2
    assert str(blocked) in done.stderr
    assert "--cache FOLDER or BENCH_CACHE" in done.stderr


def test_a_foreign_package_named_recommenders_is_refused(bench, tmp_path, monkeypatch):
    (tmp_path / "__init__.py").write_text("")
    honest = importlib.util.find_spec
    foreign = importlib.util.spec_from_file_location("recommenders", tmp_path / "__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: foreign if name == "recommenders" else honest(name))
    done = bench("list", "models")
    assert done.exit_code == 2
    assert "'recommenders' resolves to" in done.stderr


def test_a_file_in_place_of_a_folder_and_a_folder_in_place_of_a_file_are_named(bench, tmp_path):
    (tmp_path / "file").write_text("")
    for words in (
        ["run", "--model", "pop", "--save-config", tmp_path],
        ["leaderboard", "--results", tmp_path / "file"],
    ):
        done = bench(*words)
        assert done.exit_code == 2 and str(words[-1]) in done.stderr and "try: " in done.stderr


@pytest.mark.parametrize("names", ["", ",", "nope"])
def test_columns_that_name_none_are_refused_before_boards_are_built(bench, tmp_path, names):
    done = bench("leaderboard", "--columns", names, "--format", "json", "--results", tmp_path)
    assert done.exit_code == 2 and "column" in done.stderr


@pytest.mark.parametrize(("given", "used"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_threads_sleep_while_they_wait_unless_the_environment_says_otherwise(given, used):
    code = "import atexit, os, sys; atexit.register(lambda: print(os.environ['OMP_WAIT_POLICY'], file=sys.stderr)); "
    code += "sys.argv = ['bench', '--version']; from bench.cli import main; main()"
    own = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run([sys.executable, "-c", code], env=own | given, capture_output=True, text=True, check=True)
    assert done.stderr.split() == [used]
