"""Simulated dataset of rendered clips and users with known tastes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from protocols.dataset import Dataset, DatasetPlugin
from protocols.errors import UserError
from protocols.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

    from protocols.datasets.demo.population import Size
    from protocols.ranking_problem import Scorer, TrainingData


@dataclass(frozen=True)
class Demo(DatasetPlugin):
    """Simulated: 800 rendered clips, 14,400 events of 2,000 users with known tastes, 10 weeks from 2025-01-06.

    `world.yaml` holds every parameter of the world.

    Attributes
    ----------
    content_weight
        Multiplies the effect of everything visible or audible in a clip; 0 is the null world, in which users ignore
        content.
    clips, users, interactions, weeks
        Size of the world. `interactions` is exact.
    seed
        Of the clips, the users and the log.
    """

    name: ClassVar[str] = "demo"
    simulated: ClassVar[bool] = True
    licence: ClassVar[str] = "CC0-1.0"

    content_weight: float = 1.0
    clips: int = 800
    users: int = 2000
    interactions: int = 14_400
    weeks: int = 10
    seed: int = 1

    def load(self, cache: Path, progress: Progress) -> Dataset:
        """Return the world, rendering and simulating it first where the cache lacks it.

        Raises
        ------
        UserError
            If an option makes no world, or the cache cannot be written or is full.
        """
        from protocols.datasets.demo.prepare import prepare, read_log  # pandas; its clips render in `python -m` workers

        size = self._size()
        world, media = prepare(cache, size, self.content_weight, progress)
        interactions, items = read_log(world, media)
        return Dataset.build(
            self.name,
            self._version(),
            interactions,
            items,
            licence=self.licence,
            citation="Simulated by this repository; no real person or video is in it.",
            card=CARD,
            simulated=True,
            root=world,
        )

    def truth_texts(self, dataset: Dataset) -> Mapping[str, str]:
        """Gold description of every clip, naming all planted factors: the feature ceiling."""
        from protocols.datasets.demo import truth
        from protocols.datasets.demo.factors import gold_description

        known = truth.read(dataset)
        return {item: gold_description(scene) for item, scene in zip(known.item_ids, known.scenes, strict=True)}

    def factors(self, dataset: Dataset) -> pd.DataFrame:
        """All planted factors of all clips."""
        from protocols.datasets.demo import truth

        return truth.load_factors(dataset)

    def oracle(self, dataset: Dataset, training: TrainingData, end: int) -> Scorer:
        """Scorer that knows the simulator's parameters: probability that a user takes an item in [border, end)."""
        from protocols.datasets.demo import truth
        from protocols.datasets.demo.oracle import Oracle
        from protocols.datasets.demo.utility import Utility

        known = truth.read(dataset)
        return Oracle(
            Utility(known.clips, known.users, known.content_weight),
            {user: i for i, user in enumerate(known.user_ids)},
            truth.positions(list(training.items), known.item_ids, "item"),
            training.border,
            end,
        )

    def _size(self) -> Size:
        from protocols.datasets.demo.population import Size

        for option in ("clips", "users", "interactions", "weeks"):
            if getattr(self, option) < 1:
                raise UserError(f"demo.{option}={getattr(self, option)}: expected at least 1")
        if self.content_weight < 0 or self.seed < 0:
            raise UserError("demo: content_weight and seed cannot be negative")
        return Size(self.clips, self.users, self.interactions, self.weeks, self.seed)

    def _version(self) -> str:
        """World version, and the options that differ from their defaults."""
        from protocols.datasets.demo.world import load_world

        default = Demo().options()
        changed = [f"{key}={value}" for key, value in self.options().items() if value != default[key]]
        return ", ".join([str(load_world()["version"]), *changed])


CARD = (
    "Simulated: clips are rendered and users are drawn from a documented model, so no number says anything about "
    "real videos or real people.",
    "What users take depends on planted factors with the weights in world.yaml, about half of the variance on what "
    "can be seen or heard in a clip; a hidden personal taste, popularity, recency, fashion and habit make the rest.",
    "The pocket checkpoints were trained on clips of the same renderer (other seeds, some combinations held back), "
    "so they know this world better than a real checkpoint knows real videos.",
    "The default size (version 2) is as sparse as real short-video logs: 7.2 events a user and 18 a clip, chosen by "
    "the densities of MicroLens-50k (7.2 and 18.7), and after a trial with recommenders. Version 1 had 40,000 events, "
    "20 and 50, where ids hold most of what content tells.",
    "Nobody takes a clip twice, and every clip on view can be taken by everybody: there is no exposure bias.",
)
