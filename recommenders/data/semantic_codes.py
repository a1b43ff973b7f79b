"""Semantic ids: a tuple of codes for each item, from clusters of its features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits


class Clusters(NamedTuple):
    """Clusters of all items at each level.

    Attributes
    ----------
    members
        int64 [M, levels], the warm items first.
    sizes
        Number of clusters of each level.
    """

    members: np.ndarray
    sizes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class SemanticCodes:
    """Codes of all items.

    Attributes
    ----------
    table
        int64 [M, levels + 1]: cluster at each level, then a number that tells items of the same clusters apart: that
        of warm ones counts them, that of a cold one is the number of warm items it collides with.
    sizes
        Number of codes of each column. Cold items change neither sizes nor the codes of warm items.
    facts
        Of the warm items: share that shares its clusters with another one (`collisions`), `largest_group`, and at each
        level the share of codes that are used (`codes_used`) and the exponential of their entropy (`perplexity`).
    """

    table: np.ndarray
    sizes: tuple[int, ...]
    facts: dict[str, float | int | list[float]]


def kmeans_clusters(vectors: np.ndarray, n_warm: int, levels: int, codes: int, seed: int) -> Clusters:
    """Quantise vectors: k-means, then k-means of what its centres leave over, and so on.

    Parameters
    ----------
    vectors
        float32 [M, D], the warm items first; the clusters are fitted on these alone.
    levels, codes
        Rounds of k-means, and clusters in each (fewer where fewer vectors differ).
    seed
        Of the initial centres.

    Notes
    -----
    Rajput et al., "Recommender Systems with Generative Retrieval", NeurIPS 2023, make codes by a residual-quantised
    autoencoder; residual k-means is the same without one, and its codes do not collapse.
    """
    from sklearn.cluster import KMeans

    left, columns, sizes = vectors.astype(np.float64), [], []
    with threadpool_limits(1):  # the same bits on any number of threads
        for level in range(levels):
            different = len(np.unique(left[:n_warm].round(9), axis=0))
            kmeans = KMeans(min(codes, different), n_init=2, random_state=(seed + level) % 2**32).fit(left[:n_warm])
            nearest = kmeans.predict(left).astype(np.int64)
            columns.append(nearest)
            sizes.append(kmeans.n_clusters)
            left = left - kmeans.cluster_centers_[nearest]
    return Clusters(np.stack(columns, axis=1), tuple(sizes))


def semantic_codes(found: Clusters, n_warm: int, codes: int) -> SemanticCodes:
    """Tell items of the same clusters apart by a number, as Rajput et al. do, and count collisions and use of codes.

    Parameters
    ----------
    codes
        Number of clusters at each level that were asked for.
    """
    clusters = found.members
    group = np.unique(clusters, axis=0, return_inverse=True)[1].reshape(-1)
    warm = group[:n_warm]
    count = np.bincount(warm, minlength=group.max() + 1)
    order = np.argsort(warm, kind="stable")
    number = np.empty(n_warm, dtype=np.int64)
    number[order] = np.arange(n_warm) - np.repeat(np.cumsum(count) - count, count)
    last = np.concatenate([number, count[group[n_warm:]]])
    columns = clusters[:n_warm].T
    facts: dict[str, float | int | list[float]] = {
        "collisions": float((count[warm] > 1).mean()),
        "largest_group": int(count.max()),
        "codes_used": [float(len(np.unique(column)) / codes) for column in columns],
        "perplexity": [_perplexity(column) for column in columns],
    }
    return SemanticCodes(np.column_stack([clusters, last]), (*found.sizes, int(count.max()) + 1), facts)


def _perplexity(codes: np.ndarray) -> float:
    share = np.bincount(codes) / len(codes)
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


@dataclass(frozen=True, eq=False)
class Trie:
    """Prefixes of the codes of some items, level by level.

    Attributes
    ----------
    prefixes
        int64 [n_l, l + 1] for each level l: the prefixes that occur, sorted.
    parents
        int64 [n_l] for each level: the row of a prefix without its last code, in the level above.
    leaf
        int64 [N]: the row of each item's codes in the last level.
    """

    prefixes: list[np.ndarray]
    parents: list[np.ndarray]
    leaf: np.ndarray

    @classmethod
    def of(cls, table: np.ndarray) -> Trie:
        """Build it of codes [N, L]."""
        prefixes, parents, leaf = [], [], np.zeros(len(table), dtype=np.int64)
        for level in range(table.shape[1]):
            found, first, row = np.unique(table[:, : level + 1], axis=0, return_index=True, return_inverse=True)
            prefixes.append(found)
            parents.append(leaf[first])
            leaf = row.reshape(-1)
        return cls(prefixes, parents, leaf)
