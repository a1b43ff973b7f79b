"""CLIP similarity of frames to a title, by image and text tower of an open_clip checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from feature_extractors.media.frame_policy import ClipTopK
from feature_extractors.media.result import Clip, Failure
from feature_extractors.models.checkpoint.checkpoints import Checkpoint, unreadable
from feature_extractors.models.clip_image import ImageTower
from feature_extractors.models.threads import torch_threads
from feature_extractors.text.plain import cut_note, plain

if TYPE_CHECKING:
    import numpy as np

# Behaviour of this module, part of the key of every choice made with it.
VERSION = 1
# Most characters of a title that the tokenizer is given; it keeps the first 77 tokens, with CLIP's own context length.
LONGEST = 1000
# Marks that open_clip's own tokenizer takes for the ends of a text wherever they stand.
ENDS = ("<start_of_text>", "<end_of_text>")


@dataclass(frozen=True, eq=False)
class Titled:
    """Candidate frames of a clip and the title that they are compared with."""

    clip: Clip
    title: str

    @property
    def note(self) -> str:
        """Remark for the reader of a row with features."""
        return self.clip.note


class Nearest:
    """Clips with titles to positions of frames.

    Parameters
    ----------
    checkpoint, device, threads
        As in `ImageTower`, in float32: ranks must not hang on rounding.
    policy
        How many frames are kept.

    Raises
    ------
    CheckpointError
        If the checkpoint does not load, or has no tokenizer that does.
    """

    def __init__(self, checkpoint: Checkpoint, policy: ClipTopK, device: str, threads: int = 1) -> None:
        import open_clip

        self._tower = ImageTower(checkpoint, "float32", device, threads)
        self._policy, self._device, self._threads = policy, device, threads
        try:
            self._tokens = open_clip.get_tokenizer(f"local-dir:{checkpoint.folder.resolve()}")
        except Exception as error:
            raise unreadable(checkpoint, error) from error
        inner: Any = getattr(self._tokens, "tokenizer", None)
        self._marks = sorted({*ENDS, *getattr(inner, "all_special_tokens", ())}, key=lambda mark: (-len(mark), mark))

    def note(self, one: Titled) -> str:
        """Remark for the reader of a row: a title that is not read to its end."""
        title = plain(one.title, self._marks, LONGEST)
        longest = getattr(self._tokens, "context_length", None)
        whole = longest and int((self._tokens([title], context_length=4 * LONGEST) != 0).sum())
        cut = f"only the first {longest} tokens of the title are read" if longest and whole > longest else ""
        return cut or cut_note("title", one.title, LONGEST)

    def prepare(self, batch: Sequence[Titled]) -> tuple[Sequence[Titled], list[str], list[Any]]:
        """Clips, their titles as plain words, and the pixels of their candidates; on the host."""
        titles = [plain(one.title, self._marks, LONGEST) for one in batch]
        return batch, titles, self._tower.prepare([one.clip for one in batch])

    def run(self, prepared: tuple[Sequence[Titled], list[str], list[Any]]) -> list[str | Failure]:
        """Rank what `prepare` gave; a title of nothing but marks is an empty one."""
        batch, titles, pixels = prepared
        found: list[str | Failure] = []
        for one, title, near in zip(batch, titles, self.nearness(titles, pixels), strict=True):
            chosen = self._policy.choose(one.clip.indices, near)
            found.append(" ".join(map(str, chosen)) if title else Failure("empty", "empty title"))
        return found

    def nearness(self, titles: Sequence[str], pixels: Sequence[Any]) -> list[np.ndarray]:
        """Cosine of each frame of each clip with its title: float32 [frames] a clip."""
        import torch

        units = self._tower.units(pixels)
        with torch_threads(self._threads), torch.inference_mode():
            text = self._tower.model.encode_text(self._tokens(list(titles)).to(self._device), normalize=True).float()
            return [(unit @ one).cpu().numpy() for unit, one in zip(units, text, strict=True)]

    def __call__(self, batch: Sequence[Titled]) -> list[str | Failure]:
        """Rank a batch: positions of the nearest frames, ascending, with blanks between."""
        return self.run(self.prepare(batch))
