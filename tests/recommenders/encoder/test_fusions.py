"""The registry of fusions: how they are written, and which features and models they fit."""

import pytest
from torch import nn

from protocols.errors import UserError
from recommenders.bpr import BPR
from recommenders.content_mean import ContentMean
from recommenders.encoder import fusion_layers
from recommenders.encoder.fusions import FUSIONS, Fusion, check
from recommenders.sasrec import SASRec

WRITTEN = ("gate", "add/12@last", "gate/softmax", "replace/moe:2", "gate/moe-user:11@mean", "gate/-1")
WRONG_TOPS = tuple(
    (f"gate/{way}", "number of layers to keep") for way in ("moe:", "moe:0", "moe:x", "softmax:2", "3:1")
)


def test_a_fusion_is_read_as_it_is_written():
    assert Fusion.parse("add/12@last") == Fusion("add", "12", "last")
    assert Fusion.parse("add/12@last").layer == 12 and Fusion.parse("gate/last").layer == -1
    assert Fusion.parse("gate/softmax").layer is None
    assert Fusion.parse("gate/moe:2") == Fusion("gate", "moe", "", 2)
    assert [str(Fusion.parse(text)) for text in WRITTEN] == list(WRITTEN)
    assert Fusion.parse("gate/softmax").chosen_readout(["visual", "mean"]) == "mean"
    assert Fusion.parse("gate/softmax").chosen_readout(["visual", "last"]) == "visual"
    for wrong, message in (
        ("gat", "did you mean 'gate'"),
        ("gate/", "layers"),
        ("gate/mo", "did you mean 'moe'"),
        *WRONG_TOPS,
    ):
        with pytest.raises(UserError, match=message):
            Fusion.parse(wrong)


def test_every_fusion_names_its_layer():
    for kind in FUSIONS.values():
        assert issubclass(getattr(fusion_layers, kind.layer), nn.Module) and kind.summary.startswith("x = ")


@pytest.mark.parametrize(
    ("fusion", "model", "feature", "views"),
    [
        ("gate", SASRec(), "vector", 1),
        ("gate/moe-user", SASRec(), "layers", 1),
        ("gate/12", BPR(), "layers", 1),
        ("gate", BPR(), "-", 1),  # an extractor without features: ids alone
        ("cross-attention", BPR(), "vector", 2),
        ("replace/last", ContentMean(), "layers", 1),
    ],
)
def test_what_fits_passes(fusion, model, feature, views):
    check(Fusion.parse(fusion), model, "captions", feature, views)


@pytest.mark.parametrize(
    ("fusion", "model", "feature", "views", "message", "remedy"),
    [
        ("id", SASRec(), "vector", 1, "fusion 'id' uses none", "--fusion replace, add,"),
        ("gate", SASRec(), "layers", 1, "does not say what becomes of the layers", "--fusion gate/softmax"),
        ("gate/softmax", SASRec(), "vector", 1, "no layers to choose among", "--fusion gate"),
        ("gate/moe-user", BPR(), "layers", 1, "cannot be weighed by user", "--fusion gate/moe"),
        ("cross-attention", SASRec(), "vector", 1, "two views of an item, and extractor 'captions' holds 1", "concat:"),
        ("gate", ContentMean(), "vector", 1, "in one way: fusion 'gate'", "--fusion replace"),
        ("replace", ContentMean(), "-", 1, "in one way: fusion 'id'", "extractor of features"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_type(fusion, model, feature, views, message, remedy):
    with pytest.raises(UserError, match=message) as caught:
        check(Fusion.parse(fusion), model, "captions", feature, views)
    assert remedy in caught.value.remedy
