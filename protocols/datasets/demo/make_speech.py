"""Make the spoken snippets that ship with the demo (`speech.flac`, `speech.json`), once.

    apt-get install espeak-ng
    python -m protocols.datasets.demo.make_speech

Every word of `SPOKEN` is spoken by espeak-ng, brought to 16 kHz mono, cut to its sounding part, levelled, and put one
after the other into one FLAC file; the index holds [first sample, end sample) of each.
"""

from __future__ import annotations

import io
import json
import subprocess
import wave
from pathlib import Path

import av
import numpy as np
from scipy.signal import resample_poly

from protocols.datasets.demo.factors import SPOKEN
from protocols.datasets.demo.sound import SAMPLE_RATE

HERE = Path(__file__).parent


def speak(word: str) -> np.ndarray:
    """Return int16 [n] at 16 kHz."""
    call = ["espeak-ng", "-v", "en-us", "-s", "150", "--stdout", word]
    with wave.open(io.BytesIO(subprocess.run(call, check=True, capture_output=True).stdout)) as file:
        rate = file.getframerate()
        # espeak writes to a pipe, so the header's length is a placeholder: read what is there
        sound = np.frombuffer(file.readframes(10 * rate), dtype=np.int16).astype(np.float64)
    sound = resample_poly(sound, SAMPLE_RATE, rate)
    loud = np.flatnonzero(np.abs(sound) > 0.02 * np.abs(sound).max())
    sound = sound[loud[0] : loud[-1] + 1]
    return np.rint(sound / np.abs(sound).max() * 0.8 * 32767).astype(np.int16)


def main() -> None:
    """Write both files beside this script."""
    index, sounds, start = {}, [], 0
    for word in SPOKEN:
        sounds.append(speak(word))
        index[word] = [start, start + len(sounds[-1])]
        start += len(sounds[-1])
    with av.open(str(HERE / "speech.flac"), "w") as container:
        stream = container.add_stream("flac", rate=SAMPLE_RATE, layout="mono")
        stream.format = "s16"
        frame = av.AudioFrame.from_ndarray(np.concatenate(sounds)[None], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (HERE / "speech.json").write_text(json.dumps(index, indent=1) + "\n")
    print(f"{len(index)} words, {start / SAMPLE_RATE:.1f} s, {(HERE / 'speech.flac').stat().st_size} bytes")


if __name__ == "__main__":
    main()
