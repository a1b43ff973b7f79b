"""Starting is quick and light; mistakes end with exit code 2 and a remedy."""

import os
import subprocess
import sys
import time

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


@pytest.mark.parametrize("words", [["--help"], ["list", "extractors"], ["list", "models"], ["run", "--help"]])
def test_help_and_list_import_nothing_heavy(words):
    subprocess.run([sys.executable, "-c", PROBE.format(words=words)], check=True, capture_output=True)


@pytest.mark.parametrize("words", [["--help"], ["list", "extractors"]])
def test_help_and_list_start_within_half_a_second_of_processor_time(words):
    # Processor time of the child, best of five: the machine may be busy with something else.
    start = f"import sys; sys.argv = ['bench', *{words!r}]; from bench.cli import main; main()"
    code = f"""
import resource, subprocess, sys
subprocess.run([sys.executable, "-c", {start!r}], stdout=subprocess.DEVNULL, check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime)
"""
    best = min(float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(5))
    assert best <= 0.5


def bench(*words, cwd=None, **env):
    return subprocess.run(
        [sys.executable, "-c", "from bench.cli import main; main()", *words],
        capture_output=True,
        text=True,
        env={**os.environ, **env},
        cwd=cwd,
        check=False,
    )


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
def test_mistakes_exit_with_2_and_say_what_was_meant(words, says, tmp_path):
    started = time.monotonic()
    done = bench(*words, BENCH_CACHE=str(tmp_path / "cache"), BENCH_RESULTS=str(tmp_path / "results"))
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - started < 60


def test_unwritable_cache_is_named_with_a_remedy(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    done = bench("run", "--extractor", "id", "--cache", str(blocked / "cache"))
    assert done.returncode == 2
    assert str(blocked) in done.stderr
    assert "--cache FOLDER or BENCH_CACHE" in done.stderr


def test_a_foreign_package_named_recommenders_is_refused(tmp_path):
    (tmp_path / "recommenders").mkdir()
    (tmp_path / "recommenders" / "__init__.py").write_text("")
    done = bench("list", "models", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert "'recommenders' resolves to" in done.stderr
