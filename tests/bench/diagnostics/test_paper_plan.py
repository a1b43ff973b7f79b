"""Costs on paper: from assumptions with their sources, and what has none."""

import pytest
from click.testing import CliRunner

from bench.cli import cli
from bench.diagnostics import paper_plan
from feature_extractors.captions import Captions
from feature_extractors.titles import Titles
from protocols.errors import UserError

MODEL = "Qwen/Qwen2.5-VL-3B-Instruct"


def captions(**options):
    return Captions(**options).resolved(False)


def value(plan, name):
    return next(one.value for one in plan.assumptions if one.name == name)


def test_a_plan_is_the_sum_of_its_tokens():
    given = {"clips": 3600, "frames": 8, "tokens_per_frame": 100, "prompt_tokens": 200, "answer_tokens": 50}
    rates = {"prefill_tokens_per_s": 1000.0, "decode_tokens_per_s": 100.0}
    plan = paper_plan.make(captions(), given | rates, devices=2)
    assert (plan.prefill, plan.decode, plan.hours) == (1.0, 0.5, 0.75)
    assert "on paper 0.75 hours on 2 devices" in paper_plan.text(plan)
    assert "0.75 node hours at 4 an hour: 3.00" in paper_plan.text(plan, price=4.0)


def test_tokens_of_a_frame_are_those_of_the_processor():
    given = {"clips": 1, "prefill_tokens_per_s": 1.0, "decode_tokens_per_s": 1.0, "seconds": 30}
    assert value(paper_plan.make(captions(), given), "tokens_per_frame") == 26 * 46 / 2  # 728 x 1288 of two frames
    served = captions(engine="openai", endpoint="http://127.0.0.1:1/v1")
    assert value(paper_plan.make(served, given), "tokens_per_frame") == 26 * 46
    small = paper_plan.make(captions(max_pixels="100352"), given)
    assert value(small, "tokens_per_frame") <= 100352 / 28**2 / 2
    assert value(paper_plan.make(captions(frames="fps:1"), given), "frames") == 30
    assert value(paper_plan.make(captions(frames="first:10s/16"), given), "frames") == 16


def test_published_rates_are_of_a_server_and_give_back_what_was_published():
    plan = paper_plan.make(captions(engine="vllm"), {"clips": 20_000})
    sources = {one.name: one.source for one in plan.assumptions}
    assert "TensorRT-LLM" in sources["prefill_tokens_per_s"]
    assert sources["clips"] == "--assume"
    rates = paper_plan.published()
    for (read, written), rate in paper_plan.PUBLISHED.items():
        seconds = read / rates["prefill_tokens_per_s"] + written / rates["decode_tokens_per_s"]
        assert written / seconds == pytest.approx(rate)


@pytest.mark.parametrize(
    ("extractor", "given", "message"),
    [
        (captions(), {"clips": 5}, "no published prefill_tokens_per_s .* by engine local"),
        (captions(engine="vllm"), {}, "how many clips"),
        (captions(checkpoint="some/Model", engine="vllm"), {"clips": 5}, "tokens_per_frame is not known to us"),
        (Titles(), {"clips": 5}, "not of titles"),
    ],
)
def test_what_has_no_source_is_asked_for(extractor, given, message):
    with pytest.raises(UserError, match=message) as caught:
        paper_plan.make(extractor, given)
    assert "--plan" in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip=3", "did you mean 'clips'"),
        ("clips=0", "above 0"),
        ("clips", "above 0"),
        ("clips=1,clips=2", "given twice"),
    ],
)
def test_assumptions_that_are_none(text, message):
    with pytest.raises(UserError, match=message):
        paper_plan.parse(text)


def test_the_command_prints_every_source_and_opens_no_clip(tmp_path):
    words = ["extract", "--extractor", "captions", "--cache", str(tmp_path), "--device", "cpu"]
    found = CliRunner().invoke(cli, [*words, "--engine", "vllm", "--plan", "--assume", "clips=20000,seconds=30"])
    assert found.exit_code == 0, found.output
    assert f"{26 * 46:,}" in found.output
    assert "on paper" in found.output
    assert not (tmp_path / "data").exists()
    refused = CliRunner().invoke(cli, [*words, "--assume", "clips=3"], standalone_mode=False)
    assert "add --plan" in refused.exception.remedy
