"""Models of RecTools and implicit beside ours, on the same folds and at equal settings: quality and CPU seconds.

    uv venv --python 3.11 peers && uv pip install -p peers 'rectools[torch]'
    python tests/peers/board.py --python peers/bin/python -o work --set protocol.folds=1 [--models ease,ials]

It exports the folds, lets `rectools_lists.py` fit the peers' models in their environment, imports their lists, runs our
models, and prints a row for each pair: nDCG@10, ours minus theirs with the 95% interval of `bench compare`, and CPU
seconds of fitting and of ranking, on one thread. What lies in `work` is not computed again. Options that it does not
know go to `rectools_lists.py`.

Of the sequential models fitting includes the search for the number of epochs; of ours it includes the checks, too.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from tabulate import tabulate

from bench import registry, settings
from bench.boards.cell_results import CellResults, read_cells
from bench.boards.compare import compare
from bench.runs import fold_export, import_lists
from bench.runs import run as runs
from bench.runs.rows import RowSpec
from protocols.evaluation.ranking import Ranker
from protocols.progress import Quiet
from protocols.ranking_problem import Problem
from recommenders.base import FitRequest

SIDE = Path(__file__).with_name("rectools_lists.py")
METRIC = "ndcg@10"


@dataclass(frozen=True)
class Pair:
    """A peer's model with ours.

    Attributes
    ----------
    peer, ours
        Names.
    options
        Of ours, by which the two settings are equal; empty: at the defaults.
    """

    peer: str
    ours: str
    options: dict[str, Any] = field(default_factory=dict)


#: implicit weighs what was taken 20 times what was not, and adds .01: ours divides both by 20.
ALS = {"unobserved": 0.05, "l2": 0.01 / 20, "scaling": 0.0}
PAIRS = (
    Pair("ease", "ease"),
    Pair("puresvd", "puresvd"),
    Pair("itemknn", "itemknn", {"shrink": 0.0, "decay": 1.0}),
    Pair("itemknn", "itemknn"),
    Pair("itemknn-tfidf", "itemknn"),
    Pair("ials", "ials", ALS),
    Pair("ials", "ials"),
    Pair("sasrec", "sasrec"),
    Pair("esasrec", "esasrec"),
)


def peers(asked: argparse.Namespace, rest: list[str]) -> dict[str, pd.DataFrame]:
    """Let the peers make their lists; return the CPU seconds of each."""
    names = asked.models.split(",") if asked.models else list(dict.fromkeys(pair.peer for pair in PAIRS))
    lists = asked.out / "lists"
    missing = [name for name in names if not (lists / f"{name}.csv").exists()]
    if missing:
        command = [asked.python, str(SIDE.resolve()), str(asked.out / "folds"), "-o", str(lists)]
        command += ["--models", ",".join(missing), "--seeds", ",".join(map(str, range(1, asked.seeds + 1))), *rest]
        one = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
        subprocess.run(command, env={**os.environ, **one, "PYTHONPATH": ""}, check=True)
    return {name: pd.read_csv(lists / f"{name}.seconds.csv").fillna({"search": 0.0}) for name in names}


def only(paths: list[Path]) -> CellResults:
    """Read the one cell of some records."""
    (cell,) = read_cells(paths)
    return cell


def seconds(pair: Pair, problem: Problem, seed: int = 1) -> tuple[float, float]:
    """Measure the CPU seconds of fitting and of ranking; the better of two."""
    found = []
    for _ in range(2):
        model, start = registry.create("model", pair.ours, {pair.ours: pair.options}), time.process_time()
        scorer = model.fit(FitRequest(problem.training, None, "id", seed)).scorer
        fitted = time.process_time()
        Ranker(problem, 0).rank(scorer)
        found.append((fitted - start, time.process_time() - fitted))
    return min(one for one, _ in found), min(one for _, one in found)


def main() -> None:
    """Run both sides and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", required=True, help="of the environment of RecTools")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for folds, lists and records")
    parser.add_argument("--dataset", default="demo")
    parser.add_argument("--protocol", default="rolling-7d")
    parser.add_argument("--set", action="append", default=[], metavar="NAME.OPTION=VALUE")
    parser.add_argument("--models", help="of the peers")
    parser.add_argument("--seeds", type=int, default=3)
    asked, rest = parser.parse_known_args()

    def request(*rows: RowSpec) -> runs.Request:
        return runs.Request(
            list(rows), settings.cache_folder(None), asked.out / "results", asked.dataset, asked.protocol,
            seeds=list(range(1, asked.seeds + 1)), options=settings.parse_sets(tuple(asked.set)), jobs=1,
        )  # fmt: skip

    context, _ = runs.prepare(request(), Quiet())
    if not (asked.out / "folds").exists():
        fold_export.export(context, "rectools", asked.out / "folds")
    spent = peers(asked, rest)
    problem = context.protocol.problem(context.dataset, context.folds[-1], "test")
    lines = []
    for pair in (one for one in PAIRS if one.peer in spent):
        file = asked.out / "lists" / f"{pair.peer}.csv"
        theirs = only(import_lists.import_lists(file, f"rectools-{pair.peer}", request(), Quiet()).paths)
        ours = only(runs.run(request(RowSpec(pair.ours, "id", "id", pair.options)), Quiet()).paths)
        (line,) = compare(ours, theirs, METRIC).lines
        their = spent[pair.peer].groupby("fold").mean(numeric_only=True).iloc[-1]
        if "epochs" in their:
            fit, rank = ours.any_record.seconds["cpu"], float("nan")
        else:
            fit, rank = seconds(pair, problem)
        how = ", ".join(f"{name} {value:g}" for name, value in pair.options.items()) or "defaults"
        found = line.found
        lines.append([
            pair.peer, f"{pair.ours} ({how})", f"{found.mean_b:.4f}", f"{found.mean_a:.4f}",
            f"{found.effect:+.4f} [{found.low:+.4f}, {found.high:+.4f}]",
            f"{their.get('search', 0.0) + their['fit']:.2f} + {their['recommend']:.2f}", f"{fit:.2f} + {rank:.2f}",
        ])  # fmt: skip
    heads = ["theirs", "ours", "nDCG@10 theirs", "ours", "difference", "CPU s theirs", "ours"]
    print(tabulate(lines, heads, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
