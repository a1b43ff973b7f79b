"""Contrasts: pairs of rows of a file of cells, compared slice by slice when its run ends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import settings
from bench.boards import compare, lookup
from bench.boards.cell_results import CellResults, read_cells
from protocols.errors import BenchError, UserError
from protocols.evaluation import slices
from protocols.evaluation.metrics import PRIMARY


@dataclass(frozen=True)
class Contrast:
    """Pair of rows and a metric, as a file of cells names them under `contrasts`.

    Attributes
    ----------
    a, b
        The rows: model/extractor/fusion, or what of it is enough.
    metric
        Such as `ndcg@10`.
    short
        Clips up to this long are one slice, longer ones another, in seconds.
    audio_heavy
        Stored features that tell which clips are speech or music in over half, e.g. `sound-tags.windows`; "": none do.
        Where there are several, those that the rows' own features were made from.
    """

    a: str
    b: str
    metric: str = PRIMARY
    short: float = slices.SHORT
    audio_heavy: str = ""


def read(entries: Any, where: str) -> list[Contrast]:
    """Read the list under `contrasts` of a file of cells; `where` names the file in errors.

    Raises
    ------
    UserError
        If it is no list of contrasts.
    """
    found = []
    for entry in settings.mappings(entries, Contrast, f"{where}: contrasts"):
        try:
            settings.require_types(entry, Contrast)
            contrast = Contrast(**{**entry, "short": float(entry.get("short", slices.SHORT))})
        except (TypeError, ValueError) as error:
            raise UserError(f"{where}: a contrast needs two rows, a and b ({error})") from error
        if not contrast.short > 0:
            raise UserError(f"{where}: `short` of a contrast must be above 0 seconds")
        found.append(contrast)
    return found


def reports(contrasts: Sequence[Contrast], paths: Iterable[Path], cache: Path) -> list[compare.Report | str]:
    """Compare the rows of a finished run.

    Parameters
    ----------
    contrasts
        The pairs to compare.
    paths
        Records of the run.
    cache
        Cache folder, where the features that `audio_heavy` names are kept.

    Returns
    -------
    list
        A report for each contrast, or a line that says why there is none: a failed row costs its contrasts alone.
    """
    if not contrasts:
        return []
    runs = read_cells(paths)
    found: list[compare.Report | str] = []
    for contrast in contrasts:
        try:
            a, b = lookup.choose(contrast.a, contrast.b, runs)
            space = contrast.audio_heavy
            heavy = stored_audio_heavy(of_rows((a, b), space, cache) or space, cache) if space else None
            found.append(compare.compare_slices(a, b, contrast.metric, heavy, contrast.short))
        except BenchError as error:
            found.append(f"{contrast.a} and {contrast.b} are not compared: {error}")
    return found


def of_rows(runs: Iterable[CellResults], stage: str, cache: Path) -> str:
    """Return the id of the features of a stage from which the features of some rows were made; "": none or several."""
    from feature_extractors.store import catalogue

    parents = {
        entry.id: entry.space.config.get("parents", [])
        for entry in catalogue.find_all(cache / "features")
        if entry.space
    }
    found, ahead = set(), [str(run.any_record.features.get("space")) for run in runs]
    while ahead:
        space = ahead.pop()
        found |= {space} if space.startswith(f"{stage}-v") else set()
        ahead += parents.pop(space, [])
    return found.pop() if len(found) == 1 else ""


def stored_audio_heavy(space: str, cache: Path) -> dict[str, bool]:
    """Return by raw id if a clip is audio-heavy, from stored features.

    Raises
    ------
    UserError
        If there are no such features, or they cannot tell.
    """
    from feature_extractors import audio_heavy
    from feature_extractors.store import catalogue

    return audio_heavy.stored(catalogue.find(cache / "features", space))
