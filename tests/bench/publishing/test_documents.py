"""Documents of the repository: what they hold of records is what the records give."""

import copy
import json

import pytest

from bench.boards import leaderboard
from bench.cli.list_plugins import plugins
from bench.publishing import documents, page
from bench.tables import verdicts
from protocols.errors import DataError, UserError


def test_readme_benchmarks_and_guide_are_what_records_and_plugins_give():
    found = documents.documents(plugins)
    assert {path.name for path in found} >= {"README.md", "BENCHMARKS.md", "table.md", "forest.svg", "heat.svg"}
    assert documents.stale(found) == [], "`bench guide --write` writes them anew"
    assert len(found[documents.REPOSITORY / "BENCHMARKS.md"].splitlines()) <= 300


@pytest.fixture
def repository(write_cell, tmp_path, monkeypatch):
    """A repository with one board, a README with a claim about it, and a function that gives its fresh text."""
    write_cell("sasrec", "id", "id")
    write_cell("sasrec", "captions", "gate", lift=0.05)
    write_cell("sasrec", "shuffled:captions", "gate")
    (tmp_path / "results").mkdir()
    (tmp_path / "toy").rename(tmp_path / "results" / "boards")
    blocks = tmp_path / "blocks"
    blocks.mkdir()
    (blocks / "claim.md").write_text('{{ claim(board("toy"), "sasrec/captions") }}\n\n- a\n- b\n')
    monkeypatch.setattr(documents, "BLOCKS", blocks)
    readme = tmp_path / "README.md"
    readme.write_text("Before\n\n<!-- written: claim -->\n<!-- end -->\n\nAfter\n")
    (tmp_path / "bench" / "guide").mkdir(parents=True)
    return tmp_path


def fresh(repository):
    return documents.documents(plugins, repository)


def test_a_claim_follows_its_records_and_writing_twice_changes_nothing(repository, write_cell):
    readme = repository / "README.md"
    first = fresh(repository)
    assert readme in documents.stale(first)
    for path, text in first.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert documents.stale(fresh(repository)) == []
    (board,) = leaderboard.boards(repository / "results" / "boards")
    assert verdicts.claim(board, board.rows[0]).split()[-1] in first[readme]
    assert first[readme].startswith("Before\n\n<!-- written: claim -->\n\nsasrec with captions (gate): +.0")
    assert first[readme].endswith("- a\n- b\n\n<!-- end -->\n\nAfter\n")
    write_cell("sasrec", "captions", "gate", lift=0.08)
    (repository / "toy").rename(repository / "results" / "boards" / "again")
    assert {path.name for path in documents.stale(fresh(repository))} >= {"README.md", "BENCHMARKS.md"}


def test_blocks_without_template_and_names_that_fit_nothing_are_refused(repository):
    readme = repository / "README.md"
    readme.write_text("<!-- written: other -->\n<!-- end -->\n")
    with pytest.raises(UserError, match=r"no template other\.md"):
        fresh(repository)
    sources = documents.Sources(leaderboard.boards(repository / "results" / "boards"), repository, plugins)
    for wrong, message in ((lambda: sources.board("x"), "no board of x"), (lambda: sources.aggregate("x"), "x.json")):
        with pytest.raises(DataError if "json" in message else UserError, match=message):
            wrong()
    with pytest.raises(UserError, match="no row 'pop'"):
        sources.claim(sources.board("toy"), "pop")


def test_an_aggregate_is_what_bench_leaderboard_prints_and_gives_the_same_table(repository, bench):
    root = repository / "results" / "boards"
    done = bench("leaderboard", "--format", "json", env={"BENCH_RESULTS": str(root), "BENCH_CACHE": str(repository)})
    place = repository / "results" / "aggregates"
    place.mkdir()
    (place / "toy.json").write_text(done.stdout)
    sources = documents.Sources(leaderboard.boards(root), repository, plugins)
    names = "row,score,minus-id"
    assert sources.table(sources.aggregate("toy"), names) == sources.table(sources.board("toy"), names)
    (place / "toy.json").write_text(json.dumps({"boards": [{"rows": []}]}))
    with pytest.raises(DataError, match=r"toy\.json"):
        sources.aggregate("toy")


def test_boards_that_differ_in_an_option_of_their_data_stand_side_by_side(repository):
    (board,) = leaderboard.boards(repository / "results" / "boards")
    made = []
    for weight, rows in ((2.0, 3), (0.5, 3), (1.0, 4)):
        one = copy.deepcopy(board)
        one.facts["dataset_options"] = {"content_weight": weight, "clips": 9}
        one.facts["dataset_version"] = "2" if weight == 1 else f"2, content_weight={weight}"
        one.rows = (one.rows * 2)[:rows]
        made.append(one)
    other = copy.deepcopy(made[0])
    other.facts["dataset_options"] = {"content_weight": 3.0, "clips": 10}
    wide = copy.deepcopy(made[2])  # more rows over fewer folds: another board of the same data
    wide.facts["folds"], wide.rows = wide.facts["folds"] - 1, wide.rows * 2
    sources = documents.Sources([*made, other, wide], repository, plugins)
    assert sources.board("toy") is made[2]
    lines = sources.doses("toy", "content_weight", "sasrec/captions")
    assert [line.split("|")[1].strip() for line in lines.splitlines()[2:]] == ["0.5", "1", "2"]
    assert (
        lines.splitlines()[0].split("|")[1:3] != ["", ""]
        and verdicts.interval(board.rows[0].delta_vs_shuffled) in lines
    )
    written = page.page([*made, other], ["two", "half", "one", "more"])
    assert written.count("## toy") == 1
    assert [line for line in written.splitlines() if "](" in line and "content_weight" in line and line[0] == "-"] == [
        f"- [{options}]({folder}/table.md): {verdicts.claim(board, board.rows[0])} {verdicts.verdict(board)[1]}"
        for options, folder in (
            ("content_weight=0.5", "half"),
            ("content_weight=2.0", "two"),
            ("content_weight=3.0, clips=10", "more"),
        )
    ]
