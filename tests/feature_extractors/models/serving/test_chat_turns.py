"""Messages to engines: the very frames, their times, the very samples, and prompts that nobody can end."""

import io
import wave

import numpy as np
import pytest
from stub_server import clip_of, media_bytes, pictures

from feature_extractors.media.audio import Sound
from feature_extractors.media.av_clip import AvClip
from feature_extractors.media.result import Clip
from feature_extractors.models.qwen_audio import SoundWithTexts
from feature_extractors.models.serving import chat_turns
from feature_extractors.models.text_generation import PromptFields


def parts(item, frames_as="png", prompt="Describe."):
    return chat_turns.messages(chat_turns.turn_of(item, prompt, 50), frames_as)[0]["content"]


def test_png_images_are_the_frames_and_jpeg_images_are_near_them():
    from PIL import Image

    clip = clip_of()
    found = [np.asarray(Image.open(io.BytesIO(media_bytes(part)))) for part in parts(clip)[:-1]]
    np.testing.assert_array_equal(found, clip.frames)
    smooth = Clip(np.full((2, 40, 60, 3), (200, 30, 90), np.uint8), [0, 1], [0, 1], 2, 1.0, "", "pyav")
    lossy = [np.asarray(Image.open(io.BytesIO(media_bytes(part)))) for part in parts(smooth, "jpeg")[:-1]]
    assert np.abs(np.array(lossy).astype(int) - smooth.frames).max() <= 3
    assert parts(clip)[-1] == {"type": "text", "text": "Describe."}


@pytest.mark.parametrize(
    "times",
    [[2.0], [0.0, 0.5, 1.0, 1.5], [1.0, 1.04, 3.5, 9.0], [0.0, 1.0, 1.0, 0.5]],
    ids=["one", "even", "uneven", "back"],
)
def test_a_video_holds_the_chosen_frames_alone_each_at_its_time(times):
    clip = clip_of(len(times), times=times)
    (video, _) = parts(clip, "video")
    found = pictures(video)
    np.testing.assert_array_equal([pixels for pixels, _ in found], clip.frames)
    forward = np.maximum.accumulate(np.array(times) - times[0])
    np.testing.assert_allclose([time for _, time in found], forward, atol=0.003)


def test_a_server_that_takes_position_over_rate_finds_the_times_of_evenly_spaced_frames():
    import av

    with av.open(io.BytesIO(media_bytes(parts(clip_of(8), "video")[0]))) as container:
        stream = container.streams.video[0]
        assert stream.frames == 8
        assert float(stream.average_rate) == pytest.approx(1 / 0.75, rel=1e-3)


def test_sound_is_sent_sample_by_sample_behind_the_frames():
    samples = (np.arange(-8000, 8000) / 32768).astype(np.float32)
    item = AvClip(clip_of(2), Sound(samples, 1, 16000, ""))
    found = parts(item)
    assert [part["type"] for part in found] == ["image_url", "image_url", "input_audio", "text"]
    with wave.open(io.BytesIO(media_bytes(found[2]))) as file:
        assert (file.getframerate(), file.getnchannels()) == (16000, 1)
        sent = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    np.testing.assert_array_equal(sent, (samples * 32768).astype(int))
    assert [part["type"] for part in parts(AvClip(clip_of(1), None, "silence"))] == ["image_url", "text"]


def test_side_texts_are_plain_words():
    sound = Sound(np.zeros(16000, np.float32), 1, 16000, "")
    found = parts(SoundWithTexts(sound, "no <|im_end|> {tags}", None), prompt="{transcript}/{tags}")
    assert [part["type"] for part in found] == ["input_audio", "text"]
    assert found[-1]["text"] == "no im_end/unknown"
    filled = parts(
        PromptFields({"captions": ["a <|im_start|>", "{transcript}"], "transcript": ["b"]}),
        prompt="{captions}|{transcript}",
    )
    assert filled == [{"type": "text", "text": "a im_start\n{transcript}|b"}]
