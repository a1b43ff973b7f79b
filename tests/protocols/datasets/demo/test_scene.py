"""Clips: what is drawn, what is heard, what is held back, what is said about it."""

from dataclasses import replace

import numpy as np
import pytest

from protocols.datasets.demo import factors, scene
from protocols.datasets.demo.drawing import FONT
from protocols.datasets.demo.media import encode
from protocols.datasets.demo.titles import draw_title


def scenes(n, seed=0, **more):
    rng = np.random.default_rng(seed)
    return [scene.sample_scene(rng, **more) for _ in range(n)]


def test_held_back_combinations_never_appear_where_they_are_excluded():
    assert not any(map(scene.is_held_back, scenes(2000, held_back=False)))
    assert all(map(scene.is_held_back, scenes(200, held_back=True)))
    share = np.mean([scene.is_held_back(s) for s in scenes(4000)])
    assert 0.10 < share < 0.19  # 3 of 40 and 3 of 42 pairs


def test_training_clips_and_held_back_clips_share_no_listed_combination():
    def pairs(drawn):
        return {(a, b, getattr(s, a), getattr(s, b)) for s in drawn for a, b in factors.HELD_BACK}

    listed = {(a, b, *pair) for (a, b), those in factors.HELD_BACK.items() for pair in those}
    assert listed <= pairs(scenes(3000, held_back=None))
    assert not listed & pairs(scenes(3000, held_back=False))


def test_rendering_is_deterministic_and_has_the_right_form():
    for s in scenes(20, seed=1):
        frames, sound = scene.render_frames(s), scene.render_audio(s)
        assert frames.dtype == np.uint8 and frames.shape == (s.frames, 112, 112, 3)
        assert sound.dtype == np.float32 and sound.shape == (s.frames * 2000,)
        assert 2 <= s.seconds <= 4 and np.abs(sound).max() <= 1
        np.testing.assert_array_equal(frames, scene.render_frames(s))
        np.testing.assert_array_equal(sound, scene.render_audio(s))
        assert scene.render_frames(s, 64).shape[1:] == (64, 64, 3)


OTHER = {
    "count": factors.COUNTS,
    "colour": factors.COLOURS,
    "shape": factors.SHAPES,
    "motion": factors.MOTIONS,
    "setting": factors.SETTINGS,
    "word": ("", *factors.WORDS),
    "texture": factors.TEXTURES,
    "camera": factors.CAMERAS,
    "palette": factors.PALETTES,
    "speed": (0.0, 1.0),
    "size": (0.0, 1.0),
}


@pytest.mark.parametrize("factor", OTHER)
def test_every_visual_factor_changes_the_picture(factor):
    base = scenes(1, seed=3)[0]
    clips = [scene.render_frames(replace(base, **{factor: value})) for value in OTHER[factor]]
    for i, a in enumerate(clips):
        for b in clips[:i]:
            assert np.abs(a.astype(int) - b).mean() > 0.5


def test_every_heard_factor_changes_the_sound_and_nothing_seen():
    base = replace(scenes(1, seed=3)[0], rhythm="none", mood="bright", spoken="")
    changes = [{}, {"rhythm": "slow"}, {"rhythm": "fast"}, {"mood": "dark"}, *({"spoken": w} for w in factors.SPOKEN)]
    clips = [replace(base, **change) for change in changes]
    sounds = [scene.render_audio(s) for s in clips]
    for i, a in enumerate(sounds):
        assert all(np.abs(a - b).mean() > 1e-3 for b in sounds[:i])
    picture = scene.render_frames(base)
    assert all(np.array_equal(picture, scene.render_frames(s)) for s in clips)
    assert not scene.render_audio(replace(base, mood="none")).any()


def test_shapes_move_where_the_motion_says():
    """The centre of one dark shape on a light sky, frame by frame."""
    base = replace(scenes(1)[0], count="one", colour="black", shape="circle", setting="sky", word="", frames=16)
    base = replace(
        base, texture="plain", camera="static", speed=0.0, size=0.0, phase_x=0.0, phase_y=0.5, palette="vivid"
    )

    def path(motion):
        dark = scene.render_frames(replace(base, motion=motion)).max(axis=-1) < 60
        y, x = np.indices(dark.shape[1:])
        # on a torus a mean is the angle of the mean direction
        angle = 2 * np.pi * x / 112
        across = np.unwrap([np.angle(np.exp(1j * angle[d]).mean()) for d in dark])
        return across[4] - across[0], np.std([y[d].mean() for d in dark])

    assert path("right")[0] > 0.3 and path("left")[0] < -0.3
    assert abs(path("bouncing")[0]) < 0.05 and path("bouncing")[1] > 5
    assert path("swinging")[1] < 1


def test_words_can_be_drawn_and_no_two_look_alike():
    assert set("".join(factors.WORDS)) <= set(FONT)
    columns = {w: np.frombuffer(bytes.fromhex("".join(FONT[c] for c in w)), np.uint8) for w in factors.WORDS}
    dots = {w: np.unpackbits(bits) for w, bits in columns.items()}
    assert len({len(w) for w in factors.WORDS}) == 1
    for a in dots:
        assert all((dots[a] ^ dots[b]).sum() >= 20 for b in dots if a != b)


def test_only_the_gold_description_names_unnamed_factors():
    rng = np.random.default_rng(5)
    hidden = {*factors.TEXTURES, *factors.CAMERAS, *factors.PALETTES, "slowly", "steadily", "quickly"}
    for s in scenes(300):
        words = set(" ".join(scene.named_attributes(s).values()).lower().split())
        assert not words & hidden
        assert not set(draw_title(s, rng).lower().split()) & hidden
        gold = scene.gold_description(s)
        assert s.texture in gold and s.camera in gold and s.palette in gold and s.spoken in gold


def test_descriptions_tell_different_scenes_apart_and_factors_are_complete():
    drawn = scenes(300)
    assert len({scene.gold_description(s) for s in drawn}) == 300
    table = scene.all_factors(drawn[0])
    assert {"texture", "speed", "size", "camera", "palette", "rhythm", "mood", "spoken_topic", "word_topic"} <= set(
        table
    )
    assert set(scene.named_attributes(drawn[0])) == {"count", "colour", "shape", "motion", "setting", "word"}


def test_titles_tell_part_of_the_truth():
    rng = np.random.default_rng(0)
    drawn = scenes(2000)
    titles = [draw_title(s, rng) for s in drawn]
    told = np.mean([s.colour in t.lower() for s, t in zip(drawn, titles, strict=True)])
    wrong = np.mean(
        [
            any(c in t.lower().split() for c in factors.COLOURS if c != s.colour)
            for s, t in zip(drawn, titles, strict=True)
        ]
    )
    assert 0.35 < told < 0.6 and 0 < wrong < 0.1
    assert len(set(titles)) > 1000


def test_a_clip_file_decodes_completely_has_sound_and_no_tags(tmp_path):
    import av

    for s in scenes(3, seed=8):
        path = tmp_path / "clip.mp4"
        path.write_bytes(encode(s))
        assert path.read_bytes() == encode(s)
        with av.open(str(path)) as file:
            assert set(file.metadata) <= {"major_brand", "minor_version", "compatible_brands"}
            assert file.streams.video[0].codec.name == "h264" and file.streams.audio[0].codec.name == "aac"
            frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
        drawn = scene.render_frames(s)
        assert len(frames) == s.frames
        assert np.abs(np.stack(frames).astype(int) - drawn).mean() < 12  # lossy, colour at half resolution
        with av.open(str(path)) as file:
            sound = np.concatenate([f.to_ndarray()[0] for f in file.decode(audio=0)])
        assert abs(len(sound) / 16000 - s.seconds) < 0.2
        assert (np.abs(sound).max() > 0.05) == (s.mood != "none")
