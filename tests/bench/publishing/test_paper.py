"""A folder of LaTeX made from records: it compiles, its tables verify, and it says what the records say."""

import shutil
import subprocess

import pytest

from bench.boards import board_cache
from bench.publishing import paper
from protocols.errors import UserError

HOSTILE = "ev\\il & <b>50%</b> $x_1^2$ {#1} ~[a] | `c` --> \u4f60\u597d \u00e9\u00fe \\input{/etc/passwd}"
TYPESET = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "main"]


@pytest.fixture
def cells(write_cell, tmp_path):
    """Real data under five seeds, simulated ones under two, with hostile names and self-trained checkpoints."""
    pocket = {"provenance": {"checkpoints": ["pocket"]}, "coverage": 1.0}
    for seeds, board, simulated in (((1, 2, 3, 4, 5), "real", False), ((1, 2), "simulated", True)):
        more = {"seeds": seeds, "board": board, "simulated": simulated, "folds": 1}
        more["dataset"] = {"users": 200, "licence": HOSTILE, "citation": HOSTILE}
        for model in ("sasrec", "bpr"):
            write_cell(model if simulated else f"{model}-x", "id", "id", **more)
            for extractor in ("captions", HOSTILE):
                name = model if simulated else f"{model}-x"
                write_cell(name, extractor, "gate", lift=0.05, features=pocket if simulated else {}, **more)
                write_cell(name, f"shuffled:{extractor}", "gate", **more)
    return tmp_path / "toy"


@pytest.fixture
def write(cells, tmp_path):
    def write(**more):
        return paper.write(cells, tmp_path / "paper", tmp_path / "cache", **more)

    return write


def read(folder):
    return {path.name: path.read_text() for path in folder.rglob("*") if path.suffix in (".tex", ".bib")}


def test_it_compiles_with_hostile_names_and_its_tables_verify(write, cells, tmp_path, do_without, bench):
    made = write(title=HOSTILE)
    folder = tmp_path / "paper"
    env = {"BENCH_RESULTS": str(cells), "BENCH_CACHE": str(tmp_path / "cache")}
    done = bench("verify-table", *sorted((folder / "tables").glob("*.tex")), env=env)
    assert (done.exit_code, done.stdout.count("ok ")) == (0, 2)
    assert len([name for name in made.written if name.endswith(".pdf")]) == 4
    assert all((folder / name).read_bytes().startswith(b"%PDF") for name in made.written if name.endswith(".pdf"))
    if shutil.which("pdflatex") is None or shutil.which("bibtex") is None:
        do_without("latex", "pdflatex or bibtex is not installed")
    for command in (TYPESET, ["bibtex", "main"], TYPESET, TYPESET):
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout[-3000:]
    assert "Overfull" not in done.stdout and "undefined" not in done.stdout and "passwd)" not in done.stdout


def test_the_text_says_what_the_records_say(write, tmp_path):
    write()
    texts = read(tmp_path / "paper")
    method, results, closing = (" ".join(texts[f"{name}.tex"].split()) for name in ("method", "results", "closing"))
    assert "these seeds only" in results and "nothing is called significant" in results
    assert "these data are simulated" in results.lower() and "no evidence" in texts["main.tex"]
    assert "trained from scratch" in method
    (board,) = (b for b in board_cache.boards(tmp_path / "toy", tmp_path / "cache") if not b.simulated)
    tested = [row for row in board.rows if row.delta_vs_baseline]
    significant = sum(row.significant for row in tested)
    assert 0 < significant < len(tested)
    assert f"{significant} of {len(tested)} rows differ" in method
    assert f"for the other {len(tested) - significant} no difference is shown" in method
    assert board.id in closing and board.id in texts["references.bib"]
    value = f"{board.best.mean['ndcg@10']:.4f}"
    assert value in results and value.removeprefix("0") in "".join(texts.values())


def test_of_real_data_it_says_nothing_of_simulation(write, tmp_path, cells):
    shutil.rmtree(tmp_path / "paper", ignore_errors=True)
    for path in cells.rglob("*.json"):
        if '"simulated": true' in path.read_text():
            path.unlink()
    write()
    text = "".join(text for name, text in read(tmp_path / "paper").items() if name.endswith(".tex"))
    assert "imulated" not in text and "pocket" not in text and "these seeds only" not in text


def test_files_of_others_are_left_alone_and_edited_ones_kept(write, write_cell, tmp_path):
    folder = tmp_path / "paper"
    folder.mkdir()
    (folder / "main.tex").write_text("my thesis")
    with pytest.raises(UserError, match="holds files that bench paper did not write"):
        write()
    assert {path.name for path in folder.iterdir()} == {"main.tex"}
    (folder / "main.tex").unlink()
    first = write()
    assert not first.kept
    assert write() == first  # the same again
    (folder / "text" / "method.tex").write_text("my own words")
    (folder / "notes.txt").write_text("mine")
    before = (folder / "text" / "results.tex").read_text()
    write_cell("gru4rec-x", "captions", "gate", seeds=(1, 2, 3, 4, 5), lift=0.2, board="real", folds=1)
    for _ in range(2):
        again = write()
        assert again.kept == ("text/method.tex",)
    assert (folder / "text" / "method.tex").read_text() == "my own words"
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "text" / "results.tex").read_text() != before


def test_a_folder_that_cannot_be_is_a_mistake_of_the_user(bench, cells, tmp_path):
    (tmp_path / "file").write_text("")
    env = {"BENCH_RESULTS": str(cells), "BENCH_CACHE": str(tmp_path / "cache")}
    done = bench("paper", "-o", tmp_path / "file" / "paper", env=env)
    assert done.exit_code == 2 and "-o" in done.stderr
    done = bench("paper", "-o", tmp_path / "paper", env=env | {"BENCH_RESULTS": str(tmp_path / "empty")})
    assert done.exit_code == 2 and not (tmp_path / "paper").exists()
