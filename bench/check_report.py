"""Report of a check: the stage that changed, the first users who differ, JUnit XML and a step summary."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from tabulate import tabulate

from bench import records
from bench.tables.formats import plain
from bench.tables.numbers import p_value
from protocols.evaluation import statistics
from protocols.evaluation.metrics import PRIMARY
from protocols.wording import counted

#: In the order in which they work: the first one that differs explains the others.
STAGES = ("dataset", "split", "features")
# Differing users that are named for a row.
_SHOWN = 5
# Values of single users are kept in float32.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Difference:
    """Number of a rerun beside the baseline's.

    Attributes
    ----------
    cell, what
        The row, and the metric or count.
    expected, found, tolerance
        The rerun is off when |found - expected| > tolerance.
    """

    cell: str
    what: str
    expected: float
    found: float
    tolerance: float

    @property
    def ok(self) -> bool:
        """True within the tolerance."""
        return abs(self.found - self.expected) <= self.tolerance

    @property
    def text(self) -> str:
        """Both numbers in words."""
        return f"{self.what} {self.found:.4f}, baseline {self.expected:.4f} +- {self.tolerance:.4f}"


def fingerprints(found: Sequence[records.Record]) -> dict[str, Any]:
    """Gather the fingerprints of a row's records, stage by stage, and the versions of packages."""
    by_fold = sorted(found, key=lambda record: record.fold)
    first = by_fold[0]
    return {
        "dataset": str(first.dataset.get("fingerprint", "")),
        "split": [str(record.fold_info.get("fingerprint", "")) for record in by_fold],
        "features": str(first.features.get("digest", "")),
        "packages": dict(first.environment.get("packages", {})),
    }


def changed(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Say which stages and packages differ from a baseline's; where none does, that it must be the model.

    Parameters
    ----------
    expected
        Of the baseline: `features` is a list there, one of each thread count. Empty: it keeps none.
    found
        See `fingerprints`.
    """
    if not expected:
        return ["unknown: the baseline keeps no fingerprints (bench check --update writes them)"]
    lines = []
    for stage in STAGES:
        known = expected[stage] if stage == "features" else [expected[stage]]
        if found[stage] not in known:
            folds = zip(expected["split"], found["split"], strict=False) if stage == "split" else ()
            where = ", ".join(str(at) for at, (a, b) in enumerate(folds) if a != b)
            lines.append(f"{stage}: another fingerprint{f' in fold(s) {where}' if where else ''}")
    if not lines:
        lines.append("model: data, split and features are the baseline's; recommender, ranking or metrics changed")
    for name, version in sorted(found["packages"].items()):
        before = expected["packages"].get(name)
        if before != version:
            lines.append(f"package {name}: {before} then, {version} now")
    return lines


def first_users(expected: pd.DataFrame, found: pd.DataFrame) -> list[str]:
    """Name the first users whose nDCG@10 differs, and the paired difference over all users.

    Parameters
    ----------
    expected, found
        [fold, user_id, ndcg@10] of the baseline and of the rerun with the same seed.
    """
    both = expected.merge(found, on=["fold", "user_id"], how="outer", suffixes=("_then", "_now"), indicator=True)
    then, now = both[f"{PRIMARY}_then"], both[f"{PRIMARY}_now"]
    alone = both["_merge"] != "both"
    differing = both[alone | ((then - now).abs() > _ROUNDING)].sort_values(["fold", "user_id"])
    lines = []
    if not alone.any() and len(both):
        frames = [frame.rename(columns={PRIMARY: "value"}).assign(seed=0) for frame in (found, expected)]
        paired = statistics.compare(frames[0], frames[1], seeded=(False, False))
        lines.append(
            f"nDCG@10 {paired.effect:+.4f} [{paired.low:+.4f}, {paired.high:+.4f}] over "
            f"{counted(paired.n_users, 'user')}, "
            f"p {p_value(paired.p)}"
        )
    lines.append(f"{len(differing)} of {counted(len(both), 'user')} of a fold differ")
    for row in differing.head(_SHOWN).to_dict("records"):
        values = [row[f"{PRIMARY}_{when}"] for when in ("then", "now")]
        shown = ["not ranked" if pd.isna(value) else f"{value:.4f}" for value in values]
        user = "".join(c if str(c).isprintable() else "?" for c in str(row["user_id"]))
        lines.append(f"fold {row['fold']} user {user}: {shown[0]} then, {shown[1]} now")
    return lines


def junit(path: Path, differences: Sequence[Difference], why: Mapping[str, Sequence[str]]) -> None:
    """Write the numbers as test cases, a row's explanation with each that is off."""
    suite = ET.Element("testsuite", name="bench check", tests=str(len(differences)))
    suite.set("failures", str(sum(not difference.ok for difference in differences)))
    for difference in differences:
        case = ET.SubElement(suite, "testcase", classname=_xml(difference.cell), name=difference.what)
        if not difference.ok:
            failure = ET.SubElement(case, "failure", message=_xml(difference.text))
            failure.text = _xml("\n".join(why.get(difference.cell, ())))
    path.parent.mkdir(parents=True, exist_ok=True)
    ET.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)


def summary(path: Path, differences: Sequence[Difference], why: Mapping[str, Sequence[str]]) -> None:
    """Append a table to a GitHub step summary."""
    body = [
        [d.cell, d.what, f"{d.found:.4f}", f"{d.expected:.4f}", f"{d.tolerance:.4f}", "ok" if d.ok else "**OFF**"]
        for d in differences
    ]
    cells = [[plain(cell) if at < 2 else cell for at, cell in enumerate(row)] for row in body]
    head = ["row", "what", "now", "baseline", "tolerance", ""]
    lines = ["## bench check", "", tabulate(cells, head, tablefmt="github", disable_numparse=True), ""]
    lines += [f"- {plain(cell)}: {plain(line)}" for cell, said in why.items() for line in said]
    with path.open("a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def _xml(text: str) -> str:
    """Leave out what XML 1.0 cannot hold."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
