"""LaTeX tables as pdflatex takes them."""

import shutil
import subprocess

import pytest

from bench import tables
from bench.boards import leaderboard
from bench.tables import latex
from protocols.errors import UserError

HOSTILE = "ev\\il & <b>50%</b> $x_1^2$ {#1} ~[a] | `c` --> \u4f60\u597d \u00e9\u00d7\u00aa \\input{/etc/passwd}"


def typeset(text, folder, do_without):
    """The typeset page's text and log of a document."""
    if shutil.which("pdflatex") is None:
        do_without("latex", "pdflatex is not installed")
    (folder / "table.tex").write_text(text)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "table.tex"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert (folder / "table.pdf").stat().st_size > 1000
    return done.stdout


@pytest.mark.parametrize("view", [tables.View(), tables.View(pivot=True), tables.View(group_by="model")])
def test_a_table_with_hostile_names_compiles_as_it_is(write_cell, tmp_path, do_without, view):
    paths = write_cell("sasrec", "id", "id", seeds=(1, 2, 3), simulated=True)
    paths += write_cell("sasrec", HOSTILE, "gate", seeds=(1, 2, 3), lift=0.05)
    paths += write_cell(HOSTILE, f"shuffled:{HOSTILE}", "gate", seeds=(1, 2, 3))
    paths += write_cell("bpr", HOSTILE, "gate", status="failed", error=HOSTILE)
    board = leaderboard.build(paths)
    said = typeset(tables.render(board, "latex", view, standalone=True), tmp_path, do_without)
    assert "passwd)" not in said  # nothing was read from a name
    assert "Overfull" not in said


PAPER = r"""\documentclass[twocolumn]{article}
\usepackage[textwidth=455pt,columnsep=17pt]{geometry}
\usepackage{array,booktabs,longtable}
\begin{document}
"""


@pytest.fixture
def board(write_cell):
    """A board whose rows have long names, controls and five seeds."""
    paths = []
    for at, (extractor, fusion) in enumerate([("id", "id"), ("hidden-states", "gate/softmax"), ("titles", "add")]):
        for name in (extractor, f"shuffled:{extractor}") if extractor != "id" else (extractor,):
            paths += write_cell("two-towers", name, fusion, seeds=(1, 2, 3, 4, 5), lift=0.01 * at, simulated=True)
    return leaderboard.build(paths)


@pytest.mark.parametrize(
    ("names", "column"),
    [
        ("row,score,minus-id,minus-shuffled", True),
        ("row,score,ranks,minus-id,minus-shuffled", True),
        ("row,score,ranks,minus-id,minus-shuffled,cold-among-cold,notes", False),
        ("row,score,hr,minus-baseline,minus-id,minus-shuffled,cold-among-cold,notes", False),
        ("model,extractor,fusion,score,hr,minus-id,minus-shuffled,minus-baseline", False),
        ("row,model,extractor,fusion,checkpoints,cell,notes,train", False),
    ],
)
def test_up_to_eight_columns_fit_a_two_column_paper_and_five_of_them_a_column(
    board, tmp_path, do_without, names, column
):
    table = tables.render(board, "latex", tables.View(columns=tuple(names.split(","))))
    assert ("table*" not in table) == column
    assert "resizebox" not in table
    # the rows as they are, and a text beside the table in its column
    said = typeset(f"{PAPER}Table~\\ref{{tab:{board.id}}}.\n{table}\\end{{document}}\n", tmp_path, do_without)
    assert "Overfull" not in said


def test_columns_that_no_page_holds_are_refused(board):
    wide = tables.View(columns=(*("score", "hr", "minus-id", "minus-shuffled", "minus-baseline") * 4, "row"))
    with pytest.raises(UserError, match="21 columns are wider than the page") as raised:
        tables.render(board, "latex", wide)
    assert "--columns" in raised.value.remedy


def test_half_of_an_interval_stands_beside_its_value(board):
    row = board.rows[0]
    half = (row.high["ndcg@10"] - row.low["ndcg@10"]) / 2
    table = tables.render(board, "latex", tables.View(columns=("row", "score")))
    value = rf"\textbf{{{row.mean['ndcg@10']:.4f}}} {{\scriptsize $\pm${half:.4f}}}"
    assert value.replace("0.", ".") in table


def test_a_pivot_of_many_recommenders_stands_in_panels(write_cell, tmp_path, do_without):
    paths = [path for at in range(24) for path in write_cell(f"recbole:Model{at}", "id", "id", seeds=(1,))]
    board = leaderboard.build(paths)
    table = tables.render(board, "latex", tables.View(pivot=True))
    assert all(f"Model{at}" in table for at in range(24))
    assert "Overfull" not in typeset(PAPER + table + "\\end{document}\n", tmp_path, do_without)


def test_a_board_without_ranked_rows_is_a_table_without_rows(write_cell):
    board = leaderboard.build(write_cell("bpr", "id", "id", status="failed", error="loss is NaN"))
    for view in (tables.View(), tables.View(pivot=True)):
        assert "Further rows, not ranked: 1." in tables.render(board, "latex", view)


def test_boards_are_one_document_and_a_long_one_breaks_over_pages(board, write_cell, tmp_path, do_without, bench):
    for at in range(80):
        write_cell("sasrec", f"published:v{at}.npy", "gate", seeds=(1,), board="long")
    env = {"BENCH_RESULTS": str(tmp_path / "toy"), "BENCH_CACHE": str(tmp_path / "cache")}
    text = bench("leaderboard", "--format", "latex", "--standalone", env=env).stdout
    assert text.count(r"\documentclass") == 1 and text.count("% bench-table") == 2
    assert text.count(r"\begin{longtable}") == 1 and text.count(r"\begin{table") == 1
    said = typeset(text, tmp_path, do_without)
    assert "Overfull" not in said and "(3 pages" in said
    (tmp_path / "table.tex").write_text(text)
    assert bench("verify-table", tmp_path / "table.tex", env=env).exit_code == 0
    (tmp_path / "table.tex").write_text(text.replace("v59.", "v60."))
    assert bench("verify-table", tmp_path / "table.tex", env=env).exit_code == 1
    best = bench("leaderboard", "--format", "latex", "--rows", "3", env=env).stdout
    assert "longtable}" not in best.replace("booktabs,longtable}", "") and "the 3 best of 80 rows" in best
    (tmp_path / "table.tex").write_text(best)
    assert bench("verify-table", tmp_path / "table.tex", env=env).exit_code == 0


def test_letters_that_pdflatex_cannot_typeset_are_question_marks(tmp_path, do_without):
    letters = "".join(chr(code) for code in range(0x20, 0x250))
    shown = latex.tex(letters)
    assert "?" in shown and "é" in shown
    assert typeset(latex.document([shown]), tmp_path, do_without)
