"""Rate of false positives of the test over users and seeds, beside that of a test over users alone.

    python tests/calibration/aa.py [--quick] [--simulated 1000] [--seeds 20] [--comparisons 50] [--extractors 20]

1. Simulated results with known variances of users, seeds and the rest: false positives at 5%, and power for a true
   difference of 5% of the value.
2. Real fits on a small simulated log: a cell against itself under other seeds, five against five, drawn from a pool.
3. Null grid: vectors that are noise, each against its shuffled control.

Prints lines `rate NAME: X`; `(users alone)` is the test that takes the seeds for given. With `--quick` it ends within
50 s.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from bench.boards.cell_results import CellResults, read_cells
from bench.runs.rows import RowSpec
from bench.runs.run import Request, run
from protocols.evaluation import statistics
from protocols.evaluation.metrics import PRIMARY
from protocols.progress import Quiet

SEEDS, ALPHA, LEVEL = statistics.MIN_SEEDS, 0.05, 0.1
#: Standard deviations of a difference: between users, between seeds, and of the rest in a fold.
SPREADS = {
    "users": (0.1, 0.0, 0.05),
    "users, some seeds": (0.1, 0.005, 0.05),
    "users and seeds": (0.1, 0.01, 0.05),
    "seeds": (0.02, 0.03, 0.05),
    "seeds alone": (0.0, 0.03, 0.05),
    "neither": (0.0, 0.0, 0.05),
}
MODELS = ("bpr", "lightgcn", "sasrec", "two-towers")
DAY = 86_400_000
#: By model, extractor and fusion.
Cells = dict[tuple[str, str, str], CellResults]


def simulated_pair(
    rng: np.random.Generator, spread: tuple[float, float, float], effect: float = 0.0, users: int = 120, folds: int = 2
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Results of two rows, [seed, fold, user_id, value], whose true difference is `effect`; seeds are not shared."""
    of_users, of_seeds, rest = spread
    member = rng.random((folds, users)) < 0.7
    member[rng.integers(folds, size=users), np.arange(users)] = True
    fold, user = np.nonzero(member)
    base, taste = rng.normal(LEVEL, 0.05, users), rng.normal(effect, of_users, users)
    rows = []
    for first, mean in ((1, base + taste), (1 + SEEDS, base)):
        luck = rng.normal(0, of_seeds, SEEDS)
        rows.append(
            pd.concat(
                pd.DataFrame(
                    {
                        "seed": first + at,
                        "fold": fold,
                        "user_id": user,
                        "value": mean[user] + luck[at] + rng.normal(0, rest, len(user)),
                    }
                )
                for at in range(SEEDS)
            )
        )
    return rows[0], rows[1]


def p_values(a: statistics.Values, b: statistics.Values) -> tuple[float, float]:
    """P over users and seeds, and over users alone."""
    return statistics.compare(a, b).p, statistics.compare(a, b, seeded=(False, False)).p


def rates(found: list[tuple[float, float]]) -> tuple[float, float]:
    """Share of p-values below 5%, by test."""
    both = (np.array(found) < ALPHA).mean(axis=0)
    return float(both[0]), float(both[1])


def simulated_rates(runs: int, seed: int = 0) -> dict[str, tuple[float, float]]:
    """False positives by `SPREADS`, and the power for an effect of 5%."""
    rng = np.random.default_rng(seed)
    found = {
        f"simulated, {name}": rates([p_values(*simulated_pair(rng, spread)) for _ in range(runs)])
        for name, spread in SPREADS.items()
    }
    for users in (500, 1000):
        some, effect = (0.03, 0.0015, 0.05), 0.05 * LEVEL
        pairs = [simulated_pair(rng, some, effect, users) for _ in range(max(20, runs // 5))]
        found[f"power, effect of 5%, {users} users"] = rates([p_values(*pair) for pair in pairs])
    return found


def write_log(folder: Path, users: int, items: int = 120, events: int = 24) -> np.ndarray:
    """Write `log.csv`: users choose by latent factors and popularity, over six weeks; return the items' factors."""
    rng = np.random.default_rng(0)
    factors, tastes = rng.normal(size=(items, 8)), rng.normal(size=(users, 8))
    utility = 0.6 * tastes @ factors.T + rng.normal(0, 0.7, items)
    chosen = np.argsort(-(utility + rng.gumbel(size=utility.shape)), axis=1)[:, :events]
    start = 1_700_000_000_000
    log = pd.DataFrame(
        {
            "user_id": np.repeat([f"u{at}" for at in range(users)], events),
            "item_id": [f"i{item}" for item in rng.permuted(chosen, axis=1).ravel()],
            "timestamp": start + rng.integers(0, 42 * DAY, users * events),
        }
    )
    log.to_csv(folder / "log.csv", index=False)
    return factors


def write_vectors(folder: Path, name: str, values: np.ndarray) -> str:
    """Write vectors of the items; return the extractor that reads them."""
    path = folder / f"{name}.npy"
    np.save(path, values.astype(np.float32))
    path.with_suffix(".ids.txt").write_text("".join(f"i{at}\n" for at in range(len(values))))
    return f"published:{path}"


def results(folder: Path, rows: list[RowSpec], seeds: int, jobs: int, epochs: int) -> Cells:
    """Run rows under so many seeds on the log in `folder`, by model, extractor and fusion."""
    request = Request(
        rows,
        folder / "cache",
        folder / "results",
        dataset="csv",
        seeds=range(1, seeds + 1),
        options={
            "csv": {"interactions": str(folder / "log.csv")},
            "protocol": {"folds": 1},
            **{model: {"max_epochs": epochs} for model in MODELS},
        },
        jobs=jobs,
    )
    cells = read_cells(run(request, Quiet()).paths)
    return {(one.cell.model, one.cell.extractor, one.cell.fusion): one for one in cells}


def real_rates(cells: Cells, comparisons: int) -> dict[str, tuple[float, float]]:
    """False positives of cells against themselves, with ids and with features, by model."""
    rng = np.random.default_rng(1)
    found = defaultdict(list)
    for (model, _, fusion), cell in cells.items():
        values = cell.values(PRIMARY)
        for _ in range(comparisons):
            drawn = rng.permutation(cell.seeds)
            parts = [sorted(part.tolist()) for part in (drawn[:SEEDS], drawn[SEEDS : 2 * SEEDS])]
            rows = [[values.seeds.index(seed) for seed in part] for part in parts]
            sides = [
                replace(values, seeds=tuple(part), values=values.values[row])
                for part, row in zip(parts, rows, strict=True)
            ]
            both = p_values(*sides)
            for name in (f"A/A, {model} {fusion}", f"A/A, {model}", "A/A"):
                found[name].append(both)
    return {name: rates(pairs) for name, pairs in sorted(found.items())}


def null_rates(cells: Cells) -> dict[str, tuple[float, float]]:
    """Share of extractors of noise that differ from their shuffled control."""
    pairs = []
    for (model, extractor, fusion), cell in cells.items():
        control = cells.get((model, f"shuffled:{extractor}", fusion))
        if control is not None:
            pairs.append(p_values(cell.values(PRIMARY), control.values(PRIMARY)))
    return {f"null grid, {len(pairs)} pairs": rates(pairs)}


def show(found: dict[str, tuple[float, float]]) -> None:
    """Print two lines a rate."""
    for name, (new, old) in found.items():
        print(f"rate {name}: {new:.3f}", f"rate {name} (users alone): {old:.3f}", sep="\n", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--simulated", type=int, default=1000, help="comparisons of each kind")
    parser.add_argument("--seeds", type=int, default=20, help="in the pool of a cell")
    parser.add_argument("--comparisons", type=int, default=50, help="of each cell with itself")
    parser.add_argument("--extractors", type=int, default=20, help="of the null grid, for each model")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    quick, jobs = options.quick, options.jobs
    show(simulated_rates(20 if quick else options.simulated))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        rng, factors = np.random.default_rng(2), write_log(folder, 60 if quick else 200)
        content = write_vectors(folder, "content", factors + rng.normal(0, 0.3, factors.shape))
        noise = [
            write_vectors(folder, f"noise{at}", rng.normal(size=factors.shape)) for at in range(options.extractors)
        ]
        used = noise[:1] if quick else noise
        null = [RowSpec("bpr", kind, "gate") for name in used for kind in (name, f"shuffled:{name}")]
        real = [RowSpec(model, *kind) for model in MODELS for kind in (("id", "id"), (content, "gate"))]
        if quick:  # starting processes takes most of the time: one pass
            cells = results(folder, [*real[:2], *null], 2 * SEEDS, jobs, epochs=6)
            show(real_rates(cells, 10))
            show(null_rates(cells))
        else:
            show(real_rates(results(folder, real, options.seeds, jobs, epochs=30), options.comparisons))
            show(null_rates(results(folder, null, SEEDS, jobs, epochs=30)))


if __name__ == "__main__":
    main()
