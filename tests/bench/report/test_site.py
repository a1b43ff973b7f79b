"""The site that is written from records: what its pages hold, without a browser."""

import json
import re
from html.parser import HTMLParser

import pytest

from bench import records
from bench.boards import leaderboard
from bench.boards.cell_results import read_cells
from bench.report import figures, layers, run_figures, site, text
from bench.report.explanations import leaning, read, write
from protocols.errors import DataError, UserError

HOSTILE = "<script>alert(1)</script>&\x1b]"


class Page(HTMLParser):
    """Tags, and everything that a page would load."""

    def __init__(self, content):
        super().__init__()
        self.tags, self.loads, self.text = [], [], []
        self.feed(content)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [value for key, value in attrs if key in ("src", "href", "action", "srcset")]

    def handle_data(self, data):
        self.text.append(data)


def pages(folder):
    return {path.name: Page(path.read_text()) for path in folder.glob("*.html")}


@pytest.fixture
def layered(write_cell):
    """Runs of single layers 0 to 2 (the later, the better), of learned weights, and of the id model."""
    shape = {"shape": [3, 2, 8], "coverage": 1.0}
    for layer in range(2):
        write_cell("sasrec", "states", f"gate/{layer}", lift=0.02 * layer, features=shape)
    write_cell("sasrec", "states", "gate/last", lift=0.04, features=shape)
    weights = {"layer_weights": [0.1, 0.2, 0.7]}
    write_cell("sasrec", "states", "gate/softmax", lift=0.05, features=shape, training=weights)
    write_cell("sasrec", "id", "id")


def runs_of(folder):
    runs = read_cells(records.find(folder))
    return leaderboard.build(path for run in runs for path in run.found), {run.cell.id: run for run in runs}


def test_a_board_and_a_page_for_each_run_that_load_nothing_from_elsewhere(write_cell, tmp_path):
    write_cell("sasrec", "captions", "gate", simulated=True)
    write_cell("sasrec", "id", "id", simulated=True)
    index = site.write(tmp_path, tmp_path / "site")
    found = pages(index.parent)
    assert len(found) == 3
    for page in found.values():
        assert text.SIMULATED in " ".join(page.text)
        for target in page.loads:
            assert target in ("data:,", "#main") or (index.parent / target.partition("#")[0]).is_file(), target
    links = [target for target in found["index.html"].loads if target.startswith("run-")]
    assert sorted(links) == sorted(name for name in found if name.startswith("run-"))


def test_boards_of_different_fingerprints_get_pages_of_their_own(write_cell, tmp_path):
    write_cell("sasrec", "id", "id", board="../../a")
    write_cell("sasrec", "captions", "gate", board="b<b>")
    index = site.write(tmp_path, tmp_path / "site")
    boards = [target for target in pages(index.parent)["index.html"].loads if target.startswith("board-")]
    assert len(boards) == 2
    assert all((index.parent / target).is_file() for target in boards)
    assert not list(tmp_path.parent.glob("*.html"))


def test_hostile_names_stay_text(write_cell, tmp_path):
    write_cell(
        "sasrec", HOSTILE, "gate", features={"space": HOSTILE, "coverage": 1.0, "degenerate": HOSTILE},
        passed={"set": HOSTILE}, environment={"packages": {HOSTILE: HOSTILE}},
    )  # fmt: skip
    found = pages(site.write(tmp_path, tmp_path / "site").parent)
    assert len(found) == 2
    for name, page in found.items():
        raw = (tmp_path / "site" / name).read_text()
        assert "<script>alert" not in raw
        assert "\x1b" not in raw
        assert "<script>alert(1)</script>" in " ".join(page.text)


def test_figures_carry_the_numbers_of_the_board(layered, tmp_path):
    board, runs = runs_of(tmp_path)
    drawn = {one.id: one for one in figures.of_board(board, runs)}
    assert {"bars", "warm-cold", "folds"} <= drawn.keys()
    bar = drawn["bars"].content["data"][0]
    assert bar["x"] == [row.mean["ndcg@10"] for row in board.rows]
    assert [x + e for x, e in zip(bar["x"], bar["error_x"]["array"], strict=True)] == pytest.approx(
        [row.high["ndcg@10"] for row in board.rows]
    )
    lines = drawn["folds"].content["data"]
    row = next(row for row in board.rows if row.fusion == "gate/last")
    assert [len(line["y"]) for line in lines] == [2] * len(board.rows)
    assert row.label in [line["name"] for line in lines]


def test_the_layer_curve_joins_single_layers_in_order_and_shows_joined_ones_as_levels(layered, tmp_path):
    board, runs = runs_of(tmp_path)
    single, joined = layers.curve(board, runs).content["data"]
    assert single["x"] == [0, 1, 2]  # `last` of three layers is layer 2
    by_fusion = {row.fusion: row.mean["hr@10"] for row in board.rows}
    assert single["y"] == [by_fusion["gate/0"], by_fusion["gate/1"], by_fusion["gate/last"]]
    assert joined["y"] == [by_fusion["gate/softmax"]] * 2
    heat = layers.of_board(board, runs).content["data"][0]
    assert heat["z"] == [pytest.approx([0.1, 0.2, 0.7])]


def test_without_layers_there_is_no_layer_picture(write_cell, tmp_path):
    write_cell("sasrec", "captions", "gate")
    board, runs = runs_of(tmp_path)
    assert layers.curve(board, runs) is None
    assert layers.of_board(board, runs) is None


def test_learning_curves_of_a_run(write_cell, tmp_path):
    curve = [{"loss": 3.0, "ndcg@10": 0.1}, {"loss": 2.0, "ndcg@10": 0.2}]
    write_cell("sasrec", "id", "id", seeds=(1, 2), training={"search_curve": curve, "refit_curve": [{"loss": 1.5}]})
    _, runs = runs_of(tmp_path)
    drawn = {one.id: one.content["data"] for one in run_figures.of_run(next(iter(runs.values())))}
    assert [line["y"] for line in drawn["search-curve"]] == [[0.1, 0.2]] * 4
    assert [line["y"] for line in drawn["refit-curve"]] == [[1.5]] * 4
    assert "slices" not in drawn  # these records hold no ranks


def test_what_explain_found_is_on_the_page_of_its_run(write_cell, tmp_path):
    path = write_cell("sasrec", "states", "gate/moe")[-1]
    items = [
        {
            "id": f"i{at}",
            "title": HOSTILE if at == 0 else f"clip {at}",
            "centre": at / 10,
            "weights": [1 - at / 40, at / 40],
        }
        for at in range(30)
    ]
    knockout = {"part": "content", "how": "zero", "value": 0.1, "cost": 0.05, "low": 0.04, "high": 0.06}
    content = {"seed": 1, "fold": 1, "origin": "kept weights", "gate": {"all": 0.75}, "knockouts": [knockout]}
    write(path, {**content, "items": items})
    assert read(path)["gate"] == {"all": 0.75}
    assert [side["items"][0]["id"] for side in leaning(items)] == ["i0", "i29"]
    folder = site.write(tmp_path, tmp_path / "site").parent
    raw = next(folder.glob("run-*.html")).read_text()
    assert "+0.0500" in raw
    assert "clip 29" in raw
    assert "<script>alert" not in raw
    write_broken = path.with_name(f"explain-{path.stem}.json")
    write_broken.write_text("{")
    with pytest.raises(DataError, match="explain"):
        read(path)


def test_embedded_figures_are_json_that_cannot_end_their_element(write_cell, tmp_path):
    write_cell("sasrec", "</script><b>", "gate")
    for path in site.write(tmp_path, tmp_path / "site").parent.glob("*.html"):
        blocks = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', path.read_text(), re.S)
        assert blocks
        for block in blocks:
            assert {"data", "layout"} <= json.loads(block).keys()


def test_no_records_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match="no records"):
        site.write(tmp_path, tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_an_unwritable_folder_is_named(write_cell, tmp_path):
    write_cell("sasrec", "id", "id")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        site.write(tmp_path, tmp_path / "file" / "site")
