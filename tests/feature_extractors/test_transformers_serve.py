"""A served run against a real server: `transformers serve` with the pocket captioner, on loopback.

Needs fastapi, uvicorn and accelerate, which the project does not: without them the test is skipped.
"""

import importlib.util
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.captions import Captions
from feature_extractors.media import frame_policy
from feature_extractors.media.pool import DecodePool
from feature_extractors.pocket import CAPTIONER
from feature_extractors.text.prompt_files import read_prompt
from protocols.datasets.demo.factors import sample_scene
from protocols.datasets.demo.media import encode

CLIPS = 12


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """The address of a running server."""
    absent = [name for name in ("fastapi", "uvicorn", "accelerate") if importlib.util.find_spec(name) is None]
    if absent:
        pytest.skip(f"transformers serve needs {', '.join(absent)}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).parent / "transformers", "serve", "--host", "127.0.0.1", "--port", str(port)]
    log = tmp_path_factory.mktemp("serve") / "log"
    with log.open("w") as out:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        words = [*command, "--device", "cpu", "--dtype", "float32"]
        server = subprocess.Popen(words, stdout=out, stderr=subprocess.STDOUT, env=environment)
        try:
            for _ in range(240):
                try:
                    urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                    break
                except OSError:
                    assert server.poll() is None, log.read_text()[-2000:]
                    time.sleep(0.5)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            server.wait(30)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    paths = [folder / f"{at:02d}.mp4" for at in range(CLIPS)]
    for at, path in enumerate(paths):
        path.write_bytes(encode(sample_scene(np.random.default_rng(at))))
    return ItemSource([path.name for path in paths], [None] * CLIPS, paths)


def in_process(source):
    """Captions of the same frames as images by the same checkpoint, greedily."""
    import torch
    from PIL import Image
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor = AutoProcessor.from_pretrained(CAPTIONER)
    model = AutoModelForImageTextToText.from_pretrained(CAPTIONER, dtype=torch.float32).eval()
    texts = []
    with DecodePool(1, frame_policy.parse("uniform:8")) as pool:
        for clip in pool.map(list(source.videos), 2):
            images = [{"type": "image", "image": Image.fromarray(frame)} for frame in clip.frames]
            turn = [{"role": "user", "content": [*images, {"type": "text", "text": read_prompt("describe")}]}]
            options = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
            inputs = processor.apply_chat_template(turn, **options)
            tokens = model.generate(**inputs, do_sample=False, max_new_tokens=Captions.max_new_tokens)
            answer = processor.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0]
            texts.append(" ".join(answer.split()))
    return texts


@pytest.mark.slow
def test_a_served_run_equals_one_in_this_process(url, source, tmp_path):
    served = Captions(engine="openai", endpoint=url, checkpoint=str(CAPTIONER), frames_as="png")
    found = served.texts(source, ExtractContext(tmp_path))
    assert found.ok.all(), found.reason
    assert len(set(found.values)) > CLIPS // 2
    equal = np.mean([one == other for one, other in zip(found.values, in_process(source), strict=True)])
    assert equal >= 0.9  # 1.0 when measured, also with JPEG
