"""MIND dataset: clicks on news.

Files, columns and period: assets/doc/introduction.md of github.com/msnews/msnews.github.io. Numbers of users, news and
clicks are published rounded only, or sampled: none is compared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from protocols.dataset import Dataset
from protocols.datasets.own_files import Files
from protocols.datasets.published_log import PublishedLog
from protocols.errors import DataError
from protocols.progress import Progress

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

BEHAVIORS = ("impression", "user_id", "time", "history", "impressions")


@dataclass(frozen=True)
class Mind(PublishedLog):
    """MIND news recommendation: clicks in impressions of Microsoft News, with titles; no videos.

    `behaviors.tsv` and `news.tsv`, of MINDsmall or MINDlarge. A clicked item of an impression counts as taken, at the
    time of the impression. Clicks of the history column have no times and are left out; the card counts them.
    """

    name: ClassVar[str] = "mind"
    licence: ClassVar[str] = "Microsoft Research License Terms: non-commercial research only"
    source: ClassVar[str] = "msnews.github.io"
    citation: ClassVar[str] = (
        "Fangzhao Wu, Ying Qiao, Jiun-Hung Chen, Chuhan Wu, Tao Qi, Jianxun Lian, Danyang Liu, Xing Xie, Jianfeng Gao, "
        "Winnie Wu and Ming Zhou. 2020. MIND: A Large-scale Dataset for News Recommendation. ACL 2020"
    )
    card: ClassVar[tuple[str, ...]] = (
        "The training part is the fifth of six weeks without its last day, which is the validation part: windows of a "
        "protocol must be short.",
        "Times have no zone and are read as UTC.",
    )

    @property
    def release(self) -> str:
        """Name of the directory, as the archive has it."""
        return self.folder().name

    def load(self, cache: Path, progress: Progress) -> Dataset:
        """Read clicks and news.

        Raises
        ------
        DataError
            If an impression or a time is written otherwise; as `PublishedLog.load`.
        """
        import polars as pl

        rows = self._behaviors()
        left_out = rows["history"].drop_nulls().str.split(" ").list.len().sum()
        shown = rows.select("user_id", "time", pl.col("impressions").str.split(" ")).explode("impressions")
        strange = shown.filter(~pl.col("impressions").str.contains(r"^\S+-[01]$").fill_null(False))
        if len(strange):
            first = strange["impressions"][0]
            raise DataError(f"{self.find('behaviors.tsv')[0]}: impression {first!r} is not ITEM-0 or ITEM-1")
        clicks = shown.filter(pl.col("impressions").str.ends_with("-1"))
        log = clicks.select("user_id", pl.col("impressions").str.head(-2).alias("item_id"), "time")
        files = Files(log, self._news(), timestamp="time", time_unit="iso", item_key="item_id")
        files = replace(files, where=self.where, unknown_items=self.unknown_items).under_name(self.name)
        dataset = self.published(files.load(cache, progress))
        return replace(dataset, card=(*dataset.card, f"{left_out} clicks of histories have no times and are left out."))

    def _news(self) -> pa.Table:
        from protocols.datasets.files.text_tables import Format, read_table

        table = read_table(Path(self.find("news.tsv")[0]), Format("\t", quoted=False), only=("1", "4"), header=False)
        return table.cells.select(["1", "4"]).rename_columns(["item_id", "title"])

    def _behaviors(self) -> pl.DataFrame:
        import polars as pl

        from protocols.datasets.files.text_tables import Format, read_table

        path = Path(self.find("behaviors.tsv")[0])
        table = read_table(path, Format("\t", quoted=False), names=BEHAVIORS)
        rows = pl.DataFrame({name: pl.from_arrow(table.column(name).combine_chunks()) for name in BEHAVIORS})
        times = rows["time"].str.to_datetime("%m/%d/%Y %I:%M:%S %p", strict=False)
        if times.null_count():
            row = int(times.is_null().arg_max() or 0)
            raise table.error(row, f"time {rows['time'][row]!r} is not 11/15/2019 10:22:32 AM")
        history = pl.when(pl.col("history") == "").then(None).otherwise(pl.col("history"))
        return rows.with_columns(times.alias("time"), history.alias("history"))
