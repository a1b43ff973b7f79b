"""Files of cells: presets, `bench run --config` and grid files, merged with the command line into a request."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NotRequired

from pydantic import with_config
from typing_extensions import TypedDict

from bench import record_schema, settings
from bench.runs import grid_rows
from bench.runs.rows import RowSpec, default_fusion, is_simulated
from bench.runs.rows import check as check_rows
from feature_extractors.pipeline.devices import choose_device
from protocols.atomic_write import write_atomically
from protocols.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from bench.boards import anchors, contrasts
    from bench.runs.run import Request

PRESETS = Path(__file__).parents[1] / "presets"
#: Short forms of options of extractors.
EXTRACTOR_OPTIONS = ("checkpoint", "text_encoder", "dtype", "quantize", "prompt", "frames")
KEYS = (
    "dataset", "protocol", "extractor", "model", "fusion", "seeds", "set", "rows", "device", "jobs", "ray", "controls",
    "anchors", "contrasts", *EXTRACTOR_OPTIONS, "cache", "results", "json", "track",
)  # fmt: skip
#: Keys of a grid file: those above that are not about a single cell, and its own.
GRID_KEYS = (
    *(key for key in KEYS if key not in ("extractor", "model", "fusion", "controls", "track")),
    "grid",
    "exclude",
)
#: Number of seeds, and the largest one (numpy's and RecBole's).
MOST_SEEDS, LARGEST_SEED = 10_000, 2**32 - 1
#: Where neither a file nor the command line names them.
DATASET, PROTOCOL = "demo", "rolling-7d"
#: Of grids; significance marks take that many.
GRID_SEEDS = 5
#: Keys that change no result, or are recorded elsewhere: records do not repeat them.
NOT_PASSED = (
    "ray", "set", "rows", "grid", "exclude", "anchors", "contrasts", "cache", "results", "json", "track",
)  # fmt: skip


class Checks(NamedTuple):
    """Comparisons that a file of cells asks for at the end of its run."""

    anchors: Sequence[anchors.Anchor]
    contrasts: Sequence[contrasts.Contrast]


def read_config(preset: str | None, config: Path | None) -> dict[str, Any]:
    """Read a preset by name or a file by path; empty where neither is given.

    Raises
    ------
    UserError
        If both are given, or the preset or a key is unknown.
    """
    if preset and config:
        raise UserError("--preset and --config both name a file of options: give one of them")
    if preset:
        known = {path.stem: path for path in PRESETS.glob("*.yaml")}
        if preset not in known:
            raise did_you_mean("preset", preset, known)
        config = known[preset]
    return _read(config, KEYS) if config else {}


def read_grid(file: Path, more: tuple[str, ...] = ()) -> tuple[dict[str, Any], list[RowSpec]]:
    """Read a grid file: its content and its rows.

    Parameters
    ----------
    more
        Keys that are allowed beside `GRID_KEYS`.

    Raises
    ------
    UserError
        If a key is unknown or a value has the wrong shape, naming the key; as `bench.runs.grid_rows.expand`.
    """
    content = _read(file, (*GRID_KEYS, *more))
    axes, rules = content.get("grid", {}), content.get("exclude", [])
    if not isinstance(axes, dict) or not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise UserError(f"{file}: `grid` must be a mapping of lists, `exclude` a list of mappings")
    listed = _listed(content.get("rows", []), f"{file}: rows")
    if not axes and not listed:
        raise UserError(f"{file} lists neither `grid` nor `rows`", remedy="see `bench grid --help`")
    return content, list(dict.fromkeys([*(grid_rows.expand(axes, rules) if axes else []), *listed]))


@with_config(record_schema.CLOSED)
class _Row(TypedDict):
    model: str
    extractor: NotRequired[str]
    fusion: NotRequired[str]
    options: NotRequired[dict[str, Any]]
    tuning: NotRequired[dict[str, Any]]


@with_config(record_schema.CLOSED)
class _Budget(TypedDict, total=False):
    trials: int
    halving: bool
    users: int
    seed: int


@with_config(record_schema.OPEN)
class _Content(TypedDict, total=False):
    """Types of the keys whose values nothing else checks."""

    dataset: str
    protocol: str
    extractor: str
    model: str
    fusion: str
    device: str
    ray: str
    seeds: int | str
    controls: bool
    json: bool
    track: str
    cache: str
    results: str
    checkpoint: str
    text_encoder: str
    dtype: str
    quantize: str
    prompt: str
    frames: str
    set: dict[str, dict[str, Any]]
    exclude: list[dict[str, str]]


def _read(file: Path, known: Sequence[str]) -> dict[str, Any]:
    content = settings.read_yaml(file)
    for key in content:
        if key not in known:
            raise did_you_mean(f"key in {file}:", key, known)
    try:
        settings.require_types(content, _Content)
    except ValueError as error:
        raise UserError(f"{file}: {error}") from error
    return content


def _listed(rows: Any, where: str) -> list[RowSpec]:
    try:
        settings.require_types(rows, list[_Row])
        return [RowSpec(**row) for row in rows]
    except ValueError as error:
        raise UserError(f"{where} must be a list of {{model, extractor, fusion, options}}: {error}") from error


def override(content: Mapping[str, Any], **given: Any) -> dict[str, Any]:
    """Replace values of a file by those of the command line that are not None."""
    return {**content, **{key: value for key, value in given.items() if value is not None}}


def budget_of(written: Any, file: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the budget of a file for `bench tune` with the command line, which wins.

    Returns
    -------
    dict
        `trials` (20), `halving` (no), `users` (None: all) and `seed` (1).

    Raises
    ------
    UserError
        If a key is unknown, or a number is not positive.
    """
    try:
        settings.require_types(written, _Budget)
        wrong = next((key for key, value in written.items() if key != "halving" and value < 1), None)
        if wrong:
            raise ValueError(f"{wrong}: {written[wrong]} is not positive")
    except ValueError as error:
        raise UserError(f"{file}: budget: {error}") from error
    return {"trials": 20, "halving": False, "users": None, "seed": 1} | override(written, **given)


def rows_of(content: Mapping[str, Any]) -> list[RowSpec]:
    """Return the rows that a file lists, or the single row of its `model`, `extractor` and `fusion`.

    Raises
    ------
    UserError
        If both forms are mixed, a row has the wrong shape, or neither form is there.
    """
    if "rows" in content:
        if content.keys() & {"extractor", "model", "fusion"}:
            raise UserError("the file lists rows already: leave out --extractor, --model and --fusion")
        return _listed(content["rows"], "rows")
    extractor = content.get("extractor", "id")
    if "extractor" not in content and "model" not in content:
        raise UserError("nothing to run", remedy="bench run --extractor captions --model sasrec")
    model = content.get("model", "sasrec")
    return [RowSpec(model, extractor, content.get("fusion") or default_fusion(model, extractor))]


def options_of(content: Mapping[str, Any], sets: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Merge the options under `set` of a file, by plug-in name, with those of --set, which win."""
    options = {name: dict(values) for name, values in content.get("set", {}).items()}
    for name, values in settings.parse_sets(sets).items():
        options.setdefault(name, {}).update(values)
    return options


def write_config(path: Path, content: Mapping[str, Any], options: Mapping[str, Mapping[str, Any]]) -> None:
    """Write a file for `bench run --config` that says what a file and the command line say together.

    Parameters
    ----------
    content
        Of a file, merged with the command line.
    options
        By plug-in name, from both.
    """
    import yaml

    said = {key: content[key] for key in KEYS if key in content and key not in ("set", *EXTRACTOR_OPTIONS)}
    if options:
        said["set"] = {name: dict(values) for name, values in options.items()}
    write_atomically(path, yaml.safe_dump(said, sort_keys=False, allow_unicode=True))


def request_of(
    content: Mapping[str, Any],
    rows: Sequence[RowSpec],
    options: dict[str, dict[str, Any]],
    cache: str | None,
    results: str | None,
) -> Request:
    """Make a request of a file's content merged with the command line."""
    from bench.runs.run import Request

    return Request(
        rows=rows,
        cache=settings.cache_folder(cache),
        results=settings.results_folder(results),
        dataset=content.get("dataset", DATASET),
        protocol=content.get("protocol", PROTOCOL),
        seeds=parse_seeds(str(content.get("seeds", 1))),
        options=options,
        device=choose_device(content.get("device", "auto"), is_simulated(content.get("dataset", DATASET))),
        jobs=_jobs(content.get("jobs", default_jobs())),
        ray=content.get("ray", ""),
        passed={
            "rows": [[r.model, r.extractor, r.fusion] for r in rows],
            "set": options,
            **{k: str(v) for k, v in content.items() if k not in NOT_PASSED},
        },
    )


def _jobs(given: Any) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise UserError(f"jobs: {given!r}: expected a number of processes, from 1 on")
    return given


def checks_of(content: Mapping[str, Any], where: str) -> Checks:
    """Read the anchors and contrasts of a file of cells, named by `where` in errors."""
    from bench.boards import anchors, contrasts

    return Checks(anchors.read(content.get("anchors", []), where), contrasts.read(content.get("contrasts", []), where))


def default_jobs() -> int:
    """Return one worker process for each core, eight at most."""
    return min(os.cpu_count() or 1, 8)


def parse_seeds(text: str) -> list[int]:
    """Read `3` as seeds 1, 2, 3 and `1,5` as these two.

    Examples
    --------
    >>> parse_seeds("3"), parse_seeds("4,")
    ([1, 2, 3], [4])
    """
    try:
        if "," in text:
            seeds = sorted({int(part) for part in text.split(",") if part.strip()})
        else:
            seeds = list(range(1, min(int(text), MOST_SEEDS + 1) + 1))
    except ValueError:
        seeds = []
    if not seeds or len(seeds) > MOST_SEEDS or min(seeds) < 1 or max(seeds) > LARGEST_SEED:
        raise UserError(f"--seeds {text!r}: give a number of seeds (3) or a list of them (1,5), from 1 on")
    return seeds


def check(content: Mapping[str, Any], rows: Sequence[RowSpec], options: dict[str, dict[str, Any]]) -> None:
    """Refuse names and options that make no sense, see `rows.check`; nothing is imported to run them."""
    check_rows(rows, content.get("dataset", DATASET), content.get("protocol", PROTOCOL), options)
