"""Vectors and texts that somebody else has made: every format, and every way in which they can be wrong."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench import registry
from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.published import Published, PublishedTexts
from protocols.errors import DataError, UserError

IDS = ["001", "7", "a/../b", "é 猫", 'x"\n']
VALUES = np.arange(20, dtype=np.float32).reshape(5, 4) / 7
COUNT = np.arange(20).reshape(5, 4)[[IDS.index(one) for one in sorted(IDS)]]  # in the order of the source


def source(ids=IDS):
    return ItemSource(sorted(ids), [None] * len(ids), [None] * len(ids))


def npy(folder, ids=IDS, values=VALUES, kind="json"):
    np.save(folder / "v.npy", values)
    text = json.dumps(ids) if kind == "json" else "\r\n".join(ids) + "\r\n"
    (folder / f"v.ids.{kind}").write_bytes(text.encode("utf-8-sig" if kind == "txt" else "utf-8"))
    return folder / "v.npy"


def npz(folder, ids=IDS, values=VALUES):
    np.savez(folder / "v.npz", ids=np.array(ids), vectors=values)
    return folder / "v.npz"


def safetensors(folder, ids=IDS, values=VALUES):
    from safetensors.numpy import save_file

    save_file({"vectors": values, "other": np.zeros(1)}, folder / "v.safetensors", {"ids": json.dumps(ids)})
    return folder / "v.safetensors"


def lists(folder, ids=IDS, values=VALUES):
    table = pa.table({"item_id": ids, "n": range(len(ids)), "emb": [list(map(float, row)) for row in values]})
    pq.write_table(table, folder / "v.parquet")
    return folder / "v.parquet"


def fixed(folder, ids=IDS, values=VALUES):
    column = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    pq.write_table(pa.table({"item_id": ids, "emb": column}), folder / "v.parquet")
    return folder / "v.parquet"


def numeric(folder, ids=IDS, values=VALUES):
    columns = {f"d{at}": values[:, at] for at in range(values.shape[1])}
    pq.write_table(pa.table({"item_id": ids, "note": ["n"] * len(ids), **columns}), folder / "v.parquet")
    return folder / "v.parquet"


def extract(path, tmp_path, items=IDS, **options):
    return Published(str(path), **options).extract(source(items), ExtractContext(tmp_path / "store"))


@pytest.mark.parametrize("write", [npy, npz, safetensors, lists, fixed, numeric])
def test_every_format_gives_the_same_vectors(tmp_path, write):
    found = extract(write(tmp_path), tmp_path, [*IDS, "new"])
    assert found.item_ids == sorted([*IDS, "new"])
    for one, value, status, reason in zip(found.item_ids, found.values, found.status, found.reason, strict=True):
        if one == "new":
            assert (status, reason) == ("missing", f"not in {write(tmp_path).name}")
        else:
            assert status == "ok"
            assert value.tobytes() == VALUES[IDS.index(one)].tobytes()
    assert found.values.dtype == np.float32


@pytest.mark.parametrize("dtype", ["f2", "f8", ">f4", "i4"])
def test_other_numbers_are_converted(tmp_path, dtype):
    values = np.asfortranarray(np.arange(20).reshape(5, 4).astype(dtype))
    assert (extract(npy(tmp_path, values=values), tmp_path).values == COUNT).all()


def test_text_ids_with_bom_and_crlf_and_ids_elsewhere(tmp_path):
    plain = [one for one in IDS if "\n" not in one]
    found = extract(npy(tmp_path, plain, VALUES[:4], "txt"), tmp_path, plain)
    assert found.values[0].tobytes() == VALUES[0].tobytes()
    (tmp_path / "v.ids.txt").rename(tmp_path / "elsewhere.txt")
    again = extract(tmp_path / "v.npy", tmp_path, plain, ids=str(tmp_path / "elsewhere.txt"))
    assert again.values.tobytes() == found.values.tobytes()


def test_bfloat16_tensor_with_ids_beside_it(tmp_path):
    import torch
    from safetensors.torch import save_file

    save_file({"only": torch.arange(20).reshape(5, 4).bfloat16()}, tmp_path / "v.safetensors")
    (tmp_path / "v.ids.json").write_text(json.dumps(IDS))
    assert (extract(tmp_path / "v.safetensors", tmp_path).values == COUNT).all()


def test_a_changed_file_is_never_served_stale(tmp_path):
    first = extract(npy(tmp_path), tmp_path)
    npy(tmp_path, values=VALUES + 1)
    second = extract(tmp_path / "v.npy", tmp_path)
    assert second.space.id != first.space.id
    assert (second.values == first.values + 1).all()
    npy(tmp_path, IDS[::-1], VALUES + 1)
    assert (extract(tmp_path / "v.npy", tmp_path).values == second.values).sum() < second.values.size


def test_the_same_content_elsewhere_is_the_same_space_and_names_hold_no_folder(tmp_path):
    (tmp_path / "a:b | c").mkdir()
    one, two = Published(str(npy(tmp_path))), Published(str(npy(tmp_path / "a:b | c")))
    assert (one.label, one.options()) == (two.label, two.options())
    assert str(tmp_path) not in json.dumps([one.label, one.options()])
    context = ExtractContext(tmp_path / "store")
    assert one.extract(source(), context).space.id == two.extract(source(), context).space.id


def test_colon_form(tmp_path):
    path = tmp_path / "x:y: é|`*"
    path.mkdir()
    npy(path)
    made = registry.create("extractor", f"shuffled:published:{path / 'v.npy'}", {"published": {"id_column": "c"}})
    assert made.inner == Published(str(path / "v.npy"), id_column="c")
    assert made.label.startswith("shuffled:published:v.npy@")
    assert registry.innermost("extractor", f"shuffled:published:{path}") == "published"
    with pytest.raises(UserError, match="needs a path: write published:PATH"):
        registry.create("extractor", "published", {})
    long = Published(str(npy(tmp_path).rename(tmp_path / f"{'| ' * 60}.npy")), ids=str(tmp_path / "v.ids.json"))
    assert len(long.label) < 70
    assert not set(long.label) & set("| /")


@pytest.mark.parametrize(
    ("ids", "values", "message"),
    [
        (["a", "b", "a"], VALUES[:3], r"entry 2 from 0: the id 'a' occurs a second time, first in .*entry 0"),
        (["a", "b"], VALUES[:3], "3 vectors, but 2 ids"),
        (["a", "b"], np.array([[1, 2], [3, np.nan]]), r"row 1 from 0 \(id 'b'\): dimension 1 is nan"),
        (["a", "b"], np.array([[1, -np.inf], [3, 4]]), r"row 0 from 0 \(id 'a'\): dimension 1 is -inf"),
        (["a", "b"], np.array([[1, 2], [3, 1e300]]), r"dimension 1 is 1e\+300"),
        (["a", " "], VALUES[:2], "entry 1 from 0: the id is empty"),
        (["a", 1.5], VALUES[:2], "must be a string or a whole number, got 1.5"),
        ({"a": 0}, VALUES[:1], "expected a JSON list of ids"),
        (["a"], np.zeros((1, 2, 3)), "expected numbers of shape"),
        (["a"], np.array([["x"]]), "expected numbers of shape"),
        ([], np.zeros((0, 3)), "no vectors in it"),
        (
            ["x", "y"],
            VALUES[:2],
            "none of the 2 ids is in the dataset; here they look like 'x', 'y', there like '001', 'a'",
        ),
        (["a", "1"], VALUES[:2], "row 1 from 0: the id '1' is not in the dataset, but '001' is: .* leading zeros"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_row(tmp_path, ids, values, message):
    with pytest.raises(DataError, match=message) as error:
        extract(npy(tmp_path, ids, values), tmp_path, ["a", "b", "001"])
    assert str(tmp_path) in str(error.value)


def test_leading_zeros_that_both_sides_know_are_no_error(tmp_path):
    found = extract(npy(tmp_path, ["1", "01"], VALUES[:2]), tmp_path, ["1", "01"])
    assert found.values[[1, 0]].tobytes() == VALUES[:2].tobytes()


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"item": ["a"], "v": [[1.0]]}, {}, "unknown column of .*'item_id': did you mean 'item'"),
        ({"item_id": [1.0], "v": [[1.0]]}, {}, "holds double; ids are text or whole numbers"),
        ({"item_id": ["a", None], "v": [[1.0], [2.0]]}, {}, "row 1 from 0: the column 'item_id' is empty"),
        ({"item_id": ["a", "b"], "v": [[1.0], None]}, {}, "row 1 from 0: the column 'v' is empty"),
        ({"item_id": ["a", "b"], "v": [[1.0], [2.0, 3.0]]}, {}, "row 1 from 0: the vector has 2 dimensions, .* has 1"),
        (
            {"item_id": ["a", "b"], "v": [[1.0, 2.0], [2.0, None]]},
            {},
            "row 1 from 0: a number of the vector is missing",
        ),
        ({"item_id": ["a"], "v": [[1.0]], "w": [[1.0]]}, {}, "not clear which column holds the vectors"),
        ({"item_id": ["a"], "t": ["x"]}, {"vector_column": "t"}, "'t' holds string"),
        ({"item_id": ["a"], "t": ["x"]}, {"vector_column": "u"}, "unknown column of .*'u'"),
        ({"item_id": ["a", "a"], "v": [[1.0], [2.0]]}, {}, "row 1 from 0: the id 'a' occurs a second time"),
    ],
)
def test_columns_of_parquet_are_checked(tmp_path, columns, options, message):
    pq.write_table(pa.table(columns), tmp_path / "v.parquet")
    with pytest.raises(UserError, match=message):
        extract(tmp_path / "v.parquet", tmp_path, ["a", "b"], **options)


def test_nothing_is_unpickled_and_no_kind_of_file_crashes(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "exploded",))

    np.save(tmp_path / "p.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "p.npz", ids=np.array([Bomb()], dtype=object), vectors=VALUES)
    (tmp_path / "p.ids.json").write_text('["a"]')
    for name in ("t.npy", "t.npz", "t.safetensors", "t.parquet"):
        (tmp_path / name).write_bytes(b"\x93NUMPY\x01\0 rubbish" * 9)
    (tmp_path / "t.ids.txt").write_text("a\n")
    with zipfile.ZipFile(tmp_path / "e.npz", "w"):
        pass
    for name in ("p.npy", "p.npz", "t.npy", "t.npz", "t.safetensors", "t.parquet", "e.npz", "none.npy", "v.pt", "."):
        with pytest.raises(DataError) as error:
            extract(tmp_path / name, tmp_path)
        assert str(tmp_path) in str(error.value)
    assert not (tmp_path / "exploded").exists()
    np.save(tmp_path / "lonely.npy", VALUES)
    with pytest.raises(DataError, match=r"neither lonely\.ids\.txt and lonely\.ids\.json"):
        extract(tmp_path / "lonely.npy", tmp_path)


# Texts --------------------------------------------------------------------------------------------------------------

TEXTS = {"001": "a red ball", "7": 'two, "dogs"\nrun', "a/b": "", "z": "naïve 猫"}


def csv(folder):
    import csv as writer

    with (folder / "t.csv").open("w", newline="", encoding="utf-8-sig") as out:
        rows = writer.writer(out)
        rows.writerow(["extra", "item_id", "text"])
        rows.writerows(["1", one, text] for one, text in TEXTS.items())
    return folder / "t.csv"


def table():
    return pa.table({"item_id": list(TEXTS), "text": [text or None for text in TEXTS.values()]})


def parquet(folder):
    pq.write_table(table(), folder / "t.parquet")
    return folder / "t.parquet"


def stream(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as out, pa.ipc.new_stream(out, rows.schema) as writer:
        writer.write_table(rows)


def saved(folder, name="saved"):
    """As `Dataset.save_to_disk` writes it, in two files, with a cache file beside them that is none of it."""
    root = folder / name
    stream(root / "data-00000-of-00002.arrow", table().slice(0, 3))
    stream(root / "data-00001-of-00002.arrow", table().slice(3))
    stream(root / "cache-0123.arrow", table())
    files = [{"filename": f"data-0000{at}-of-00002.arrow"} for at in range(2)]
    (root / "state.json").write_text(json.dumps({"_data_files": files, "_split": "train"}))
    (root / "dataset_info.json").write_text("{}")
    return root


def splits(folder):
    for name in ("train", "test"):
        saved(folder / "d", name)
    (folder / "d" / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    return folder / "d"


def hub(folder):
    (folder / "hub" / "data").mkdir(parents=True)
    pq.write_table(table().slice(0, 2), folder / "hub" / "data" / "train-00000-of-00002-ab.parquet")
    pq.write_table(table().slice(2), folder / "hub" / "data" / "train-00001-of-00002-cd.parquet")
    (folder / "hub" / "README.md").write_text("# card")
    return folder / "hub"


def texts(path, tmp_path, ids=(*TEXTS, "new"), **options):
    return PublishedTexts(path=str(path), **options).texts(source(list(ids)), ExtractContext(tmp_path / "store"))


@pytest.mark.parametrize("write", [csv, parquet, saved, hub])
def test_every_kind_of_texts_is_read(tmp_path, write):
    found = texts(write(tmp_path), tmp_path)
    got = {one: (status, value) for one, status, value in zip(found.item_ids, found.status, found.values, strict=True)}
    expected = {one: ("ok", text) if text else ("empty", "") for one, text in TEXTS.items()}
    assert got == {**expected, "new": ("missing", "")}


def test_splits_are_chosen_by_name(tmp_path):
    with pytest.raises(DataError, match="occurs a second time"):
        texts(splits(tmp_path), tmp_path)
    assert (texts(tmp_path / "d", tmp_path, split="test").status == "ok").sum() == 3
    with pytest.raises(UserError, match="did you mean 'train'"):
        texts(tmp_path / "d", tmp_path, split="tran")
    assert (texts(hub(tmp_path), tmp_path, split="train").status == "ok").sum() == 3
    with pytest.raises(DataError, match="of a split 'test'"):
        texts(tmp_path / "hub", tmp_path, split="test")


def test_texts_that_cannot_be_used(tmp_path):
    path = csv(tmp_path)
    with pytest.raises(DataError, match=r"unknown column of .*'caption'.*columns: extra, item_id, text"):
        texts(path, tmp_path, text_column="caption")
    with pytest.raises(DataError, match="differ by leading zeros"):
        texts(path, tmp_path, ids=["1", "7"])
    with pytest.raises(DataError, match="none of the 4 ids"):
        texts(path, tmp_path, ids=["q"])
    path.write_bytes(b"item_id,text\na,\xff\xfe\n")
    with pytest.raises(DataError, match=r"t\.csv"):
        texts(path, tmp_path)
    path.write_bytes(b"item_id,text\na,x\na,y\n")
    with pytest.raises(DataError, match=r"t\.csv, row 1 from 0: the id 'a' occurs a second time"):
        texts(path, tmp_path)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match="neither a saved dataset nor parquet files"):
        texts(tmp_path / "nothing", tmp_path)
    root = saved(tmp_path)
    (root / "state.json").write_text(json.dumps({"_data_files": [{"filename": "../t.csv"}]}))
    with pytest.raises(DataError, match="no plain name"):
        texts(root, tmp_path)


def test_texts_become_vectors_as_the_same_titles_do(tmp_path, untrained):
    from feature_extractors.titles import Titles

    encoder = str(untrained / "text_encoder")
    items = ItemSource(sorted(TEXTS), [TEXTS[one] for one in sorted(TEXTS)], [None] * len(TEXTS))
    context = ExtractContext(tmp_path / "store")
    found = PublishedTexts(path=str(csv(tmp_path)), text_encoder=encoder).extract(items, context)
    titles = Titles(text_encoder=encoder).extract(items, context)
    assert found.values.tobytes() == titles.values.tobytes()
    assert found.status.tolist() == titles.status.tolist()
    assert found.space.config["parents"] == [texts(tmp_path / "t.csv", tmp_path).space.id]
    assert found.space.provenance["checkpoints"][0] == "t.csv"
    (tmp_path / "t.csv").write_bytes(b"item_id,text\n7,other\n")
    changed = PublishedTexts(path=str(tmp_path / "t.csv"), text_encoder=encoder).extract(items, context)
    assert changed.space.id != found.space.id
    assert changed.ok.tolist() == [one == "7" for one in changed.item_ids]


def test_the_index_of_a_filtered_frame_is_no_dimension(tmp_path):
    import pandas as pd

    frame = pd.DataFrame(VALUES, columns=[f"d{at}" for at in range(4)]).assign(item_id=IDS)
    frame[frame.d0 >= 0].to_parquet(tmp_path / "plain.parquet", index=False)
    frame[frame.d0 > 0].to_parquet(tmp_path / "filtered.parquet")
    assert "__index_level_0__" in pq.read_schema(tmp_path / "filtered.parquet").names
    plain, filtered = (Published(path=str(tmp_path / f"{name}.parquet")) for name in ("plain", "filtered"))
    found = filtered.extract(source(), ExtractContext(tmp_path / "store"))
    assert found.values.shape == (5, 4)
    assert found.space.config["left_out"] == ["__index_level_0__"]
    assert "left_out" not in plain.extract(source(), ExtractContext(tmp_path / "store")).space.config


@pytest.mark.parametrize("kind", ["vectors", "texts"])
def test_ids_that_are_left_out_are_counted(tmp_path, spoken, kind):
    context = ExtractContext(tmp_path / "store", progress=spoken)
    few = source(["001", "7"])
    if kind == "vectors":
        Published(path=str(npy(tmp_path))).extract(few, context)
    else:
        (tmp_path / "v.csv").write_text("item_id,text\n001,a\n7,a\nb,a\n")
        PublishedTexts(path=str(tmp_path / "v.csv")).texts(few, context)
    name, left, total, first = ("v.npy", 3, 5, "a/../b") if kind == "vectors" else ("v.csv", 1, 3, "b")
    assert spoken.lines == [
        f"{name}: {left} of {total} ids are not in the dataset and are left out, the first is {first!r}"
    ]
