"""Ledger of a space: what the runs that filled it have taken."""

import json
from pathlib import Path

import numpy as np
import pytest

from feature_extractors.base import ExtractContext
from feature_extractors.pipeline.run import run_stage
from feature_extractors.pipeline.stage import Stage, stage_inputs, text_inputs
from feature_extractors.store import catalogue, lance, ledger
from protocols.concatenated import ConcatenatedFeatures
from protocols.features import FeatureSpace

TEXT = FeatureSpace("test.text", 1, "text", {"model": 1})
VECTOR = FeatureSpace("test.vector", 1, "vector", {"parents": [TEXT.id]})


def busy(batch):
    return [str(sum(range(200_000)))] * len(batch)


def ones(batch):
    return np.ones((len(batch), 2), np.float32)


def extract(context, count, model=busy):
    texts = text_inputs([f"i{k:02d}" for k in range(count)], ["text"] * count, "title")
    made = run_stage(Stage(TEXT, "texts", 4, lambda: model), texts, context)
    return run_stage(Stage(VECTOR, "vectors", 4, lambda: ones), stage_inputs(made), context)


def test_each_stage_is_charged_once_and_a_later_run_adds_its_part(tmp_path):
    context = ExtractContext(tmp_path)
    first = extract(context, 8).usage
    assert {name: used.items for name, used in first.items()} == {TEXT.id: 8, VECTOR.id: 8}
    assert 0 < first[TEXT.id].cpu_s < 60 and first[TEXT.id].wall_s > 0
    assert extract(context, 8).usage == first  # all was there
    grown = extract(context, 12).usage
    assert grown[TEXT.id].items == 12 and grown[TEXT.id].cpu_s > first[TEXT.id].cpu_s
    assert len(list(tmp_path.glob(f"{TEXT.id}.usage/*.json"))) == 2


def test_a_run_that_ends_in_an_error_is_charged_for_the_rows_it_left(tmp_path, monkeypatch):
    monkeypatch.setattr(lance, "COMMIT_ROWS", 4)
    calls = []

    def dies(batch):
        calls.append(batch)
        if len(calls) > 2:
            raise MemoryError
        return busy(batch)

    with pytest.raises(Exception, match=r"out of memory"):
        extract(ExtractContext(tmp_path), 16, dies)
    store = lance.FeatureStore(tmp_path, TEXT)
    assert ledger.read(store).items == store.index().num_rows == 8


def test_what_no_ledger_says_is_unknown(tmp_path):
    extract(ExtractContext(tmp_path), 4)
    [entry] = tmp_path.glob(f"{TEXT.id}.usage/*.json")
    entry.write_text(json.dumps({"wall_s": 3}))
    found = extract(ExtractContext(tmp_path), 4).usage
    assert found[TEXT.id] is None and found[VECTOR.id].items == 4
    entry.unlink()
    assert extract(ExtractContext(tmp_path), 4).usage[TEXT.id] is None


def test_joined_features_share_what_both_were_made_of(tmp_path):
    one = extract(ExtractContext(tmp_path), 4)
    assert ConcatenatedFeatures.of([one, one], "concat", 1).usage == one.usage


def test_the_ledger_goes_with_its_space(tmp_path):
    extract(ExtractContext(tmp_path), 4)
    catalogue.delete(catalogue.find(Path(tmp_path), VECTOR.id))
    assert not list(tmp_path.glob(f"{VECTOR.id}*.usage")) and list(tmp_path.glob("*.usage"))
