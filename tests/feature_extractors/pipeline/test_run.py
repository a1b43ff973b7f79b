"""Stages with a small model: what is computed, what is taken from the store, what failures and Ctrl-C leave."""

import hashlib
import os
import signal
import threading
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from feature_extractors.base import ExtractContext
from feature_extractors.media.result import Failure
from feature_extractors.pipeline import interrupt
from feature_extractors.pipeline.run import run_stage
from feature_extractors.pipeline.stage import Inputs, Stage, stage_inputs, text_hash, text_inputs
from feature_extractors.store import lance
from protocols.errors import BenchError, DataError, UserError
from protocols.features import FeatureSpace

SPACE = FeatureSpace("test.vector", 1, "vector", {"model": 1})


def vector(batch, text):
    """Depends on the text and on who else is in the batch: a wrong batch gives a wrong vector."""
    key = hashlib.sha256("\0".join([text, *batch]).encode()).digest()
    return np.frombuffer(key, dtype=np.uint8).astype(np.float32)


class Model:
    def __init__(self):
        self.batches, self.loads = [], 0

    def __call__(self):
        self.loads += 1
        return self.run

    def run(self, texts):
        self.batches.append(list(texts))
        return np.stack([vector(texts, text) for text in texts])


@pytest.fixture
def model():
    return Model()


def items(count):
    return [f"i{k:03d}" for k in range(count)]


def texts(count, change=()):
    return text_inputs(items(count), [f"text {k}{'!' if k in change else ''}" for k in range(count)], "title")


def stage(model, space=SPACE, batch=4):
    return Stage(space, "testing", batch, model)


@pytest.fixture
def context(tmp_path, spoken):
    return ExtractContext(tmp_path, progress=spoken)


def test_everything_is_computed_once(model, context):
    first = run_stage(stage(model), texts(10), context)
    assert [len(batch) for batch in model.batches] == [4, 4, 2]
    again = run_stage(stage(model), texts(10), context)
    assert (len(model.batches), model.loads) == (3, 1)
    assert first.digest == again.digest
    assert first.values.dtype == np.float32
    assert first.values[5].tobytes() == vector(model.batches[1], "text 5").tobytes()
    assert context.progress.tasks == [("testing", 10)]


def test_models_are_kept_for_later_extractions_but_for_those_that_are_closed(model, context, tmp_path):
    def again(load):
        kept = {}
        for folder in ("a", "b"):
            run_stage(stage(load), texts(3), replace(context, store=tmp_path / load.__name__ / folder, models=kept))

    def open_model():
        return model()

    class Closing:
        closed = loads = 0

        def __init__(self):
            Closing.loads += 1

        def __call__(self, batch):
            assert Closing.closed < Closing.loads
            return model.run(batch)

        def close(self):
            Closing.closed += 1

    again(open_model)
    again(Closing)
    assert model.loads == 1 and (Closing.loads, Closing.closed) == (2, 2)


def test_features_come_in_the_order_of_the_source_and_batches_do_not_depend_on_it(model, tmp_path):
    straight = run_stage(stage(model), texts(9), ExtractContext(tmp_path / "a"))
    backwards = texts(9)
    turned = Inputs(*(list(reversed(part)) for part in list(vars(backwards).values())[:4]))
    reverse = run_stage(stage(model), turned, ExtractContext(tmp_path / "b"))
    assert reverse.item_ids == straight.item_ids[::-1]
    assert reverse.values[::-1].tobytes() == straight.values.tobytes()


def test_a_partly_done_batch_is_computed_whole(model, context):
    run_stage(stage(model), texts(10), context)
    model.batches.clear()
    changed = run_stage(stage(model), texts(10, change={5}), context)
    assert model.batches == [["text 4", "text 5!", "text 6", "text 7"]]
    afresh = run_stage(stage(Model()), texts(10, change={5}), ExtractContext(Path(context.store) / "fresh"))
    assert changed.digest == afresh.digest
    assert (
        run_stage(stage(model), texts(10), context).values[5].tobytes()
        == vector(["text 4", "text 5", "text 6", "text 7"], "text 5").tobytes()
    )


def test_new_items_leave_finished_batches_alone(model, context):
    run_stage(stage(model), texts(8), context)
    model.batches.clear()
    grown = run_stage(stage(model), texts(11), context)
    assert model.batches == [["text 8", "text 9", "text 10"]]
    assert grown.ok.all()


def test_another_space_takes_nothing_over(model, context):
    run_stage(stage(model), texts(3), context)
    run_stage(stage(model, FeatureSpace("test.vector", 1, "vector", {"model": 2})), texts(3), context)
    run_stage(stage(model, FeatureSpace("test.vector", 2, "vector", {"model": 1})), texts(3), context)
    assert len(model.batches) == 3


def test_failures_are_rows_and_the_run_goes_on(model, context):
    inputs = text_inputs(items(6), ["a", None, "c", " ", "e", "f"], "title")
    found = run_stage(stage(model), inputs, context)
    assert found.status.tolist() == ["ok", "missing", "ok", "empty", "ok", "ok"]
    assert found.reason.tolist() == ["", "no title", "", "empty title", "", ""]
    assert not found.values[1].any()
    assert model.batches == [["a", "c"], ["e", "f"]]
    assert context.progress.notes == ["2 without a feature", "2 without a feature"]
    run_stage(stage(model), inputs, context)
    assert len(model.batches) == 2
    run_stage(stage(model), text_inputs(items(6), ["a", "b", "c", " ", "e", "f"], "title"), context)
    assert model.batches[2:] == [["a", "b", "c"]]


def test_the_item_that_a_model_stumbles_over_is_found(context):
    calls = []

    def run(batch):
        calls.append(list(batch))
        if "text 2" in batch:
            raise RuntimeError("shape\n mismatch")
        return Model().run(batch)

    found = run_stage(stage(lambda: run), texts(8), context)
    assert found.status.tolist() == ["ok", "ok", "error", *["ok"] * 5]
    assert found.reason[2] == "RuntimeError: shape mismatch"
    calls.clear()
    run_stage(stage(lambda: run), texts(8), context)
    assert calls == []
    retried = run_stage(stage(lambda: Model().run), texts(8), ExtractContext(context.store, retry=True))
    assert retried.ok.all()


class Broken:
    """A reader that fails on payloads as `reasons` says."""

    def __init__(self, reasons, unexpected=True):
        self.reasons, self.unexpected = reasons, unexpected

    def map(self, payloads, ahead):
        for payload in payloads:
            reason = self.reasons(payload)
            yield Failure("error", reason, unexpected=self.unexpected) if reason else payload


def read_by(model, reader, batch=4):
    return Stage(SPACE, "testing", batch, model, reader=lambda workers: nullcontext(reader))


@pytest.mark.parametrize("batch", [1, 4])
def test_an_exception_that_hits_every_clip_ends_the_run_and_nothing_is_stored(model, context, batch):
    reader = Broken(lambda text: "TypeError: no argument 'x'")
    with pytest.raises(BenchError, match=r"testing: every item fails alike, .* TypeError: no argument 'x'") as caught:
        run_stage(read_by(model, reader, batch), texts(8), context)
    assert caught.value.exit_code == 1
    assert model.loads == 0
    mended = run_stage(read_by(model, Broken(lambda text: "")), texts(8), context)
    assert mended.ok.all()


@pytest.mark.parametrize(
    "reader",
    [
        Broken(lambda text: "" if text == "text 7" else "TypeError: no argument 'x'"),
        Broken(lambda text: f"TypeError: {text}"),
        Broken(lambda text: "decoding took longer than 30 s", unexpected=False),
    ],
    ids=["not every clip", "not alike", "not an exception"],
)
def test_failures_of_clips_are_rows_however_many(model, context, reader):
    found = run_stage(read_by(model, reader, batch=8), texts(8), context)
    assert set(found.status[:7]) == {"error"}


def test_copies_of_one_clip_that_fail_alike_are_rows(model, context):
    reader = Broken(lambda text: "TypeError: no argument 'x'")
    found = run_stage(read_by(model, reader), text_inputs(items(3), ["same"] * 3, "title"), context)
    assert set(found.status) == {"error"}


def test_a_model_called_with_single_items_that_fails_on_each_ends_the_run(context):
    def run(batch):
        raise TypeError("unexpected keyword argument 'videos'")

    with pytest.raises(BenchError, match=r"every item fails alike, .* unexpected keyword argument 'videos'"):
        run_stage(stage(lambda: run, batch=1), texts(8), context)


def test_a_model_that_fails_on_everything_is_an_error_not_800_rows(context):
    def run(batch):
        raise TypeError("unexpected keyword argument 'videos'")

    with pytest.raises(BenchError, match="every item of a batch: unexpected keyword argument 'videos'"):
        run_stage(stage(lambda: run), texts(8), context)
    assert run_stage(stage(lambda: Model().run), texts(8), context).ok.all()


@pytest.mark.parametrize(
    ("kind", "value", "status", "reason"),
    [
        ("text", " \n", "empty", "the model gave no text"),
        ("vector", np.array([1, np.nan], np.float32), "error", "the model gave a number that is not finite"),
    ],
)
def test_outputs_that_are_no_feature_are_refused(context, kind, value, status, reason):
    good = "a cat" if kind == "text" else np.ones(2, np.float32)
    space = FeatureSpace("test", 1, kind, {})
    found = run_stage(stage(lambda: lambda batch: [good, value, good], space), texts(3), context)
    assert (found.status.tolist(), found.reason[1]) == (["ok", status, "ok"], reason)


def test_all_failed_gives_no_vectors_and_loads_no_model(model, context):
    found = run_stage(stage(model), text_inputs(items(3), [None] * 3, "title"), context)
    assert found.values.shape == (3, 0)
    assert not found.ok.any()
    assert model.loads == 0


def test_a_chain_passes_failures_on_and_reads_the_stored_text(model, context):
    text = FeatureSpace("test.text", 1, "text", {})
    words = run_stage(stage(lambda: lambda batch: [t.upper() for t in batch], text), texts(5), context)
    words.status[3], words.reason[3] = "undecodable", "no video stream"
    found = run_stage(stage(model), stage_inputs(words), context)
    assert model.batches == [["TEXT 0", "TEXT 1", "TEXT 2"], ["TEXT 4"]]
    assert (found.status[3], found.reason[3]) == ("undecodable", "no video stream")


def test_notes_of_the_reader_stand_beside_an_ok(context):
    class Noted(str):
        note = "damaged: 2 packets do not decode"

    class Reader:
        def map(self, payloads, ahead):
            yield from (Noted(p) if p == "text 1" else Failure("error", "x") if p == "text 2" else p for p in payloads)

    from contextlib import nullcontext

    with_reader = Stage(SPACE, "testing", 4, Model(), reader=lambda workers: nullcontext(Reader()))
    found = run_stage(with_reader, texts(4), context)
    assert found.status.tolist() == ["ok", "ok", "error", "ok"]
    assert found.reason.tolist() == ["", "damaged: 2 packets do not decode", "x", ""]


def test_notes_go_down_the_chain_each_once(context):
    class Short:
        def __call__(self, batch):
            return np.stack([vector(batch, text) for text in batch])

        def note(self, text):
            return "cut" if text.endswith("1") else ""

    words = run_stage(stage(lambda: lambda batch: batch, FeatureSpace("test.text", 1, "text", {})), texts(3), context)
    words.reason[:2] = ["damaged: 2 packets do not decode", "digital silence; cut"]
    chain = stage_inputs(words)
    found = run_stage(stage(Short), chain, context)
    expected = ["damaged: 2 packets do not decode", "digital silence; cut", ""]
    assert found.reason.tolist() == expected
    assert [
        row.reason for row in lance.FeatureStore(context.store, SPACE).read(chain.item_ids, chain.content)
    ] == expected

    # vectors that are there already, and a note that a new version of the first stage makes
    words.reason[2] = "damaged: 1 packets do not decode"
    assert run_stage(stage(Short), stage_inputs(words), context).reason[2] == "damaged: 1 packets do not decode"


def test_an_item_twice_is_refused(model, context):
    with pytest.raises(DataError, match="twice"):
        run_stage(stage(model), text_inputs(["a", "a"], ["x", "y"], "title"), context)


def interrupting(model, at, times=1):
    def run(batch):
        if len(model.batches) == at:
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)
        return model.run(batch)

    return run


def test_ctrl_c_finishes_the_batch_in_hand_and_says_how_to_go_on(model, context, tmp_path):
    with pytest.raises(KeyboardInterrupt, match="testing: 8 of 20 items are stored; run the same command again"):
        run_stage(stage(lambda: interrupting(model, 1)), texts(20), context)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    model.batches.clear()
    resumed = run_stage(stage(model), texts(20), context)
    assert len(model.batches) == 3
    whole = run_stage(stage(Model()), texts(20), ExtractContext(tmp_path / "whole"))
    assert resumed.digest == whole.digest


def test_a_second_ctrl_c_stops_at_once_and_keeps_whole_batches(model, context):
    with pytest.raises(KeyboardInterrupt):
        run_stage(stage(lambda: interrupting(model, 2, times=2)), texts(20), context)
    assert len(model.batches) == 2
    model.batches.clear()
    assert run_stage(stage(model), texts(20), context).ok.all()
    assert len(model.batches) == 3


def test_ctrl_c_says_what_is_finished_and_a_batch_that_takes_longer_is_given_up(model, context, monkeypatch):
    monkeypatch.setattr(interrupt.Interrupt.__init__, "__defaults__", (lambda: None, 0.3))

    def slow(batch):
        if len(model.batches) == 2:
            os.kill(os.getpid(), signal.SIGINT)
            waited.acquire(timeout=60)
        return model.run(batch)

    waited = threading.Semaphore(0)
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt, match="testing: 8 of 20 items are stored; run the same command again"):
        run_stage(stage(lambda: slow), texts(20), context)
    assert time.monotonic() - begun < 20
    assert "testing: Ctrl-C, 8 of 20 items are done; the batch in hand has 2 s to finish" in context.progress.lines[0]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    model.batches.clear()
    assert run_stage(stage(model), texts(20), context).ok.all()
    assert len(model.batches) == 3


def test_no_space_while_extracting_keeps_what_was_committed(model, context, monkeypatch):
    monkeypatch.setattr(lance, "COMMIT_ROWS", 4)
    real, count = lance.FeatureStore.commit, []

    def full(self):
        count.append(1)
        if len(count) > 2:
            raise UserError("no space left")
        real(self)

    monkeypatch.setattr(lance.FeatureStore, "commit", full)
    with pytest.raises(UserError, match="no space left"):
        run_stage(stage(model), texts(20), context)
    monkeypatch.undo()
    model.batches.clear()
    assert run_stage(stage(model), texts(20), context).ok.all()
    assert len(model.batches) == 3


def test_damage_is_repaired_from_what_is_readable_and_the_rest_computed(model, context, monkeypatch):
    monkeypatch.setattr(lance, "COMMIT_ROWS", 8)
    before = run_stage(stage(model), texts(24), context)
    other = run_stage(stage(model, FeatureSpace("other", 1, "vector", {})), texts(4), context)
    files = sorted(Path(context.store, f"{SPACE.id}.lance", "data").iterdir(), key=lambda p: p.stat().st_mtime_ns)
    files[1].write_bytes(b"garbage")
    model.batches.clear()
    after = run_stage(stage(model), texts(24), context)
    assert after.digest == before.digest
    assert [batch[0] for batch in model.batches] == ["text 8", "text 12"]
    assert len(context.progress.lines) == 1
    assert f"{SPACE.id}.lance was damaged" in context.progress.lines[0]
    again = run_stage(stage(model, FeatureSpace("other", 1, "vector", {})), texts(4), context)
    assert again.digest == other.digest


def test_another_run_that_fills_the_space_is_waited_for(model, context, wait_until):
    held = threading.Event()

    def hold():
        with FileLock(str(Path(context.store, f"{SPACE.id}.lock"))):
            held.set()
            wait_until(lambda: context.progress.lines, 60)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    run_stage(stage(model), texts(3), context)
    assert context.progress.lines == [f"another run is filling {SPACE.id}: waiting for it"]
    holder.join()


def test_description_beside_the_data_tells_what_it_is(model, context):
    import json

    run_stage(stage(model), texts(3), context)
    told = json.loads(Path(context.store, f"{SPACE.id}.json").read_text())
    assert (told["id"], told["config"], told["kind"]) == (SPACE.id, {"model": 1}, "vector")


def test_text_hash_tells_texts_apart():
    assert text_hash("a") != text_hash("b")
    assert text_hash("\ud800")
