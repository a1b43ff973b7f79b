"""Overlap, full calls, memory that runs out, several devices: none of it changes a feature."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_extractors.base import ExtractContext, Extractor, ItemSource
from feature_extractors.captions import Captions
from feature_extractors.hidden_states import HiddenStates
from feature_extractors.media import frame_policy, video
from feature_extractors.media.result import Failure
from feature_extractors.models.token_batching import by_tokens
from feature_extractors.pipeline import devices, scheduler, sharding, stage
from feature_extractors.pipeline.batching import Fitting, out_of_memory
from feature_extractors.pipeline.run import FeatureStore, run_stage
from feature_extractors.pipeline.stage import Stage, text_inputs
from protocols.errors import BenchError, UserError
from protocols.features import FeatureSpace

SPACE = FeatureSpace("fast.vector", 1, "vector", {})


def titles(count):
    return text_inputs([f"i{k:03d}" for k in range(count)], [f"text {k}" for k in range(count)], "title")


def lengths(texts):
    return np.array([[len(text), sum(map(ord, text))] for text in texts], np.float32)


# --- overlap


class Together:
    """A model in two steps, and its reader: a step goes on only when those it should overlap with have begun too.

    Steps wait for each other, so neither can be over before the other begins. No clock decides, however slow the
    machine is; whom a step waited for in vain is noted.
    """

    def __init__(self, batches):
        self.number = {at: number for number, batch in enumerate(batches) for at in batch}
        self.last = len(batches) - 1
        self.began, self.vain, self.threads, self.told = set(), [], {}, threading.Condition()

    def batch(self, item):
        """Number of the batch of an item, by its id or text."""
        return self.number[int("".join(filter(str.isdecimal, item)))]

    def begin(self, step, batch, *others):
        self.threads[step] = threading.current_thread()
        with self.told:
            self.began.add((step, batch))
            self.told.notify_all()
            for other in others:
                if not self.vain and not self.told.wait_for(lambda other=other: other in self.began, timeout=60):
                    self.vain.append((step, batch, other))

    def map(self, payloads, ahead):
        for payload in payloads:
            self.begin("read", self.batch(payload))
            yield payload

    def prepare(self, texts):
        batch = self.batch(texts[0])
        self.begin("prepare", batch, *[("run", batch - 1)] * (batch > 0))
        return [text.upper() for text in texts]

    def run(self, texts):
        batch = self.batch(texts[0])
        # the second batch may have been collected before the model was there: nobody prepared it ahead
        ahead = [(step, batch + 1) for step in ("read", "prepare") if 0 < batch < self.last]
        self.begin("run", batch, *ahead, *[("write", batch - 1)] * (batch > 0))
        return lengths(texts)

    def __call__(self, texts):
        return self.run(self.prepare(texts))


def test_reading_preparing_and_writing_go_on_while_the_model_works(context, monkeypatch):
    inputs = titles(120)
    steps = Together(list(sharding.batches(inputs.item_ids, 10)))
    real = scheduler.FeatureStore.add

    def add(self, rows):
        batch = steps.batch(rows[0].item_id)
        steps.begin("write", batch, *[("run", batch + 1)] * (batch < steps.last))
        real(self, rows)

    monkeypatch.setattr(scheduler.FeatureStore, "add", add)
    stage = Stage(SPACE, "slow", 10, lambda: steps, reader=lambda workers: nullcontext(steps))
    found = run_stage(stage, inputs, context)
    assert found.ok.all()
    assert found.values[7].tolist() == [6, sum(map(ord, "TEXT 7"))]
    assert steps.vain == []
    assert steps.last >= 11
    assert {(step, steps.last) for step in ("read", "prepare", "run", "write")} <= steps.began
    assert len({steps.threads[step] for step in ("prepare", "run", "write")}) == 3
    assert steps.threads["run"] is threading.main_thread()


def test_what_cannot_be_prepared_is_the_models_to_judge(context):
    class Broken:
        def prepare(self, texts):
            if "text 3" in texts:
                raise ValueError("odd text")
            return texts

        def run(self, texts):
            return lengths(texts)

        def __call__(self, texts):
            return self.run(self.prepare(texts))

    found = run_stage(Stage(SPACE, "broken", 4, Broken), titles(8), context)
    assert found.status.tolist() == ["ok"] * 3 + ["error"] + ["ok"] * 4
    assert found.reason[3] == "ValueError: odd text"


def test_an_error_of_the_store_ends_the_run_and_what_came_before_stays(context, monkeypatch):
    real, calls = scheduler.FeatureStore.add, []

    def add(self, rows):
        calls.append(rows)
        if len(calls) == 3:
            raise UserError("no space left")
        real(self, rows)

    monkeypatch.setattr(scheduler.FeatureStore, "add", add)
    with pytest.raises(UserError, match="no space left"):
        run_stage(Stage(SPACE, "full", 2, lambda: lengths), titles(40), context)
    monkeypatch.undo()
    assert len(calls) == 3
    rest = []
    assert run_stage(Stage(SPACE, "full", 2, lambda: lambda t: rest.append(t) or lengths(t)), titles(40), context)
    assert 16 <= len(rest) <= 20


def test_a_stage_reports_what_it_had_to_do_and_what_it_took(context):
    told = []
    asked = replace(context, report=told.append)
    run_stage(Stage(SPACE, "told", 4, lambda: lengths), titles(10), replace(asked, overwrite="never"))
    run_stage(Stage(SPACE, "told", 4, lambda: lengths), titles(10), asked)
    run_stage(Stage(SPACE, "told", 4, lambda: lengths), titles(12), replace(asked, overwrite="never"))
    assert [(r.title, r.left, r.rows) for r in told] == [("told", 10, 0), ("told", 10, 10), ("told", 2, 0)]
    assert [items for items, _ in told[1].calls] == [4, 4, 2]
    assert told[1].stored == 10 * 2 * 4


# --- tokens


@given(st.lists(st.integers(1, 500), min_size=1, max_size=64), st.integers(1, 4000))
def test_calls_hold_every_item_once_within_the_budget(sizes, budget):
    calls = by_tokens(sizes, budget)
    assert sorted(at for call in calls for at in call) == list(range(len(sizes)))
    assert all(call == sorted(call) for call in calls)
    for call in calls:
        assert len(call) == 1 or max(sizes[at] for at in call) * len(call) <= budget
    if max(sizes) * len(sizes) <= budget:
        assert calls == [list(range(len(sizes)))]


def decoded(paths, policy="uniform:4"):
    clips = [video.decode(path, frame_policy.parse(policy)) for path in paths]
    assert not any(isinstance(clip, Failure) for clip in clips)
    return clips


@pytest.fixture(scope="module")
def clips(tmp_path_factory, make_clip):
    """Eight clips of one size and different lengths."""
    root = tmp_path_factory.mktemp("clips")
    return [make_clip(root / f"{k}.mp4", seed=k, frames=8 + 6 * (k % 4)) for k in range(8)]


def models(untrained, dtype="float32"):
    from feature_extractors.models.architectures import QWEN_VL
    from feature_extractors.models.checkpoint.checkpoints import resolve
    from feature_extractors.models.decoder_states import StateReader
    from feature_extractors.models.video_captioner import Captioner

    found = resolve(str(untrained / "captioner"), untrained)
    return Captioner(found, dtype, "cpu", "Describe.", 8), StateReader(found, QWEN_VL, dtype, "cpu", "Describe.")


def test_a_batch_in_several_calls_says_and_holds_the_same(untrained, clips, monkeypatch):
    from feature_extractors.models import token_batching, video_lm

    batch = decoded(clips, "fps:2")
    captioner, reader = models(untrained)
    texts, states = captioner(batch), reader(batch)
    assert len({len(clip.frames) for clip in batch}) == 4
    assert len(captioner.prepare(batch)) == 1
    monkeypatch.setattr(video_lm, "calls", lambda inputs, again: token_batching.calls(inputs, again, 110))
    parts = captioner.prepare(batch)
    assert len(parts) >= 3
    widths = [inputs["input_ids"].shape[1] for _, inputs in parts]
    assert len(set(widths)) > 1  # the padding went, too
    assert captioner(batch) == texts
    np.testing.assert_allclose(reader(batch), states, rtol=1e-4, atol=1e-4)


def test_texts_in_several_calls_have_the_same_vectors_in_the_same_order(untrained, monkeypatch):
    from feature_extractors.models import text_encoder
    from feature_extractors.models.checkpoint.checkpoints import resolve

    encoder = text_encoder.TextEncoder(resolve(str(untrained / "text_encoder"), untrained), "float32", "cpu")
    texts = ["red " * (1 + 7 * k % 23) + f"{k}" for k in range(20)]
    whole, sizes = encoder(texts), []
    real = encoder._encode
    monkeypatch.setattr(encoder, "_encode", lambda part: sizes.append(len(part)) or real(part))
    monkeypatch.setattr(text_encoder, "TOKENS", 100)
    np.testing.assert_allclose(encoder(texts), whole, atol=2e-6)
    assert len(sizes) >= 3
    assert sum(sizes) == 20


# --- memory


class Small:
    """A model for which only so many items fit, and some not even alone."""

    def __init__(self, room, error, large=()):
        self.room, self.error, self.large, self.calls = room, error, large, []

    def __call__(self, texts):
        self.calls.append(len(texts))
        if len(texts) > self.room or any(text in self.large for text in texts):
            raise self.error
        return lengths(texts)


def torch_error():
    import torch

    return torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


ERRORS = [
    torch_error,
    MemoryError,
    lambda: RuntimeError("CUDA error: out of memory"),
    lambda: RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
]


@pytest.mark.parametrize("error", ERRORS)
def test_out_of_memory_halves_the_batch_once_and_for_all(context, error):
    model = Small(5, error())
    found = run_stage(Stage(SPACE, "small", 16, lambda: model), titles(40), context)
    assert found.ok.all()
    assert found.values.tolist() == lengths([f"text {k}" for k in range(40)]).tolist()
    assert model.calls == [16, 8, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4]
    assert context.progress.lines == ["small: out of memory with 16 items at once, going on with 4"]


def test_prepared_inputs_follow_the_size_that_fits(context):
    class Prepared(Small):
        prepared: ClassVar[list] = []

        def prepare(self, texts):
            self.prepared.append(len(texts))
            return texts

        def run(self, texts):
            return super().__call__(texts)

        def __call__(self, texts):
            return self.run(self.prepare(texts))

    model = Prepared(4, MemoryError())
    assert run_stage(Stage(SPACE, "small", 16, lambda: model), titles(64), context).ok.all()
    assert set(model.prepared[-4:]) == {4}
    assert max(model.calls[5:]) <= 16
    assert context.progress.lines == ["small: out of memory with 16 items at once, going on with 4"]


def test_an_item_that_does_not_fit_alone_is_a_row_and_decides_nothing_for_the_others(context):
    model = Small(16, MemoryError(), large={"text 21"})
    found = run_stage(Stage(SPACE, "small", 16, lambda: model), titles(64), context)
    assert found.status.tolist() == ["ok"] * 21 + ["error"] + ["ok"] * 42
    assert found.reason[21] == "out of memory"
    assert model.calls[-2:] == [16, 16]
    assert context.progress.lines == []
    # It is final, like any outcome, until errors are tried again.
    model.calls.clear()
    run_stage(Stage(SPACE, "small", 16, lambda: model), titles(64), context)
    assert model.calls == []
    bigger = Small(99, MemoryError())
    assert run_stage(Stage(SPACE, "small", 16, lambda: bigger), titles(64), replace(context, retry=True)).ok.all()


def test_a_model_for_which_nothing_fits_ends_the_run_with_a_remedy(context):
    with pytest.raises(BenchError, match="even with one item at a time") as caught:
        run_stage(Stage(SPACE, "small", 4, lambda: Small(0, MemoryError())), titles(8), context)
    assert "--quantize 4bit" in caught.value.remedy


def test_other_errors_are_none_of_memory():
    assert out_of_memory(torch_error())
    assert not out_of_memory(ValueError("out of memory"))
    assert not out_of_memory(RuntimeError("shape mismatch"))


@given(st.integers(1, 40), st.integers(1, 40), st.sets(st.integers(0, 39)))
def test_values_come_in_order_whatever_fits(count, room, large):
    def model(items):
        if len(items) > room or large & set(items):
            raise MemoryError
        return [10 * item for item in items]

    fitting = Fitting("any", lambda line: None)
    found = fitting.values(model, list(range(count)), {})
    assert [value if isinstance(value, int) else None for value in found] == [
        None if item in large else 10 * item for item in range(count)
    ]


def test_calls_grow_until_memory_is_full_and_stay_at_what_fitted():
    said = []
    fitting = Fitting("any", said.append, first=4)
    small = Small(20, MemoryError())
    for _ in range(3):
        np.testing.assert_array_equal(fitting.values(small, ["word"] * 64, {}), lengths(["word"] * 64))
    assert small.calls[:4] == [4, 8, 16, 32]
    assert max(small.calls[4:]) <= 16
    assert said == ["any: out of memory with 32 items at once, going on with 16"]
    free = Small(1000, MemoryError())
    fitting = Fitting("any", said.append, first=4)
    for _ in range(2):
        fitting.values(free, ["word"] * 64, {})
    assert free.calls == [4, 8, 16, 32, 4, 64]
    assert len(said) == 1


# --- options that enter the key only where they decide something


def spaces(extractor, tmp_path):
    """Ids of the spaces that a run without any items fills."""
    found = extractor.extract(ItemSource([], [], []), ExtractContext(tmp_path / "none"))
    return found.space.id, found.space.config.get("parents")


@pytest.mark.parametrize("kind", [Captions, HiddenStates])
def test_the_end_of_clips_is_an_option_and_the_usual_one_is_not_in_the_key(untrained, tmp_path, kind):
    known = {"checkpoint": str(untrained / "captioner")}
    if kind is Captions:
        known["text_encoder"] = str(untrained / "text_encoder")
    plain = spaces(kind(**known), tmp_path)
    assert spaces(kind.from_options({**known, "max_seconds": "240", "quantize": "none"}), tmp_path) == plain
    short = spaces(kind.from_options({**known, "max_seconds": "60"}), tmp_path)
    assert short != plain
    assert spaces(kind(**known, frames="uniform:8@60s"), tmp_path) == short
    assert spaces(kind(**known, frames="uniform:8@60s", max_seconds=30), tmp_path) == short
    assert spaces(kind.from_options({**known, "max_seconds": "none"}), tmp_path) == spaces(
        kind(**known, frames="uniform:8@all"), tmp_path
    )
    with pytest.raises(UserError, match="max_seconds"):
        spaces(kind(**known, max_seconds=-1.0), tmp_path)


def test_frames_beyond_the_end_are_not_looked_at(untrained, tmp_path, clips):
    states = HiddenStates(checkpoint=str(untrained / "captioner"))
    source = ItemSource(["a"], [None], [clips[3]])  # 26 frames, 3.25 s
    whole, cut = (
        replace(states, max_seconds=end).extract(source, ExtractContext(tmp_path / "s")) for end in (240.0, 1.0)
    )
    assert cut.ok.all()
    assert np.abs(whole.values.astype(np.float32) - cut.values.astype(np.float32)).max() > 1e-2


def test_four_bits_need_a_package_and_real_weights(untrained, tmp_path, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "bitsandbytes" else real(name))
    known = {"checkpoint": str(untrained / "captioner"), "quantize": "4bit"}
    with pytest.raises(UserError, match=r"the package bitsandbytes.* not installed") as caught:
        spaces(HiddenStates(**known), tmp_path)
    assert "video-rec-bench[quantize]" in caught.value.remedy
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: real("json"))
    with pytest.raises(UserError, match="random weights"):
        spaces(HiddenStates(checkpoint="random", quantize="4bit"), tmp_path)
    quantized, plain = (spaces(replace(HiddenStates(**known), quantize=q), tmp_path) for q in ("4bit", "none"))
    assert quantized != plain


def test_four_bits_are_four_bits(untrained, tmp_path, clips):
    pytest.importorskip("bitsandbytes")
    pytest.importorskip("accelerate")
    from feature_extractors.models.checkpoint.checkpoints import resolve
    from feature_extractors.models.video_lm import load_model

    _, model = load_model(resolve(str(untrained / "captioner"), untrained), "float32", "cpu", quantize="4bit")
    kinds = {type(module).__name__ for module in model.model.language_model.modules()}
    assert "Linear4bit" in kinds
    states = HiddenStates(checkpoint=str(untrained / "captioner"), quantize="4bit")
    found = states.extract(ItemSource(["a"], [None], [clips[0]]), ExtractContext(tmp_path / "s"))
    assert found.ok.all()


# --- several devices


@dataclass(frozen=True)
class Letters(Extractor):
    """Two stages without a model; the first one does on `trouble` what it is told to, once."""

    name: ClassVar[str] = "letters"
    feature: ClassVar[str] = "text, vector"

    trouble: str = ""
    scratch: str = ""

    def extract(self, source, context):
        def upper(texts):
            Path(self.scratch, f"{os.getpid()}").touch()
            if self.trouble == "slow":
                time.sleep(0.2)
            flag = Path(self.scratch, "once")
            if self.trouble in texts and not flag.exists():
                flag.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            if self.trouble == "always":
                sys.stderr.write("no more memory\n")
                os._exit(7)
            if self.trouble == "wrong":
                raise UserError("wrong checkpoint", remedy="take another")
            return [text.upper() for text in texts]

        inputs = text_inputs(source.item_ids, source.titles, "title")
        text = FeatureSpace("letters.text", 1, "text", {})
        words = run_stage(Stage(text, "letters", 8, lambda: upper), inputs, context)
        space = FeatureSpace("letters.vector", 1, "vector", {})
        return run_stage(Stage(space, "numbers", 16, lambda: lengths), stage.stage_inputs(words), context)


MODULE = """
import sys
sys.path.insert(0, {folder!r})
import runpy
runpy.run_module("feature_extractors.pipeline.device_worker", run_name="__main__")
"""


@pytest.fixture
def letters(tmp_path, monkeypatch):
    """Letters as a plug-in that another process can import, and its source of 300 titles."""
    module = tmp_path / "plugins" / "letters_plugin.py"
    module.parent.mkdir()
    text = Path(__file__).read_text()
    start, end = text.index("@dataclass(frozen=True)\nclass Letters"), text.index("MODULE = ")
    head = text[: text.index("SPACE = ")].replace("import pytest\nfrom hypothesis import given\n", "")
    head = head.replace("from hypothesis import strategies as st\n", "")
    also = text[text.index("def lengths") : text.index("# --- overlap")]
    module.write_text(head + also + text[start:end])
    monkeypatch.syspath_prepend(str(module.parent))
    command = (sys.executable, "-c", MODULE.format(folder=str(module.parent)))
    monkeypatch.setattr(devices, "COMMAND", command)
    plugin = importlib.import_module("letters_plugin")
    ids = [f"i{k:03d}" for k in range(300)]
    yield plugin.Letters(scratch=str(tmp_path)), ItemSource(ids, [f"text {k}" for k in range(300)], [None] * 300)
    sys.modules.pop("letters_plugin")


def test_several_devices_fill_one_store_as_one_would(letters, tmp_path, context):
    extractor, source = letters
    alone = extractor.extract(source, replace(context, store=tmp_path / "alone"))
    (tmp_path / str(os.getpid())).unlink()
    found = devices.extract_on(["cpu", "cpu"], extractor, source, context)
    assert found.digest == alone.digest
    assert len([p for p in tmp_path.iterdir() if p.name.isdecimal()]) == 2
    shown = {title: total for title, total in context.progress.tasks if " on " in title}
    assert set(shown) == {f"{stage} on cpu ({k})" for stage in ("letters", "numbers") for k in (1, 2)}
    assert shown["letters on cpu (1)"] + shown["letters on cpu (2)"] == 300
    part = replace(context, store=tmp_path / "part", only=frozenset(source.item_ids[:70]))
    assert devices.extract_on(["cpu", "cpu"], extractor, source, part).ok.sum() == 70


def test_devices_of_several_machines_share_everything_once(letters, tmp_path, context):
    from feature_extractors.pipeline.sharding import choose

    extractor, source = letters
    for machine in range(2):
        only = choose(source.item_ids, shard=(machine, 2))
        found = devices.extract_on(["cpu", "cpu"], extractor, source, replace(context, only=only), (machine, 2))
    assert found.ok.all()
    assert sum(total for title, total in context.progress.tasks if title.startswith("letters")) == 300


def test_a_worker_that_is_killed_is_reported_and_its_part_is_done_again(letters, context):
    extractor, source = letters
    found = devices.extract_on(["cpu", "cpu"], replace(extractor, trouble="text 100"), source, context)
    assert found.ok.all()
    assert len(context.progress.lines) == 1
    assert "died (SIGKILL)" in context.progress.lines[0]
    assert "started again" in context.progress.lines[0]


def test_a_worker_that_dies_again_and_one_that_is_refused_end_the_run(letters, context):
    extractor, source = letters
    with pytest.raises(BenchError, match="died again and again"):
        devices.extract_on(["cpu"], replace(extractor, trouble="always"), source, context)
    assert "exit code 7: no more memory" in context.progress.lines[0]
    with pytest.raises(UserError, match="wrong checkpoint") as caught:
        devices.extract_on(["cpu", "cpu"], replace(extractor, trouble="wrong"), source, context)
    assert caught.value.remedy == "take another"


def test_ctrl_c_lets_every_worker_finish_its_batch(letters, context):
    extractor, source = letters
    real, sent = context.progress.advance, []

    def advance(steps=1, note=""):
        real(steps, note)
        begun = [path for path in Path(extractor.scratch).iterdir() if path.name.isdecimal()]
        if len(begun) == 2 and len(context.progress.notes) >= 4 and not sent:
            sent.append(True)
            os.kill(os.getpid(), signal.SIGINT)

    context.progress.advance = advance
    with pytest.raises(KeyboardInterrupt, match=r"items are stored.*run the same command again") as caught:
        devices.extract_on(["cpu", "cpu"], replace(extractor, trouble="slow"), source, context)
    assert "cpu (1): letters: " in str(caught.value)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    stored = FeatureStore(context.store, FeatureSpace("letters.text", 1, "text", {})).index()
    assert 32 <= len(stored) < 300
    assert len(stored) % 4 == 0
    assert devices.extract_on(["cpu", "cpu"], extractor, source, context).ok.all()


def test_a_worker_whose_parent_dies_stops(tmp_path, letters):
    extractor, source = letters
    order = devices.Order(replace(extractor, trouble="slow"), source, ExtractContext(tmp_path / "s"))
    worker = subprocess.Popen(devices.COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    worker.stdin.write(order.packed())
    worker.stdin.flush()
    lines = iter(worker.stdout.readline, b"")
    assert any(b"advance" in line for line in lines)
    worker.stdin.close()
    ends = [message["end"] for message in map(json.loads, lines) if "end" in message]
    assert ends == ["interrupted"]
    assert worker.wait(30) == 0


def test_names_of_devices():
    assert devices.parse_devices(" 0, 3,cpu") == ["cuda:0", "cuda:3", "cpu"]
    for text in ("", ","):
        with pytest.raises(UserError, match="names no device"):
            devices.parse_devices(text)
    devices.check_device("cpu")
    with pytest.raises(UserError, match="none that torch knows"):
        devices.check_device("gpu")
    with pytest.raises(UserError, match="is not there"):
        devices.check_device("cuda:99")
