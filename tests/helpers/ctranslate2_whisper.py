"""Whisper in the file format of CTranslate2, read as openai-whisper's dimensions and weights.

The format (CTranslate2's `model_spec.py`, version 6): little-endian counts, names that end with a zero, and for each
variable its rank, dimensions, type, bytes and values; then pairs of names, the first standing for the second.
"""

import json
import struct

import numpy as np
import torch

TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
#: Parts of names, ours behind theirs. Of an attention, `linear_0` is the query or all of query, key and value.
NAMES = (
    ("/self_attention/layer_norm/", ".attn_ln."),
    ("/attention/layer_norm/", ".cross_attn_ln."),
    ("/ffn/layer_norm/", ".mlp_ln."),
    ("/ffn/linear_0/", ".mlp.0."),
    ("/ffn/linear_1/", ".mlp.2."),
    ("/self_attention/", ".attn."),
    ("/attention/", ".cross_attn."),
    ("encoder/layer_norm/", "encoder.ln_post."),
    ("decoder/layer_norm/", "decoder.ln."),
    ("/layer_", ".blocks."),
    ("decoder/embeddings/weight", "decoder.token_embedding.weight"),
    ("/position_encodings/encodings", ".positional_embedding"),
    ("/gamma", ".weight"),
    ("/beta", ".bias"),
    (".gamma", ".weight"),
    (".beta", ".bias"),
    ("/", "."),
)


def variables(data):
    """All variables of a file by their names."""
    at = 0

    def number(kind):
        nonlocal at
        (value,) = struct.unpack_from(f"<{kind}", data, at)
        at += struct.calcsize(kind)
        return value

    def word():
        nonlocal at
        size = number("H")
        at += size
        return data[at - size : at - 1].decode()

    assert (number("I"), word(), number("I")) == (6, "WhisperSpec", 3)
    found = {}
    for _ in range(number("I")):
        name, shape = word(), [number("I") for _ in range(number("B"))]
        kind, size = TYPES[number("B")], number("I")
        found[name] = np.frombuffer(data, kind, size // np.dtype(kind).itemsize, at).reshape(shape)
        at += size
    for _ in range(number("I")):
        alias = word()
        found[alias] = found[word()]
    assert at == len(data)
    return found


def weights(found):
    """Weights under openai-whisper's names, float32; settings and what is there twice are left out."""
    named = {}
    for name, value in found.items():
        if value.dtype not in (np.float16, np.float32) or name.startswith("decoder/projection") or value.ndim == 0:
            continue
        for theirs, ours in NAMES:
            name = name.replace(theirs, ours)
        named[name] = torch.from_numpy(value.astype(np.float32))
    parts = {}
    for name, value in named.items():
        head, _, tail = name.rpartition(".")
        owner, _, linear = head.rpartition(".")
        if not linear.startswith("linear_"):
            parts[name] = value
            continue
        # linear_0, linear_1 of self-attention: query-key-value, out; of cross-attention: query, key-value, out
        kinds = "query key value,out" if owner.endswith(".attn") else "query,key value,out"
        names = kinds.split(",")[int(linear[-1])].split()
        for one, part in zip(names, value.chunk(len(names)), strict=True):
            if (one, tail) != ("key", "bias"):  # zeros: Whisper's keys have no bias
                parts[f"{owner}.{one}.{tail}"] = part.clone()
    return parts


def convert(data, folder):
    """Write the files of a Whisper, as `transcripts` takes them, into a folder."""
    from safetensors.torch import save_file

    found = variables(data)
    tensors = weights(found)
    heads = int(found["encoder/num_heads"])
    tokens, width = tensors["decoder.token_embedding.weight"].shape
    layers = {name.split(".")[0] + name.split(".")[2] for name in tensors if ".blocks." in name}
    audio, text = (sum(layer.startswith(side) for layer in layers) for side in ("encoder", "decoder"))
    dims = {
        "n_mels": tensors["encoder.conv1.weight"].shape[1],
        "n_audio_ctx": tensors["encoder.positional_embedding"].shape[0],
        "n_audio_state": width,
        "n_audio_head": heads,
        "n_audio_layer": audio,
        "n_vocab": tokens,
        "n_text_ctx": tensors["decoder.positional_embedding"].shape[0],
        "n_text_state": width,
        "n_text_head": heads,
        "n_text_layer": text,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(dims))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder
