"""Frames chosen by title: the ones CLIP finds nearest, stored as a stage of their own, and never guessed."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from feature_extractors.base import ItemSource
from feature_extractors.captions import Captions
from feature_extractors.clip import Clip
from feature_extractors.linkedout import LinkedOut
from feature_extractors.media import video
from feature_extractors.media.frame_policy import At, ClipTopK, parse, parse_any
from feature_extractors.media.pool import DecodePool, Part
from feature_extractors.models.checkpoint.checkpoints import Checkpoint
from feature_extractors.models.clip_frame_ranking import Nearest, Titled
from feature_extractors.models.clip_image import LAYOUT
from feature_extractors.pipeline.frame_selection import select_by_title, select_frames
from feature_extractors.pipeline.stage import video_inputs
from feature_extractors.pocket import CLIP
from feature_extractors.videomae import VideoMae
from protocols.datasets.demo.drawing import render_frames
from protocols.datasets.demo.factors import SETTINGS, sample_scene
from protocols.errors import UserError

TITLES = ["a picture of things by the sea", "a picture of things by the forest", "a picture with the word jazz"]


@pytest.fixture(scope="module")
def films(tmp_path_factory, make_film):
    """Three clips of three scenes each, 8 frames of every scene: sea, forest, city, in another order each."""
    rng = np.random.default_rng(5)
    scenes = [replace(sample_scene(rng), setting=setting, word="none") for setting in ("sea", "forest", "city")]
    assert {scene.setting for scene in scenes} < set(SETTINGS)
    parts = [render_frames(scene)[:8] for scene in scenes]
    folder = tmp_path_factory.mktemp("films")
    orders = [(0, 1, 2), (1, 2, 0), (2, 0, 1)]
    return [
        make_film(folder / f"{k}.mp4", np.concatenate([parts[at] for at in order])) for k, order in enumerate(orders)
    ]


def source(films, titles=TITLES):
    return ItemSource([f"item{k}" for k in range(len(films))], list(titles), films)


def chosen(policy, items, context, clip="pocket"):
    found = select_by_title(policy, clip, video_inputs(items, context), items, context)
    return found, [[int(p) for p in text.split()] for text in found.values]


def test_the_frames_are_those_of_the_largest_cosines(films, context):
    import open_clip

    policy = ClipTopK(4, 12)
    found, positions = chosen(policy, source(films), context)
    assert list(found.status) == ["ok"] * 3
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{CLIP}", pretrained_text=False)
    words = open_clip.get_tokenizer(f"local-dir:{CLIP}")
    for path, title, mine in zip(films, TITLES, positions, strict=True):
        clip = video.decode(path, parse("uniform:12"))
        with torch.no_grad():
            images = model.eval().encode_image(torch.stack([transform(Image.fromarray(f)) for f in clip.frames]))
            text = model.encode_text(words([title]))[0]
        images, text = images.numpy().astype(np.float64), text.numpy().astype(np.float64)
        cosines = images @ text / np.linalg.norm(images, axis=1) / np.linalg.norm(text)
        assert mine == sorted(np.array(clip.indices)[np.argsort(-cosines)[:4]].tolist())


def test_a_title_finds_its_scene_and_another_title_finds_another(films, context):
    policy = ClipTopK(4, 12)
    sea = TITLES[0]
    _, by_sea = chosen(policy, source(films, [sea] * 3), context)
    # eight frames a scene: the sea is the first, the third and the second scene
    assert [{position // 8 for position in one} for one in by_sea] == [{0}, {2}, {1}]
    _, mixed = chosen(policy, source(films, TITLES), context)
    assert mixed[0] == by_sea[0]
    assert mixed[1] != by_sea[1]
    assert {position // 8 for position in mixed[1]} == {0}


def test_what_is_behind_the_context_of_the_text_tower_is_not_read(films, context):
    long = " ".join(["a picture of two red crosses by the sea"] * 4)
    policy = ClipTopK(3, 12)
    _, one = chosen(policy, source(films, [f"{long} forest {'night ' * 400}"] * 3), context)
    _, other = chosen(policy, source(films, [f"{long} desert"] * 3), context)
    assert one == other


def test_items_without_a_title_are_refused_with_a_reason(films, context):
    items = source(films, ["", None, TITLES[0]])
    features = Clip(checkpoint="pocket", frame_clip="pocket", frames="clip-topk:2/6").extract(items, context)
    assert list(features.status) == ["empty", "missing", "ok"]
    assert list(features.reason[:2]) == ["frames: empty title", "frames: no title"]
    marks, _ = chosen(ClipTopK(2, 6), source(films, [TITLES[0], " <end> <end_of_text>", TITLES[1]]), context)
    assert list(marks.status) == ["ok", "empty", "ok"]
    with pytest.raises(UserError, match="no item here has one"):
        Clip(checkpoint="pocket", frame_clip="pocket", frames="clip-topk:2").extract(
            source(films, [None, "", " "]), context
        )


def test_a_clip_that_does_not_decode_says_why(films, context, tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"bad")
    items = source([*films[:2], tmp_path / "bad.mp4"])
    found, _ = chosen(ClipTopK(2, 6), items, context)
    features = Clip(checkpoint="pocket", frame_clip="pocket", frames="clip-topk:2/6").extract(items, context)
    assert list(found.status) == list(features.status) == ["ok", "ok", "undecodable"]
    assert features.reason[2] == f"frames: {found.reason[2]}"


def test_features_are_those_of_the_chosen_frames_and_follow_the_title(films, context, note_stages):
    option = Clip(checkpoint="pocket", frame_clip="pocket", frames="clip-topk:2/12", batch=4)
    stages = note_stages(lambda name, count: (name, count))
    features = option.extract(source(films), context)
    assert stages == [("frame-choice", 3), ("clip.vector", 3)]
    found, positions = chosen(ClipTopK(2, 12), source(films), context)
    assert features.space.config["parents"] == [found.space.id]
    assert len(features.space.provenance["checkpoints"]) == 2
    assert (features.seconds >= found.seconds).all()
    for k, (path, at) in enumerate(zip(films, positions, strict=True)):
        words = "at:" + "+".join(map(str, at))
        alone = ItemSource(["one"], [None], [path])
        expected = replace(option, frames=words).extract(alone, context)
        np.testing.assert_allclose(features.values[k], expected.values[0], atol=1e-5)
    stages.clear()
    again = option.extract(source(films), context)
    assert stages == []
    np.testing.assert_array_equal(again.values, features.values)
    # another title is another choice: the vector that the old one gave is not taken for it
    swapped = option.extract(source(films, [TITLES[1], *TITLES[1:]]), context)
    assert [name for name, _ in stages] == ["frame-choice", "clip.vector"]
    assert not np.allclose(swapped.values[0], features.values[0], atol=1e-3)
    np.testing.assert_allclose(swapped.values[1:], features.values[1:], atol=1e-5)


def test_the_key_knows_how_many_of_how_many_and_by_which_clip(films, context):
    items = source(films)

    def space(policy, clip="pocket"):
        found = select_frames(parse_any(policy, 240.0), clip, items, replace(context, overwrite="never"))
        return found.config["frames"], tuple(parent.space.id for parent in found.parents)

    spaces = [space("clip-topk:2/6"), space("clip-topk:3/6"), space("clip-topk:2/7"), space("clip-topk:2/6", "random")]
    assert len(set(spaces)) == 4
    assert spaces[0] == space("clip-topk:2/6@240s")
    # a policy that needs no title has no such parent, whatever the checkpoint
    assert space("uniform:6") == space("uniform:6", "random") == ("uniform:6", ())


@pytest.mark.slow
def test_what_reads_frames_reads_chosen_ones(films, context, note_stages):
    """One choice serves all of them."""
    stages = note_stages(lambda name, count: name)
    items = source(films)
    for option in (
        Captions(frames="clip-topk:4/8"),
        LinkedOut(frames="clip-topk:4/8", title=True, new_tokens=1),
        VideoMae(frames="clip-topk:16/18"),
    ):
        features = option.resolved(True).extract(items, context)
        assert list(features.status) == ["ok"] * 3
    assert stages.count("frame-choice") == 2  # 4 of 8 for two of them, 16 of 18
    with pytest.raises(UserError, match="4 frames, the model takes 16"):
        VideoMae(frames="clip-topk:4/8").resolved(True).extract(items, context)


def test_a_pool_decodes_the_part_that_is_asked_for(films):
    parts = [films[0], Part(films[0], At((1, 20))), Part(films[1], parse("uniform:3"))]
    with DecodePool(1, parse("uniform:2")) as pool:
        clips = list(pool.map(parts, ahead=2))
    for clip, path, policy in zip(clips, [films[0], *films[:2]], ["uniform:2", "at:1+20", "uniform:3"], strict=True):
        here = video.decode(path, parse(policy))
        assert clip.indices == here.indices
        np.testing.assert_array_equal(clip.frames, here.frames)


def test_a_run_over_a_part_and_then_the_rest_equals_one_over_all(films, context, tmp_path):
    option = Clip(checkpoint="pocket", frame_clip="pocket", frames="clip-topk:2/6", batch=2)
    part = option.extract(source(films), replace(context, only=frozenset(["item1"])))
    assert list(part.status) == ["missing", "ok", "missing"]
    assert "outside of what was asked for" in part.reason[0]
    rest = option.extract(source(films), context)
    whole = option.extract(source(films), replace(context, store=tmp_path / "other"))
    assert rest.digest == whole.digest


def test_open_clips_own_tokenizer_cuts_a_long_title_and_sees_no_mark_in_one(films, tmp_path):
    """As ViT-B-32 of LAION has it: no tokenizer in the folder, 77 tokens of 49,408."""
    folder = shutil.copytree(CLIP, tmp_path / "clip")
    config = json.loads((folder / LAYOUT.config).read_text())
    text = config["model_cfg"]["text_cfg"]
    del text["hf_tokenizer_name"]
    text.update(context_length=77, vocab_size=49408)
    (folder / LAYOUT.config).write_text(json.dumps(config))
    nearest = Nearest(Checkpoint("own", folder, "own", random=True), ClipTopK(2, 6), "cpu")
    clip = video.decode(films[0], parse("uniform:6"))
    many = " ".join(f"word{k}" for k in range(500))
    longer, shorter, marked = (Titled(clip, words) for words in (many, many[:600], "a sea <end_of_text> forest"))
    near = nearest.nearness([longer.title, shorter.title], nearest.prepare([longer, shorter])[2])
    np.testing.assert_array_equal(near[0], near[1])
    assert nearest.prepare([marked])[1] == ["a sea forest"]
    assert [len(one.split()) for one in nearest([longer, marked])] == [2, 2]
