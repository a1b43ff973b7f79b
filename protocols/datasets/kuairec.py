"""KuaiRec dataset: watch ratios of short videos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from protocols.dataset import Dataset
from protocols.datasets.own_files import Files
from protocols.datasets.published_log import PublishedLog, one
from protocols.progress import Progress


@dataclass(frozen=True)
class KuaiRec(PublishedLog):
    """KuaiRec views of short videos with watch ratios; captions (Chinese) as titles, upload days as releases.

    `big_matrix.csv` or `small_matrix.csv`, `item_daily_features.csv` and `kuairec_caption_category.csv`. A video that
    was watched for twice its duration or longer counts as taken, as in the paper.

    Attributes
    ----------
    matrix
        The log: big, or the small one in which nearly every user saw every video.
    """

    name: ClassVar[str] = "kuairec"
    licence: ClassVar[str] = "CC BY-SA 4.0"
    source: ClassVar[str] = "kuairec.com"
    citation: ClassVar[str] = (
        "Chongming Gao, Shijun Li, Wenqiang Lei, Jiawei Chen, Biao Li, Peng Jiang, Xiangnan He, Jiaxin Mao and "
        "Tat-Seng Chua. 2022. KuaiRec: A Fully-observed Dataset and Insights for Evaluating Recommender Systems. "
        "CIKM '22. arXiv:2202.10842"
    )
    card: ClassVar[tuple[str, ...]] = (
        "Videos and users of the small matrix were shown to one another on purpose: its impressions are no choice of "
        "the platform or the users.",
    )
    known: ClassVar[Mapping[str, Mapping[str, int]]] = {
        "big": {"users": 7_176, "items": 10_728, "interactions": 12_530_806},
        "small": {"users": 1_411, "items": 3_327, "interactions": 4_676_570},
    }

    where: str = "watch_ratio >= 2"
    matrix: Literal["big", "small"] = "big"

    @property
    def release(self) -> str:
        """The matrix."""
        return self.matrix

    def files(self) -> Files:
        """The matrix, and features of videos of each day, of which the upload day is read."""
        items = one(self.optional("item_daily_features.csv"))
        return Files(
            self.find(f"{self.matrix}_matrix.csv"), items, item="video_id", release="upload_dt", time_unit="s",
            release_unit="iso", delimiter=",",
        )  # fmt: skip

    def load(self, cache: Path, progress: Progress) -> Dataset:
        """Read the log and the videos; captions are joined to them."""
        dataset = super().load(cache, progress)
        path = one(self.optional("kuairec_caption_category.csv"))
        if path is not None:
            from protocols.datasets.files.columns import ids, texts
            from protocols.datasets.files.text_tables import Format, read_table

            table = read_table(Path(path), Format(), only=("video_id", "caption"))
            captions = dict(zip(ids(table, "video_id"), texts(table, "caption"), strict=True))
            dataset.items["title"] = [captions.get(item) for item in dataset.items.index]
        return dataset
