"""The captions chain on 200 clips, killed at random moments, and two runs at once: the store is that of a quiet run."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.captions import Captions
from feature_extractors.pocket import CAPTIONER, TEXT_ENCODER

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

COUNT, KILLS = 200, 20

# Imports everything once, which takes long, and forks for each folder that it is told: kills shall fall into the work.
PROGRAM = """
import os
import sys
from pathlib import Path
from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.captions import Captions
from feature_extractors.models import video_captioner, text_encoder
from feature_extractors.store import lance
import transformers, sentence_transformers

lance.COMMIT_ROWS = 8  # as if there were thousands of clips: a commit at every batch
media, captioner, encoder = sys.argv[1:]
paths = sorted(Path(media).iterdir())
source = ItemSource([path.name for path in paths], [None] * len(paths), paths)
extractor = Captions(checkpoint=captioner, text_encoder=encoder, max_new_tokens=24, batch=8)
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        print("done", extractor.extract(source, ExtractContext(line.strip())).digest, flush=True)
        os._exit(0)
    print("started", pid, flush=True)
    print("ended", os.waitpid(pid, 0)[1], flush=True)
"""


class Runs:
    """A process that runs the extraction again and again, each time in a process of its own."""

    def __init__(self, media):
        command = [sys.executable, "-c", PROGRAM, str(media), str(CAPTIONER), str(TEXT_ENCODER)]
        self._parent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def start(self, root):
        self._parent.stdin.write(f"{root}\n")
        self._parent.stdin.flush()
        word, pid = self._parent.stdout.readline().split()
        assert word == "started"
        self.pid = int(pid)

    def running(self):
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def kill(self):
        """Kill it, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        while not self._parent.stdout.readline().startswith("ended"):
            pass

    def finish(self):
        """Wait for its end; the digest of what it made."""
        done, digest = self._parent.stdout.readline().split()
        assert done == "done"
        assert self._parent.stdout.readline() == "ended 0\n"
        return digest

    def close(self):
        self._parent.stdin.close()
        self._parent.wait()


@pytest.fixture(scope="module")
def media(tmp_path_factory, make_clip):
    root = tmp_path_factory.mktemp("clips")
    for k in range(COUNT):
        path = make_clip(root / f"{k:03d}.mp4", seed=k, frames=8 + k % 5)
        if k % 40 == 7:
            path.write_bytes(b"broken" * 50)
    return root


@pytest.fixture(scope="module")
def runs(media):
    pair = [Runs(media), Runs(media)]
    yield pair
    for one in pair:
        one.close()


def stored(root, media):
    """Texts and vectors as they stand in the store, and how often each item does."""
    import lance

    paths = sorted(media.iterdir())
    source = ItemSource([path.name for path in paths], [None] * len(paths), paths)
    extractor = Captions(checkpoint=str(CAPTIONER), text_encoder=str(TEXT_ENCODER), max_new_tokens=24, batch=8)
    context = ExtractContext(root, overwrite="never")
    features = extractor.texts(source, context), extractor.extract(source, context)
    ids = [lance.dataset(str(f)).to_table(columns=["item_id"])["item_id"].to_pylist() for f in root.glob("*.lance")]
    return *features, ids


def items(root):
    """Number of items in the spaces of a store, each counted once a space."""
    import lance

    stores = [lance.dataset(str(f)) for f in root.glob("*.lance") if any((f / "_versions").glob("*.manifest"))]
    return sum(len(set(one.to_table(columns=["item_id"])["item_id"].to_pylist())) for one in stores)


def commits(root):
    return len(list(root.glob("*.lance/_versions/*.manifest")))


def wait_for_work(run, root, more):
    """Wait until the store has so many more commits, or the run has ended."""
    wanted = commits(root) + more
    while commits(root) < wanted and run.running():
        time.sleep(0.01)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory, media, runs):
    root = tmp_path_factory.mktemp("quiet")
    runs[0].start(root)
    clock = time.monotonic()
    digest = runs[0].finish()
    return root, digest, (time.monotonic() - clock) / commits(root)


def test_killed_twenty_times_the_store_is_that_of_an_uninterrupted_run(tmp_path, media, runs, quiet):
    root, digest, seconds = quiet
    rng, left, finished, run = random.Random(20), [], 0, runs[0]
    for _ in range(KILLS):
        run.start(tmp_path / "store")
        # In commits, not in seconds since the start: the machine may be ten times as fast as a minute ago.
        wait_for_work(run, tmp_path / "store", rng.randrange(2))
        time.sleep(rng.uniform(0, 1.5) * seconds)
        finished += not run.running()
        run.kill()
        left.append(items(tmp_path / "store"))
    # The kills fell into the work, and what was there before each of them stayed.
    assert left == sorted(left)
    assert len(set(left)) >= KILLS // 3, left
    assert finished < KILLS // 2, left
    run.start(tmp_path / "store")
    assert run.finish() == digest
    texts, vectors, ids = stored(tmp_path / "store", media)
    expected_texts, expected_vectors, _ = stored(root, media)
    assert texts.digest == expected_texts.digest
    assert vectors.digest == expected_vectors.digest
    assert texts.status.tolist().count("undecodable") == COUNT // 40
    for column in ids:
        assert set(column) == set(texts.item_ids)


def test_two_runs_at_once_do_every_item_once(tmp_path, media, runs, quiet):
    root = quiet[0]
    for run in runs:
        run.start(tmp_path / "store")
    digests = {run.finish() for run in runs}
    assert len(digests) == 1
    texts, vectors, ids = stored(tmp_path / "store", media)
    assert [len(column) for column in ids] == [COUNT, COUNT]
    assert [len(set(column)) for column in ids] == [COUNT, COUNT]
    expected_texts, expected_vectors, _ = stored(root, media)
    assert (texts.values == expected_texts.values).mean() >= 0.99
    ok = vectors.ok
    assert (ok == expected_vectors.ok).all()
    a, b = vectors.values[ok], expected_vectors.values[ok]
    cosine = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert cosine.min() >= 1 - 1e-3
