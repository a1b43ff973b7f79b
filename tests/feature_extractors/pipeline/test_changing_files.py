"""Clips that vanish, change or come back during an extraction: nothing is stored of other bytes than those hashed."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.media import frame_policy
from feature_extractors.media.pool import DecodePool
from feature_extractors.pipeline.run import run_stage
from feature_extractors.pipeline.stage import Stage, Vanished, video_inputs
from feature_extractors.store.lance import FeatureStore, Row
from protocols.errors import DataError
from protocols.features import FeatureSpace

SPACE = FeatureSpace("colours.vector", 1, "vector", {})
POLICY = frame_policy.parse("uniform:2")
COUNT = 24


def colours(clips):
    return np.stack([clip.frames.mean(axis=(0, 1, 2), dtype=np.float32) for clip in clips])


class Colours:
    """Extractor of mean colours that calls back once the files are hashed, and before each batch."""

    def __init__(self, hashed=lambda: None, before=lambda batch: None):
        self.hashed, self.before, self.batches = hashed, before, 0

    def extract(self, source, context):
        inputs = video_inputs(source, context)
        self.hashed()

        def model():
            return self.run

        reader = lambda workers: DecodePool(workers, POLICY, inputs.files)  # noqa: E731
        return run_stage(Stage(SPACE, "colours", 2, model, reader), inputs, context)

    def run(self, clips):
        self.before(self.batches)
        self.batches += 1
        return colours(clips)


@pytest.fixture
def source(tmp_path, make_clip):
    ids = [f"{k:02}" for k in range(COUNT)]
    folder = tmp_path / "clips"
    clips = [make_clip(folder / f"{one}.mp4", seed=int(one), frames=4) for one in ids]
    return ItemSource(ids, [None] * COUNT, clips, root=folder)


def stored(context):
    """Rows by (item, content)."""
    store = FeatureStore(context.store, SPACE)
    index = store.index()
    if index is None:
        return {}
    rows = store.take(range(len(index)))
    return {(row.item_id, row.content): row for row in rows}


def test_a_folder_that_vanishes_ends_the_run_and_leaves_nothing_behind(source, context):
    away = source.root.with_name("away")
    with pytest.raises(DataError, match="6 items in a row have vanished") as raised:
        Colours(hashed=lambda: source.root.rename(away)).extract(source, context)
    assert "network mount" in raised.value.remedy
    assert stored(context) == {}
    away.rename(source.root)
    assert Colours().extract(source, context).ok.all()


def test_a_folder_that_vanishes_between_stages_ends_the_run(source, context):
    video_inputs(source, context)
    source.root.rename(source.root.with_name("away"))
    with pytest.raises(DataError, match="reading media files: the files of 6 items"):
        video_inputs(source, context)


def test_clips_that_were_never_there_end_nothing(source, context):
    shutil.rmtree(source.root)
    features = Colours().extract(source, context)
    assert set(features.status) == {"missing"}
    assert set(features.reason) == {"no such file"}


def test_replaced_truncated_and_deleted_clips_are_not_stored_until_they_are_read_anew(source, context, spoken):
    first, second, third = source.videos[:3]
    original = third.read_bytes()

    def trouble():
        shutil.copy(source.videos[5], first)
        second.unlink()
        third.write_bytes(original[: len(original) // 2])

    features = Colours(hashed=trouble).extract(source, context)
    assert list(features.status[:4]) == ["error", "missing", "error", "ok"]
    assert features.reason[0] == "the file holds other bytes than when it was hashed"
    assert features.reason[1] == "vanished since it was hashed: no such file"
    assert {item for item, _ in stored(context)} == set(source.item_ids[3:])
    assert "colours: nothing is stored of 3 items whose files vanished or changed; run again for them" in spoken.lines

    third.write_bytes(original)
    context = replace(context, files={})
    again = Colours().extract(source, context)
    assert list(again.status[:4]) == ["ok", "missing", "ok", "ok"]
    assert again.values[0].tobytes() == again.values[5].tobytes()


def test_a_missing_row_of_an_earlier_run_does_not_count_when_the_file_is_there(source, context):
    inputs = video_inputs(source, context)
    store = FeatureStore(context.store, SPACE)
    store.describe()
    store.add([Row(one, content, "missing", "no such file", 0.0, None) for one, content in _keys(inputs)])
    store.commit()
    assert Colours().extract(source, context).ok.all()


def _keys(inputs):
    return zip(inputs.item_ids, inputs.content, strict=True)


def test_a_few_vanished_files_are_no_vanished_folder():
    vanished = Vanished("stage")
    gone = Row("a", "", "missing", "", 0.0, None, passing=True)
    for outcome in [gone] * 5 + [None] + [gone] * 5 + [replace(gone, passing=False)] + [gone] * 5:
        vanished.note("a", outcome)
    with pytest.raises(DataError):
        vanished.note("a", gone)


# Moves, truncates and replaces clips at random. A file always holds some quarters of one of the originals.
MOVER = """
import os, random, shutil, sys, time
from pathlib import Path
originals, clips = sorted(Path(sys.argv[1]).iterdir()), Path(sys.argv[2])
paths, away = sorted(clips.iterdir()), clips.with_name("away")
away.mkdir()
rng = random.Random(int(sys.argv[3]))
while True:
    path = rng.choice(paths)
    spare = away / path.name
    kind = rng.randrange(6)
    if kind == 0 and path.exists():
        path.replace(spare)
    elif kind == 1 and spare.exists():
        spare.replace(path)
    elif kind == 2 and path.exists():
        size = path.stat().st_size
        whole = next(o.stat().st_size for o in originals if o.read_bytes().startswith(path.read_bytes()))
        os.truncate(path, min(size, whole * rng.randrange(4) // 4))
    elif kind == 3:
        content = rng.choice(originals).read_bytes()
        with path.open("wb", buffering=0) as out:
            for part in range(4):
                out.write(content[len(content) * part // 4 : len(content) * (part + 1) // 4])
                time.sleep(rng.random() * 0.01)
    else:
        copy = away / "copy"
        copy.write_bytes(rng.choice(originals).read_bytes())
        copy.replace(path)
    time.sleep(rng.random() * 0.3)
"""


@pytest.mark.slow
def test_every_stored_vector_is_that_of_its_hash_whatever_happens_to_the_clips(source, tmp_path, make_clip):
    seconds = float(os.environ.get("CHANGING_FILES_SECONDS", "20"))
    originals = tmp_path / "originals"
    shutil.copytree(source.root, originals)
    context = ExtractContext(tmp_path / "store", workers=2)
    mover = subprocess.Popen([sys.executable, "-c", MOVER, str(originals), str(source.root), "1"])
    runs = vanished = 0
    try:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                Colours().extract(source, replace(context, files={}))
            except DataError:
                vanished += 1
            runs += 1
    finally:
        assert mover.poll() is None
        mover.kill()
        mover.wait()
    expected = _expected(originals, tmp_path / "parts")
    rows = stored(context)
    done = [row for row in rows.values() if row.status == "ok"]
    print(f"{runs} runs, {vanished} ended; {len(rows)} rows, {len(done)} with a vector")
    assert len(done) > COUNT
    for (item, content), row in rows.items():
        if content:
            vector = expected[content]
            assert (row.status == "ok") == (vector is not None), (item, row)
            assert vector is None or row.value.tobytes() == vector.tobytes(), item


def _expected(originals, folder):
    """Vector of every content that a clip may have had, or None, by its hash."""
    folder.mkdir()
    paths = []
    for original in originals.iterdir():
        whole = original.read_bytes()
        for part in range(1, 5):
            paths.append(folder / f"{original.stem}-{part}.mp4")
            paths[-1].write_bytes(whole[: len(whole) * part // 4])
    with DecodePool(2, POLICY) as pool:
        clips = list(pool.map(paths, 8))
    vectors = [colours([clip])[0] if hasattr(clip, "frames") else None for clip in clips]
    hashes = [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths]
    return dict(zip(hashes, vectors, strict=True))
