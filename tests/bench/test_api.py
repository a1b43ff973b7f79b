"""The commands as functions: a script from rows to a table, as a notebook would hold it."""

import json

import pandas as pd
import pytest

import bench
from bench.notebook import Leaderboard
from protocols.errors import UserError

QUICK = {"protocol": {"folds": 2}, "sasrec": {"dim": 8, "max_epochs": 2, "min_epochs": 1}}


def test_a_script_from_a_grid_to_a_table(tiny_world, tmp_path, capsys):
    places = {"cache": tmp_path / "c", "results": tmp_path / "r"}
    made = bench.grid(
        ["sasrec", "pop"],
        ["id", "random", "shuffled:random"],
        dataset="tiny",
        seeds=[1, 3],
        options=QUICK,
        jobs=1,
        **places,
    )
    frame = made.to_pandas()
    labels = {"sasrec id id", "sasrec random gate", "sasrec shuffled:random gate", "pop"}
    assert {" ".join(w for w in row if w != "-") for row in frame[["model", "extractor", "fusion"]].values} == labels
    assert frame["ndcg@10"].is_monotonic_decreasing and frame["ndcg@10"].between(0, 1).all()
    assert (frame["ndcg@10_low"] <= frame["ndcg@10"]).all() and set(frame["seeds"]) == {0, 2}

    again = bench.board(places["results"], cache=places["cache"])
    pd.testing.assert_frame_equal(again.to_pandas(), frame)
    assert again.board.id == made.board.id
    paired = bench.compare("sasrec/random/gate", "sasrec/id", results=places["results"]).to_pandas()
    own = frame.set_index("extractor").loc["random"]
    assert paired["effect"].item() == pytest.approx(own["minus_id"])
    assert len(bench.load_results(places["results"])) == 14
    assert "sasrec random gate" in str(made) and r"\begin{tab" in made.to_latex()
    json.dumps(frame.to_dict("records"))
    assert not capsys.readouterr().out


def test_a_result_shows_itself_in_a_notebook(write_cell, tmp_path):
    name = "ev<script>alert(1)</script>"
    for extractor, lift in (("id", 0), (name, 0.05), (f"shuffled:{name}", 0)):
        write_cell("sasrec", extractor, "id" if extractor == "id" else "gate", seeds=(1, 2, 3, 4, 5), lift=lift)
    found = bench.board(tmp_path, cache=tmp_path / "cache")
    assert isinstance(found, Leaderboard)
    page = found._repr_html_()
    assert found.verdict[0].endswith("(5 seeds).") and "<script>" not in page and "minus_shuffled" in page
    chart = found.plot()
    assert chart._repr_svg_().startswith("<svg") and chart.save(tmp_path / "a.svg").read_text() == chart
    assert "<table" in bench.compare("sasrec/id", f"sasrec/{name}", results=tmp_path)._repr_html_()


def test_features_of_a_dataset(tmp_path):
    made = bench.extract("random", dataset="ml-100k", options={"random": {"dim": 4}}, cache=tmp_path)
    assert made.values.shape == (1682, 4) and made.ok.all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: bench.run("sasrek"), "did you mean 'sasrec'"),
        (lambda: bench.run("sasrec", "captions", "gat"), "gate"),
        (lambda: bench.run("sasrec", options={"sasrec": {"dmi": 3}}), "dim"),
        (lambda: bench.run("sasrec", options={"sasrec": 3}), "by plug-in name"),
        (lambda: bench.grid(seeds=[0, 1]), "from 1 on"),
        (lambda: bench.extract("captoins"), "captions"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(call, words):
    with pytest.raises(UserError, match=words):
        call()
