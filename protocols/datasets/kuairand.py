"""KuaiRand dataset: impressions of a short-video platform.

Files, columns and counts: README of github.com/chongminggao/KuaiRand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from protocols.datasets.own_files import Files
from protocols.datasets.published_log import PublishedLog, one


@dataclass(frozen=True)
class KuaiRand(PublishedLog):
    """KuaiRand impressions, Pure, 1K or 27K; videos have upload days and durations, neither titles nor files.

    `log_standard_*.csv` (all that are there) and `video_features_basic_*.csv`; randomly exposed videos
    (`log_random_*.csv`) are left out. A click counts as taken.

    Attributes
    ----------
    size
        Of the release.
    """

    name: ClassVar[str] = "kuairand"
    licence: ClassVar[str] = "CC BY-SA 4.0"
    source: ClassVar[str] = "kuairand.com"
    citation: ClassVar[str] = (
        "Chongming Gao, Shijun Li, Yuan Zhang, Jiawei Chen, Biao Li, Wenqiang Lei, Peng Jiang and Xiangnan He. 2022. "
        "KuaiRand: An Unbiased Sequential Recommendation Dataset with Randomly Exposed Videos. CIKM '22. "
        "https://doi.org/10.1145/3511808.3557624"
    )
    card: ClassVar[tuple[str, ...]] = (
        "Impressions were chosen by the platform's own recommenders: what was not shown could not be clicked.",
        "In the single-column interface is_click means played for more than 7 seconds, or to the end.",
        "Pure keeps 7,583 videos that were chosen for random exposure: histories have gaps.",
    )
    known: ClassVar[Mapping[str, Mapping[str, int]]] = {
        "pure": {"users": 27_285, "items": 7_551, "interactions": 1_436_609},
        "1k": {"users": 1_000, "items": 4_369_953, "interactions": 11_713_045},
        "27k": {"users": 27_285, "items": 32_038_725, "interactions": 322_278_385},
    }

    where: str = "is_click == 1"
    size: Literal["pure", "1k", "27k"] = "pure"

    @property
    def release(self) -> str:
        """The size."""
        return self.size

    def files(self) -> Files:
        """Standard logs of both periods, in one or two parts each, and features of videos."""
        return Files(
            self.find(f"log_standard_*_{self.size}*.csv"),
            one(self.optional(f"video_features_basic_{self.size}.csv")),
            item="video_id", timestamp="time_ms", release="upload_dt", duration="video_duration", time_unit="ms",
            release_unit="iso", duration_unit="ms", delimiter=",",
        )  # fmt: skip
