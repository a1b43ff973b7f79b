"""MovieLens 100K from the recbole package: real times, titles and genres, no videos, no download."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from protocols.dataset import Dataset, DatasetPlugin, Finding
from protocols.datasets.files.atomic_files import read_atomic
from protocols.datasets.files.published_values import compare_counts, compare_hash
from protocols.errors import INSTALL_RECBOLE, UserError
from protocols.progress import Progress

# SHA-256 of the files in recbole 1.2.1.
FILES = {
    "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
}
COUNTS = {"users": 943, "items": 1682, "interactions": 100_000}


@dataclass(frozen=True)
class ML100K(DatasetPlugin):
    """MovieLens 100K: 943 people rated 1,682 films from 1997-09 to 1998-04; titles and genres, no videos.

    Every rating is an interaction, whatever its stars. The year a film came out is not taken as its release: a year
    is no date, and films of 1997 and 1998 would be candidates before they were out.
    """

    name: ClassVar[str] = "ml-100k"
    licence: ClassVar[str] = (
        "GroupLens terms of use: research only; acknowledge the data set in publications; no endorsement by the "
        "University of Minnesota or GroupLens may be implied; no redistribution and no commercial or revenue-bearing "
        "use without permission"
    )

    def load(self, cache: Path, progress: Progress) -> Dataset:
        """Read the atomic files of the installed recbole package.

        Raises
        ------
        UserError
            If recbole, or the files in it, are not there.
        """
        from protocols.datasets.files.columns import texts
        from protocols.datasets.files.frames import item_frame, log_frame
        from protocols.datasets.files.times import TimeFormat

        folder = _folder()
        inter = read_atomic(folder / "ml-100k.inter")
        log = log_frame(inter, "user_id", "item_id", "timestamp", TimeFormat("s", self.name))
        table = read_atomic(folder / "ml-100k.item")
        genres = [", ".join(g.split()) for g in texts(table, "class")]
        items, _ = item_frame(table, "item_id", {"title": texts(table, "movie_title"), "genres": genres}, self.name)
        return Dataset.build(
            self.name, "recbole-1.2", log, items, licence=self.licence, citation=CITATION, card=CARD, root=folder
        )

    def inspect(self, dataset: Dataset) -> list[Finding]:
        """Compare files with those of recbole 1.2.1, counts with those of GroupLens."""
        folder = _folder()
        return [
            *(compare_hash(folder / name, known) for name, known in FILES.items()),
            *compare_counts(dataset, COUNTS),
        ]


def _folder() -> Path:
    """Find the folder of the data in the installed recbole package, without importing it."""
    spec = importlib.util.find_spec("recbole")
    places = spec.submodule_search_locations if spec else None
    folder = Path(places[0], "dataset_example", "ml-100k") if places else None
    if folder is None or not folder.is_dir():
        raise UserError(
            f"ml-100k comes with the package recbole, which {'lacks it' if places else 'is not installed'}"
            + (f" ({folder} is not there)" if folder else ""),
            remedy=INSTALL_RECBOLE.replace("install", "install --force-reinstall") if places else INSTALL_RECBOLE,
        )
    return folder


CARD = (
    "People rated many films in one sitting after they had seen them: times are of ratings, not of watching, and the "
    "order within a sitting is that of the rating page.",
    "Everybody in the data rated at least 20 films over the whole period: who is in it was chosen with knowledge of "
    "the future.",
    "Windows of 7 days at its end hold few users with a history: good for trying things, never for a claim of quality.",
)
CITATION = (
    "F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens Datasets: History and Context. ACM Transactions on "
    "Interactive Intelligent Systems 5(4), article 19. https://doi.org/10.1145/2827872"
)
