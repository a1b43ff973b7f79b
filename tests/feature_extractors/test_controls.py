"""Controls: what they give, and that listing plug-ins stays cheap."""

import json
import subprocess
import sys

import numpy as np
import pytest

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.captions import Captions
from feature_extractors.controls import Id, Mean, Random, Shuffled, Truth
from feature_extractors.real_defaults import settled
from protocols.errors import UserError


def source(ids):
    return ItemSource(ids, [None] * len(ids), [None] * len(ids))


def context(tmp_path, seed=0):
    return ExtractContext(tmp_path, seed=seed)


def test_id_has_no_features(tmp_path):
    assert Id().extract(source(["a"]), context(tmp_path)) is None


def test_random_vectors_depend_on_seed_and_item_alone(tmp_path):
    many = Random().extract(source([f"i{k}" for k in range(500)]), context(tmp_path))
    few = Random().extract(source(["i499", "i3"]), context(tmp_path))
    assert few.values.tobytes() == many.values[[499, 3]].tobytes()
    other = Random().extract(source(["i499", "i3"]), context(tmp_path, seed=1))
    assert not np.isclose(other.values, few.values).any()
    assert other.space.id != few.space.id
    assert many.values.dtype == np.float32
    assert abs(many.values.mean()) < 0.02
    assert abs(many.values.std() - 1) < 0.02
    assert Random(dim=7).extract(source(["a"]), context(tmp_path)).values.shape == (1, 7)
    assert Random.per_seed


def test_shuffled_extracts_what_it_wraps_and_deranges_it_per_fold(tmp_path):
    control = Shuffled(Random(dim=4))
    features = control.extract(source(list("abcdef")), context(tmp_path))
    assert features.digest == Random(dim=4).extract(source(list("abcdef")), context(tmp_path)).digest
    aligned = features.align(list("abcdef"), np.ones(6, bool))
    wrong = control.on_items(aligned, seed=3)
    assert (wrong.values != aligned.values).any(axis=1).all()
    assert sorted(map(tuple, wrong.values)) == sorted(map(tuple, aligned.values))
    assert not np.array_equal(wrong.values, control.on_items(aligned, seed=4).values)
    flat = Mean(Random(dim=4)).on_items(aligned, seed=3)
    assert (flat.values == flat.values[0]).all()


def test_random_takes_the_dimensions_and_the_gaps_of_what_it_stands_in_for(tmp_path, untrained):
    from feature_extractors.concat import Concat
    from feature_extractors.titles import Titles

    titles = Titles(text_encoder=str(untrained / "text_encoder"))
    items = ItemSource(["a", "b", "c"], ["red", None, "blue"], [None] * 3)
    real, noise = (one.extract(items, context(tmp_path)) for one in (titles, Random(titles, dim=5)))
    assert noise.values.shape == real.values.shape and noise.status.tolist() == real.status.tolist()
    assert not noise.values[1].any() and noise.values[[0, 2]].all() and noise.space.kind == "vector"
    control = Random(Concat((titles, Random(dim=3))))
    both = control.extract(items, context(tmp_path))
    assert [part.values.shape[1] for part in both.parts] == [real.values.shape[1], 3]
    assert both.digest != control.extract(items, context(tmp_path, seed=1)).digest
    assert control.label == "random:concat:titles+random" and control.per_seed and Random().label == "random"
    assert Random().options() == {"dim": 128} and Random(titles).options()["inner"]["name"] == "titles"
    with pytest.raises(UserError, match="has no features"):
        Random(Id())


def test_random_of_layers_is_one_vector_of_a_states_dimensions(tmp_path):
    from feature_extractors.base import Extractor
    from protocols.features import Features, FeatureSpace

    class States(Extractor):
        name, feature = "states", "layers"

        def extract(self, source, context):
            values, none = np.ones((2, 3, 2, 7), np.float16), np.array(["", ""], dtype=object)
            space = FeatureSpace("states", 1, "layers", {"readouts": ["a", "b"]})
            ok = np.array(["ok", "ok"], dtype=object)
            return Features(space, ["a", "b"], values, ok, none, np.zeros(2, np.float32), np.ones(3, np.float32))

    noise = Random(States()).extract(source(["a", "b"]), context(tmp_path))
    assert noise.values.shape == (2, 7) and noise.values.dtype == np.float32 and noise.scales is None
    assert Random(States()).feature == "vector"


def test_wrapping_follows_the_wrapped():
    control = Shuffled(settled(Captions().resolved(True)))
    assert Shuffled(Captions()).resolved(True).inner == Captions().resolved(True)
    assert control.options()["inner"]["name"] == "captions"
    assert control.options()["inner"]["prompt"] == "describe"
    assert json.dumps(control.options())
    assert not control.per_seed
    assert Shuffled(Random()).per_seed
    assert Shuffled.wraps == Mean.wraps == "inner"
    with pytest.raises(UserError, match="has no features"):
        Mean(Id())


def test_truth_needs_simulated_data(tmp_path):
    with pytest.raises(UserError, match="simulated"):
        Truth().extract(source(["a"]), context(tmp_path))


def test_truth_encodes_the_gold_description_by_item(tmp_path, untrained):
    from feature_extractors.titles import Titles

    gold = {"a": "a red ring", "b": "two blue stars"}
    items = ItemSource(["b", "a", "c"], [gold["b"], gold["a"], None], [None] * 3, truth=lambda: gold)
    encoder = str(untrained / "text_encoder")
    truth = Truth(text_encoder=encoder).extract(items, context(tmp_path))
    titles = Titles(text_encoder=encoder).extract(items, context(tmp_path))
    assert truth.status.tolist() == ["ok", "ok", "missing"]
    assert truth.values.tobytes() == titles.values.tobytes()
    assert truth.space.id != titles.space.id


def test_importing_plug_ins_is_cheap():
    program = (
        "import sys, feature_extractors.captions, feature_extractors.titles, feature_extractors.controls\n"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'lance', 'av', 'decord', 'pyarrow'}\n"
        "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
