"""From files to stored layers: what a feature of `hidden-states` is, and what is extracted again when."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from feature_extractors.base import ItemSource
from feature_extractors.hidden_states import HiddenStates
from feature_extractors.store.lance import FeatureStore
from protocols.errors import CheckpointError, UserError


@pytest.fixture(scope="module")
def clips(tmp_path_factory, make_clip):
    root = tmp_path_factory.mktemp("clips")
    return [make_clip(root / f"{seed}.mp4", seed=seed) for seed in range(6)]


@pytest.fixture
def states(untrained):
    return HiddenStates(checkpoint=str(untrained / "captioner"), batch=4)


@pytest.fixture
def loads(note_stages):
    """Counts items of stages that had something to do."""
    return note_stages(lambda name, items: items)


def source(paths):
    return ItemSource([f"item{k}" for k in range(len(paths))], [None] * len(paths), paths)


def test_a_clip_becomes_layers_by_readouts_and_is_served_from_the_store_next_time(states, clips, context, loads):
    features = states.extract(source([*clips, None]), context)
    assert features.values.dtype == np.float16
    assert features.values.shape == (7, 4, 4, 128)
    assert features.status.tolist() == ["ok"] * 6 + ["missing"]
    assert features.space.readouts == ("visual", "prompt", "last", "mean")
    assert features.space.provenance.items() >= {"family": "Qwen-VL", "layers": 4, "width": 128}.items()
    assert features.scales.tolist() == [1, 1, 1, 1]
    for layer, name in ((0, "visual"), (1, "prompt"), (2, "last"), (3, "mean")):
        assert len(np.unique(features.readout(layer, name)[:6].round(3), axis=0)) == 6
    assert not features.values[6].any()
    assert loads == [7]
    again = replace(states, batch=3).extract(source([*clips, None]), context)
    assert again.digest == features.digest
    assert loads == [7]


def test_a_changed_clip_is_read_anew_with_its_batch(states, clips, context, loads, tmp_path, make_clip):
    before = states.extract(source(clips), context)
    loads.clear()
    after = states.extract(source([*clips[:5], make_clip(tmp_path / "new.mp4", seed=77)]), context)
    assert loads == [2]
    assert (before.values[:5] == after.values[:5]).all()
    assert (before.values[5] != after.values[5]).any()


@pytest.fixture
def loud(copied):
    """Weights whose final norm multiplies by a million: no float16 can hold that layer."""
    from safetensors.torch import load_file, save_file

    path = copied / "captioner" / "model.safetensors"
    weights = {name: w.float() for name, w in load_file(path).items()}
    weights["model.norm.weight"] *= 1e6
    save_file(weights, path, metadata={"format": "pt"})
    return copied / "captioner"


def test_a_layer_that_float16_cannot_hold_is_stored_with_a_scale(states, clips, context, loud):
    plain, scaled = (s.extract(source(clips), context) for s in (states, replace(states, checkpoint=str(loud))))
    assert scaled.ok.all()
    assert np.isfinite(scaled.values).all()
    assert scaled.scales[:3].tolist() == [1, 1, 1]
    assert scaled.scales[3] > 1
    for name in plain.space.readouts:
        expected = plain.readout(3, name) * np.float32(1e6)
        found = scaled.readout(3, name)
        assert np.abs(expected).max() > 65504
        # both were rounded to 11 bits, the small numbers of a scaled layer to steps of the scale
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=scaled.scales[3] * 1e-3)
    assert replace(states, checkpoint=str(loud)).extract(source(clips), context).digest == scaled.digest
    rows = FeatureStore(context.store, scaled.space).take([0])
    assert rows[0].scales[3] > 1
    wrong = replace(rows[0], scales=rows[0].scales * 2)
    store = FeatureStore(context.store, replace(scaled.space, version=99))
    assert store._table([wrong])["check"] != store._table(rows)["check"]


def test_states_beyond_the_models_own_arithmetic_are_an_error_and_not_infinite(states, clips, context, loud):
    with pytest.raises(UserError, match="no item has a feature") as caught:
        from bench.runs import run

        run.extract(replace(states, checkpoint=str(loud), dtype="float16"), source(clips[:2]), context)
    assert "not finite" in str(caught.value)


def test_checkpoints_that_cannot_serve_are_refused_before_anything_is_decoded(
    states, clips, context, untrained, copied
):
    with pytest.raises(UserError, match="'bert' is no model of transformers"):
        replace(states, checkpoint=str(untrained / "text_encoder")).extract(source(clips), context)
    assert not context.progress.tasks
    path = copied / "captioner" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        replace(states, checkpoint=str(copied / "captioner")).extract(source(clips), context)


def test_two_sizes_and_a_repeat_in_another_folder_give_the_same(states, clips, context, tmp_path):
    moved = [shutil.copy(clip, tmp_path / f"other {clip.stem}.mp4") for clip in clips]
    one = states.extract(source(clips), context)
    two = states.extract(source(moved), replace(context, store=tmp_path / "two", workers=2))
    assert one.digest == two.digest
