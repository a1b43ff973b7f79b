"""`bench report` on the command line, and the workflow that publishes its site."""

from pathlib import Path

import pytest
import yaml

from bench.cli.report import report
from bench.report import site
from bench.runs import run as runs
from bench.runs.rows import RowSpec
from protocols.progress import Quiet


@pytest.fixture
def env(tiny_world, tmp_path):
    rows = [RowSpec("pop"), RowSpec("itemknn")]
    runs.run(runs.Request(rows, tmp_path / "cache", tmp_path / "results", "tiny"), Quiet())
    return {"BENCH_CACHE": str(tmp_path / "cache"), "BENCH_RESULTS": str(tmp_path / "results")}


def test_the_pages_of_diff_are_written_with_the_site_and_linked(env, bench, tmp_path):
    done = bench("report", "-o", tmp_path / "site", "--diff", "itemknn", "pop", env=env)
    assert done.exit_code == 0, done.stderr
    (page,) = (tmp_path / "site").glob("diff-*.html")
    assert "itemknn" in page.read_text()
    assert page.name in (tmp_path / "site" / "index.html").read_text()


def test_a_diff_of_no_row_says_so_before_anything_is_written(env, bench, tmp_path):
    done = bench("report", "-o", tmp_path / "site", "--diff", "itemknn", "nobody", env=env)
    assert done.exit_code == 2
    assert "nobody" in done.stderr
    assert not (tmp_path / "site").exists()


def test_diffs_of_compact_copies_are_refused_with_a_remedy(write_cell, bench, tmp_path):
    write_cell("sasrec", "captions", "gate")
    write_cell("sasrec", "id", "id")
    done = bench("report", "-o", tmp_path / "site", "--results", tmp_path, "--diff", "captions", "id")
    assert done.exit_code != 0
    assert "--results results/local" in done.stderr


def test_the_workflow_of_the_site_runs_a_command_that_exists():
    workflow = yaml.safe_load((Path(__file__).parents[3] / ".github/workflows/pages.yml").read_text(encoding="utf-8"))
    build, deploy = workflow["jobs"]["build"], workflow["jobs"]["deploy"]
    words = next(step["run"] for step in build["steps"] if "run" in step).removeprefix("uv run bench report ").split()
    given = report.make_context("report", words).params
    assert given["results"] == "results/boards"
    upload = next(step for step in build["steps"] if "pages-artifact" in step.get("uses", ""))
    assert upload["with"]["path"] == str(given["folder"])
    assert workflow["permissions"] == {"contents": "read"}
    assert deploy["permissions"] == {"pages": "write", "id-token": "write"}


def test_pages_load_nothing_but_the_site_and_run_no_inline_script(write_cell, tmp_path):
    write_cell("sasrec", "captions", "gate")
    write_cell("sasrec", "id", "id")
    for page in site.write(tmp_path, tmp_path / "site").parent.glob("*.html"):
        policy = page.read_text().partition('http-equiv="Content-Security-Policy" content="')[2].partition('"')[0]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert " style=" not in page.read_text()
        assert "onclick" not in page.read_text()
