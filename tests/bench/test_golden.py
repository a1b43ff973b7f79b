"""Ids and numbers that no change of the code's structure may move: a store or a record of yesterday is still found.

`python tests/bench/test_golden.py` writes them anew, after a change that is meant to move them.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import registry
from bench.runs.rows import RowSpec, extractor_for
from bench.runs.run import Request, resolve
from feature_extractors.base import ExtractContext, ItemSource

GOLDEN = Path(__file__).with_name("golden.json")
NEED_MORE = {"id", "published", "published-texts", "concat", "shuffled", "mean", "single-layer"}
EXTRACTORS = [
    *sorted(
        set(registry.names("extractor"))
        - {"id", "published", "published-texts", "concat", "shuffled", "mean", "single-layer"}
    ),
    "captions[frames=clip-topk:4]",
    "captions[checkpoint=pocket-small]",
    "concat:captions+titles",
    "hidden-states[checkpoint=pocket-llava-onevision]",
    "mean:titles",
    "linkedout[title=true,transcript=true]",
    "published:vectors.npy",
    "published-texts:texts.csv",
    "shuffled:captions",
    "single-layer:2",
]
ROWS = [
    RowSpec("sasrec", "captions", "gate"),
    RowSpec("sasrec", "shuffled:captions", "gate"),
    RowSpec("sasrec", "id", "id"),
    RowSpec("sasrec", "hidden-states", "gate/softmax"),
    RowSpec("bpr", "concat:captions+titles", "add"),
    RowSpec("lightgcn", "random", "concat"),
    RowSpec("two-towers", "linkedout", "replace/moe"),
    RowSpec("recbole:NARM", "transcripts", "replace"),
    RowSpec("content-mean", "titles", "replace"),
    RowSpec("pop"),
    RowSpec("ease-content", "titles", "add"),
    RowSpec("esasrec", "titles", "gate"),
    RowSpec("ials", "id", "id"),
    RowSpec("ridge", "titles", "replace"),
    RowSpec("semantic-ids", "titles", "replace"),
]


def space_of(spec, folder):
    """Id of the space that an extractor fills at its defaults, without extracting anything."""
    np.save(folder / "vectors.npy", np.eye(2, dtype=np.float32))
    (folder / "vectors.ids.txt").write_text("a\nb\n")
    (folder / "texts.csv").write_text("item_id,text\na,one\nb,two\n")
    if spec.startswith("published"):
        name, _, file = spec.partition(":")
        spec = f"{name}:{folder / file}"
    source = ItemSource(["a", "b"], ["A", "B"], [None, None], lambda: {"a": "one", "b": "two"})
    context = ExtractContext(folder / "store", overwrite="never")
    extractor = extractor_for(spec, {}, "demo")
    make = extractor.states if hasattr(extractor, "states") else extractor.extract  # a layer of nothing is none
    return make(source, context).space.id


def measured(folder):
    """Ids and numbers that must stay."""
    cells = [replace(cell, dataset="demo").id for cell, _, _ in resolve(Request(ROWS, folder, folder))]
    names = [f"{row.model} {row.extractor} {row.fusion}" for row in ROWS]
    return {
        "spaces": {spec: space_of(spec, folder) for spec in EXTRACTORS},
        "cells": dict(zip(names, cells, strict=True)),
    }


def test_ids_of_feature_spaces_and_cells(tmp_path):
    # another decoder is another key, and decord is not to be had everywhere
    pytest.importorskip("decord")
    assert measured(tmp_path) == json.loads(GOLDEN.read_text())


if __name__ == "__main__":
    import tempfile

    GOLDEN.write_text(json.dumps(measured(Path(tempfile.mkdtemp())), indent=1) + "\n")
    sys.stdout.write(GOLDEN.read_text())
