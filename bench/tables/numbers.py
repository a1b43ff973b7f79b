"""Numbers of a row as text."""

from __future__ import annotations

import math

from bench.boards.rows import BoardRow

NAMES = {"hr": "HR", "ndcg": "nDCG", "recall": "recall", "mrr": "MRR"}
#: Where a record does not say.
UNKNOWN = "unknown"
NONE = "-"


def metric_name(metric: str) -> str:
    """Name a metric for people.

    Examples
    --------
    >>> metric_name("ndcg@10"), metric_name("hr@20_warm")
    ('nDCG@10', 'HR@20 warm')
    """
    name, _, rest = metric.partition("@")
    return f"{NAMES.get(name, name)}@{rest}".replace("_", " ") if rest else metric


def short(value: float | None) -> str:
    """Write a cost with three significant digits, `unknown` where no record says."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def p_value(p: float | None) -> str:
    """Write a p-value with three significant digits; a dash where there is none.

    Examples
    --------
    >>> p_value(0.0123456), p_value(1e-9), p_value(None)
    ('0.0123', '< 1e-6', '-')
    """
    if p is None or math.isnan(p):
        return NONE
    return f"{p:.3g}" if p >= 1e-6 else "< 1e-6"


def rank_range(row: BoardRow) -> str:
    """Write the rank interval of a row, `2-9`; one number where both ends are the same."""
    return "-".join(str(rank) for rank in dict.fromkeys(row.rank_interval)) or NONE


def signed(difference: dict[str, float] | None) -> str:
    """Write a difference with its interval."""
    if difference is None:
        return NONE
    return f"{difference['value']:+.4f} [{difference['low']:+.4f}, {difference['high']:+.4f}]"
