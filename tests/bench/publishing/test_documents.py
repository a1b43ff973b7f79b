"""Documents of the repository: what they hold of records is what the records give."""

import json

import pytest

from bench.boards import leaderboard
from bench.cli.list_plugins import plugins
from bench.publishing import documents
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
    (place / "toy.json").write_text(json.dumps([{"rows": []}]))
    with pytest.raises(DataError, match=r"toy\.json"):
        sources.aggregate("toy")
