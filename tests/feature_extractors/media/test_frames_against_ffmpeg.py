"""Sampled frames against those of the ffmpeg program, an independent reader of the same libraries.

Slow, and skipped unless BENCH_FFMPEG names the program; BENCH_CLIPS may name a folder of clips beside those made here:

    BENCH_FFMPEG=/path/to/ffmpeg BENCH_CLIPS=/path/to/clips pytest -m slow tests/feature_extractors/test_frames_against_ffmpeg.py
"""  # noqa: E501

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from feature_extractors.media import frame_policy, video
from feature_extractors.media.result import Failure

PROGRAM = os.environ.get("BENCH_FFMPEG", "")
CLIPS = Path(os.environ["BENCH_CLIPS"]) if os.environ.get("BENCH_CLIPS") else None
POLICY = frame_policy.parse("uniform:8")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not PROGRAM, reason="BENCH_FFMPEG names no program")]


def all_frames(path, size):
    """Every frame that ffmpeg shows, upright, uint8 [T, h, w, 3] of a small size, and seconds since the first one.

    Both sides are compared at this size, so that the way chroma is spread over pixels does not count.
    """
    width, height = size
    scaled = f"showinfo,scale={width}:{height}:flags=area"
    words = [PROGRAM, "-v", "info", "-nostdin", "-i", str(path), "-map", "0:v:0", "-vf", scaled, "-fps_mode"]
    words += ["passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(words, capture_output=True, check=False)
    shown = np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)
    times = [float(t) for t in re.findall(r"pts_time:\s*(-?[\d.]+)", done.stderr.decode("utf-8", "replace"))]
    return shown, np.array(times[: len(shown)])


def small(clip, size):
    """Our frames at the size of the comparison."""
    import av

    width, height = size
    out = []
    for frame in clip.frames:
        made = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        out.append(made.reformat(width, height, interpolation="AREA").to_ndarray())
    return np.stack(out)


def compare(path):
    """Check each sampled frame: its time, and that it looks like ffmpeg's at that time, not like another one."""
    clip = video.decode(path, POLICY)
    if isinstance(clip, Failure):
        shown, _ = all_frames(path, (8, 8))
        assert len(shown) == 0, f"{path.name}: ffmpeg shows {len(shown)} frames, we say {clip.reason}"
        return clip.reason
    height, width = clip.frames.shape[1:3]
    scale = max(1.0, max(height, width) / 64)
    size = max(1, round(width / scale)), max(1, round(height / scale))
    shown, times = all_frames(path, size)
    ours = small(clip, size).astype(np.int16)
    start, limit = times[0], 8 if clip.damage else 4  # what is shown in the place of lost pixels is a decoder's choice
    for frame, at in zip(ours, clip.times, strict=True):
        nearest = int(np.abs(times - start - at).argmin())
        assert abs(times[nearest] - start - at) < 2e-3, f"{path.name}: no frame at {at:.3f} s"
        distance = np.abs(shown.astype(np.int16) - frame).mean(axis=(1, 2, 3))
        assert distance[nearest] < limit, f"{path.name}: the frame at {at:.3f} s differs by {distance[nearest]:.1f}"
        # no other frame looks more like it, but for such as look the same
        assert distance[nearest] <= distance.min() + 0.5, f"{path.name}: the frame at {at:.3f} s is another one's"
    return "equal"


@pytest.mark.parametrize("kind", ["plain", "rotated", "variable", "late"])
def test_own_clips(kind, tmp_path, make_clip):
    more = {
        "plain": {},
        "rotated": {"rotation": 90, "size": (64, 48)},
        "variable": {"frames": 6, "times": [0.0, 0.1, 0.2, 1.0, 1.1, 2.0]},
        "late": {"frames": 20, "times": [10 + k / 8 for k in range(20)]},
    }[kind]
    assert compare(make_clip(tmp_path / f"{kind}.mp4", **more)) == "equal"


@pytest.mark.parametrize("name", sorted(p.name for p in CLIPS.iterdir()) if CLIPS else [])
def test_given_clips(name):
    if name.endswith(".csv"):
        pytest.skip("no clip")
    assert compare(CLIPS / name)
