"""KuaiRec dataset: watch ratios of short videos.

Files, columns and counts: README of github.com/chongminggao/KuaiRec (version 2.0, with the captions of June 2024); rows
of the small matrix without times: its issue 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from protocols.dataset import Dataset
from protocols.datasets.own_files import Files
from protocols.datasets.published_log import PublishedLog, one
from protocols.errors import DataError
from protocols.progress import Progress


@dataclass(frozen=True)
class KuaiRec(PublishedLog):
    """KuaiRec views of short videos with watch ratios; captions (Chinese) as titles, upload days as releases.

    `big_matrix.csv` or `small_matrix.csv`, `item_daily_features.csv` and `kuairec_caption_category.csv`. A video that
    was watched for longer than twice its duration counts as taken, as the README proposes.

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
        "CIKM '22. https://doi.org/10.1145/3511808.3557220"
    )
    card: ClassVar[tuple[str, ...]] = (
        "The small matrix was completed by showing users on purpose videos that they had not been shown before; these "
        "rows have no times and are left out.",
    )
    known: ClassVar[Mapping[str, Mapping[str, int]]] = {
        "big": {"users": 7_176, "items": 10_728, "interactions": 12_530_806},
        "small": {"users": 1_411, "items": 3_327, "interactions": 4_676_570},
    }

    where: str = "watch_ratio > 2"
    matrix: Literal["big", "small"] = "big"

    @property
    def release(self) -> str:
        """The matrix."""
        return self.matrix

    @property
    def condition(self) -> str:
        """Of the small matrix only rows that have times."""
        timed = "timestamp IS NOT NULL"
        if self.matrix == "big":
            return self.where
        return f"({self.where}) AND {timed}" if self.where else timed

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
            captions = _captions(Path(path))
            dataset.items["title"] = [captions.get(item) for item in dataset.items.index]
        return dataset


def _captions(path: Path) -> dict[str, str | None]:
    """Read captions by video; carriage returns that stand unquoted in some of them are spaces."""
    import polars as pl
    from polars.exceptions import PolarsError

    from protocols.datasets.files.text_tables import Format, read_content

    content = read_content(path, Format()).to_pybytes().replace(b"\r", b" ")
    try:
        found = pl.read_csv(content, columns=["video_id", "caption"], infer_schema=False)
    except PolarsError as error:
        raise DataError(f"{path}: {error}", remedy="fetch the file again") from error
    return dict(found.iter_rows())
