"""LaTeX tables as pdflatex takes them."""

import shutil
import subprocess

import pytest

from bench import tables
from bench.boards import leaderboard

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


def test_a_table_stands_in_a_paper_that_loads_booktabs_and_graphicx(write_cell, tmp_path, do_without):
    board = leaderboard.build(write_cell("sasrec", "id", "id"))
    table = tables.render(board, "latex")
    paper = r"\documentclass[twocolumn]{article}\usepackage{booktabs,graphicx}\begin{document}"
    said = typeset(f"{paper}Table~\\ref{{tab:{board.id}}}.\n{table}\\end{{document}}\n", tmp_path, do_without)
    assert "Overfull" not in said
