"""Parts of an extraction: which items, in which batches, and that the parts make up the whole."""

import hashlib
import itertools
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.media.hashed_file import HashedFile
from feature_extractors.pipeline import sharding
from feature_extractors.pipeline.run import run_stage
from feature_extractors.pipeline.sharding import BLOCK, batches, blocks, choose, parse_shard
from feature_extractors.pipeline.stage import Stage, stage_inputs, text_inputs, video_inputs
from protocols.errors import UserError
from protocols.features import FeatureSpace

TEXT = FeatureSpace("part.text", 1, "text", {})
VECTOR = FeatureSpace("part.vector", 1, "vector", {})
COUNT = 3 * BLOCK + 10


class Chain:
    """Two stages of different batch sizes; each value depends on who else is in the batch."""

    def __init__(self, sizes=(8, 32)):
        self.sizes, self.calls = sizes, []

    def upper(self, texts):
        self.calls.append(("text", len(texts)))
        return [f"{text} with {hashlib.md5(repr(texts).encode()).hexdigest()}" for text in texts]

    def vectors(self, texts):
        self.calls.append(("vector", len(texts)))
        return np.stack([np.frombuffer(hashlib.sha256(f"{t}{texts}".encode()).digest(), np.uint8) for t in texts])

    def run(self, root, count=COUNT, **how):
        ids = [f"i{k:04d}" for k in range(count)]
        titles = [None if k % 17 == 3 else f"title {k}" for k in range(count)]
        context = ExtractContext(root, **how)
        text = Stage(TEXT, "text", self.sizes[0], lambda: self.upper)
        words = run_stage(text, text_inputs(ids, titles, "title"), context)
        vector = Stage(VECTOR, "vector", self.sizes[1], lambda: lambda batch: self.vectors(batch).astype("f4"))
        return words, run_stage(vector, stage_inputs(words), context)


def names(numbers):
    return frozenset(f"i{k:04d}" for k in numbers)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return Chain().run(tmp_path_factory.mktemp("whole"))


def digests(found):
    return [features.digest for features in found]


@given(st.sets(st.text(max_size=3), min_size=1, max_size=300), st.integers(1, 7), st.integers(1, 100))
def test_shards_are_a_partition_into_whole_batches(ids, count, size):
    ids = sorted(ids)
    parts = [choose(ids, shard=(at, count)) for at in range(count)]
    assert sorted(itertools.chain(*parts)) == ids
    sizes = [sum(ids[block[0]] in part for block in blocks(ids)) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    cut = list(batches(ids, size))
    assert sorted(itertools.chain(*cut)) == list(range(len(ids)))
    for batch, part in itertools.product(cut, parts):
        assert len({ids[at] in part for at in batch}) == 1
    assert max(map(len, cut)) <= min(size, BLOCK)


def test_the_choice():
    ids = [f"i{k}" for k in range(9)]
    assert choose(ids) is None
    assert choose(ids[::-1], limit=2) == {"i0", "i1"}
    assert choose(ids, items=["i8", "i3", "i5"], limit=2) == {"i3", "i5"}
    assert choose(ids, limit=99) == set(ids)
    with pytest.raises(UserError, match="2 of 3 named items are not there, the first is '03'"):
        choose(ids, items=["i3", "x", "03"])
    with pytest.raises(UserError, match="a limit of 0"):
        choose(ids, limit=0)
    assert parse_shard("3/4") == (3, 4)
    for bad in ("4/4", "1", "a/b", "-1/4", "0/0", "1/2/3", ""):
        with pytest.raises(UserError, match="expected i/n"):
            parse_shard(bad)


def test_shards_one_after_the_other_make_up_the_whole(tmp_path, whole):
    chain = Chain()
    for at in (2, 0, 1):
        ids = [f"i{k:04d}" for k in range(COUNT)]
        only = choose(ids, shard=(at, 3))
        found = chain.run(tmp_path, only=only, part=f"{at}of3")[1]
        done = {one for one, ok in zip(found.item_ids, found.ok, strict=True) if ok}
        assert done >= {one for one in only if int(one[1:]) % 17 != 3}
    assert sum(size for kind, size in chain.calls if kind == "text") == whole[0].ok.sum()  # nothing twice
    assert digests(Chain().run(tmp_path, overwrite="never")) == digests(whole)


def test_shards_at_the_same_time_make_up_the_whole(tmp_path, whole):
    ids, errors = [f"i{k:04d}" for k in range(COUNT)], []
    together = threading.Barrier(3)

    def fill(at):
        class Waiting(Chain):
            def upper(self, texts):
                if not self.calls:
                    together.wait(60)  # three runs inside of one space: the lock of a part does not shut out others
                return super().upper(texts)

        try:
            Waiting().run(tmp_path, only=choose(ids, shard=(at, 3)), part=f"{at}of3")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=fill, args=(at,)) for at in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert digests(Chain().run(tmp_path, overwrite="never")) == digests(whole)


@pytest.mark.parametrize("sizes", [(8, 32), (7, 20)])
def test_parts_of_batches_in_any_order_make_up_the_whole(tmp_path, sizes):
    expected = digests(Chain(sizes).run(tmp_path / "whole"))
    rng = np.random.default_rng(5)
    left = set(range(COUNT))
    for _ in range(6):
        chosen = set(rng.choice(sorted(left), min(len(left), 30), replace=False).tolist())
        found = Chain(sizes).run(tmp_path / "parts", only=names(chosen))[1]
        assert all(found.status[at] in ("ok", "missing") for at in chosen)
        assert {at for at in chosen if at % 17 != 3} <= set(np.flatnonzero(found.ok).tolist())
        left -= chosen
    Chain(sizes).run(tmp_path / "parts", only=names(left))
    chain = Chain(sizes)
    assert digests(chain.run(tmp_path / "parts")) == expected
    # texts that changed with their batch are new to the second stage; the first one has nothing left to do
    assert {kind for kind, _ in chain.calls} <= {"vector"}
    chain.calls.clear()
    assert digests(chain.run(tmp_path / "parts", overwrite="never")) == expected
    assert digests(chain.run(tmp_path / "parts")) == expected
    assert chain.calls == []


def test_a_part_computes_no_more_than_it_is_asked_for(tmp_path):
    chain = Chain()
    words, found = chain.run(tmp_path, only=names([0, 1, 70]))
    assert chain.calls == [("text", 2), ("text", 1), ("vector", 2), ("vector", 1)]
    assert set(found.reason[[2, 72]]) == {"not extracted: outside of what was asked for"}
    assert (found.status[2], found.status[3]) == ("missing", "missing")
    assert words.ok.sum() == 3
    chain.run(tmp_path, only=names([0, 1, 70]))
    assert len(chain.calls) == 4


def test_never_computes_nothing_and_writes_nothing(tmp_path, whole):
    chain = Chain()
    found = chain.run(tmp_path, overwrite="never")[1]
    assert not found.ok.any()
    assert chain.calls == []
    assert found.reason[0] == "not in the store, and nothing is to be extracted"
    assert [path.suffix for path in tmp_path.rglob("*")] == []
    Chain().run(tmp_path)
    assert digests(chain.run(tmp_path, overwrite="never")) == digests(whole)


def test_missing_computes_what_is_not_there_and_what_failed(tmp_path, whole):
    class Stumbling(Chain):
        def upper(self, texts):
            if "title 5" in texts:
                raise RuntimeError("out of luck")
            return super().upper(texts)

    words, found = Stumbling().run(tmp_path)
    assert (words.status[5], found.status[5]) == ("error", "error")
    assert "out of luck" in found.reason[5]
    chain = Chain()
    chain.run(tmp_path)
    assert chain.calls == []  # without retry an error is an outcome like others
    assert digests(chain.run(tmp_path, overwrite="missing", retry=True)) == digests(whole)
    assert [size for kind, size in chain.calls] == [7, 30]  # one batch in each stage; items 3 and 20 have no title
    assert digests(chain.run(tmp_path, overwrite="missing", retry=True)) == digests(whole)
    assert len(chain.calls) == 2


def test_always_computes_everything_that_is_asked_for(tmp_path, whole):
    Chain().run(tmp_path)
    chain = Chain()
    assert digests(chain.run(tmp_path, overwrite="always")) == digests(whole)
    assert sum(size for kind, size in chain.calls if kind == "text") == whole[0].ok.sum()
    assert sum(size for kind, size in chain.calls if kind == "vector") == whole[1].ok.sum()
    chain.calls.clear()
    assert digests(chain.run(tmp_path, overwrite="always", only=names([0]))) == digests(whole)
    assert chain.calls == [("text", 7), ("vector", 30)]


def test_only_files_near_what_is_asked_for_are_read(tmp_path, monkeypatch):
    read = []

    def hashed(path, root):
        read.append((path, root))
        return HashedFile(path, root, "h", None)

    monkeypatch.setattr("feature_extractors.pipeline.stage.hash_file", hashed)
    ids = [f"i{k:04d}" for k in range(COUNT)]
    source = ItemSource(ids, [None] * COUNT, [tmp_path / one for one in ids], root=tmp_path)
    inputs = video_inputs(source, ExtractContext(tmp_path, only=names([BLOCK + 1])))
    assert [path.name for path, _ in read] == ids[BLOCK : 2 * BLOCK]
    assert {root for _, root in read} == {tmp_path}
    assert [key == "h" for key in inputs.content] == [BLOCK <= at < 2 * BLOCK for at in range(COUNT)]
    assert inputs.failures[0].reason == "not extracted: outside of what was asked for"
    assert sharding.beside(ids, None) == set(range(COUNT))
