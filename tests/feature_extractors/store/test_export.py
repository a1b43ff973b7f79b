"""Spaces on disk: listed, found by name, exported and read back, verified row by row, deleted."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from filelock import FileLock

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.published import Published, PublishedTexts
from feature_extractors.store import catalogue, verify
from feature_extractors.store import export as exports
from feature_extractors.store.lance import FeatureStore, Row
from protocols.errors import DataError, UserError
from protocols.features import FeatureSpace

TEXT = FeatureSpace("toy.text", 1, "text", {"parents": [], "prompt": "Say\n```\nwhat"}, {"checkpoints": ["m"]})
VECTOR = FeatureSpace("toy.vector", 2, "vector", {"parents": [TEXT.id]}, {"checkpoints": ["m", "e"]})
LAYERS = FeatureSpace("toy.layers", 1, "layers", {"readouts": ["a", "b"]})
IDS = ["é 猫", "a/../b", "1", "=cmd()", "x\ny"]
VALUES = {
    "text": [f"text of {one}" for one in IDS],
    "vector": list(np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)),
    "layers": list(np.random.default_rng(0).standard_normal((5, 4, 2, 3)).astype(np.float16)),
}


def fill(root, space, rows=None):
    store = FeatureStore(root, space)
    store.describe()
    values = VALUES[space.kind]
    given = [Row(one, "c", "ok", "", 0.5, value) for one, value in zip(IDS, values, strict=True)]
    given += [Row("gone", "", "missing", "no such file", 0.0, None), Row("bad", "c", "undecodable", "x", 0.1, None)]
    store.add(given if rows is None else rows)
    store.commit()
    return catalogue.find(root, space.id)


@pytest.fixture(params=[TEXT, VECTOR, LAYERS], ids=lambda space: space.kind)
def entry(request, tmp_path):
    return fill(tmp_path / "store", request.param)


def plain(entry):
    return dict(zip(IDS, VALUES[entry.space.kind], strict=True))


def test_spaces_are_listed_and_found_by_an_unambiguous_beginning(tmp_path):
    assert catalogue.find_all(tmp_path / "nowhere") == []
    for space in (TEXT, VECTOR, LAYERS):
        fill(tmp_path, space)
    (tmp_path / "notes.txt").write_text("none of ours")
    assert [entry.id for entry in catalogue.find_all(tmp_path)] == sorted([TEXT.id, VECTOR.id, LAYERS.id])
    assert catalogue.find(tmp_path, "toy.t").id == TEXT.id
    assert catalogue.find(tmp_path, "toy.t").space == TEXT
    with pytest.raises(UserError, match="fits 3 feature spaces"):
        catalogue.find(tmp_path, "toy")
    with pytest.raises(UserError, match=f"did you mean '{VECTOR.id}'"):
        catalogue.find(tmp_path, VECTOR.id[:-2] + "zz")
    for name in ("", "../store", "*"):
        with pytest.raises(UserError):
            catalogue.find(tmp_path, name)
    assert catalogue.children(tmp_path, TEXT.id) == [VECTOR.id]
    assert catalogue.find(tmp_path, "toy.v").bytes > 500
    assert catalogue.find(tmp_path, "toy.v").written.year >= 2024


def test_index_has_the_last_row_of_each_item(tmp_path):
    entry = fill(tmp_path, TEXT)
    fill(tmp_path, TEXT, [Row("1", "other", "ok", "", 2.0, "newer"), Row("gone", "c", "ok", "", 0.0, "found")])
    index = catalogue.read_index(entry.store)
    assert index.item_ids == sorted([*IDS, "gone", "bad"])
    assert index.counts == {"ok": 6, "undecodable": 1}
    assert (index.rows, index.versions) == (9, 2)
    values = {row.item_id: row.value for part in catalogue.read_ok(entry.store, index) for row in part}
    assert values == {**plain(entry), "1": "newer", "gone": "found"}


@pytest.mark.parametrize("form", ["npy", "parquet", "hf"])
def test_export_is_read_back_as_it_was(entry, tmp_path, form, monkeypatch):
    monkeypatch.setattr(catalogue, "CHUNK_BYTES", 2048)  # two rows at a time
    monkeypatch.setattr(exports, "FILE_BYTES", 1)
    kind, folder = entry.space.kind, tmp_path / "deep" / "out"
    if (kind, form) == ("text", "npy"):
        with pytest.raises(UserError, match="no array"):
            exports.export(entry, folder, form)
        return
    done = exports.export(entry, folder, form)
    assert (done.items, done.left_out) == (5, 2)
    left = [json.loads(line) for line in (folder / "left_out.jsonl").read_text().splitlines()]
    assert {one["item_id"]: one["status"] for one in left} == {"gone": "missing", "bad": "undecodable"}
    if form == "npy":
        name = "vectors" if kind == "vector" else "layers"
        ids = json.loads((folder / f"{name}.ids.json").read_text())
        values = np.load(folder / f"{name}.npy", allow_pickle=False)
        got = dict(zip(ids, values, strict=True))
    else:
        files = sorted(folder.glob("data/*")) if form == "hf" else [folder / "features.parquet"]
        assert [f.name for f in files] == (
            [f"train-0000{k}-of-00003.parquet" for k in range(3)] if form == "hf" else ["features.parquet"]
        )
        rows = [row for file in files for row in pq.read_table(file).to_pylist()]
        got = {row["item_id"]: row[kind] for row in rows}
    assert list(got) == sorted(IDS)
    for one, value in plain(entry).items():
        assert got[one] == value if kind == "text" else np.array_equal(np.asarray(got[one], value.dtype), value)
    assert [path.name for path in folder.parent.iterdir()] == ["out"]
    again = {"npy": "vectors.npy", "parquet": "features.parquet", "hf": ""}[form]
    context, source = ExtractContext(tmp_path / "other"), ItemSource(sorted(IDS), [None] * 5, [None] * 5)
    if kind == "vector" and form != "hf":
        found = Published(str(folder / again)).extract(source, context)
        assert found.values.tobytes() == np.stack([plain(entry)[one] for one in sorted(IDS)]).tobytes()
    if kind == "text":
        found = PublishedTexts(path=str(folder / again)).texts(source, context)
        assert list(found.values) == [plain(entry)[one] for one in sorted(IDS)]


def test_card_says_how_every_stage_was_made(tmp_path):
    fill(tmp_path, TEXT)
    entry = fill(tmp_path, VECTOR)
    about = {"summary": "What\nit is", "licence": "MIT", "paper": ""}
    exports.export(entry, tmp_path / "out", "hf", about)
    card = (tmp_path / "out" / "README.md").read_text()
    front, _, body = card.removeprefix("---\n").partition("---\n")
    assert yaml.safe_load(front)["configs"][0]["data_files"] == [{"split": "train", "path": "data/*.parquet"}]
    assert "- summary: What it is\n" in body
    blocks = [json.loads(part.partition("\n```\n")[0]) for part in body.split("```json\n")[1:]]
    assert [block["config"] for block in blocks] == [VECTOR.config, TEXT.config]
    assert blocks[0]["provenance"] == VECTOR.provenance
    assert blocks[0]["made_with"]["numpy"] == np.__version__
    assert "5 ok, 1 missing, 1 undecodable" in body
    (tmp_path / f"{TEXT.id}.json").unlink()
    exports.export(entry, tmp_path / "again", "npy")
    assert "has no description of it" in (tmp_path / "again" / "README.md").read_text()


def test_export_refuses_to_overwrite_and_leaves_nothing_behind_when_it_fails(tmp_path, monkeypatch):
    entry = fill(tmp_path / "store", VECTOR)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    for target in ("out", "out/mine"):
        with pytest.raises(UserError, match="not an empty folder"):
            exports.export(entry, tmp_path / target, "npy")
    (tmp_path / "out" / "mine").unlink()
    monkeypatch.setattr(exports.card, "render", lambda facts: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        exports.export(entry, tmp_path / "new", "npy")
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "store"]
    assert exports.export(entry, tmp_path / "out", "npy").items == 5
    nothing = fill(tmp_path / "store", FeatureSpace("n", 1, "text", {}), [Row("a", "", "missing", "x", 0.0, None)])
    with pytest.raises(UserError, match="no item has a feature"):
        exports.export(nothing, tmp_path / "n", "hf")


@pytest.mark.parametrize("form", ["npy", "parquet", "hf"])
def test_layers_beyond_float16_are_refused_and_not_written_without_their_scale(tmp_path, form):
    values, ones = VALUES["layers"], np.ones(4, dtype=np.float32)
    rows = [Row(one, "c", "ok", "", 0.5, value, ones) for one, value in zip(IDS, values, strict=True)]
    exports.export(fill(tmp_path / "fits", LAYERS, rows), tmp_path / "out", form)
    rows[2] = Row(IDS[2], "c", "ok", "", 0.5, values[2], ones * 4)
    with pytest.raises(UserError, match="beyond float16"):
        exports.export(fill(tmp_path / "large", LAYERS, rows), tmp_path / "no", form)
    assert not (tmp_path / "no").exists()


def corrupt(entry, needle):
    """Change one byte of what is stored, so that Lance still reads it."""
    for path in entry.folder.glob("data/*.lance"):
        content = path.read_bytes()
        if needle in content:
            at = content.index(needle) + 3
            path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
            return
    raise AssertionError("not stored in plain")


def test_verify_finds_a_changed_byte_and_names_the_row(entry):
    assert verify.verify(entry.store).ok
    value = VALUES[entry.space.kind][2]
    corrupt(entry, value.encode() if isinstance(value, str) else value.tobytes())
    found = verify.verify(entry.store)
    assert not found.ok
    assert found.damaged == ["item '1': the checksum does not fit"]
    assert (found.rows, found.items, found.counts["ok"]) == (7, 7, 4)
    done = exports.export(entry, entry.root / "out", "parquet")
    assert (done.items, done.left_out) == (4, 3)
    entry.store.add([Row("1", "c", "ok", "", 0.5, value)])
    store = entry.store
    store.add([Row("1", "c", "ok", "", 0.5, value)])
    store.commit()
    mended = verify.verify(entry.store)
    assert (mended.ok, mended.mended, mended.repeated) == (True, 1, 1)


def test_verify_finds_rows_that_break_a_rule(tmp_path):
    rows = [
        Row("a", "c", "ok", "", 0.0, np.ones(3, np.float32)),
        Row("b", "c", "ok", "", 0.0, np.ones(4, np.float32)),
        Row("c", "c", "ok", "", 0.0, None),
        Row("d", "c", "missing", "", 0.0, np.ones(3, np.float32)),
        Row("e", "c", "fine", "", 0.0, None),
        Row("f", "c", "ok", "", 0.0, np.array([1, np.nan, 2], np.float32)),
    ]
    found = verify.verify(fill(tmp_path, VECTOR, rows).store)
    reasons = dict(line.removeprefix("item ").split(": ", 1) for line in found.damaged)
    assert reasons == {
        "'b'": "shape (4,), others have (3,)",
        "'c'": "status 'ok' without a value",
        "'d'": "status 'missing' with a value",
        "'e'": "unknown status 'fine'",
        "'f'": "a number that is not finite",
    }


def test_verify_names_files_that_cannot_be_read_and_goes_on(tmp_path):
    entry = fill(tmp_path, TEXT)
    fill(tmp_path, TEXT, [Row(f"more {k}", "c", "ok", "", 0.0, "y" * 20) for k in range(9)])
    first = min(entry.folder.glob("data/*.lance"), key=lambda path: path.stat().st_mtime_ns)
    first.write_bytes(b"\0" * first.stat().st_size)
    found = verify.verify(entry.store)
    assert not found.ok
    assert found.items == 9
    assert len(found.problems) == 1
    assert first.name in found.problems[0]
    shutil.rmtree(entry.folder / "data")
    assert not verify.verify(entry.store).ok
    for manifest in entry.folder.glob("_versions/*"):
        manifest.write_bytes(b"\0" * 64)
    found = verify.verify(entry.store)
    assert entry.id in found.problems[0]


def test_delete_takes_one_space_and_waits_for_nobody(tmp_path):
    keep, entry = fill(tmp_path, TEXT), fill(tmp_path, VECTOR)
    for name in (f"{VECTOR.id}.lock", f"{VECTOR.id}.0of2.lock"):
        with FileLock(str(tmp_path / name)), pytest.raises(UserError, match="another run is filling"):
            catalogue.delete(entry)
    assert verify.verify(entry.store).ok
    assert catalogue.delete(entry) > 500
    assert [one.id for one in catalogue.find_all(tmp_path)] == [keep.id]
    assert not (tmp_path / f"{VECTOR.id}.json").exists()


def test_delete_never_follows_a_link(tmp_path):
    entry = fill(tmp_path / "store", VECTOR)
    entry.folder.rename(tmp_path / "elsewhere")
    entry.folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="cannot be deleted"):
        catalogue.delete(entry)
    assert any((tmp_path / "elsewhere" / "data").iterdir())


def test_a_space_without_its_description_is_listed_and_can_be_deleted(tmp_path):
    entry = fill(tmp_path, VECTOR)
    for content in ("{", "[]", json.dumps({**json.loads((tmp_path / f"{VECTOR.id}.json").read_text()), "version": 9})):
        (tmp_path / f"{VECTOR.id}.json").write_text(content)
        lost = catalogue.find(tmp_path, VECTOR.id)
        assert (lost.space, lost.extractor) == (None, "toy.vector")
        with pytest.raises(DataError, match="no readable description"):
            _ = lost.store
    catalogue.delete(entry)
    assert catalogue.find_all(tmp_path) == []
    assert Path(os.fspath(tmp_path)).exists()
