"""The store: what is written is read, and what is damaged is noticed."""

import multiprocessing
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from feature_extractors.store import lance as stores
from feature_extractors.store import repair
from feature_extractors.store.lance import DamagedStoreError, FeatureStore, Row
from protocols.errors import DataError, UserError
from protocols.features import FeatureSpace

TEXT = FeatureSpace("test.text", 1, "text", {"prompt": "x"})
VECTOR = FeatureSpace("test.vector", 1, "vector", {"dim": 3})
LAYERS = FeatureSpace("test.layers", 1, "layers", {"layers": 2})


def row(item_id, value, content="c", status="ok", reason=""):
    return Row(item_id, content, status, reason, 0.5, value)


def fill(store, rows):
    store.add(rows)
    store.commit()


@pytest.mark.parametrize(
    ("space", "values"),
    [
        (TEXT, ["a cat", "naïve 猫\n\0"]),
        (VECTOR, [np.array([1.5, -2, 3], np.float32), np.array([0, 1e-30, np.pi], np.float32)]),
        (LAYERS, [np.arange(12, dtype=np.float16).reshape(2, 2, 3), np.ones((2, 2, 3), np.float16)]),
    ],
)
def test_values_of_every_kind_come_back_as_they_went_in(tmp_path, space, values):
    store = FeatureStore(tmp_path, space)
    fill(store, [row("b/../ö", values[0]), row("a", None, "", "missing", "no such file"), row("c", values[1])])
    found = store.read(["a", "b/../ö", "c", "d"], ["", "c", "c", "c"])
    assert found[3] is None
    assert (found[0].status, found[0].reason, found[0].value) == ("missing", "no such file", None)
    for got, value in zip(found[1:3], values, strict=True):
        if isinstance(value, str):
            assert got.value == value
        else:
            assert got.value.dtype == value.dtype
            assert got.value.shape == value.shape
            assert got.value.tobytes() == value.tobytes()
    assert found[1].seconds == 0.5


def test_only_the_very_content_counts_and_the_last_row_wins(tmp_path):
    store = FeatureStore(tmp_path, TEXT)
    fill(store, [row("a", "old bytes", "1"), row("b", "first", "1")])
    fill(store, [row("a", "new bytes", "2"), row("b", "second", "1")])
    assert store.read(["a", "a", "a", "b"], ["1", "2", "3", "1"])[2] is None
    assert [r.value for r in store.read(["a", "a", "b"], ["1", "2", "1"])] == ["old bytes", "new bytes", "second"]


def test_commits_are_few_and_compaction_keeps_every_row(tmp_path, monkeypatch):
    import lance

    store = FeatureStore(tmp_path, TEXT)
    for start in range(0, 1200, 32):
        store.add([row(f"i{k}", str(k)) for k in range(start, start + 32)])
    store.commit()
    assert len(lance.dataset(store.uri).versions()) == 3
    for k in range(stores.COMPACT_FROM):
        fill(store, [row(f"late{k}", str(k))])
    store.compact()
    assert len(lance.dataset(store.uri).get_fragments()) == 1
    assert all(store.read([f"i{k}" for k in range(1200)], ["c"] * 1200))


def test_a_commit_is_due_after_thirty_seconds(tmp_path, monkeypatch):
    store = FeatureStore(tmp_path, TEXT)
    clock = iter([0.0, 29.0, 31.0]).__next__
    monkeypatch.setattr(stores.time, "monotonic", clock)
    store.add([row("a", "x")])
    assert store.read(["a"], ["c"]) == [None]
    store.add([row("b", "y")])
    monkeypatch.undo()
    assert all(store.read(["a", "b"], ["c", "c"]))


def test_uri_works_like_a_folder(tmp_path):
    store = FeatureStore(tmp_path.as_uri(), VECTOR)
    store.describe()
    fill(store, [row("a", np.ones(3, np.float32))])
    assert FeatureStore(tmp_path, VECTOR).read(["a"], ["c"])[0].value.tolist() == [1, 1, 1]
    assert '"extractor": "test.vector"' in (tmp_path / f"{VECTOR.id}.json").read_text()


def test_folder_left_by_a_kill_before_the_first_commit_is_empty_not_damaged(tmp_path):
    store = FeatureStore(tmp_path, TEXT)
    (Path(store.uri) / "data").mkdir(parents=True)
    (Path(store.uri) / "data" / "orphan.lance").write_bytes(b"half a file")
    assert store.read(["a"], ["c"]) == [None]
    fill(store, [row("a", "x")])
    assert store.read(["a"], ["c"])[0].value == "x"


def damaged(tmp_path, which):
    store = FeatureStore(tmp_path, TEXT)
    for part in range(3):
        fill(store, [row(f"{part}-{k}", f"text {part} {k}") for k in range(50)])
    folder = Path(store.uri)
    if which == "data":
        victims = [sorted(folder.glob("data/*.lance"), key=lambda p: p.stat().st_mtime_ns)[1]]
    elif which == "lost":
        sorted(folder.glob("data/*.lance"), key=lambda p: p.stat().st_mtime_ns)[1].unlink()
        victims = []
    else:
        # newest version last: names count down
        victims = sorted(folder.glob("_versions/*.manifest"))
        victims = victims[:1] if which == "manifest" else victims
    for victim in victims:
        victim.write_bytes(b"\xa5" * victim.stat().st_size)
    return store


@pytest.mark.parametrize(("which", "kept"), [("data", 100), ("lost", 100), ("manifest", 100), ("manifests", 0)])
def test_damage_is_set_aside_with_what_was_readable_kept(tmp_path, which, kept):
    store = damaged(tmp_path, which)
    ids = [f"{part}-{k}" for part in range(3) for k in range(50)]
    with pytest.raises(DamagedStoreError) as caught:
        store.read(ids, ["c"] * 150)
    lines = []
    repair.set_aside(store, caught.value, lines.append)
    found = store.read(ids, ["c"] * 150)
    assert sum(r is not None for r in found) == kept
    assert all(r is None or r.value == "text {} {}".format(*i.split("-")) for i, r in zip(ids, found, strict=True))
    aside = [p for p in tmp_path.iterdir() if ".damaged-" in p.name]
    assert len(aside) == 1
    assert store.uri in lines[0]
    assert aside[0].name in lines[0]
    assert f"{kept} readable rows" in lines[0]


def test_damage_that_cannot_be_renamed_names_folder_and_remedy(tmp_path):
    store = FeatureStore(tmp_path.as_uri(), TEXT)
    with pytest.raises(DataError, match=TEXT.id) as caught:
        repair.set_aside(store, DamagedStoreError("broken"), print)
    assert "move that folder away" in caught.value.remedy


def test_bytes_that_changed_unnoticed_by_lance_are_noticed_here(tmp_path, monkeypatch):
    store = FeatureStore(tmp_path, VECTOR)
    real = stores._check
    monkeypatch.setattr(stores, "_check", lambda r, v: real(r, v) + (r.item_id == "b"))
    fill(store, [row(i, np.ones(3, np.float32)) for i in "abc"])
    monkeypatch.undo()
    assert [r is None for r in store.read(list("abc"), ["c"] * 3)] == [False, True, False]


def test_folder_that_cannot_be_made_is_the_users_to_change(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written") as caught:
        FeatureStore(tmp_path / "file" / "features", TEXT)
    assert "--cache" in caught.value.remedy


FULL = """
import resource, sys
import numpy as np
from feature_extractors.store.lance import FeatureStore, Row
from protocols.errors import UserError
from protocols.features import FeatureSpace
store = FeatureStore(sys.argv[1], FeatureSpace("test.vector", 1, "vector", {}))
rows = lambda name: [Row(f"{name}{k}", "c", "ok", "", 0.0, np.random.rand(64).astype("f4")) for k in range(100)]
store.add(rows("a")); store.commit()
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    store.add(rows("b")); store.commit()
except UserError as error:
    print(error, "|", error.remedy)
print(sum(r is not None for r in store.read([f"a{k}" for k in range(100)], ["c"] * 100)))
"""


def test_a_full_disk_is_said_and_earlier_commits_stay(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "cannot be written: the file would be larger than the system allows | free some space" in done.stdout
    assert done.stdout.split()[-1] == "100"


@pytest.mark.parametrize(
    ("said", "reason"),
    [("IO: No space left on device (os error 28)", "no space left"), ("Permission denied (os error 13)", "permission")],
)
def test_disk_errors_of_lance_become_ours(tmp_path, monkeypatch, said, reason):
    import lance

    def refuse(*args, **kwargs):
        raise OSError(f"LanceError({said})")

    monkeypatch.setattr(lance.LanceDataset, "commit", refuse)
    with pytest.raises(UserError, match=reason):
        fill(FeatureStore(tmp_path, TEXT), [row("a", "x")])
    monkeypatch.undo()
    fill(FeatureStore(tmp_path, TEXT), [row("a", "x")])
    monkeypatch.setattr(lance, "write_dataset", refuse)
    with pytest.raises(UserError, match=reason):
        fill(FeatureStore(tmp_path, TEXT), [row("b", "x")])


def test_a_conflict_is_tried_again(tmp_path, monkeypatch):
    import lance

    real, calls = lance.write_dataset, []

    def conflicting(*args, **kwargs):
        calls.append(kwargs)
        if len(calls) < 4:
            raise OSError("Commit conflict for version 2")
        return real(*args, **kwargs)

    store = FeatureStore(tmp_path, TEXT)
    fill(store, [row("a", "x")])
    monkeypatch.setattr(lance, "write_dataset", conflicting)
    fill(store, [row("b", "y")])
    assert len(calls) == 4
    assert [found.value for found in store.read(["a", "b"], ["c", "c"])] == ["x", "y"]


def test_of_several_first_commits_none_is_replaced(tmp_path):
    for trial in range(10):
        together = threading.Barrier(4)

        def create(name, root=tmp_path / str(trial), together=together):
            store = FeatureStore(root, TEXT)
            together.wait(60)
            fill(store, [row(name, name)])

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(create, "abcd"))
        assert all(FeatureStore(tmp_path / str(trial), TEXT).read("abcd", "cccc"))


def append_many(root, name):
    store = FeatureStore(root, TEXT)
    for k in range(20):
        fill(store, [row(f"{name}{k}", f"{name} {k}"), row(f"both{k}", "same")])


def test_writers_without_a_lock_lose_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=append_many, args=(tmp_path, name)) for name in "xy"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
        assert writer.exitcode == 0
    ids = [f"{name}{k}" for name in ("x", "y", "both") for k in range(20)]
    assert all(FeatureStore(tmp_path, TEXT).read(ids, ["c"] * 60))
