"""Anchors: published numbers that a row must come near before any other row of its board is trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench import settings
from bench.boards.leaderboard import Board
from protocols.errors import UserError


@dataclass(frozen=True)
class Anchor:
    """Published row, as a file of cells names it under `anchors`.

    Attributes
    ----------
    model, extractor, fusion
        The row.
    metrics
        Published value by metric, e.g. `ndcg@10: 0.0517`.
    source
        Publication.
    within
        Tolerance, as a share of the published value.
    dataset, protocol, dataset_options
        Data and protocol of the measurement; boards of others are not compared.
    """

    model: str
    metrics: dict[str, float]
    source: str
    extractor: str = "-"
    fusion: str = "-"
    within: float = 0.1
    dataset: str = ""
    protocol: str = ""
    dataset_options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """Verdict of an anchor on a board, for one metric.

    Attributes
    ----------
    ok
        True if ours is near enough; None where the two cannot be compared.
    text
        The same as a line.
    """

    metric: str
    published: float
    ours: float | None
    ok: bool | None
    text: str


def read(entries: Any, where: str) -> list[Anchor]:
    """Read the list under `anchors` of a file of cells; `where` names the file in errors.

    Raises
    ------
    UserError
        If it is no list of anchors.
    """
    found = []
    for entry in settings.mappings(entries, Anchor, f"{where}: anchors"):
        try:
            settings.require_types(entry, Anchor)
            anchor = Anchor(**entry)
            numbers = {name: float(value) for name, value in anchor.metrics.items()}
        except (TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{where}: an anchor needs model, metrics with numbers and source ({error})") from error
        if not numbers or min(numbers.values()) <= 0 or not anchor.within > 0:
            raise UserError(f"{where}: published metrics and `within` of an anchor must be above 0")
        found.append(replace(anchor, metrics=numbers))
    return found


def judge(board: Board, anchors: Sequence[Anchor]) -> list[Verdict]:
    """Compare the rows of a board with what is published."""
    return [verdict for anchor in anchors for verdict in _judge(board, anchor)]


def _judge(board: Board, anchor: Anchor) -> list[Verdict]:
    name = "/".join(part for part in (anchor.model, anchor.extractor, anchor.fusion) if part != "-")
    other = _other(board, anchor)
    row = next(
        (r for r in board.rows if (r.model, r.extractor, r.fusion) == (anchor.model, anchor.extractor, anchor.fusion)),
        None,
    )
    if other is None and row is None:
        other = f"the board has no row {name} with all seeds and folds"
    found = []
    for metric, published in anchor.metrics.items():
        says = f"anchor {name} {metric}: published {published:.4f} ({anchor.source})"
        ours = None if other is not None or row is None else row.mean.get(metric)
        if ours is None:
            found.append(Verdict(metric, published, None, None, f"{says}; not compared: {other or 'no such metric'}"))
            continue
        off = ours / published - 1
        ok = abs(off) <= anchor.within
        word = "pass" if ok else "FAIL: trust no row of this board before this one is near"
        found.append(
            Verdict(
                metric, published, ours, ok, f"{says}, ours {ours:.4f}, {off:+.1%} (within {anchor.within:.0%}): {word}"
            )
        )
    return found


def _other(board: Board, anchor: Anchor) -> str | None:
    """Say why a board cannot be compared with an anchor; None: it can."""
    facts = board.facts
    asked = {"dataset": anchor.dataset, "protocol": anchor.protocol}
    for key, wanted in asked.items():
        if wanted and facts[key] != wanted:
            return f"this board is of {facts[key]}, not of {wanted}"
    for option, wanted in anchor.dataset_options.items():
        found = facts["dataset_options"].get(option)
        if found != wanted:
            return f"{facts['dataset']}.{option} is {found}, not {wanted}"
    return None
