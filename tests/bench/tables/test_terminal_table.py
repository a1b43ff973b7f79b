"""Boards on a terminal: width, columns, verdict, and names that hold commands."""

import pytest

from bench import console
from bench.boards import leaderboard
from bench.cli import board_output
from bench.tables import columns, terminal, verdicts
from protocols.errors import UserError

HOSTILE = "captions\x1b[31m\x1b]0;title\x07\u202e[/red]"


@pytest.fixture
def write_board(write_cell, tmp_path):
    def write_board(extractor="captions", seeds=(1, 2)):
        for at, model in enumerate(("sasrec", "gru4rec", "a-model-with-a-long-name")):
            write_cell(model, "id", "id", seeds=seeds, lift=0.01 * at)
            write_cell(model, extractor, "gate", seeds=seeds, lift=0.05 + 0.01 * at)
            write_cell(model, f"shuffled:{extractor}", "gate", seeds=seeds, lift=0.02)
        return leaderboard.boards(tmp_path)[0]

    return write_board


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_the_usual_columns_fit_the_width_and_a_claim_keeps_both_comparisons(write_board, width):
    text = terminal(write_board(), width, colour=False)
    assert max(map(len, text.splitlines())) <= width
    for word in ("nDCG@10", "id", "shuffled", "captions", "gate"):
        assert word in text.split("these seeds only")[0]
    assert ("Not shown, for want of width" in text) == (width == 60)


def test_the_verdict_comes_last_and_is_about_the_row_that_was_asked_for(write_board):
    board = write_board()
    asked = next(row for row in board.rows if row.label == "gru4rec captions gate")
    last = terminal(board, 400, asked=asked, colour=False).splitlines()[-2:]
    assert last == verdicts.verdict(board, asked)
    assert last[0].startswith("gru4rec with captions (gate): +.")
    assert terminal(board, 400, colour=False).splitlines()[-2] == verdicts.claim(board, board.rows[0])


def test_named_columns_keep_their_width_and_rows_can_be_cut(write_board):
    board = write_board()
    text = terminal(board, 40, ["row", "score", "hr", "warm", "minus-id"], most=2, colour=False)
    assert "HR@10 [95%]" in text
    assert "7 more rows: --rows 0" in text
    assert sum(row.label in text.split("more rows")[0] for row in board.rows) == 2


def test_names_command_no_terminal_and_make_no_markup(write_board):
    text = terminal(write_board(HOSTILE), 200, colour=False)
    assert not {c for c in text if not c.isprintable()} - {"\n"}
    assert "[/red]" in text


def test_a_pipe_gets_markdown_and_a_terminal_a_table(write_board, bench, tmp_path, monkeypatch):
    write_board()
    env = {"BENCH_RESULTS": str(tmp_path / "toy"), "BENCH_CACHE": str(tmp_path / "cache"), "COLUMNS": "100"}
    piped = bench("leaderboard", env=env).stdout
    assert piped == bench("leaderboard", "--format", "markdown", env=env).stdout
    assert "<!-- bench-table" in piped
    table = bench("leaderboard", "--format", "table", "--rows", "3", env=env).stdout
    assert "6 more rows" in table and "|" not in table and "\x1b" not in table
    monkeypatch.setattr(console, "is_terminal", lambda stream: True)
    shown = bench("leaderboard", env=env).stdout
    assert "\x1b[" in shown and "<!--" not in shown
    assert "| features" in bench("leaderboard", "--pivot", env=env).stdout


@pytest.mark.parametrize("form", ["markdown", "latex", "csv", "html"])
def test_tables_of_named_columns_are_checked_against_their_records(write_board, bench, tmp_path, form):
    write_board()
    env = {"BENCH_RESULTS": str(tmp_path / "toy"), "BENCH_CACHE": str(tmp_path / "cache")}
    done = bench("leaderboard", "--columns", "row,score,minus-id", "--format", form, env=env)
    assert done.exit_code == 0
    assert "minus id" in done.stdout and "peak" not in done.stdout.split("More")[0].partition("caption")[0]
    if form in ("markdown", "latex"):
        (tmp_path / "table").write_text(done.stdout)
        assert bench("verify-table", tmp_path / "table", env=env).exit_code == 0
        (tmp_path / "table").write_text(done.stdout.replace('"score"', '"scores"'))
        broken = bench("verify-table", tmp_path / "table", env=env)
        assert broken.exit_code == 2 and "did you mean" in broken.stderr


def test_a_column_that_is_not_there_is_refused(write_board, bench, tmp_path):
    write_board()
    done = bench("leaderboard", "--columns", "scroe", env={"BENCH_RESULTS": str(tmp_path / "toy")})
    assert (done.exit_code, "did you mean 'score'" in done.stderr) == (2, True)
    with pytest.raises(UserError):
        columns.chosen("scroe")
    assert board_output.ROWS > 10


def test_a_board_without_ranked_rows_says_why_and_shows_no_empty_table(write_cell, tmp_path):
    write_cell("sasrec", "id", "id", seeds=(1, 2))[-1].unlink()
    text = terminal(leaderboard.boards(tmp_path)[0], 80, colour=False)
    assert "not ranked: sasrec id id: 1 result missing" in text
    assert "─" not in text and "No ranked rows." in text
