"""Per-user values in packs: a CSV for each record, in which each number keeps its single precision."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bench import records
from protocols.evaluation import fold_metrics, slices
from protocols.evaluation.metrics import CUTOFFS, FORMULAS
from protocols.evaluation.slices import Targets

COUNTS = ("n_targets", "n_warm", "n_lists", "n_history")
VALUES = tuple(name for name in records.SHARED_COLUMNS if "@" in name)
#: Over the targets of a user; ids of items stay with who has the data.
RANKS = ("target_rank", "target_rank_warm", slices.RANK_COLD)
LISTS = ("target_events", *RANKS)
COLUMNS = ("user_id", *COUNTS, *VALUES, *LISTS)
#: What is the same for all rows of a fold.
SHARED = ("user_id", *COUNTS, "target_events")

_MOST = 2**31 - 1
# Values are in single precision; their mean differs by less from that of the record.
_ROUNDING = 1e-6


def as_csv(users: pd.DataFrame) -> bytes:
    """Write a per-user frame with some of `COLUMNS`; lists are numbers with blanks between them."""
    shown: dict[str, Any] = {name: users[name] for name in COLUMNS if name in users}
    shown |= {name: [" ".join(map(str, one)) for one in shown[name]] for name in LISTS if name in shown}
    return pd.DataFrame(shown).to_csv(index=False, lineterminator="\n").encode()


def from_csv(content: bytes) -> pd.DataFrame:
    """Read what `as_csv` wrote.

    Raises
    ------
    ValueError
        If it is no such table, naming the line: unknown columns, numbers out of range, lists of other lengths.
    """
    names = pd.read_csv(io.BytesIO(content), nrows=0, encoding="utf-8").columns.tolist()
    if not {"user_id", "n_targets"} <= set(names) <= set(COLUMNS) or len(names) != len(set(names)):
        raise ValueError(f"columns {', '.join(map(repr, names[:20]))} are not those of per-user values")
    types = dict.fromkeys(COUNTS, "int64") | dict.fromkeys(VALUES, "float64")
    types |= dict.fromkeys(("user_id", *LISTS), "str")
    users = pd.read_csv(
        io.BytesIO(content),
        dtype={name: types[name] for name in names},
        keep_default_na=False,
        na_values={name: [""] for name in names if name in VALUES},
        float_precision="round_trip",
        encoding="utf-8",
        on_bad_lines="error",
    )
    if not isinstance(users.index, pd.RangeIndex):  # pandas takes the first value of longer lines for a name
        raise ValueError("lines hold more values than there are columns")
    if not users["user_id"].is_unique:
        raise ValueError(f"{_line(users['user_id'].duplicated())}: a user twice")
    for name in names:
        if name in COUNTS:
            _require(users[name].between(0, _MOST), name)
            users[name] = users[name].astype("int32")
        elif name in VALUES:
            _require(users[name].between(0, 1) | (users[name].isna() & ("_" in name)), name)
            users[name] = users[name].astype("float32")
    _require(users["n_targets"] > 0, "n_targets")
    if "n_lists" in users:
        _require((users["n_lists"] == 1) | (users["n_lists"] == users["n_targets"]), "n_lists")
    for name in LISTS:
        if name in users:
            users[name] = _lists(users[name], users["n_targets"])
    return users


def _lists(column: pd.Series, lengths: pd.Series) -> pd.Series:
    parts = column.str.split(" ")
    _require(parts.str.len() == lengths, column.name)
    try:
        flat = np.array([int(word) for part in parts for word in part], dtype=np.int64)
    except (ValueError, OverflowError):
        raise ValueError(f"column {column.name!r} holds what is no number") from None
    if len(flat) and not (flat.min() >= 0 and flat.max() <= _MOST):
        raise ValueError(f"column {column.name!r} holds a number out of range")
    return pd.Series(np.split(flat.astype(np.int32), np.cumsum(lengths)[:-1]), column.index, dtype=object)


def _require(fits: pd.Series, name: object) -> None:
    if not fits.all():
        raise ValueError(f"{_line(~fits)}: column {name!r} is out of range")


def _line(wrong: pd.Series) -> str:
    return f"line {int(np.argmax(wrong.to_numpy())) + 2}"


def holds_ranks(users: pd.DataFrame) -> bool:
    """Return True for a per-user frame from which all metrics can be computed anew."""
    return set(LISTS) <= set(users)


def faults(record: records.Record, users: pd.DataFrame) -> list[str]:
    """Recompute all metrics and counts of a record from its users, as far as they are held; say what differs."""
    wrong = records.mismatch(record, users)
    found = [wrong] if wrong else []
    found += _other_counts(record, users)
    if holds_ranks(users):
        found += _other_metrics(record, users)
    return found


def _other_counts(record: records.Record, users: pd.DataFrame) -> list[str]:
    counted = {"users": len(users), "targets": int(users["n_targets"].sum())}
    if "n_warm" in users:
        counted["cold_targets"] = counted["targets"] - int(users["n_warm"].sum())
    said = {name: record.fold_info.get(name) for name in counted}
    return [
        f"{counted[name]} {name.replace('_', ' ')}, fold_info says {said[name]}"
        for name in counted
        if said[name] not in (None, counted[name])
    ]


def _other_metrics(record: records.Record, users: pd.DataFrame) -> list[str]:
    targets = Targets.of(users)
    if "n_warm" in users:
        warm = np.bincount(targets.user[targets.events > 0], minlength=len(users))
        if not np.array_equal(warm, users["n_warm"]):
            return [f"{_line(pd.Series(warm != users['n_warm'].to_numpy()))}: n_warm is not that of target_events"]
    for name in VALUES:
        if name in users:
            off = ~np.isclose(targets.values(name), users[name].to_numpy(float), atol=_ROUNDING, equal_nan=True)
            if off.any():
                return [f"{_line(pd.Series(off))}: {name!r} is not what the ranks of the targets give"]
    return _other_means(record.metrics, _means(targets, users, record.metrics))


def _means(targets: Targets, users: pd.DataFrame, said: Mapping[str, float | None]) -> dict[str, float]:
    """Compute those means of a record that its users tell; statistics of the lists themselves are not among them."""
    parts = ("", "_warm", "_cold", "_cold_among_cold")
    named = [name for m in FORMULAS for k in CUTOFFS for part in parts if (name := f"{m}@{k}{part}") in said]
    values = pd.DataFrame({name: targets.values(name) for name in named})
    counts = users[["n_targets"]].assign(n_warm=0, n_cold=0)
    for name, chosen in (("n_warm", targets.events > 0), ("n_cold", targets.events == 0)):
        counts[name] = np.bincount(targets.user[chosen], minlength=len(users))
    return fold_metrics.means(pd.concat([values, counts.reset_index(drop=True)], axis=1))


def _other_means(said: Mapping[str, float | None], found: Mapping[str, float]) -> list[str]:
    wrong = []
    for name, value in found.items():
        if name in said:
            mine = said[name]
            mine = float("nan") if mine is None else mine
            if not np.isclose(value, mine, rtol=0, atol=_ROUNDING, equal_nan=True):
                wrong.append(f"metrics.{name} is {said[name]}, the ranks of the targets give {value:.6f}")
    return wrong[:3]
