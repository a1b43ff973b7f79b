"""By how much features of the same clip may differ: company, precision, decoder, orientation. Pocket checkpoints.

| what changes | texts | caption vectors | states |
|---|---|---|---|
| alone or in a batch of eight | the same | 1e-5 | 2e-3 of the largest (float16) |
| decord or PyAV | the same | the same bits | the same bits |
| rotated by a flag or upright in its pixels | the same | the same bits | the same bits |
| bfloat16 instead of float32 | at least 3 in 4 | cosine 0.98 where the text is the same | cosine 0.99 |
"""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.captions import Captions
from feature_extractors.hidden_states import HiddenStates
from feature_extractors.media import frame_policy, video
from feature_extractors.media.pool import DecodePool
from feature_extractors.pocket import CAPTIONER, TEXT_ENCODER
from protocols.datasets.demo.media import encode
from protocols.datasets.demo.population import Size
from protocols.datasets.demo.scene import sample_scene

CAPTIONS = Captions(checkpoint=str(CAPTIONER), text_encoder=str(TEXT_ENCODER), max_new_tokens=32, batch=8)
STATES = HiddenStates(checkpoint=str(CAPTIONER), batch=8)


def source(paths):
    return ItemSource([path.name for path in paths], [None] * len(paths), paths)


def features(paths, store, **change):
    """Texts, vectors and states."""
    context = ExtractContext(store)
    captions, states = replace(CAPTIONS, **change), replace(STATES, **change)
    return (
        captions.texts(source(paths), context),
        captions.extract(source(paths), context),
        states.extract(source(paths), context),
    )


def cosines(a, b):
    a, b = (x.reshape(-1, x.shape[-1]).astype(np.float32) for x in (a, b))
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Eight clips of the simulated world, from a stream of its own."""
    root = tmp_path_factory.mktemp("clips")
    paths = []
    for k in range(8):
        path = root / f"{k}.mp4"
        path.write_bytes(encode(sample_scene(Size(seed=0).stream("tolerances", k))))
        paths.append(path)
    return paths


@pytest.fixture(scope="module")
def usual(clips, tmp_path_factory):
    return features(clips, tmp_path_factory.mktemp("usual"))


def test_alone_or_in_a_batch_of_eight(clips, usual, tmp_path):
    texts, vectors, states = features(clips, tmp_path, batch=1)
    assert len(set(texts.values)) > 4
    assert texts.values.tolist() == usual[0].values.tolist()
    np.testing.assert_allclose(vectors.values, usual[1].values, atol=1e-5)
    largest = np.abs(usual[2].values).max(axis=(0, 2, 3), keepdims=True).astype(np.float32)
    assert (np.abs(states.values.astype(np.float32) - usual[2].values) / largest).max() < 2e-3
    # Each clip is nearer to itself than to any other: the tolerance tells clips apart.
    apart = np.abs(usual[2].values[:, None].astype(np.float32) - usual[2].values[None]).max(axis=(2, 3, 4))
    assert apart[~np.eye(8, dtype=bool)].min() / largest.max() > 1e-2


def test_half_precision(clips, usual, tmp_path):
    texts, vectors, states = features(clips, tmp_path, dtype="bfloat16")
    same = texts.values == usual[0].values
    assert same.mean() >= 0.75
    assert cosines(vectors.values, usual[1].values)[same].min() > 0.98
    assert cosines(states.values, usual[2].values).min() > 0.99
    assert (states.values != usual[2].values).any()


def test_decord_or_pyav(tmp_path, make_clip, monkeypatch):
    pytest.importorskip("decord")
    long = [make_clip(tmp_path / f"{k}.mp4", seed=k, frames=260, fps=8) for k in range(2)]
    assert [video.decode(path, frame_policy.parse("uniform:8")).decoder for path in long] == ["decord"] * 2
    fast = features(long, tmp_path / "fast")
    real = importlib.util.find_spec
    # The decoding processes look for themselves: there, a module of this name that cannot be imported stands first.
    (tmp_path / "shadow" / "decord").mkdir(parents=True)
    (tmp_path / "shadow" / "decord" / "__init__.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "shadow"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "decord" else real(name))
    with DecodePool(1, frame_policy.parse("uniform:8")) as pool:
        assert [clip.decoder for clip in pool.map(long, 2)] == ["pyav"] * 2
    slow = features(long, tmp_path / "slow")
    for one, other in zip(fast, slow, strict=True):
        assert one.space.id != other.space.id
        assert one.values.tolist() == other.values.tolist()


def test_rotated_or_upright(tmp_path, make_clip):
    import av

    turned, upright = [], []
    for k, angle in enumerate((90, 180, 270)):
        turned.append(make_clip(tmp_path / f"{k}.mp4", seed=k, frames=16, size=(96, 64), rotation=angle))
        shown = video.decode(turned[-1], frame_policy.parse("uniform:16")).frames
        upright.append(tmp_path / "upright" / f"{k}.mp4")
        upright[-1].parent.mkdir(exist_ok=True)
        with av.open(str(upright[-1]), "w") as container:
            stream = container.add_stream("libx264rgb", rate=8, options={"qp": "0"})
            stream.height, stream.width, stream.pix_fmt = *shown.shape[1:3], "rgb24"
            for image in shown:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
    assert video.decode(upright[0], frame_policy.parse("uniform:2")).frames.shape == (2, 96, 64, 3)
    for one, other in zip(features(turned, tmp_path / "t"), features(upright, tmp_path / "u"), strict=True):
        assert one.ok.all()
        assert one.values.tolist() == other.values.tolist()
