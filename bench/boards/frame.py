"""Records as one tidy frame, for notebooks and figures: `bench.load_results()`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from bench import records, settings
from protocols.evaluation import metrics

#: Columns that every frame has, in this order; `metric` columns (`hr@10`, `ndcg@10_warm`, ...) come after them.
COLUMNS: dict[str, str] = {
    "dataset": "str: name of the dataset plug-in",
    "dataset_fingerprint": "str: SHA-256 of the dataset's content; '' where the record does not say",
    "simulated": "bool: the data are simulated",
    "protocol": "str: name of the protocol plug-in",
    "board": "str: fingerprint of dataset, protocol with all knobs, folds and candidates",
    "metric_fingerprint": "str: version of the metrics' definition; rows rank together where board and this match",
    "model": "str: recommender as typed",
    "extractor": "str: as typed; 'id' without features, '-' where the model uses none",
    "control": "str: control wrapped around the extractor (`shuffled`, `mean`); '' for none",
    "fusion": "str: with how layers are chosen, `gate/softmax`; '-' where the model uses none",
    "layers": "str: the part of `fusion` after the slash; '' for features that are one vector",
    "cell": "str: id of the cell, the same for all its seeds and folds",
    "label": "str: short name for people",
    "seed": "int: of recommender and seeded controls; 0 for models that depend on none",
    "fold": "int: 0 is the earliest",
    "folds": "int: number of folds of the board",
    "status": "str: ok or failed",
    "error": "str: why it failed",
    "newest": "bool: the most recently written record of its cell, seed and fold",
    "checkpoints": "str: names of the checkpoints of the chain, joined by ' + '; '' where there are none",
    "feature_space": "str: id of the feature space; '' for rows without features",
    "coverage": "float: share of the fold's items with a feature of their own",
    "degenerate": "str: why the features hardly tell items apart; '' where they do",
    "users": "float: ranked users of the fold",
    "targets": "float: their targets",
    "cold_targets": "float: those among them that were not fitted on",
    "extract_seconds_per_item": "float: of the feature space, last stage of the chain",
    "bytes_per_item": "float: stored",
    "parameters": "float: trainable",
    "epochs": "float: fitted",
    "train_seconds": "float: wall seconds of search, refit and ranking",
    "cpu_seconds": "float: in all",
    "peak_memory_mb": "float: resident memory of the process",
    "device": "str: torch device",
    "commit": "str: of this software; '' where unknown",
    "path": "str: the record's JSON file; of a published one `records.jsonl/CELL/RECORD`, see `bench.board_files`",
    "users_path": "str: its per-user parquet, that of its board for a published one; '' for a failed record",
}


def load_results(
    root: Path | str | None = None,
    *,
    dataset: str | None = None,
    protocol: str | None = None,
    newest: bool = True,
) -> pd.DataFrame:
    """Read every record below a results folder into one frame, a row for each cell x seed x fold.

    Parameters
    ----------
    root
        Results folder; None: the one that `bench run` writes to (`BENCH_RESULTS`, or results/local).
    dataset, protocol
        Only records of these plug-ins.
    newest
        Leave out records that a later one of the same cell, seed and fold replaces.

    Returns
    -------
    pd.DataFrame
        `bench.boards.frame.COLUMNS`, then one float column for each metric of any record (means over the users
        of the fold; NaN where a record does not hold it). Unknown numbers are NaN. Sorted by dataset, protocol, board,
        cell, seed and fold. Values of single users lie in `users_path`; intervals and tests are computed from these,
        never from the means here, see `protocols.evaluation.statistics`.

    Raises
    ------
    DataError
        If a file is not a record of a known schema.

    Examples
    --------
    >>> frame = load_results("results/boards")  # doctest: +SKIP
    >>> frame.groupby("label")["ndcg@10"].mean()  # doctest: +SKIP
    """
    found = records.read_all(settings.results_folder(None, reading=True) if root is None else Path(root))
    latest = records.newest(found)
    rows = [
        row_of(path, record) | {"newest": path in latest}
        for path, record in found.items()
        if dataset in (None, record.cell["dataset"])
        and protocol in (None, record.cell["protocol"])
        and (path in latest or not newest)
    ]
    names = list(dict.fromkeys(name for row in rows for name in row if name not in COLUMNS))
    frame = pd.DataFrame(rows, columns=[*COLUMNS, *names])
    numbers = [name for name, text in COLUMNS.items() if text.startswith("float")] + names
    frame = frame.astype(dict.fromkeys(numbers, "float64"))
    return frame.sort_values(["dataset", "protocol", "board", "cell", "seed", "fold"], ignore_index=True)


def row_of(path: Path, record: records.Record) -> dict[str, Any]:
    """Make a row of a record: the columns of `COLUMNS` but `newest`, and its metrics."""
    cell = records.Cell(**record.cell)
    features, training, info = record.features, record.training, record.fold_info
    known = [value for stage, value in record.seconds.items() if stage != "cpu"]
    return {
        "dataset": cell.dataset,
        "dataset_fingerprint": str(record.dataset.get("fingerprint", "")),
        "simulated": record.simulated,
        "protocol": cell.protocol,
        "board": record.board,
        "metric_fingerprint": metrics.fingerprint(record.metrics_version),
        "model": cell.model,
        "extractor": cell.extractor,
        "control": str(features.get("control", "")),
        "fusion": cell.fusion,
        "layers": cell.fusion.partition("/")[2],
        "cell": cell.id,
        "label": cell.label,
        "seed": record.seed,
        "fold": record.fold,
        "folds": info.get("folds", record.fold + 1),
        "status": record.status,
        "error": record.error,
        "checkpoints": records.checkpoints(record),
        "feature_space": str(features.get("space", "")),
        "coverage": features.get("coverage"),
        "degenerate": str(features.get("degenerate") or ""),
        "users": info.get("users"),
        "targets": info.get("targets"),
        "cold_targets": info.get("cold_targets"),
        "extract_seconds_per_item": features.get("seconds_per_item"),
        "bytes_per_item": features.get("bytes_per_item"),
        "parameters": training.get("parameters"),
        "epochs": training.get("epochs"),
        "train_seconds": sum(known) if known else None,
        "cpu_seconds": record.seconds.get("cpu"),
        "peak_memory_mb": record.peak_memory_mb or None,
        "device": record.device,
        "commit": str(record.environment.get("commit") or ""),
        "path": str(path),
        "users_path": str(records.frame_of(path)) if record.status == "ok" else "",
        **record.metrics,
    }
