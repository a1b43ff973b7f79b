"""From files to caption vectors. What is extracted again, and when, stands in `test_reextraction.py`."""

from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from bench.cli import cli
from bench.diagnostics import text_audit
from feature_extractors.base import ItemSource
from feature_extractors.captions import Captions
from feature_extractors.text.prompt_files import read_prompt
from feature_extractors.titles import Titles
from protocols.errors import UserError


@pytest.fixture(scope="module")
def clips(tmp_path_factory, make_clip):
    root = tmp_path_factory.mktemp("clips")
    return [make_clip(root / f"{seed}.mp4", seed=seed) for seed in range(6)]


@pytest.fixture
def captions(untrained):
    return Captions(
        checkpoint=str(untrained / "captioner"),
        text_encoder=str(untrained / "text_encoder"),
        max_new_tokens=12,
        batch=4,
    )


@pytest.fixture
def loads(note_stages):
    """Counts stages that had something to do, by title."""
    return note_stages(lambda name, items: (name, items))


def source(paths):
    ids = [f"item{k}" for k in range(len(paths))]
    return ItemSource(ids, [f"Title {k}" for k in range(len(paths))], paths)


def test_the_chain_gives_a_vector_per_clip_and_is_served_from_the_store_next_time(captions, clips, context, loads):
    features = captions.extract(source(clips), context)
    assert features.item_ids == [f"item{k}" for k in range(6)]
    assert features.ok.all()
    assert features.values.shape == (6, 128)
    assert (features.seconds > 0).all()
    assert loads == [("captions.text", 6), ("captions.vector", 6)]
    assert captions.extract(source(clips), context).digest == features.digest
    assert len(loads) == 2
    texts = captions.texts(source(clips), context)
    assert len(set(texts.values)) == 6
    assert features.space.config["parents"] == [texts.space.id]


def test_another_name_and_container_change_nothing(captions, clips, context, tmp_path):
    import av

    moved = []
    for clip in clips:
        target = tmp_path / f"renamed {clip.stem}.mkv"
        with av.open(str(clip)) as old, av.open(str(target), "w") as new:
            stream = new.add_stream_from_template(old.streams.video[0])
            for packet in old.demux(old.streams.video[0]):
                if packet.dts is not None:
                    packet.stream = stream
                    new.mux(packet)
        moved.append(target)
    before = captions.extract(source(clips), context)
    after = captions.extract(source(moved), replace(context, store=tmp_path / "other"))
    assert before.digest == after.digest


def test_bad_clips_are_rows_with_reasons_and_the_others_get_vectors(captions, clips, context, tmp_path, make_sound):
    (tmp_path / "broken.mp4").write_bytes(clips[0].read_bytes()[:300])
    (tmp_path / "empty.mp4").touch()
    bad = [None, tmp_path / "gone.mp4", tmp_path / "empty.mp4", tmp_path / "broken.mp4", make_sound(tmp_path / "s.mp4")]
    features = captions.extract(source([*clips[:3], *bad]), context)
    assert features.status.tolist() == ["ok"] * 3 + ["missing", "missing", "empty", "undecodable", "undecodable"]
    assert all(features.reason[3:])
    assert not features.values[3:].any()
    assert np.abs(features.values[:3]).sum(axis=1).min() > 0


def test_two_decoding_processes_give_the_same(captions, clips, context, tmp_path):
    one = captions.extract(source(clips), context)
    two = captions.extract(source(clips), replace(context, store=tmp_path / "two", workers=2))
    assert one.digest == two.digest


def test_an_answer_that_ends_at_the_limit_is_noted_in_its_row_and_counted(captions, clips, context, tmp_path):
    features = captions.extract(source(clips), context)
    remark = "the answer ends at the limit of 12 tokens"
    cut = [remark in reason for reason in features.reason]
    assert any(cut)
    whole = replace(captions, checkpoint="pocket", max_new_tokens=48)
    assert "limit" not in "".join(whole.extract(source(clips), context).reason)
    entries = [entry for entry in text_audit.choose(context.store, "captions") if entry.space.config["dtype"]]
    audits = [text_audit.audit(text_audit.read(entry)) for entry in entries]
    assert sorted((audit.cut for audit in audits), key=len) == [{}, {remark: sum(cut)}]
    words = ["extract", "--extractor", "captions", "--media", str(clips[0].parent), "--cache", str(tmp_path)]
    options = ["--checkpoint", captions.checkpoint, "--text-encoder", captions.text_encoder]
    printed = CliRunner().invoke(cli, [*words, *options, "--set", "captions.max_new_tokens=12"]).output
    assert f"cut: {sum(cut)} of 6 items, {remark}" in printed
    assert "device cpu, dtype float32" in printed
    assert "checkpoint captioner is not in our table" in printed


KINDS = ("pocket", "random")


def test_random_twin_says_something_else_and_has_a_space_of_its_own(captions, clips, context, untrained, monkeypatch):
    from feature_extractors import pocket

    monkeypatch.setattr(pocket, "CAPTIONER", untrained / "captioner")
    monkeypatch.setattr(pocket, "TEXT_ENCODER", untrained / "text_encoder")
    real = replace(captions, checkpoint="pocket").texts(source(clips), context)
    twin = replace(captions, checkpoint="random").texts(source(clips), context)
    assert real.space.id != twin.space.id
    assert (real.values != twin.values).any()
    assert twin.ok.all()
    assert real.space.provenance["checkpoints"] == ["pocket"]
    assert twin.space.provenance["checkpoints"] == ["random"]
    monkeypatch.setattr(pocket, "CAPTIONER_SMALL", untrained / "captioner")  # the same files: the same captions
    small, its_twin = (replace(captions, checkpoint=f"{kind}-small").texts(source(clips), context) for kind in KINDS)
    assert (small.digest, its_twin.digest) == (real.digest, twin.digest)


def test_titles_become_vectors_without_looking_at_clips(clips, context, untrained, loads):
    titles = Titles(text_encoder=str(untrained / "text_encoder"))
    found = titles.extract(source([None] * 6), context)
    assert found.ok.all()
    assert loads == [("titles.vector", 6)]
    assert titles.extract(source(clips), context).digest == found.digest
    none = ItemSource(["a", "b"], [None, "x"], [None, None])
    assert titles.extract(none, context).status.tolist() == ["missing", "ok"]


def test_prompts_are_named_or_files(tmp_path):
    assert read_prompt("describe") == "Describe this video."
    assert read_prompt("none") == ""
    (tmp_path / "empty.txt").write_text(" \n")
    for wrong in ("descrbe", str(tmp_path / "absent.txt"), str(tmp_path / "empty.txt")):
        with pytest.raises(UserError):
            read_prompt(wrong)


def test_dtype_is_one_of_three():
    with pytest.raises(UserError, match="bfloat16"):
        Captions.from_options({"dtype": "float8"})
