"""Print variance shares and ranking ceilings of the demo world, from the simulator's own numbers.

    python -m protocols.datasets.demo.make_calibration [content_weight]

Shares of the variance of utility between the clips that a user could take, by group; HR@10 and nDCG@10 of the true
probabilities over the last four weeks, and of probabilities that are blind to a group. No recommender is involved.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from protocols.datasets.demo.oracle import Oracle
from protocols.datasets.demo.population import (
    Clips,
    Size,
    Users,
    draw_clips,
    draw_releases,
    draw_scenes,
    draw_users,
    start_of_world,
)
from protocols.datasets.demo.simulator import simulate
from protocols.datasets.demo.utility import HIDDEN_GROUPS, Utility
from protocols.datasets.demo.world import GROUPS, WEEK

Log = tuple[np.ndarray, np.ndarray, np.ndarray]


def variance_shares(clips: Clips, users: Users, log: Log, content_weight: float) -> dict[str, float]:
    """Compute the share of each group in the variance over released clips, averaged over 2,000 random events."""
    user, clip, when = log
    rows = np.random.default_rng(0).choice(len(user), size=min(2000, len(user)), replace=False)
    before = np.where((rows > 0) & (user[rows - 1] == user[rows]), clip[rows - 1], -1)
    open_ = clips.release <= when[rows][:, None]
    groups = Utility(clips, users, content_weight).groups(user[rows], when[rows], before)
    variance = {}
    for name, values in groups.items():
        mean = (values * open_).sum(1, keepdims=True) / open_.sum(1, keepdims=True)
        variance[name] = float(((values - mean) ** 2 * open_).sum() / open_.sum())
    total = sum(variance.values())
    print(f"SD of the whole utility {total**0.5:.2f} (the noise has 1.28)")
    return {name: value / total for name, value in variance.items()}


def quality(oracle: Oracle, log: Log, users: np.ndarray) -> tuple[float, float]:
    """Compute HR@10 and nDCG@10 of the oracle on its window, averaged over users."""
    user, clip, when = log
    ids = [str(u) for u in users]
    histories = [clip[(user == u) & (when < oracle.border)] for u in users]
    targets = [set(clip[(user == u) & (when >= oracle.border) & (when < oracle.end)]) for u in users]
    top = np.argsort(-oracle.score(ids, histories), axis=1)[:, :10]
    discount = 1 / np.log2(np.arange(2, 12))
    hits = np.array([[item in target for item in row] for row, target in zip(top, targets, strict=True)])
    ideal = np.array([discount[: min(len(target), 10)].sum() for target in targets])
    return float(hits.any(1).mean()), float((hits @ discount / ideal).mean())


def main() -> None:
    """Print the tables."""
    content_weight = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    size = Size()
    clips, users = draw_clips(size, draw_scenes(size), draw_releases(size)), draw_users(size)
    begin = time.perf_counter()
    log = simulate(size, clips, users, content_weight)
    user, clip, when = log
    print(f"simulated in {time.perf_counter() - begin:.1f} s")
    counts = np.sort(np.bincount(clip, minlength=size.clips))[::-1]
    each = np.bincount(user, minlength=size.users)
    print(f"events a clip: top {counts[:5]}, median {np.median(counts):.0f}, top tenth takes "
          f"{counts[: size.clips // 10].sum() / counts.sum():.2f}; never taken {(counts == 0).sum()}")  # fmt: skip
    print(f"events a user: quantiles {np.quantile(each, [0, 0.1, 0.5, 0.9, 1])}")
    print(
        "\n".join(
            f"{name:12s} {share:.3f}" for name, share in variance_shares(clips, users, log, content_weight).items()
        )
    )
    blind: list[tuple[str, ...]] = [(), *((name,) for name in (*GROUPS, *HIDDEN_GROUPS)), GROUPS]
    blind += [(*GROUPS, "personal"), ("personal", "drift", "habit")]
    for without in blind:
        results, n, ages = [], [], []
        for week in range(size.weeks - 4, size.weeks):
            border = start_of_world() + week * WEEK
            inside = (when >= border) & (when < border + WEEK)
            ready = np.intersect1d(user[inside], user[when < border])
            index = {str(u): u for u in ready}
            utility = Utility(clips, users, content_weight, without)
            begin = time.perf_counter()
            oracle = Oracle(utility, index, np.arange(size.clips), border, border + WEEK)
            results.append(quality(oracle, log, ready))
            seconds = time.perf_counter() - begin
            n.append(len(ready))
            ages.append(float((clips.release[clip[inside]] >= border).mean()))
        hr, ndcg = np.mean(results, axis=0)
        print(
            f"without {'+'.join(without) or 'nothing':40s} "
            f"HR@10 {hr:.3f} nDCG@10 {ndcg:.3f}  ({seconds:.1f} s a window)"
        )
        if not without:
            print(f"  users {n}, targets released inside the window {np.round(ages, 2)}")


if __name__ == "__main__":
    main()
