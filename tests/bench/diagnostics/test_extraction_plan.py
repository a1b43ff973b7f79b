"""`bench extract` says what it will take, runs on several devices, and refuses options that cannot be."""

import re
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from click.testing import CliRunner

from bench import registry
from bench.cli import cli, extraction_options
from bench.diagnostics import extraction_plan
from feature_extractors.base import ExtractContext, Extractor, ItemSource
from feature_extractors.captions import Captions
from protocols.errors import UserError
from protocols.features import FeatureSpace

COUNT = 100
SECONDS, BYTES = 0.02, 4000


@dataclass(frozen=True)
class Steady(Extractor):
    """A text of four bytes, then a thousand numbers, each item in 20 ms; clips named `bad...` have none."""

    name: ClassVar[str] = "steady"
    feature: ClassVar[str] = "text, vector"
    sizes: ClassVar[list] = []
    seen: ClassVar[list] = []

    batch: int = 32
    dtype: str = "float32"

    def extract(self, source, context):
        import time

        from feature_extractors.media.result import Failure
        from feature_extractors.pipeline.run import run_stage
        from feature_extractors.pipeline.stage import Stage, stage_inputs, video_inputs

        def describe(paths):
            Steady.sizes.append(len(paths))
            Steady.seen += [path.name for path in paths]
            time.sleep(SECONDS * len(paths))
            return [Failure("undecodable", "bad") if path.name.startswith("bad") else "text" for path in paths]

        text = FeatureSpace("steady.text", 1, "text", {"dtype": self.dtype})
        words = run_stage(Stage(text, "words", self.batch, lambda: describe), video_inputs(source, context), context)
        vector = FeatureSpace("steady.vector", 1, "vector", {"parents": [text.id]})
        numbers = lambda texts: np.ones((len(texts), BYTES // 4), np.float32)  # noqa: E731
        return run_stage(Stage(vector, "numbers", 64, lambda: numbers), stage_inputs(words), context)


class Entry:
    value = "here:Steady"

    def load(self):
        return Steady


@pytest.fixture(autouse=True)
def steady(monkeypatch):
    real = registry.names
    more = {"steady": Entry()}
    monkeypatch.setattr(registry, "names", lambda kind: {**real(kind), **(more if kind == "extractor" else {})})
    Steady.sizes.clear()
    Steady.seen.clear()


@pytest.fixture
def media(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    for k in range(COUNT):
        (folder / f"{'bad' if k % 10 == 3 else 'c'}{k:03d}.mp4").write_bytes(b"%d" % k)
    return folder


@pytest.fixture
def extract(media, tmp_path):
    def run(*words):
        command = ["extract", "--extractor", "steady", "--media", str(media), "--cache", str(tmp_path / "cache")]
        found = CliRunner().invoke(cli, [*command, *words], standalone_mode=False)
        if found.exception:
            raise found.exception
        return found

    return run


def rows(text):
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {row[0]: dict(zip(cells[0][1:], row[1:], strict=True)) for row in cells[2:]}


def test_the_plan_tells_time_and_disk_of_what_is_left_and_stores_nothing(extract, tmp_path):
    found = extract("--plan")
    table = rows(found.output)
    assert {stage: row["items left"] for stage, row in table.items()} == {"words": "100", "numbers": "100"}
    assert 30 < float(table["words"]["items/s a device"]) <= 51
    assert table["words"]["bound by"] == "model"
    assert "nothing was stored" in found.output
    assert "timed on 16 clips" in found.output
    assert Steady.sizes == [8, 8]
    assert not list((tmp_path / "cache" / "features").glob("*.lance"))
    # Sixteen of a hundred, spread over all of them.
    numbers = sorted(int(name[-7:-4]) for name in Steady.seen)
    assert numbers[0] < 30
    assert numbers[-1] > 90


def test_the_plan_counts_what_is_there_already(extract):
    extract("--limit", "64")
    table = rows(extract("--plan").output)
    assert {stage: row["items left"] for stage, row in table.items()} == {"words": "36", "numbers": "36"}
    table = rows(extract("--plan", "--overwrite", "always", "--limit", "70").output)
    assert table["words"]["items left"] == "70"
    extract()
    assert "nothing is left to do" in extract("--plan").output


def test_a_plan_in_numbers(media, tmp_path):
    paths = sorted(media.iterdir())
    source = ItemSource([path.name for path in paths], [None] * COUNT, paths)
    context = ExtractContext(tmp_path / "store")
    one, four = (extraction_plan.make(Steady(), source, context, devices) for devices in (1, 4))
    words, numbers = one.stages
    # a busy machine may take longer than the model says that it does, never much shorter
    assert 0.8 < 3600 * words.hours / (COUNT * SECONDS) < 6
    assert 0.8 < 3600 * four.stages[0].hours / (COUNT * SECONDS / 4) < 6
    assert numbers.gigabytes == pytest.approx(COUNT * (BYTES + extraction_plan.ROW_BYTES) / 1e9, rel=0.2)
    assert one.failed == sum(path.name.startswith("bad") for path in paths if path.name in Steady.seen[:16])
    assert 0.05 < one.memory < 60
    assert one.free > 0
    assert not one.on_gpu
    assert "NOT ENOUGH" in extraction_plan.text(replace(one, free=0.0), 32, ["cpu"])
    assert "the run makes calls of 32" in extraction_plan.text(one, 32, ["cpu"])
    served = extraction_plan.text(
        one, 32, ["cpu"], None, extraction_plan.elsewhere(replace(Captions(), engine="openai"))
    )
    assert "which is asked 16 requests at a time" in served
    assert "halves" not in served
    assert "model call" not in served
    assert extraction_plan.elsewhere(Captions()) == extraction_plan.elsewhere(Steady()) == ""


def test_a_plan_for_other_machines_says_what_they_cost(extract):
    found = extract("--plan", "--nodes", "2", "--price", "3.5")
    assert "on 2 nodes with 1 device each" in found.output
    paid = re.search(r"([\d.]+) node hours \(2 x [\d.]+\) at 3\.5 an hour: ([\d.]+)", found.output)
    hours, cost = map(float, paid.groups())
    assert cost == pytest.approx(3.5 * hours, abs=0.03)
    with pytest.raises(UserError, match="--price"):
        extract("--price", "3.5")


def test_more_devices_than_blocks_of_items_do_not_help(media, tmp_path):
    paths = sorted(media.iterdir())
    source = ItemSource([path.name for path in paths], [None] * COUNT, paths)
    made = extraction_plan.make(Steady(), source, ExtractContext(tmp_path / "store"), 1, nodes=500)
    assert made.stages[0].hours * 3600 > 0.8 * COUNT * SECONDS / 2


def test_batch_size_and_dtype_reach_the_extractor(extract):
    extract("--batch-size", "10", "--dtype", "bfloat16")
    assert max(Steady.sizes) == 10
    Steady.sizes.clear()
    extract("--batch-size", "auto")
    assert max(Steady.sizes) == 32  # another dtype is another space; without a GPU the extractor's own batch


def test_auto_is_a_whole_block_on_a_gpu():
    assert extraction_options.batch_size("auto", ["cuda:0", "cuda:1"]) == 64
    assert extraction_options.batch_size("auto", ["cpu"]) is None
    assert extraction_options.batch_size("7", ["cuda:0"]) == 7
    for wrong in ("0", "-1", "many", "1.5"):
        with pytest.raises(UserError, match="--batch-size"):
            extraction_options.batch_size(wrong, ["cpu"])


def test_decoding_processes_leave_a_core_to_each_model(monkeypatch):
    monkeypatch.setattr(extraction_options.os, "cpu_count", lambda: 32)
    assert extraction_options.decoders(None, ["cuda:0"]) == 8
    assert extraction_options.decoders(None, ["cuda:0"] * 8) == 3
    assert extraction_options.decoders(5, ["cpu"]) == 5
    monkeypatch.setattr(extraction_options.os, "cpu_count", lambda: 1)
    assert extraction_options.decoders(None, ["cpu", "cpu"]) == 1


def test_options_that_cannot_be(extract):
    for words, message in (
        (("--device", "cuda:99"), "is not there"),
        (("--devices", "97,98"), "cuda:97.*is not there"),
        (("--device", "cuda", "--devices", "0"), "give one of them"),
        (("--quantize", "4bit"), "unknown option of steady 'quantize'"),
    ):
        with pytest.raises(UserError, match=message):
            extract(*words)


def test_titles_on_two_devices_from_the_command_line(media, tmp_path):
    """The real worker process on an extractor of ours: no clip has a title, and the summary says so."""
    command = ["extract", "--extractor", "titles", "--text-encoder", "pocket", "--media", str(media)]
    found = CliRunner().invoke(cli, [*command, "--cache", str(tmp_path), "--devices", "cpu,cpu"], standalone_mode=False)
    assert not found.exception
    assert re.search(r"100 +100\.0% +missing +no title", found.output)
