"""The site that is written from records: what its pages hold, without a browser."""

import base64
import json
import re
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from bench import records
from bench.boards import leaderboard
from bench.boards.cell_results import CellResults, read_cells
from bench.publishing import publish
from bench.report import board_charts, board_view, differing, layers, links, run_charts, site, text, user_values
from bench.report.explanations import leaning, read, write
from protocols.errors import DataError, UserError

HOSTILE = "<script>alert(1)</script>&\x1b]"


class Page(HTMLParser):
    """Tags, and everything that a page would load."""

    def __init__(self, content):
        super().__init__()
        self.tags, self.loads, self.text, self.links, self.ids = [], [], [], [], []
        self.feed(content)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        given = dict(attrs)
        self.ids.append(given.get("id"))
        if tag == "a" and given["href"].startswith("https://"):
            assert given["rel"] == "noopener noreferrer"
            self.links.append(given["href"])
            return
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
    assert len(found) == 4
    cards = found.pop("checkpoints.html")
    assert "https://huggingface.co/BAAI/bge-large-en-v1.5" in cards.links
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
    assert len(found) == 3
    del found["checkpoints.html"]
    for name, page in found.items():
        raw = (tmp_path / "site" / name).read_text()
        assert "<script>alert" not in raw
        assert "\x1b" not in raw
        assert "<script>alert(1)</script>" in " ".join(page.text)


def test_a_rank_has_its_interval_beside_it_where_that_is_another_number(write_cell, tmp_path):
    for at, extractor in enumerate(("captions", "titles", "x")):  # the first two overlap
        write_cell(f"model{at}", extractor, "gate", lift=-0.1 * (at > 1))
    (board,) = leaderboard.boards(tmp_path)
    runs = {run.cell.id: run for run in read_cells(records.find(tmp_path))}
    view = board_view.make(board, runs, "b", "board-b.html", "", set())
    ranks = [line.cells[0] for line in view.lines]
    assert view.columns[0].title == "rank"
    assert [(one.text, one.more) for one in ranks] == [("1", "[1, 2]"), ("2", "[1, 2]"), ("3", "")]


def test_charts_carry_the_numbers_of_the_board(layered, tmp_path):
    board, runs = runs_of(tmp_path)
    drawn = {one.id: one for one in board_charts.of_board(board, runs)}
    assert {"ranking", "warm-cold", "folds", "heat"} <= drawn.keys()
    points = drawn["ranking"].content["series"][0]["points"]
    assert [one["x"] for one in points] == [row.mean["ndcg@10"] for row in board.rows]
    assert [one["high"] for one in points] == [row.high["ndcg@10"] for row in board.rows]
    assert [one["key"] for one in points] == [row.cell for row in board.rows]
    lines = drawn["folds"].content["series"]
    row = next(row for row in board.rows if row.fusion == "gate/last")
    assert [len(line["points"]) for line in lines] == [2] * len(board.rows)
    assert row.label in [line["name"] for line in lines]


def test_the_ceiling_is_a_line_and_no_row_of_the_charts(write_cell, tmp_path):
    write_cell("sasrec", "id", "id")
    write_cell("oracle", "-", "-", lift=0.2)
    board, runs = runs_of(tmp_path)
    drawn = {one.id: one.content for one in board_charts.of_board(board, runs)}
    (ceiling,) = [row for row in board.rows if row.model == "oracle"]
    assert drawn["ranking"]["lines"] == [{"name": "oracle", "x": ceiling.mean["ndcg@10"], "key": ceiling.cell}]
    for content in drawn.values():
        keys = [part.get("key") or one.get("key") for part in content["series"] for one in part["points"]]
        assert ceiling.cell not in keys


def test_costs_are_the_variants_of_one_chart_also_those_that_it_does_not_know(write_cell, tmp_path, monkeypatch):
    features = {"coverage": 1.0, "seconds_per_item": 0.5}
    write_cell("sasrec", "captions", "gate", features=features, seconds={"search": 3.0})
    write_cell("sasrec", "id", "id", seconds={"search": 2.0})
    board, _ = runs_of(tmp_path)
    monkeypatch.setitem(board_charts.COSTS, "joules", "energy J")
    board.rows[0].costs["joules"] = 7.0
    variants = board_charts.costs(board).variants
    assert {"training, seconds a seed", "extraction, seconds an item", "energy J"} == variants.keys()
    assert [one["x"] for one in variants["energy J"]["series"][0]["points"]] == [7.0]
    assert variants["energy J"]["front"]


def test_the_heat_map_holds_differences_to_the_shuffled_control(write_cell, tmp_path):
    write_cell("sasrec", "captions", "gate", lift=0.05)
    write_cell("sasrec", "shuffled:captions", "gate")
    write_cell("sasrec", "id", "id")
    board, _ = runs_of(tmp_path)
    variants = board_charts.features_by_models(board).variants
    (cell,) = variants["minus the shuffled control"]["cells"]
    row = next(row for row in board.rows if row.extractor == "captions")
    assert (cell["row"], cell["column"], cell["mark"]) == ("captions", "sasrec", "*")
    assert cell["value"] == row.delta_vs_shuffled["value"]


def test_values_of_users_are_means_over_seeds_in_steps(write_cell, tmp_path):
    write_cell("sasrec", "captions", "gate", seeds=(1, 2), users=5)
    write_cell("sasrec", "id", "id", seeds=(1, 2), users=4)
    runs = read_cells(records.find(tmp_path))
    packed = json.loads(json.dumps(user_values.packed(runs)))
    assert sorted(zip(packed["folds"], packed["users"], strict=True)) == [
        (f, f"u{u}") for f in (0, 1) for u in range(5)
    ]
    for run in runs:
        row = run.values("ndcg@10")
        values = dict(zip(zip(row.fold, row.user, strict=True), row.values.mean(axis=0), strict=True))
        found = np.frombuffer(base64.b64decode(packed["cells"][run.cell.id]), "<u2")
        for fold, user, value in zip(packed["folds"], packed["users"], found, strict=True):
            known = values.get((fold, user))
            assert (
                value == user_values.ABSENT
                if known is None
                else value / packed["steps"] == pytest.approx(known, abs=1e-4)
            )


def test_published_boards_have_the_same_values_of_users(write_cell, tmp_path):
    write_cell("sasrec", "captions", "gate", seeds=(1, 2), users=5, simulated=True)
    write_cell("sasrec", "id", "id", seeds=(1, 2), users=5, simulated=True)
    before = user_values.packed(read_cells(records.find(tmp_path)))
    publish.publish(tmp_path, tmp_path / "boards")
    after = user_values.packed(read_cells(records.find(tmp_path / "boards")))
    assert sorted(before["cells"].values()) == sorted(after["cells"].values())


def test_boards_are_told_apart_by_what_differs():
    def runs(board, version="1", **options):
        cell = records.Cell("toy", "rolling-7d", "pop", "-", "-", {"dataset": options})
        record = records.Record(cell=asdict(cell), key="k", seed=0, fold=0, board=board, dataset={"version": version})
        return [CellResults(cell, board, {Path("x"): record})]

    assert differing.names([runs("a", weight=1)]) == [""]
    assert differing.names([runs("a", weight=1, size=5), runs("b", weight=2, size=5)]) == ["weight 1", "weight 2"]
    assert differing.names([runs("a", "1"), runs("b", "2"), runs("c", "2", weight=3)]) == [
        "version 1", "version 2", "version 2, weight 3",
    ]  # fmt: skip
    assert differing.names([runs("aa"), runs("bb")]) == ["board aa", "board bb"]


def test_papers_and_cards_are_linked(write_cell, tmp_path):
    made = {"provenance": {"checkpoints": ["BAAI/bge-large-en-v1.5", HOSTILE]}, "coverage": 1.0}
    write_cell("sasrec", "titles", "gate", features=made)
    write_cell("sasrec", "id", "id")
    folder = site.write(tmp_path, tmp_path / "site").parent
    found = pages(folder)
    assert "https://arxiv.org/abs/2309.07597" in found["index.html"].links
    target = next(one for one in found["index.html"].loads if one.startswith("checkpoints.html#"))
    assert target.partition("#")[2] in found["checkpoints.html"].ids
    assert links.linked("Kang and McAuley, ICDM 2018") == [("Kang and McAuley, ICDM 2018", "")]
    assert "<script>alert" not in (folder / "index.html").read_text()


def test_a_site_from_the_cache_is_the_same_site(write_cell, tmp_path):
    write_cell("sasrec", "captions", "gate")
    write_cell("sasrec", "id", "id")
    made = [site.write(tmp_path / "toy", tmp_path / name, cache=tmp_path / "cache").parent for name in ("a", "b")]
    made.append(site.write(tmp_path / "toy", tmp_path / "c").parent)
    contents = [{path.name: path.read_text() for path in folder.glob("*.*")} for folder in made]
    assert contents[0] == contents[1] == contents[2]


def test_the_layer_curve_joins_single_layers_in_order_and_shows_joined_ones_as_levels(layered, tmp_path):
    board, runs = runs_of(tmp_path)
    single, joined = layers.curve(board, runs).content["series"]
    assert [one["x"] for one in single["points"]] == [0, 1, 2]  # `last` of three layers is layer 2
    by_fusion = {row.fusion: row.mean["hr@10"] for row in board.rows}
    assert [one["y"] for one in single["points"]] == [by_fusion[f"gate/{layer}"] for layer in (0, 1, "last")]
    assert [one["y"] for one in joined["points"]] == [by_fusion["gate/softmax"]] * 2
    heat = layers.of_board(board, runs).content["cells"]
    assert [one["value"] for one in heat] == pytest.approx([0.1, 0.2, 0.7])


def test_without_layers_there_is_no_layer_picture(write_cell, tmp_path):
    write_cell("sasrec", "captions", "gate")
    board, runs = runs_of(tmp_path)
    assert layers.curve(board, runs) is None
    assert layers.of_board(board, runs) is None


def test_learning_curves_of_a_run(write_cell, tmp_path):
    curve = [{"loss": 3.0, "ndcg@10": 0.1}, {"loss": 2.0, "ndcg@10": 0.2}]
    write_cell("sasrec", "id", "id", seeds=(1, 2), training={"search_curve": curve, "refit_curve": [{"loss": 1.5}]})
    _, runs = runs_of(tmp_path)
    drawn = {one.id: one.content for one in run_charts.of_run(next(iter(runs.values())))}

    def heights(name):
        return [[one["y"] for one in line["points"]] for line in drawn[name]["series"]]

    assert heights("search-curve") == [[0.1, 0.2]] * 4
    assert heights("refit-curve") == [[1.5]] * 4
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


def test_embedded_charts_are_json_that_cannot_end_their_element(write_cell, tmp_path):
    curve = [{"loss": 2.0, "ndcg@10": 0.1}]
    write_cell("sasrec", "</script><b>", "gate", training={"search_curve": curve})
    folder = site.write(tmp_path, tmp_path / "site").parent
    found = [folder / "index.html", *folder.glob("run-*.html")]
    assert len(found) == 2
    for path in found:
        blocks = re.findall(r'<script type="application/json">(.*?)</script>', path.read_text(), re.S)
        assert blocks
        for block in blocks:
            assert all(content["kind"] in ("dots", "plane", "heat") for _, content in json.loads(block))


def test_no_records_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match="no records"):
        site.write(tmp_path, tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_an_unwritable_folder_is_named(write_cell, tmp_path):
    write_cell("sasrec", "id", "id")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        site.write(tmp_path, tmp_path / "file" / "site")
