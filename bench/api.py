"""The commands as Python functions; `import bench` has them all.

In a script that trains, call them below `if __name__ == "__main__":`, because worker processes import the script.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import console, records, registry, settings
from bench.boards import board_cache, leaderboard, lookup
from bench.boards import compare as comparing
from bench.boards.cell_results import read_cells
from bench.notebook import Comparison, Leaderboard
from bench.runs import cell_files, grid_rows
from bench.runs import rows as row_specs
from bench.runs import run as runs
from bench.runs.rows import RowSpec
from bench.runs.sources import open_source
from feature_extractors.base import ExtractContext
from feature_extractors.pipeline import resolution
from protocols.errors import UserError
from protocols.evaluation.metrics import PRIMARY
from protocols.features import Features

Options = Mapping[str, Mapping[str, Any]]
Place = str | Path | None


def run(
    model: str = "sasrec",
    extractor: str = "id",
    fusion: str | None = None,
    *,
    dataset: str = "demo",
    protocol: str = "rolling-7d",
    seeds: int | Sequence[int] = 1,
    controls: bool = True,
    options: Options | None = None,
    device: str = "auto",
    jobs: int | None = None,
    ray: str = "",
    cache: Place = None,
    results: Place = None,
) -> Leaderboard:
    """Train and rank one row beside its controls, as `bench run`; what is there already is not computed again.

    Parameters
    ----------
    model, extractor, fusion, dataset, protocol
        Names, see `bench list`. Without a fusion it is that of `bench run`.
    seeds
        How many, or which; p and significance marks take 5.
    controls
        Add popularity, newest first, ease, ids, random vectors and the shuffled control.
    options
        Of plug-ins by name: `{"sasrec": {"dim": 32}, "protocol": {"folds": 2}}`.
    device
        Torch device; `auto`: the first of cuda, mps and cpu that is there, the cpu for simulated data.
    jobs
        Worker processes; None: one a core, at most 8.
    ray
        Address of a Ray cluster, see `bench run --help`.
    cache, results
        Folders; None: those of the command line.

    Raises
    ------
    UserError
        If a name, an option or a fusion makes no sense.
    """
    row = RowSpec(model, extractor, fusion or row_specs.default_fusion(model, extractor))
    rows = row_specs.with_controls([row], protocol) if controls else [row]
    return _run(rows, dataset, protocol, seeds, options, device, jobs, ray, cache, results)


def grid(
    models: Iterable[str] = ("sasrec",),
    extractors: Iterable[str] = ("id",),
    fusions: Iterable[str] = ("gate",),
    layers: Iterable[str] = ("softmax",),
    *,
    rows: Iterable[RowSpec | Mapping[str, Any]] = (),
    exclude: Sequence[Mapping[str, str]] = (),
    dataset: str = "demo",
    protocol: str = "rolling-7d",
    seeds: int | Sequence[int] = 5,
    options: Options | None = None,
    device: str = "auto",
    jobs: int | None = None,
    ray: str = "",
    cache: Place = None,
    results: Place = None,
) -> Leaderboard:
    """Train and rank models x extractors x fusions, as `bench grid`.

    Parameters
    ----------
    models, extractors, fusions, layers, exclude
        Axes of the product, and what is left out of it; see `bench.runs.grid_rows.expand`.
    rows
        Further rows: `{"model": "pop"}`.
    dataset, protocol, seeds, options, device, jobs, ray, cache, results
        As in `run`.

    Raises
    ------
    UserError
        As `run`.
    """
    axes = {"models": list(models), "extractors": list(extractors), "fusions": list(fusions), "layers": list(layers)}
    more = [row if isinstance(row, RowSpec) else RowSpec(**row) for row in rows]
    both = list(dict.fromkeys([*grid_rows.expand(axes, exclude), *more]))
    return _run(both, dataset, protocol, seeds, options, device, jobs, ray, cache, results)


def _run(
    rows: Sequence[RowSpec],
    dataset: str,
    protocol: str,
    seeds: int | Sequence[int],
    options: Options | None,
    device: str,
    jobs: int | None,
    ray: str,
    cache: Place,
    results: Place,
) -> Leaderboard:
    listed = f"{seeds}" if isinstance(seeds, int) else ",".join(map(str, seeds)) + ","
    content: dict[str, Any] = {"dataset": dataset, "protocol": protocol, "seeds": listed, "device": device, "ray": ray}
    content |= {} if jobs is None else {"jobs": jobs}
    own = _options(options)
    cell_files.check(content, rows, own)
    request = cell_files.request_of(content, rows, own, _text(cache), _text(results))
    return Leaderboard(leaderboard.build(runs.run(request, console.progress()).paths))


def extract(
    extractor: str,
    *,
    dataset: str | None = None,
    media: str | Path | None = None,
    options: Options | None = None,
    device: str = "auto",
    workers: int = 1,
    seed: int = 1,
    cache: Place = None,
) -> Features:
    """Extract the features of all items of a dataset, or of a folder of clips, as `bench extract`.

    Parameters
    ----------
    extractor
        Name, see `bench list extractors`.
    dataset, media
        One of them; neither: the demo.
    options, device, cache
        As in `run`.
    workers
        Decoding processes.
    seed
        For controls that draw random vectors.

    Returns
    -------
    Features
        Of every item, also of those that were stored before: `item_ids`, `values`, `status` and `reason`.

    Raises
    ------
    UserError
        If a name or an option makes no sense, or the extractor makes no features.
    """
    own, folder, bars = _options(options), settings.cache_folder(_text(cache)), console.progress()
    registry.check_options(own)
    known = "" if media else dataset or "demo"
    simulated = bool(known) and row_specs.is_simulated(known)
    place = cell_files.choose_device(device, simulated)
    made = row_specs.extractor_for(extractor, own, known, place)
    context = ExtractContext(folder / "features", place, bars, seed, workers, retry=True)
    resolution.resolve_chain(made, context, simulated)
    return runs.extract(made, open_source(dataset, _text(media), own, folder, bars), context)


def board(
    results: Place = None,
    *,
    dataset: str | None = None,
    protocol: str | None = None,
    metric: str = PRIMARY,
    baseline: str | None = None,
    cache: Place = None,
) -> Leaderboard:
    """Build the board of the records in a folder; of several the one with most rows.

    Parameters
    ----------
    results, cache
        Folders; None: those of the command line. `results/boards` holds the published ones.
    dataset, protocol
        Only boards of these.
    metric
        Ranks the rows.
    baseline
        Row that differences are taken to; None: the best row without features.

    Raises
    ------
    UserError
        If there is none.
    """
    folder = settings.results_folder(_text(results), reading=True)
    kept = settings.cache_folder(_text(cache), reading=True)
    found = board_cache.boards(folder, kept, dataset, protocol, metric, baseline)
    if not found:
        raise leaderboard.nothing_in(folder)
    return Leaderboard(found[0])


def compare(
    a: str,
    b: str,
    *,
    metric: str = PRIMARY,
    dataset: str | None = None,
    protocol: str | None = None,
    results: Place = None,
) -> Comparison:
    """Compare two rows of a board over the same users, as `bench compare`.

    Parameters
    ----------
    a, b
        Rows as `model/extractor/fusion` or a unique part of it, ids of cells, or paths of records.
    metric
        What is compared.
    dataset, protocol, results
        As in `board`.

    Raises
    ------
    UserError
        If a name fits none or several, or the rows are not of one board or lack a seed or a fold.
    """
    folder = settings.results_folder(_text(results), reading=True)
    found = read_cells(records.find(folder), dataset, protocol)
    return Comparison(comparing.compare(*lookup.choose(a, b, found), metric))


def _options(options: Options | None) -> dict[str, dict[str, Any]]:
    if not all(isinstance(values, Mapping) for values in (options or {}).values()):
        raise UserError("options are given by plug-in name", remedy='options={"sasrec": {"dim": 32}}')
    return {name: dict(values) for name, values in (options or {}).items()}


def _text(place: Place) -> str | None:
    return None if place is None else str(place)
