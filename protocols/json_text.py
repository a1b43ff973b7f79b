"""JSON as its standard has it: no NaN, which other programs refuse to read."""

from __future__ import annotations

import json
import math
from typing import Any


def dumps(content: Any, **form: Any) -> str:
    """Write JSON of anything; None for NaN and infinities, numbers for numpy's, text for other objects.

    Parameters
    ----------
    form
        Arguments of `json.dumps`.

    Examples
    --------
    >>> dumps({"value": float("nan"), 1: (2, 3.5)})
    '{"value": null, "1": [2, 3.5]}'
    """
    return json.dumps(plain(content), allow_nan=False, **form)


def plain(value: Any) -> Any:
    """Return a value of JSON types, see `dumps`."""
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None  # also numpy's float64, a subclass
    if value is None or isinstance(value, str | int):
        return value
    return plain(value.tolist()) if hasattr(value, "tolist") else str(value)
