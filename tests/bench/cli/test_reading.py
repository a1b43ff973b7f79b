"""Commands that read: folders that cannot be written, and names that hold control characters."""

import pytest

from bench import records

HOSTILE = "captions\x1b[31m\x1b]0;title\x07\u202e"


@pytest.fixture
def env(write_cell, tmp_path):
    """Two rows, one under a hostile name, and a cache folder that nobody can make."""
    write_cell("sasrec", "id", "id")
    write_cell("sasrec", HOSTILE, "gate", lift=0.05)
    (tmp_path / "file").write_text("no folder")
    return {"BENCH_RESULTS": str(tmp_path / "toy"), "BENCH_CACHE": str(tmp_path / "file" / "cache")}


@pytest.mark.parametrize("form", ["md", "csv", "html", "latex", "json"])
def test_a_board_needs_no_cache_that_can_be_written_and_prints_no_control_characters(env, bench, form):
    done = bench("leaderboard", "--format", form, env=env)
    assert done.exit_code == 0
    assert "sasrec" in done.stdout
    assert not {c for c in done.stdout if not c.isprintable()} - {"\n"}


@pytest.mark.parametrize(
    "words",
    [["show", "sasrec/id"], ["show", f"sasrec/{HOSTILE}"], ["show", HOSTILE + "x"], ["cite"], ["compare", "a", "b"]],
)
def test_names_of_records_and_of_mistakes_command_no_terminal(env, bench, words, tmp_path):
    done = bench(*words, env=env)
    assert not {c for c in done.stdout + done.stderr if not c.isprintable()} - {"\n"}
    assert not (tmp_path / "file").is_dir()


def test_a_results_folder_that_is_not_there_is_not_made_by_reading(bench, tmp_path):
    env = {"BENCH_RESULTS": str(tmp_path / "absent"), "BENCH_CACHE": str(tmp_path)}
    for words in (["leaderboard"], ["cite"], ["report", "-o", str(tmp_path / "report")]):
        done = bench(*words, env=env)
        assert done.exit_code == 2
        assert f"no records in {tmp_path / 'absent'}" in done.stderr
    assert not (tmp_path / "absent").exists()
    assert records.read_all(tmp_path / "absent") == {}
