"""Frame selection: the frames of each item by a frame policy, or by CLIP similarity to its title.

The selection by title is a stage of its own, `frame-choice`: positions of frames, a row an item, stored and reused
like any feature and a parent of whatever is made from the frames.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

from feature_extractors import pocket
from feature_extractors.base import ExtractContext, ItemSource
from feature_extractors.media import video
from feature_extractors.media.frame_policy import At, ClipTopK, FramePolicy, Uniform
from feature_extractors.media.pool import DecodePool, Part
from feature_extractors.media.remote_file import Source
from feature_extractors.media.result import Failure
from feature_extractors.models import clip_frame_ranking, clip_image
from feature_extractors.models.checkpoint import defaults
from feature_extractors.models.checkpoint.resolution import locate_checkpoint
from feature_extractors.pipeline.run import run_stage
from feature_extractors.pipeline.side_texts import with_side_texts
from feature_extractors.pipeline.stage import Inputs, Stage, text_inputs, video_inputs
from protocols.errors import UserError
from protocols.features import Features
from protocols.hashing import digest

# The extractor's name in the ids of stored selections.
NAME = "frame-choice"
# Behaviour of this module; bump it when other frames would be selected.
VERSION = 1
# Clips whose candidates are held at once: N frames each, of which a model sees few.
BATCH = 8


@dataclass(frozen=True, eq=False)
class FrameInputs(Inputs):
    """Frames of all items.

    Attributes
    ----------
    policy
        Of the files without positions of their own.
    """

    policy: FramePolicy = field(default_factory=partial(Uniform, 8))


def select_frames(
    policy: FramePolicy | ClipTopK, clip: str, source: ItemSource, context: ExtractContext
) -> FrameInputs:
    """Select frames of every item, by title first where the policy says so.

    Parameters
    ----------
    policy
        As `frame_policy.parse_any` returns it.
    clip
        Checkpoint of CLIP, a word as for the extractor `clip`; used by `clip-topk` alone.

    Returns
    -------
    FrameInputs
        Media files, with the positions of their frames where these were selected by title. The stage `frame-choice` is
        their parent then.

    Raises
    ------
    UserError
        If frames are to be selected by title and no item has one.
    """
    clips = video_inputs(source, context)
    if not isinstance(policy, ClipTopK):
        return _frame_inputs(clips, policy, policy.key)
    selected = select_by_title(policy, clip, clips, source, context)
    payloads: list[Source | Part] = list(clips.payloads)
    content, failures = list(clips.content), list(clips.failures)
    for at, (positions, ok) in enumerate(zip(selected.values, selected.ok, strict=True)):
        if ok:
            wanted = At(tuple(map(int, positions.split())), policy.seconds)
            payloads[at], content[at] = Part(clips.payloads[at], wanted), digest([clips.content[at], positions], 64)
        elif failures[at] is None:
            content[at], failures[at] = "", Failure(str(selected.status[at]), f"frames: {selected.reason[at]}")
    inputs = Inputs(clips.item_ids, payloads, content, failures, [selected], files=clips.files)
    return _frame_inputs(inputs, policy.candidates, policy.key)


def _frame_inputs(clips: Inputs, policy: FramePolicy, key: str) -> FrameInputs:
    return FrameInputs(
        clips.item_ids,
        clips.payloads,
        clips.content,
        clips.failures,
        clips.parents,
        lambda workers: DecodePool(workers, policy, clips.files),
        {"frames": key, "decoder": video.decoder_key()},
        clips.files,
        policy,
    )


def select_by_title(
    policy: ClipTopK, clip: str, clips: Inputs, source: ItemSource, context: ExtractContext
) -> Features:
    """Select the frames of each clip that CLIP finds nearest to the item's title.

    Returns
    -------
    Features
        Of kind `text`: the positions of the selected frames among all that decode, ascending, with blanks between. An
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
    found = locate_checkpoint(clip, defaults.CLIP, pocket.CLIP, context, layout=clip_image.LAYOUT)
    candidates = _frame_inputs(clips, policy.candidates, policy.key)
    titled = with_side_texts(candidates, clip_frame_ranking.Titled, source.titles)
    failures = [of_clip or of_title for of_clip, of_title in zip(clips.failures, titles.failures, strict=True)]
    content = [text if failure is None else "" for text, failure in zip(titled.content, failures, strict=True)]
    inputs = replace(titled, content=content, failures=failures)
    model = partial(clip_frame_ranking.Nearest, found, policy, context.device, context.threads)
    config = {"loader": [clip_image.VERSION, clip_frame_ranking.VERSION]}
    stage = Stage.for_model(NAME, VERSION, "choice of frames", found, model, config, inputs, BATCH)
    return run_stage(stage, inputs, context)
