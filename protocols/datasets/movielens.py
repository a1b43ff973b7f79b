"""MovieLens dataset: ratings of films, with times and titles.

Files, columns and counts: the README of each release at files.grouplens.org/datasets/movielens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from protocols.datasets.ml_100k import CITATION, ML100K
from protocols.datasets.own_files import Files
from protocols.datasets.published_log import PublishedLog, one


@dataclass(frozen=True)
class MovieLens(PublishedLog):
    """MovieLens ratings of ml-latest, ml-latest-small, 1M, 20M, 25M or 32M; films have titles, no videos.

    `ratings.csv` and `movies.csv`, or `ratings.dat` and `movies.dat` (1M). A rating of 4 stars or more counts as taken.
    """

    name: ClassVar[str] = "movielens"
    licence: ClassVar[str] = ML100K.licence
    source: ClassVar[str] = "grouplens.org/datasets/movielens"
    citation: ClassVar[str] = CITATION
    card: ClassVar[tuple[str, ...]] = (
        "People rated many films in one sitting after they had seen them: times are of ratings, not of watching.",
        "Everybody in the data rated at least 20 films over the whole period: who is in it was chosen with knowledge "
        "of the future.",
    )
    known: ClassVar[Mapping[str, Mapping[str, int]]] = {
        "ml-latest-small": {"users": 610, "interactions": 100_836},
        "ml-1m": {"users": 6_040, "interactions": 1_000_209},
        "ml-20m": {"users": 138_493, "interactions": 20_000_263},
        "ml-25m": {"users": 162_541, "interactions": 25_000_095},
        "ml-32m": {"users": 200_948, "interactions": 32_000_204},
    }

    where: str = "rating >= 4"

    @property
    def release(self) -> str:
        """Name of the directory, as the archive has it."""
        return self.folder().name

    def files(self) -> Files:
        """Ratings and films; 1M has neither a header nor UTF-8, and no quotes."""
        log = self.find("ratings.csv", "ratings.dat")
        if ".dat" not in Path(log[0]).suffixes:
            items = one(self.optional("movies.csv"))
            return Files(log, items, user="userId", item="movieId", time_unit="s", delimiter=",")
        from protocols.datasets.files.text_tables import Format, read_table

        form = Format("::", quoted=False, encoding="latin1")
        ratings = read_table(Path(log[0]), form, names=("userId", "movieId", "rating", "timestamp")).cells
        films = read_table(Path(self.find("movies.dat")[0]), form, names=("movieId", "title", "genres")).cells
        return Files(ratings, films, user="userId", item="movieId", time_unit="s")
