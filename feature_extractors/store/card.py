"""Card of exported features: everything needed to make them again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from protocols import json_text

FRONT = """---
license: other
tags:
- video-recommendation
- item-features
configs:
- config_name: default
  data_files:
  - split: train
    path: data/*.parquet
---

"""
CONTENT = {
    "vector": {
        "npy": "`vectors.npy`: float32 [items, dimensions]; `vectors.ids.json`: the raw item ids, in the same order.",
        "parquet": "`features.parquet`: columns `item_id` (text) and `vector` (float32, fixed length).",
        "hf": "`data/*.parquet`: columns `item_id` (text) and `vector` (float32, fixed length); one split, `train`.",
    },
    "layers": {
        "npy": "`layers.npy`: float16 [items, layers, readouts, dimensions]; `layers.ids.json`: the raw item ids.",
        "parquet": "`features.parquet`: `item_id` (text), `layers` (float16 lists [layers, readouts, dimensions]).",
        "hf": "`data/*.parquet`: `item_id` (text), `layers` (float16 lists [layers, readouts, dimensions]).",
    },
    "text": {
        "parquet": "`features.parquet`: columns `item_id` and `text`.",
        "hf": "`data/*.parquet`: columns `item_id` and `text`; one split, `train`.",
    },
}


@dataclass(frozen=True)
class Facts:
    """Content of a card.

    Attributes
    ----------
    chain
        Descriptions of the space and of everything it was made from, itself first; {} where one is lost.
    form
        `npy`, `parquet` or `hf`.
    items
        Items with a feature.
    counts
        Items by status.
    versions
        Items of which the store held features of several contents (the last one is exported).
    seconds
        Mean extraction seconds per item, of the last stage.
    exported
        Date.
    about
        `summary`, `paper`, `licence` of the extractor, where known.
    """

    chain: Mapping[str, Mapping[str, Any]]
    form: str
    items: int
    counts: Mapping[str, int]
    versions: int
    seconds: float
    exported: str
    about: Mapping[str, str]


def render(facts: Facts) -> str:
    """Render the card as Markdown, for the `hf` format with the front matter of a Hugging Face dataset card."""
    name, space = next(iter(facts.chain.items()))
    lines = [f"# Item features `{name}`", ""]
    for key, title in (("summary", "summary"), ("paper", "paper"), ("licence", "licence of the default checkpoints")):
        if facts.about.get(key):
            lines.append(f"- {title}: {_one_line(facts.about[key])}")
    lines += [
        f"- made by the stage `{_one_line(space['extractor'])}`, version {space['version']}, kind `{space['kind']}`",
        f"- items with a feature: {facts.items}; all items by status: "
        + ", ".join(f"{count} {status}" for status, count in facts.counts.items()),
        f"- extraction: {facts.seconds:.4g} s an item in the last stage; exported on {facts.exported}",
    ]
    if facts.versions:
        lines.append(
            f"- {facts.versions} items had features of several contents (a clip that changed, or two datasets with "
            "equal ids in one store); the one written last is here"
        )
    lines += ["", "## Content", "", CONTENT[space["kind"]][facts.form]]
    lines += ["Items without a feature, if any, are listed in `left_out.jsonl`, with status and reason.", ""]
    lines += ["## Provenance", ""]
    lines += [
        "Stages from the last to the first. `config` is everything that decides the values: checkpoint (a hash of its "
        "files), prompt, frame policy, decoder, dtype, and `parents`, the stages that this one reads. The name of a "
        "stage ends in a hash of its `config`. `provenance` names the checkpoints and their revisions, `made_with` the "
        "packages.",
        "",
    ]
    for title, one in facts.chain.items():
        lines += [f"### `{title}`", ""]
        if not one:
            lines += ["The store that this was exported from has no description of it.", ""]
            continue
        content = {key: one.get(key) for key in ("version", "config", "provenance", "made_with")}
        lines += ["```json", json_text.dumps(content, indent=2, sort_keys=True), "```", ""]
    return (FRONT if facts.form == "hf" else "") + "\n".join(lines)


def _one_line(text: str) -> str:
    return " ".join(str(text).split())
