"""`concat:X+Y`: what it takes, what it makes of its parts, and the parts' own words on a fold."""

import json

import numpy as np
import pytest

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.captions import Captions
from feature_extractors.concat import Concat
from feature_extractors.controls import Id, Random, Shuffled
from feature_extractors.hidden_states import HiddenStates
from feature_extractors.titles import Titles
from protocols.errors import UserError

IDS = list("abcdefgh")


def extracted(extractor, tmp_path, seed=0):
    nothing = [None] * len(IDS)
    return extractor.extract(ItemSource(IDS, nothing, nothing), ExtractContext(tmp_path, seed=seed))


def test_it_is_named_and_keyed_by_its_parts():
    made = Concat((Captions(), Titles()))
    assert made.label == "concat:captions+titles" and not made.per_seed
    assert [part["name"] for part in made.options()["parts"]] == ["captions", "titles"]
    assert json.dumps(made.options())
    assert made.resolved(True).parts == (Captions().resolved(True), Titles().resolved(True))
    assert Shuffled(made).label == "shuffled:concat:captions+titles"
    assert Concat((Titles(), Random())).per_seed and Shuffled(Concat((Titles(), Random()))).per_seed


def test_vectors_of_the_parts_stand_side_by_side(tmp_path):
    made = extracted(Concat((Random(dim=3), Shuffled(Random(dim=3)))), tmp_path)
    own = extracted(Random(dim=3), tmp_path)
    assert np.array_equal(made.values, np.concatenate([own.values, own.values], axis=1))
    assert made.space.id.startswith("concat-v1-")


def test_a_control_inside_changes_its_own_part_alone(tmp_path):
    extractor = Concat((Random(dim=3), Shuffled(Random(dim=3))))
    aligned = extracted(extractor, tmp_path).align(IDS, np.ones(len(IDS), dtype=bool))
    found = extractor.on_items(aligned, seed=5)
    assert np.array_equal(found.values[:, :3], aligned.values[:, :3])
    expected = aligned.parts[1].shuffled(5).values
    assert np.array_equal(found.values[:, 3:], expected)
    assert not (expected == aligned.values[:, 3:]).all(axis=1).any()
    whole = Shuffled(extractor).on_items(aligned, seed=5)
    assert np.array_equal(whole.values, found.shuffled(5).values)


def test_parts_without_a_say_leave_a_fold_as_it_is(tmp_path):
    made = extracted(Concat((Random(dim=3), Shuffled(Random(dim=3)))), tmp_path)
    aligned = made.align(IDS, np.ones(len(IDS), dtype=bool))
    assert Concat((Captions(), Titles())).on_items(aligned, seed=5) is aligned


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((), "two extractors or more"),
        ((Titles(),), "two extractors or more"),
        ((Titles(), Id()), "'id' makes no features"),
        ((Titles(), HiddenStates()), "'hidden-states' makes a vector a layer"),
        ((Titles(), Concat((Captions(), Random()))), "joined vectors"),
        ((Titles(), Titles()), "joins different extractors"),
    ],
)
def test_what_cannot_be_joined_is_refused(parts, message):
    with pytest.raises(UserError, match=message):
        Concat(parts)
