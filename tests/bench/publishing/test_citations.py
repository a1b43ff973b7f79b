"""Tables that can be cited, and checked against their records."""

import shutil

import pytest
from click.testing import CliRunner

from bench import registry, tables
from bench.boards import leaderboard
from bench.cli.cite import cite, verify_table
from bench.publishing import citations, publish, verify
from protocols.errors import DataError, UserError

HOSTILE = "ev\\il & <b>50%</b> $x_1^2$ {#1} ~[a](b) | `c` --> \u4f60\u597d"


@pytest.fixture
def cells(write_cell, tmp_path):
    write_cell("sasrec", "id", "id", seeds=(1, 2, 3), metrics={"mrr@10": 0.3})
    write_cell("sasrec", "captions", "gate", seeds=(1, 2, 3), lift=0.05, metrics={"mrr@10": 0.4})
    write_cell("recbole:NARM", HOSTILE, "gate", seeds=(1, 2, 3), lift=0.02, metrics={"mrr@10": 0.4})
    return tmp_path


@pytest.mark.parametrize("form", ["md", "latex"])
@pytest.mark.parametrize(
    "view", [tables.View(), tables.View(pivot=True), tables.View(group_by="model")], ids=["rows", "pivot", "grouped"]
)
def test_a_table_is_the_one_of_its_records_until_a_digit_changes(cells, form, view):
    board = leaderboard.boards(cells, metric="hr@10", baseline="captions")[0]
    file = cells / "table"
    file.write_text("Before.\n\n" + tables.render(board, form, view) + "\nAfter.\n")
    assert [verdict.problems for verdict in verify.verify(file, cells)] == [()]
    value = f"{board.rows[0].mean['hr@10']:.4f}".removeprefix("0")
    file.write_text(file.read_text().replace(value, ".9999", 1))
    (verdict,) = verify.verify(file, cells)
    assert ".9999" in verdict.problems[0]


def test_a_table_s_id_changes_with_its_records_and_not_when_they_are_compacted(cells, write_cell):
    (group,) = leaderboard.groups(cells / "toy")
    before = leaderboard.table_id(group.values())
    publish.publish(cells / "toy", cells / "compact")
    (compact,) = leaderboard.groups(cells / "compact")
    assert leaderboard.table_id(compact.values()) == before
    shutil.rmtree(cells / "compact")
    write_cell("sasrec", "captions", "gate", seeds=(1,), lift=0.05, metrics={"mrr@10": 0.41})
    (changed,) = leaderboard.groups(cells / "toy")
    assert leaderboard.table_id(changed.values()) != before


def test_the_command_exits_with_1_when_the_records_are_others(cells, write_cell):
    file = cells / "page.md"
    views = (tables.View(), tables.View(pivot=True))
    file.write_text("\n\n".join(tables.render(leaderboard.boards(cells)[0], "md", view) for view in views))
    arguments = [str(file), "--results", str(cells)]
    done = CliRunner().invoke(verify_table, arguments, standalone_mode=False)
    assert (done.return_value, done.output.count("ok line")) == (0, 2)  # rows, and the pivot of two recommenders
    write_cell("bpr", "id", "id", seeds=(1, 2, 3))
    done = CliRunner().invoke(verify_table, arguments, standalone_mode=False)
    assert done.return_value == 1
    assert "no records here have the hash" in done.output


def test_a_row_taken_out_is_seen(cells):
    board = leaderboard.boards(cells)[0]
    text = tables.render(board, "latex")
    file = cells / "table.tex"
    file.write_text("\n".join(line for line in text.splitlines() if not line.startswith("sasrec id")))
    assert "3 lines in the table, 4 come from the records" in verify.verify(file, cells)[0].problems[0]


def test_what_is_no_table_of_ours_is_a_mistake_of_the_user(cells):
    file = cells / "x.tex"
    file.write_text("no table")
    with pytest.raises(UserError, match="no table of bench"):
        verify.verify(file, cells)
    file.write_text('% bench-table {"id": 3, "group_by": "", "pivot": false}')
    with pytest.raises(DataError, match=r"x\.tex, line 1: broken bench-table"):
        verify.verify(file, cells)


def test_references_of_what_stands_in_the_table(cells):
    text = citations.bibliography(leaderboard.groups(cells))
    assert f"table {leaderboard.boards(cells)[0].id}" in text
    for part in ("@misc{extractor-captions,", "eprint = {2508.09789}", "@inproceedings{model-sasrec,", "@software{"):
        assert part in text
    assert "author = {{De Nadai} and Damianou and Lalmas}," in text
    assert text.count("{") == text.count("}")
    assert "% dataset-toy: no reference known" in text
    assert all(line.startswith(("%", "@", "  ", "}")) or not line for line in text.splitlines())


def test_a_dataset_is_cited_as_its_records_say(write_cell, tmp_path):
    write_cell("pop", "-", "-", seeds=(0,), dataset={"citation": "Ni & others, A Dataset, arXiv 2023"})
    done = CliRunner().invoke(cite, ["--results", str(tmp_path)], standalone_mode=False)
    assert "note = {Ni \\& others, A Dataset, arXiv 2023}," in done.output
    assert "year = {2023}" in done.output


def test_authors_of_a_dataset_are_those_of_its_citation(write_cell, tmp_path):
    cited = "A. First, B. Second and C. Third. 2024. Clips: A Dataset. RecSys '24. https://doi.org/10.1/1"
    write_cell("pop", "-", "-", seeds=(0,), dataset={"citation": cited})
    output = CliRunner().invoke(cite, ["--results", str(tmp_path)], standalone_mode=False).output
    for part in ("author = {A. First and B. Second and C. Third},", "Clips: A Dataset}", "year = {2024},"):
        assert part in output


def test_every_author_is_of_a_paper_that_a_plugin_names():
    plugins = [registry.load(kind, name) for kind in ("extractor", "model") for name in registry.names(kind)]
    named = " ".join(str(plugin.paper) for plugin in plugins)
    assert all(number in named for number in citations.authors())


def test_without_records_there_is_nothing_to_cite(tmp_path):
    done = CliRunner().invoke(cite, ["--results", str(tmp_path)], standalone_mode=False)
    assert isinstance(done.exception, UserError)
