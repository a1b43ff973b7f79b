"""Grids: their product, their plan, and the line for each cell that is done."""

import pytest
import yaml

from bench import records
from bench.runs import grid, grid_rows
from bench.runs import run as runs
from bench.runs.rows import RowSpec
from protocols.errors import UserError


def test_a_product_leaves_out_what_cannot_be():
    axes = {
        "models": ["pop", "itemknn", "sasrec", "bpr"],
        "extractors": ["id", "titles", "shuffled:captions", "hidden-states"],
        "fusions": ["replace", "gate"],
        "layers": ["softmax", "last"],
    }
    rows = grid_rows.expand(axes)
    assert rows[:2] == [RowSpec("pop"), RowSpec("itemknn")]  # no features: once
    own = [row for row in rows if row.model == "sasrec"]
    assert own == [
        RowSpec("sasrec", "id", "id"),
        *(
            RowSpec("sasrec", name, fusion)
            for name in ("titles", "shuffled:captions")
            for fusion in ("replace", "gate")
        ),
        *(RowSpec("sasrec", "hidden-states", f"{f}/{how}") for f in ("replace", "gate") for how in ("softmax", "last")),
    ]
    assert len(rows) == 2 + 2 * len(own) == len(set(rows))


def test_exclusions_match_all_their_words():
    axes = {"models": ["sasrec", "bpr"], "extractors": ["titles"], "fusions": ["replace", "gate"]}
    rows = grid_rows.expand(axes, [{"model": "bpr", "fusion": "gate"}])
    assert [(row.model, row.fusion) for row in rows] == [("sasrec", "replace"), ("sasrec", "gate"), ("bpr", "replace")]
    with pytest.raises(UserError, match="everything is excluded"):
        grid_rows.expand(axes, [{"extractor": "titles"}])


@pytest.mark.parametrize(
    ("axes", "rules", "message"),
    [
        ({"model": ["sasrec"]}, [], "did you mean 'models'"),
        ({"models": "sasrec"}, [], "grid.models must be a list"),
        ({"models": ["sasrek"]}, [], "did you mean 'sasrec'"),
        ({"extractors": ["caption"]}, [], "did you mean 'captions'"),
        ({"models": ["sasrec"]}, [{"models": "sasrec"}], "did you mean 'model'"),
    ],
)
def test_a_mistake_is_named(axes, rules, message):
    with pytest.raises(UserError, match=message):
        grid_rows.expand(axes, rules)


def test_a_plan_counts_what_is_there_and_guesses_from_what_is_most_alike(tmp_path):
    request = runs.Request(
        rows=[
            RowSpec("pop"),
            RowSpec("sasrec", "id", "id"),
            RowSpec("sasrec", "titles", "gate"),
            RowSpec("bpr", "id", "id"),
        ],
        cache=tmp_path / "cache",
        results=tmp_path / "results",
        seeds=(1, 2),
    )
    cells = [cell for cell, _, _ in runs.resolve(request)]

    def record(cell, seed, fold, seconds, status="ok"):
        made = records.Record(cell=vars(cell), key=f"{seed}{fold}", seed=seed, fold=fold, board="b", status=status)
        made.seconds = {"search": seconds, "refit": 1.0, "cpu": 99.0}
        records.write(request.results / cell.folder, made)

    record(cells[1], 1, 0, 9.0)
    record(cells[1], 1, 1, 19.0)
    record(cells[1], 3, 0, 9.0)  # of another seed: tells the time, is not asked for
    record(cells[1], 2, 0, 500.0, status="failed")
    found = {planned.label: planned for planned in grid.plan(request, folds=4)}
    assert found["pop"] == grid.PlannedCell("pop", 4, 0, None)
    assert found["sasrec id id"] == grid.PlannedCell("sasrec id id", 8, 2, 60.0)  # 6 left of 10 s
    assert found["sasrec titles gate"] == grid.PlannedCell("sasrec titles gate", 8, 0, 80.0)  # as the model's others
    assert found["bpr id id"].seconds is None


@pytest.fixture
def run_grid(bench, tmp_path):
    """A function that runs `bench grid` on a file of some content."""

    def run(content, *words):
        file = tmp_path / "grid.yaml"
        file.write_text(yaml.safe_dump(content))
        return bench("grid", file, *words, "--cache", tmp_path / "cache", "--results", tmp_path / "results")

    return run


SMALL = {
    "set": {
        "demo": {"clips": 40, "users": 60, "interactions": 900},
        "rolling-7d": {"folds": 2},
        "bpr": {"max_epochs": 2},
    },
    "grid": {"models": ["pop", "itemknn", "bpr"], "extractors": ["id", "titles"], "fusions": ["replace"]},
    "exclude": [{"model": "bpr", "extractor": "titles"}],
    "rows": [{"model": "bpr", "extractor": "random", "fusion": "add"}],
    "seeds": 2,
}


def test_a_grid_is_planned_run_and_not_run_again(run_grid, tmp_path):
    planned = run_grid(SMALL, "--plan")
    assert planned.exit_code == 0, planned.stderr
    assert "4 cells, 12 results, 0 there: time unknown" in planned.stdout
    assert not list(tmp_path.glob("results/**/*.json"))
    done = run_grid(SMALL)
    assert done.exit_code == 0, done.stderr
    assert "[4/4]" in done.stderr and "nDCG@10" in done.stderr
    for label in ("pop", "itemknn", "bpr id id", "bpr random add"):
        assert f"] {label} " in done.stderr
    assert "| bpr" in done.stdout and "0 of 12 results from earlier runs" in done.stdout
    again = run_grid(SMALL, "--seeds", "1")
    assert "4 cells, 8 results, 8 there" in again.stdout and "all 8 results served" in again.stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"grids": {}}, "did you mean 'grid'"),
        ({"seeds": 1}, "neither `grid` nor `rows`"),
        ({"grid": ["sasrec"]}, "must be a mapping of lists"),
        ({"rows": [{"modell": "pop"}]}, "rows must be a list"),
    ],
)
def test_a_file_that_cannot_be_is_refused(content, message, run_grid):
    done = run_grid(content, "--plan")
    assert done.exit_code == 2
    assert message in done.stderr
