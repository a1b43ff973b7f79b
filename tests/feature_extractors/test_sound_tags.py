"""Sound tags: lists of classes, windows with scores, what is said in words, and which clips are audio-heavy."""

from dataclasses import replace

import numpy as np
import pytest

from feature_extractors.audio_heavy import GROUPS, audio_heavy, is_heavy, stored
from feature_extractors.base import ItemSource
from feature_extractors.media.audio import RATE, Sound
from feature_extractors.models.checkpoint.checkpoints import resolve
from feature_extractors.models.clap import Clap
from feature_extractors.pocket import CLAP
from feature_extractors.pocket.building import soundtracks
from feature_extractors.pocket.building.sound_captions import sounding_scenes
from feature_extractors.sound_tags import CLASSES, SoundTags, Tagger
from feature_extractors.store import catalogue
from feature_extractors.text.sound_windows import Tag, TaggedWindow, dump, parse, read_classes, worded
from protocols.datasets.demo.media import encode
from protocols.datasets.demo.scene import render_audio
from protocols.errors import UserError

POCKET = SoundTags(checkpoint="pocket", text_encoder="pocket")


@pytest.fixture(scope="module")
def scenes():
    chosen = sounding_scenes(np.random.default_rng(12), held_back=False)
    return [next(chosen) for _ in range(6)]


@pytest.fixture(scope="module")
def clips(tmp_path_factory, scenes):
    root = tmp_path_factory.mktemp("clips")
    silent = replace(scenes[0], mood="none", rhythm="none", spoken="")
    paths = [root / f"{k}.mp4" for k in range(len(scenes) + 1)]
    for path, scene in zip(paths, [*scenes, silent], strict=True):
        path.write_bytes(encode(scene))
    return paths


@pytest.fixture
def stages(note_stages):
    """Names the stages that had something to do."""
    return note_stages(lambda name, items: name.split(".")[1])


@pytest.fixture(scope="module")
def tagger():
    return Tagger(Clap(resolve("pocket", CLAP), "float32", "cpu"), read_classes(CLAP / CLASSES.name), POCKET.template)


def source(paths):
    return ItemSource([f"item{k}" for k in range(len(paths))], [None] * len(paths), paths)


def test_clips_get_tags_and_vectors_of_them(clips, scenes, context, stages, tmp_path, make_clip):
    mute = make_clip(tmp_path / "mute.mp4")
    found = source([*clips, mute, None])
    vectors = POCKET.extract(found, context)
    assert stages == ["windows", "text", "vector"]
    assert vectors.status.tolist() == ["ok"] * 6 + ["empty"] * 2 + ["missing"]
    assert vectors.reason[6:8].tolist() == ["digital silence", "no audio stream"]
    assert vectors.values.shape == (9, 128)
    texts = POCKET.texts(found, context)
    windows = POCKET.windows(found, context)
    assert stages == ["windows", "text", "vector"]
    for text, window in zip(texts.values[:6], windows.values[:6], strict=True):
        (only,) = parse(window)
        assert text == worded([only], POCKET.top, POCKET.least)
        assert [tag.score for tag in only.tags] == sorted((tag.score for tag in only.tags), reverse=True)
        assert all(-1 <= tag.score <= 1 for tag in only.tags)
    for scene, text in zip(scenes, texts.values, strict=False):
        rhythm = "music without a beat" if scene.rhythm == "none" else f"a {scene.rhythm} beat"
        assert rhythm in text
    assert set(vectors.space.provenance) == {"checkpoints", "revisions", "fingerprints", "licences"}
    assert vectors.space.provenance["checkpoints"] == ["pocket", "pocket"]


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({"checkpoint": "random"}, ["windows", "text", "vector"]),
        ({"template": "{}"}, ["windows", "text", "vector"]),
        ({"max_seconds": 1.0}, ["windows", "text", "vector"]),
        ({"top": 2}, ["text", "vector"]),
        ({"least": 0.5}, ["text", "vector"]),
        ({"text_encoder": "random"}, ["vector"]),
        ({"batch": 2}, []),
    ],
)
def test_what_a_change_makes_anew(clips, context, stages, change, again):
    first = POCKET.extract(source(clips[:2]), context)
    stages.clear()
    second = replace(POCKET, **change).extract(source(clips[:2]), context)
    assert stages == again
    assert (second.space.id != first.space.id) == bool(again)


def test_another_list_of_classes_tags_again(clips, context, stages, tmp_path):
    own = tmp_path / "own.txt"
    own.write_text("a slow beat\na fast beat\n")
    chosen = replace(POCKET, classes=str(own))
    first = chosen.windows(source(clips[:1]), context)
    assert {tag.name for tag in parse(first.values[0])[0].tags} == {"a slow beat", "a fast beat"}
    own.write_text("a slow beat\na dark chord\n")
    second = chosen.windows(source(clips[:1]), context)
    assert (stages, first.space.id != second.space.id) == (["windows", "windows"], True)


def test_a_checkpoint_brings_classes_of_its_own_or_gets_those_of_the_package(tmp_path):
    pocket = resolve("pocket", CLAP)
    assert POCKET._classes(pocket) == read_classes(CLAP / CLASSES.name) == POCKET._classes(resolve("random", CLAP))
    soundtracks.build_clap(tmp_path / "clap", seed=0)
    other = resolve(str(tmp_path / "clap"), CLAP)
    assert POCKET._classes(other) == read_classes(CLASSES)


def test_scores_do_not_depend_on_the_other_classes(tagger, scenes):
    few = Tagger(tagger._model, [("a slow beat", ""), ("a fast beat", "")], POCKET.template)
    sounds = [Sound(render_audio(scene), 1, RATE, 0) for scene in scenes[:3]]
    for many, two in zip(map(parse, tagger(sounds)), map(parse, few(sounds)), strict=True):
        scores = {tag.name: tag.score for tag in many[0].tags}
        for tag in two[0].tags:
            assert tag.score == pytest.approx(scores[tag.name], abs=2e-3)


def test_a_clip_alone_and_in_a_batch_of_eight(tagger, scenes):
    sounds = [Sound(render_audio(scene), 1, RATE, 0) for scene in [*scenes, *scenes[:2]]]
    for sound, together in zip(sounds, map(parse, tagger(sounds)), strict=True):
        (alone,), (beside,) = parse(tagger([sound])[0]), together
        assert [tag.name for tag in alone.tags[:2]] == [tag.name for tag in beside.tags[:2]]
        for a, b in zip(alone.tags, beside.tags, strict=True):
            assert a.score == pytest.approx(b.score, abs=2e-3)


def test_windows_of_a_long_sound_are_tagged_one_by_one(tagger, scenes):
    slow, fast = (
        np.tile(render_audio(replace(scenes[0], mood="bright", rhythm=rhythm, spoken="", frames=24)), 2)[: 5 * RATE]
        for rhythm in ("slow", "fast")
    )
    found = parse(tagger([Sound(np.concatenate([slow, fast, slow[: 2 * RATE]]), 1, RATE, 0)])[0])
    assert [(window.start, window.seconds) for window in found] == [(0, 5), (5, 5), (10, 2)]
    names = [[tag.name for tag in window.tags[:3]] for window in found]
    assert "a slow beat" in names[0]
    assert "a fast beat" in names[1]


def test_windows_survive_being_written(tagger):
    windows = [TaggedWindow(0.0, 9.5, [Tag("a “drum”\n[kit]", "music", 0.125)])]
    assert parse(dump(windows)) == windows


def test_words_keep_the_best_and_what_is_likely():
    tags = [Tag("rain", "", 0.03), Tag("wind", "", 0.02)]
    assert worded([TaggedWindow(0, 10, tags)], top=3, least=0.05) == "rain .03"
    assert worded([TaggedWindow(0, 10, [Tag("rain", "", 1.0), *tags[1:]])], top=3, least=0.01) == "rain 1.00, wind .02"
    assert worded([TaggedWindow(0, 10, [Tag("rain", "", -0.1)])], top=3, least=0.05) == "rain -.10"


@pytest.mark.parametrize("template", ["a sound", "{} and {}"])
def test_a_template_has_one_place_for_the_class(template):
    with pytest.raises(UserError, match="where the class stands"):
        SoundTags(template=template)


# Lists of classes.


def test_the_shipped_list_has_no_sound_twice_and_the_groups_of_audio_heavy_clips():
    classes = read_classes(CLASSES)
    assert 100 <= len(classes) <= 200
    groups = {group for _, group in classes}
    assert set(GROUPS) < groups
    assert all(groups)
    assert {group for _, group in read_classes(CLAP / CLASSES.name)} >= set(GROUPS)


def test_classes_of_the_pocket_checkpoint_are_phrases_that_it_learned():
    known = {phrase.words for phrase in soundtracks.phrases()}
    assert {name for name, _ in read_classes(CLAP / CLASSES.name)} <= known


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rain\nwind\nrain\n", "line 3: the sound class 'rain' is there twice"),
        ("[nature]\nrain\n", "fewer than two"),
        ("", "fewer than two"),
        (None, "no list of sound classes"),
        (b"\xff\xfe\n", "no list of sound classes"),
    ],
)
def test_other_lists_are_refused(tmp_path, text, message):
    path = tmp_path / "classes.txt"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=message):
        read_classes(path)


def test_lines_before_the_first_group_have_none(tmp_path):
    (tmp_path / "classes.txt").write_text("rain\n\n [music] \n a harp \n[]\nwind\n")
    assert read_classes(tmp_path / "classes.txt") == [("rain", ""), ("a harp", "music"), ("wind", "")]


# Audio-heavy clips.


def window(seconds, group):
    return TaggedWindow(0, seconds, [Tag("best", group, 0.5), Tag("second", "music", 0.4)])


@pytest.mark.parametrize(
    ("windows", "heavy"),
    [
        ([("music", 10)], True),
        ([("speech", 4)], True),
        ([("nature", 10)], False),
        ([("music", 5), ("", 5)], False),  # half is not over half
        ([("music", 3), ("speech", 3), ("things", 5)], True),
        ([("music", 4), ("things", 10), ("music", 4)], False),
    ],
)
def test_heavy_is_speech_or_music_in_over_half_of_the_seconds(windows, heavy):
    assert is_heavy([window(seconds, group) for group, seconds in windows]) == heavy


def test_heavy_clips_are_told_from_features_and_from_the_store_alike(clips, context, tmp_path, make_clip):
    noise = tmp_path / "noise.m4a"
    hiss = 0.003 * np.random.default_rng(0).standard_normal(3 * RATE).astype(np.float32)
    noise.write_bytes(as_mp4(hiss))
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no clip at all" * 99)
    mute = make_clip(tmp_path / "mute.mp4")
    windows = POCKET.windows(source([*clips, mute, noise, broken, None]), context)
    said = audio_heavy(windows)
    assert said == {f"item{k}": k < 6 for k in range(9)}  # neither the broken clip nor the missing one
    assert stored(catalogue.find(context.store, "sound-tags.windows")) == said
    text = POCKET.texts(source(clips[:2]), context)
    with pytest.raises(UserError, match="is not of"):
        audio_heavy(text)
    with pytest.raises(UserError, match="is not of"):
        stored(catalogue.find(context.store, "sound-tags.text"))


def as_mp4(samples):
    import io

    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("aac", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], "fltp", layout="mono")
        frame.sample_rate = RATE
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()


def test_a_list_without_these_groups_tells_nothing(clips, context, tmp_path):
    (tmp_path / "own.txt").write_text("a slow beat\na fast beat\n")
    windows = replace(POCKET, classes=str(tmp_path / "own.txt")).windows(source(clips[:1]), context)
    with pytest.raises(UserError, match=r"neither a group \[speech\] nor \[music\]"):
        audio_heavy(windows)
