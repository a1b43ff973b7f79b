"""Which frames an extractor sees of each item: those of a frame policy, or those that CLIP finds nearest to its title.

The choice by title is a stage of its own, `frame-choice`: positions of frames, a row an item, stored and reused like
any feature and a parent of what is made from the frames. Whoever looks at clips asks `look` for its inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.clip import REAL
from feature_extractors.media import video
from feature_extractors.media.frame_policy import At, ClipTopK, FramePolicy, parse_any
from feature_extractors.media.pool import DecodePool, Part
from feature_extractors.media.result import Failure
from feature_extractors.models import checkpoint_resolution, clip_frame_ranking, clip_image
from feature_extractors.pipeline.run import run_stage
from feature_extractors.pipeline.side_texts import reading, told
from feature_extractors.pipeline.stage import Inputs, Stage, chained, text_inputs, video_inputs
from feature_extractors.pocket import CLIP
from protocols.errors import UserError
from protocols.features import Features, FeatureSpace
from protocols.hashing import digest

NAME = "frame-choice"
# Of what is decided here; bump it when other frames would be chosen.
VERSION = 1
# Clips whose candidates are held at once: N frames each, of which a model sees few.
BATCH = 8


@dataclass(frozen=True, eq=False)
class Look:
    """The frames of all items, for a stage that reads clips.

    Attributes
    ----------
    key
        Which frames these are, for the stage's config.
    inputs
        The stage's inputs: media files, with the positions of their frames where these were chosen by item.
    policy
        Of the files without positions of their own.
    parents
        What the frames were chosen with: the stage `frame-choice`, or nothing.
    """

    key: str
    inputs: Inputs
    policy: FramePolicy
    parents: Sequence[Features] = ()

    @property
    def parent_ids(self) -> list[str]:
        """Ids of the parents, for the stage's config."""
        return [parent.space.id for parent in self.parents]

    def provenance(self, own: dict[str, Any]) -> dict[str, Any]:
        """Put the provenance of the parents before that of the stage's own checkpoint."""
        return chained([parent.space for parent in self.parents], own)

    def pool(self, workers: int) -> DecodePool:
        """Open the processes that decode the frames."""
        return DecodePool(workers, self.policy)

    def timed(self, features: Features) -> Features:
        """Add the seconds of the parents to those of each item."""
        return replace(features, seconds=sum((parent.seconds for parent in self.parents), features.seconds))


def look(policy: FramePolicy | ClipTopK, clip: str, source: ItemSource, context: ExtractContext) -> Look:
    """Say which frames of every item are seen, choosing them first where that takes the title.

    Parameters
    ----------
    policy
        As `frames.parse_any` returns it.
    clip
        Checkpoint of CLIP, a word as for the extractor `clip`; used by `clip-topk` alone.

    Raises
    ------
    UserError
        If frames are to be chosen by title and no item has one.
    """
    clips = video_inputs(source, context)
    if not isinstance(policy, ClipTopK):
        return Look(policy.key, clips, policy)
    chosen = choice(policy, clip, clips, source, context)
    payloads: list[Path | Part] = list(clips.payloads)
    content, failures = list(clips.content), list(clips.failures)
    for at, (positions, ok) in enumerate(zip(chosen.values, chosen.ok, strict=True)):
        if ok:
            wanted = At(tuple(map(int, positions.split())), policy.seconds)
            payloads[at], content[at] = Part(clips.payloads[at], wanted), digest([clips.content[at], positions], 64)
        elif failures[at] is None:
            content[at], failures[at] = "", Failure(str(chosen.status[at]), f"frames: {chosen.reason[at]}")
    return Look(policy.key, Inputs(clips.item_ids, payloads, content, failures), policy.candidates, [chosen])


def choice(policy: ClipTopK, clip: str, clips: Inputs, source: ItemSource, context: ExtractContext) -> Features:
    """Choose frames by title.

    Returns
    -------
    Features
        Of kind `text`: the positions of the chosen frames among all that decode, ascending, with blanks between. An
        item without a title has none, whatever its clip shows: a guess would be another policy.

    Raises
    ------
    UserError
        If no item has a title.
    """
    titles = text_inputs(source.item_ids, source.titles, "title")
    if titles.failures and None not in titles.failures:
        raise UserError(
            f"frames={policy.key} chooses frames by the titles of items, and no item here has one",
            remedy=f"take a policy that needs none, such as uniform:{policy.count}",
        )
    found = checkpoint_resolution.found(clip, REAL, CLIP, context, layout=clip_image.LAYOUT)
    config: dict[str, Any] = {
        "parents": [],
        "checkpoint": found.fingerprint,
        "loader": [clip_image.VERSION, clip_frame_ranking.VERSION],
        "frames": policy.key,
        "decoder": video.decoder_key(),
    }
    space = FeatureSpace(NAME, VERSION, "text", config, found.provenance)
    asked = told(clips, source.titles)
    failures = [of_clip or of_title for of_clip, of_title in zip(clips.failures, titles.failures, strict=True)]
    content = [text if failure is None else "" for text, failure in zip(asked.content, failures, strict=True)]
    stage = Stage(
        space,
        f"choice of frames ({found.name})",
        BATCH,
        partial(clip_frame_ranking.Nearest, found, policy, context.device, context.threads),
        reader=lambda workers: reading(DecodePool(workers, policy.candidates), clip_frame_ranking.Titled),
    )
    return run_stage(stage, Inputs(asked.item_ids, asked.payloads, content, failures), context)


def looked_at(frames: str, max_seconds: float | None, clip: str, source: ItemSource, context: ExtractContext) -> Look:
    """Return the `look` of the three options that extractors have for it: `frames`, `max_seconds` and `frame_clip`."""
    return look(parse_any(frames, max_seconds), clip, source, context)
