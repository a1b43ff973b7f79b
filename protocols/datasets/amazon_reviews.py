"""Amazon reviews dataset of 2023: reviews of a category, with times and product titles.

Columns of the ratings: benchmark_scripts/README.md of github.com/hyp1231/AmazonReviews2023; files and fields of reviews
and metadata: the publisher's page and files as others quote them. Exact counts of reviews are not published: none is
compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from protocols.datasets.own_files import Files
from protocols.datasets.published_log import PublishedLog, one


@dataclass(frozen=True)
class AmazonReviews(PublishedLog):
    """Amazon reviews 2023 of one category; products have titles, no videos are read.

    `CATEGORY.jsonl` and `meta_CATEGORY.jsonl`, or `CATEGORY.csv` of ratings only. A review of 4 stars or more counts as
    taken. Products without metadata can be dropped: `unknown_items=drop`.

    Attributes
    ----------
    category
        As in the names of the files.
    """

    name: ClassVar[str] = "amazon-reviews"
    licence: ClassVar[str] = "as its publisher says; see amazon-reviews-2023.github.io"
    source: ClassVar[str] = "amazon-reviews-2023.github.io"
    citation: ClassVar[str] = (
        "Yupeng Hou, Jiacheng Li, Zhankui He, An Yan, Xiusi Chen and Julian McAuley. 2024. Bridging Language and Items "
        "for Retrieval and Recommendation. arXiv:2403.03952"
    )
    card: ClassVar[tuple[str, ...]] = (
        "Times are of reviews, not of purchases or use; titles of products are those at the time of the crawl.",
    )

    where: str = "rating >= 4"
    category: str = "All_Beauty"

    @property
    def release(self) -> str:
        """2023 and the category."""
        return f"2023 {self.category}"

    def files(self) -> Files:
        """Reviews and products, joined by parent_asin."""
        return Files(
            self.find(f"{self.category}.jsonl", f"{self.category}.csv"),
            one(self.optional(f"meta_{self.category}.jsonl")),
            item="parent_asin", time_unit="ms", delimiter=",",
        )  # fmt: skip
