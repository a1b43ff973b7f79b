"""Yambda dataset: likes and listens of a music service.

Files, columns, units and counts: card of the data set yandex/yambda on the Hugging Face hub (arXiv:2505.22238).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from protocols.datasets.own_files import Files
from protocols.datasets.published_log import PublishedLog


@dataclass(frozen=True)
class Yambda(PublishedLog):
    """Yambda likes or listens of music tracks, 50M, 500M or 5B; no titles, no media, vectors of sound beside it.

    `likes.parquet` or `listens.parquet` of `flat/SIZE`. Every row counts as taken; of listens, the publisher counts
    those with `where="played_ratio_pct > 50"`. Vectors of sound (`embeddings.parquet`) are for the extractor
    `published`, with `vector_column=embed`.

    Attributes
    ----------
    size
        Of the release.
    events
        The log.
    """

    name: ClassVar[str] = "yambda"
    licence: ClassVar[str] = "Apache-2.0; published for scientific and research purposes"
    source: ClassVar[str] = "the data set yandex/yambda on the Hugging Face hub"
    citation: ClassVar[str] = (
        "A. Ploshkin, V. Tytskiy, A. Pismenny, V. Baikalov, E. Taychinov, A. Permiakov, D. Burlakov, E. Krofto and "
        "N. Savushkin. 2025. Yambda-5B - A Large-Scale Multi-modal Dataset for Ranking And Retrieval. RecSys '25. "
        "arXiv:2505.22238"
    )
    card: ClassVar[tuple[str, ...]] = (
        "Times are seconds since an undisclosed moment, in steps of 5: dates are not those of the calendar.",
    )
    known: ClassVar[Mapping[str, Mapping[str, int]]] = {
        "50m likes": {"interactions": 881_456},
        "50m listens": {"interactions": 46_467_212},
        "500m likes": {"interactions": 9_033_960},
        "500m listens": {"interactions": 466_512_103},
        "5b likes": {"interactions": 89_334_605},
        "5b listens": {"interactions": 4_649_567_411},
    }

    size: Literal["50m", "500m", "5b"] = "50m"
    events: Literal["likes", "listens"] = "likes"

    @property
    def release(self) -> str:
        """Size and events."""
        return f"{self.size} {self.events}"

    def files(self) -> Files:
        """The log of one kind of events."""
        name = f"{self.events}.parquet"
        log = self.find(f"flat/{self.size}/{name}", f"{self.size}/{name}", name)
        return Files(log, user="uid", item="item_id", time_unit="s", check_times=False)
