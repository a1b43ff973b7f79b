"""Titles that search their clips, layer by layer."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from bench.cli import cli
from bench.diagnostics import retrieval
from protocols.errors import UserError
from protocols.features import Features, FeatureSpace

N, D = 40, 16


def states(values, readouts, status=None):
    values = np.asarray(values, dtype=np.float16)
    space = FeatureSpace("x.layers", 1, "layers", {"readouts": readouts})
    status = np.array(["ok"] * len(values) if status is None else status, dtype=object)
    ids, empty = [f"i{k}" for k in range(len(values))], np.full(len(values), "", dtype=object)
    return Features(space, ids, values, status, empty, np.zeros(len(values), np.float32), np.ones(values.shape[1]))


@pytest.fixture
def pair():
    """Layer 0 knows nothing, layer 1 everything in the readout b; everything stands far from the origin."""
    rng = np.random.default_rng(0)
    titles = rng.normal(size=(N, 2, 1, D)) + 5
    clips = rng.normal(size=(N, 2, 2, D)) + 3
    clips[:, 1, 1] = titles[:, 1, 0] + rng.normal(scale=0.05, size=(N, D)) - 9
    return states(clips, ["a", "b"]), states(titles, ["mean"])


def test_the_layer_and_readout_that_know_the_title_are_found(pair):
    found = retrieval.by_layer(*pair, [f"title {k}" for k in range(N)])
    assert retrieval.best(found) == (1, "b")
    assert (found.loc[1, "b"] == 1).all()
    assert found.index.tolist() == [(0, "a"), (0, "b"), (1, "a"), (1, "b")]
    assert (found.loc[[(0, "a"), (0, "b"), (1, "a")]].xs("MRR", axis=1, level=1) < 0.3).all(axis=None)
    assert found.attrs == {"items": N, "chance": 1 / N}


def test_scores_are_those_of_a_loop(pair):
    clips, titles = pair
    texts = [f"title {k // 2}" for k in range(N)]  # always two items share one
    found = retrieval.by_layer(clips, titles, texts)
    for layer, name in found.index:
        sides = [titles.readout(layer, "mean"), clips.readout(layer, name)]
        left, right = [x - x.mean(axis=0) for x in sides]
        for way, (asks, holds) in zip(retrieval.DIRECTIONS, [(left, right), (right, left)], strict=True):
            ranks = []
            for at in range(N):
                cosine = holds @ asks[at] / np.linalg.norm(holds, axis=1)
                order = [texts[k] for k in np.argsort(-cosine)]
                ranks.append(1 + order.index(texts[at]))
            wanted = [np.mean(np.array(ranks) <= 1), np.mean(np.array(ranks) <= 10), np.mean(1 / np.array(ranks))]
            assert found.loc[(layer, name), way].tolist() == pytest.approx(wanted)
    assert found.attrs["chance"] == pytest.approx(2 / N)


def test_a_constant_layer_finds_nothing(pair):
    clips, titles = pair
    same = states(np.ones_like(clips.values), ["a", "b"])
    found = retrieval.by_layer(same, titles, [f"title {k}" for k in range(N)])
    assert (found.xs("R@10", axis=1, level=1) == 0).all(axis=None)  # everything scores the same


def test_items_without_title_or_clip_are_left_out(pair):
    clips, titles = pair
    status = ["missing"] * (N - 1) + ["ok"]
    with pytest.raises(UserError, match="1 item with a title and a clip"):
        retrieval.by_layer(clips, states(titles.values, ["mean"], status), ["x"] * N)


def invoke(cache, *words):
    found = CliRunner().invoke(cli, ["retrieval", *words, "--cache", str(cache)], standalone_mode=False)
    if found.exception:
        raise found.exception
    return found.stdout


def test_the_command_names_a_layer_of_the_demo(tmp_path):
    small = ["--set", "demo.clips=24", "--set", "demo.users=30", "--set", "demo.interactions=300"]
    said = invoke(tmp_path, "--extractor", "hidden-states", *small)
    assert said.startswith("demo (simulated data): titles and clips of 24 items, pocket")
    assert "single-layer:" in said.splitlines()[-1]
    content = json.loads(invoke(tmp_path, "--extractor", "hidden-states", "--json", *small))
    assert (content["items"], len(content["rows"])) == (24, 4 * 4)
    assert {"layer", "readout", "title to clip R@1"} <= set(content["rows"][0])
    assert f"layer {content['best']['layer']}, readout {content['best']['readout']}:" in said


def test_an_extractor_without_layers_is_refused(tmp_path):
    with pytest.raises(UserError, match="makes no layers"):
        invoke(tmp_path, "--extractor", "captions")
