"""MicroLens dataset: short videos with titles and covers, and comments as interactions."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from protocols.dataset import Dataset, DatasetPlugin, Finding
from protocols.datasets.files.media_files import by_id
from protocols.datasets.files.published_values import compare_counts, compare_hash
from protocols.datasets.files.text_tables import Format, read_table
from protocols.errors import UserError
from protocols.hashing import seeded_order
from protocols.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

ROOT_VARIABLE = "BENCH_MICROLENS"
# Published: users, items, interactions; first digits of a file's SHA-256.
COUNTS = {
    "50k": {"users": 50_000, "items": 19_220, "interactions": 359_708},
    "100k": {"users": 100_000, "items": 19_738, "interactions": 719_405},
    "1M": {"users": 1_000_000, "items": 91_402, "interactions": 9_095_620},
}
HASHES = {
    "MicroLens-50k_titles.csv": "244aad53",
    "MicroLens-50k_pairs.csv": "7ff8b91bcc84f543",
}


@dataclass(frozen=True)
class MicroLens(DatasetPlugin):
    """MicroLens in the sizes 50k, 100k and 1M, from a directory of the official release.

    Files by their official names: `MicroLens-100k_pairs.csv` (user, item, time) or `MicroLens-100k_pairs.tsv`
    (sequences without times: only `microlens-loo` can split them), `MicroLens-100k_title_en.csv` or `_titles.csv`,
    and `videos/1.mp4`, ... `likes_and_views` are totals at the end of the crawl, the future of every event: that file
    is reported and never read.

    Attributes
    ----------
    root
        The directory; without it the environment variable BENCH_MICROLENS.
    size
        Of the release.
    pairs
        File of the log: `csv` with times, `tsv` without; `auto`: csv if it is there.
    users
        Number of users, drawn by a seeded hash of their ids, with the items they took; none: all.
    seed
        Of that draw.
    """

    name: ClassVar[str] = "microlens"
    licence: ClassVar[str] = "MicroLens terms of use: research only, no redistribution of the data or modified copies"
    places: ClassVar[tuple[str, ...]] = ("root",)

    root: str | None = None
    size: Literal["50k", "100k", "1M"] = "100k"
    pairs: Literal["auto", "csv", "tsv"] = "auto"
    users: int | None = None
    seed: int = 0

    def load(self, cache: Path, progress: Progress) -> Dataset:
        """Read the files.

        Raises
        ------
        UserError
            If the directory or the log is missing (the message lists the expected names), or it has fewer `users`.
        """
        import pandas as pd

        pairs, timed = self._pairs()
        log = self._timed(pairs) if timed else self._sequences(pairs)
        if self.users is not None:
            log = self._sample(log)
        titles = self._titles()
        named = log["item_id"].unique() if self.users is not None else [*titles.index, *log["item_id"].unique()]
        items = titles.reindex(pd.Index(named).unique())
        if (folder := self._videos()) is not None:
            items["video"] = by_id(folder, list(items.index))
        parts = [self.size, pairs.suffix[1:]]
        if self.users is not None:
            parts.append(f"{self.users} users, seed {self.seed}")
        return Dataset.build(
            self.name,
            ", ".join(parts),
            log,
            items,
            licence=self.licence,
            citation=CITATION,
            card=CARD if timed else (*CARD, UNTIMED),
            timed=timed,
            root=pairs.parent,
        )

    def inspect(self, dataset: Dataset) -> list[Finding]:
        """Compare counts (of the whole release only) and hashes with published ones, and list the official files."""
        pairs, _ = self._pairs()
        there = [pairs, *([titles] if (titles := self._title_file()) else [])]
        found = [compare_hash(path, HASHES.get(path.name, "")) for path in there]
        if self.users is None:
            found += compare_counts(dataset, COUNTS[self.size])
        if len(there) == 1:
            found.append(Finding("titles", "not found: looked for " + ", ".join(self._title_names())))
        totals = pairs.with_name(f"MicroLens-{self.size}_likes_and_views.txt")
        found.append(
            Finding(totals.name, "found, never read: totals from the future" if totals.exists() else "not found")
        )
        for name in ("videos", "covers"):
            folder = self._folder(name)
            found.append(
                Finding(f"{name}/", str(folder) if folder else f"not found: looked for {name}/ in {self._root()}")
            )
        return found

    def _root(self) -> Path:
        given = self.root or os.environ.get(ROOT_VARIABLE)
        remedy = f"--set microlens.root=FOLDER, or {ROOT_VARIABLE}=FOLDER; the data: github.com/westlake-repl/MicroLens"
        if not given:
            raise UserError("dataset 'microlens' needs the directory of the official release", remedy)
        folder = Path(given).expanduser().absolute()
        if not folder.is_dir():
            raise UserError(f"microlens.root: {folder} is not a folder", remedy)
        # a root that holds several sizes has a folder for each
        inner = folder / f"MicroLens-{self.size}"
        return inner if inner.is_dir() else folder

    def _pairs(self) -> tuple[Path, bool]:
        """Path of the log, and True if it has times."""
        wanted = ["csv", "tsv"] if self.pairs == "auto" else [self.pairs]
        paths = [self._root() / f"MicroLens-{self.size}_pairs.{suffix}" for suffix in wanted]
        for path in paths:
            if path.is_file():
                return path, path.suffix == ".csv"
        others = sorted(p.name for p in self._root().glob("MicroLens-*_pairs.*"))
        raise UserError(
            f"no log of MicroLens-{self.size}; looked for {', '.join(map(str, paths))}"
            + (f"; there are {', '.join(others)}" if others else ""),
            remedy="--set microlens.size=50k, 100k or 1M, and microlens.root=FOLDER with the official files",
        )

    def _timed(self, path: Path) -> pd.DataFrame:
        from protocols.datasets.files.frames import log_frame
        from protocols.datasets.files.times import TimeFormat

        return log_frame(read_table(path, Format()), "user", "item", "timestamp", TimeFormat("ms", self.name))

    def _sequences(self, path: Path) -> pd.DataFrame:
        """`user<TAB>item item item`, oldest first; the time is the place in the sequence, from 0."""
        import numpy as np
        import pandas as pd
        import pyarrow.compute as pc

        from protocols.datasets.files.columns import ids

        table = read_table(path, Format("\t", quoted=False), names=("user", "items"))
        users = ids(table, "user")
        twice = pd.Series(users).duplicated().to_numpy()
        if twice.any():
            row = int(twice.argmax())
            raise table.error(row, f"user {users[row]!r} has a line already", remedy="one line a user")
        cells = pc.ascii_trim_whitespace(table.column("items")).combine_chunks()
        empty = pc.index(pc.equal(cells, ""), True).as_py()
        if empty >= 0:
            raise table.error(empty, f"user {users[empty]!r} has no items", remedy="delete the line")
        sequences = pc.ascii_split_whitespace(cells)
        counts = pc.list_value_length(sequences).to_numpy()
        encoded = pc.list_flatten(sequences).dictionary_encode()
        items = encoded.dictionary.to_numpy(zero_copy_only=False)[encoded.indices.to_numpy()]
        places = np.arange(len(items)) - np.repeat(np.cumsum(counts) - counts, counts)
        return pd.DataFrame({"user_id": np.repeat(users, counts), "item_id": items, "timestamp": places})

    def _sample(self, log: pd.DataFrame) -> pd.DataFrame:
        known = log["user_id"].unique()
        if self.users is None or not 1 <= self.users <= len(known):
            raise UserError(f"microlens.users={self.users}: expected 1 to {len(known)}, the users there are")
        drawn = known[seeded_order(known, self.seed) < self.users]
        return log[log["user_id"].isin(drawn)].reset_index(drop=True)

    def _title_names(self) -> list[str]:
        return [f"MicroLens-{self.size}_{kind}.csv" for kind in ("title_en", "titles")]

    def _title_file(self) -> Path | None:
        return next((path for name in self._title_names() if (path := self._root() / name).is_file()), None)

    def _titles(self) -> pd.DataFrame:
        import pandas as pd

        from protocols.datasets.files.columns import texts
        from protocols.datasets.files.frames import item_frame

        path = self._title_file()
        if path is None:
            return pd.DataFrame(index=pd.Index([], dtype=object))
        table = read_table(path, Format(), names=("item", "title"))
        return item_frame(table, "item", {"title": texts(table, "title")}, self.name)[0]

    def _folder(self, name: str) -> Path | None:
        places = (self._root() / name, self._root() / f"MicroLens-{self.size}_{name}")
        return next((folder for folder in places if folder.is_dir()), None)

    def _videos(self) -> Path | None:
        return self._folder("videos")


CARD = (
    "Leaks by construction: who and what is in the data was chosen with knowledge of the whole period (popular videos, "
    "active users, crawled at its end), so an item's or a user's presence says something about their future.",
    "likes_and_views are totals at the end of the crawl; they are never read here.",
    "Interactions are public comments: watching leaves no trace, and a time is that of the comment.",
    "There is no release date: candidates of a rolling protocol are the items seen before the border.",
)
UNTIMED = (
    "This log holds sequences without times: only microlens-loo can split it, which fits on events that are later than "
    "other users' targets."
)
CITATION = (
    "Yongxin Ni, Yu Cheng, Xiangyan Liu, Junchen Fu, Youhua Li, Xiangnan He, Yongfeng Zhang and Fajie Yuan. 2023. A "
    "Content-Driven Micro-Video Recommendation Dataset at Scale. arXiv:2309.15379"
)
