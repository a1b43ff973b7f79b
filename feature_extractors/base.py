"""Extractor interface: a plug-in that delivers `Features` for a list of items."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar

from protocols.errors import UserError
from protocols.plugins import Plugin
from protocols.progress import Progress, Quiet

if TYPE_CHECKING:
    from protocols.features import Features, FeatureSpace, ItemFeatures

Overwrite = Literal["never", "missing", "always"]
Other = TypeVar("Other", bound="Extractor")


@dataclass
class StageReport:
    """Work of a stage and the time that it took, in seconds.

    Attributes
    ----------
    title
        As beside the progress bar.
    left
        Items that were asked for and that the store did not have.
    rows
        Rows that were computed, failures among them.
    loading
        Until the model was there.
    reading
        Decoding, summed over clips, whoever waited for it.
    calls
        (items, seconds) of each batch in the model, with its preparation where nobody had done that ahead.
    stored
        Bytes of the values.
    name
        Extractor and stage, `captions.text`.
    space
        Feature space of the stage.
    """

    title: str
    left: int = 0
    rows: int = 0
    loading: float = 0.0
    reading: float = 0.0
    calls: list[tuple[int, float]] = field(default_factory=list)
    stored: int = 0
    name: str = ""
    space: FeatureSpace | None = None


@dataclass(frozen=True, eq=False)
class ItemSource:
    """Items as an extractor may see them: raw ids, titles and media files. No interactions, no popularity.

    Attributes
    ----------
    item_ids
        Raw ids, sorted, of *all* items (batch membership is a function of this list).
    titles
        [N] of str, or None where an item has none.
    videos
        [N] of paths, addresses (text, see `media.remote_file`), or None.
    truth
        Only for simulated data: makes the gold description of every item. Only the control `truth` calls it.
    root
        Folder that no video may lie outside of, not by a link either; None: they may lie anywhere.
    """

    item_ids: Sequence[str]
    titles: Sequence[str | None]
    videos: Sequence[Path | str | None]
    truth: Callable[[], Mapping[str, str]] | None = None
    root: Path | None = None


@dataclass(frozen=True, eq=False)
class ExtractContext:
    """Store, device and other circumstances of an extraction.

    Attributes
    ----------
    store
        Folder (or object-store URI) that holds one Lance dataset per feature space.
    device
        Torch device.
    progress
        Where work over two seconds shows how far it is.
    seed
        For the controls that draw random vectors.
    workers
        Decoding processes.
    retry
        Try items again whose status is `error` (a crash, a time-out); all other outcomes are final.
    threads
        Torch threads of the model; more than one changes the last bits.
    overwrite
        `missing`: compute what the store lacks; `never`: only take what is there; `always`: compute everything anew.
    only
        Items to fill; None: all. The others come from the store where it has them. See `sharding.choose`.
    part
        Name of the shard that `only` is, e.g. `0of4`: runs of different parts fill a space at the same time.
    report
        Called with what a stage of the chain has to do (`overwrite="never"`), or has done and what that took.
    grow
        Model calls begin small and grow as memory allows; they change the last bits of results.
    files
        Media files that stages have hashed so far, by path: `media.hashed_file.HashedFile`, for the stages to come.
    models
        Models that are kept for later extractions of this process, by id of their feature space; None: none are.
    """

    store: Path | str
    device: str = "cpu"
    progress: Progress = field(default_factory=Quiet)
    seed: int = 0
    workers: int = 1
    retry: bool = False
    threads: int = 1
    overwrite: Overwrite = "missing"
    only: frozenset[str] | None = None
    part: str = ""
    report: Callable[[StageReport], None] | None = None
    grow: bool = False
    files: dict[Path, Any] = field(default_factory=dict)
    models: dict[str, Any] | None = None


@dataclass(frozen=True)
class Extractor(Plugin):
    """An extractor users can name. Subclasses are frozen dataclasses; their fields are options.

    Attributes
    ----------
    feature
        `vector`, `layers`, `text, vector` or `-`: what it makes, shown by `bench list extractors`.
    paper
        Of the method.
    licence
        Of what is no checkpoint; those of checkpoints stand in `models/checkpoint/cards.py`.
    checkpoints
        What the word `auto` stands for where data are not simulated: hub ids, or names of openai-whisper.
    per_seed
        True when the features themselves depend on the seed (`random`).
    wraps
        Option that holds another extractor, for names like `shuffled:captions`; "": none.
    joins
        Option that holds several extractors, for names like `concat:captions+titles`; "": none.
    variant
        Options as they stand in brackets behind the name, `captions[frames=uniform:4]`: a name of its own on boards for
        one of several rows of an extractor.
    argument
        Option that takes what stands behind the colon in names like `published:vectors.npy`; "": none.
    """

    feature: ClassVar[str] = "vector"
    paper: ClassVar[str] = ""
    licence: ClassVar[str] = ""
    checkpoints: ClassVar[tuple[str, ...]] = ()
    per_seed: ClassVar[bool] = False
    wraps: ClassVar[str] = ""
    joins: ClassVar[str] = ""
    argument: ClassVar[str] = ""

    variant: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        """Refuse options that make no sense."""

    def check_least(self, least: int, *names: str) -> None:
        """Refuse options below `least`.

        Raises
        ------
        UserError
            Naming the option and its value.
        """
        for name in names:
            if getattr(self, name) < least:
                raise UserError(f"{self.name}.{name}={getattr(self, name)}: must be at least {least}")

    @property
    def label(self) -> str:
        """Name on boards and in records: what the user typed, without anything that is true of one machine only."""
        return self.own_name

    @property
    def own_name(self) -> str:
        """Name, with the variant in brackets."""
        return f"{self.name}[{self.variant}]" if self.variant else self.name

    def options(self) -> dict[str, Any]:
        """All options with their values; the variant is part of the name.

        Empty ones ask nothing and are left out: with a new option that is empty unless somebody asks, earlier records
        still are records of the same row.
        """
        return {name: value for name, value in super().options().items() if name != "variant" and value != ""}

    def part(self, kind: type[Other], prefix: str = "", **options: Any) -> Other:
        """Make an extractor that shares options with this one.

        Parameters
        ----------
        kind
            Its class. An option of it takes the value that `prefix` + its name has here, else that of its own name
            here, else its default.
        options
            Values that win.
        """
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "variant"}
        names = [f.name for f in fields(kind)]
        shared = {name: own[key] for name in names for key in (name, prefix + name) if key in own}
        return kind(**{**shared, **options})

    def resolved(self, simulated: bool) -> Self:
        """Return the extractor with every checkpoint `auto` replaced: pocket ones on simulated data, real ones else."""
        return self

    def extract(self, source: ItemSource, context: ExtractContext) -> Features | None:
        """Return the features of all items, from the store where it has them; None: this extractor has none (`id`)."""
        raise NotImplementedError

    def on_items(self, features: ItemFeatures, seed: int) -> ItemFeatures:
        """Change the aligned features of a fold; controls permute or flatten them here."""
        return features
