"""Rows of boards as users ask for them, and their plug-ins: read and checked without the imports of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from bench import registry
from bench.cells import Cell
from feature_extractors.real_defaults import settled
from recommenders.base import FitRequest, Recommender
from recommenders.encoder import fusions
from recommenders.encoder.fusions import Fusion

if TYPE_CHECKING:
    from feature_extractors.base import Extractor

# Models beside every row: what is popular, what is popular now, what is new, and the best linear model of ids.
CONTROLS = ("pop", "recent-pop", "newest", "ease")
BY_TIME = ("recent-pop", "newest")


@dataclass(frozen=True)
class RowSpec:
    """Row of a board as the user asks for it.

    Attributes
    ----------
    model, extractor, fusion
        Names, see `bench list`.
    options
        Of the model, for this row alone.
    tuning
        Report of `bench.runs.tune` on how they were chosen.
    """

    model: str
    extractor: str = "id"
    fusion: str = "gate"
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    tuning: Mapping[str, Any] = field(default_factory=dict, hash=False, compare=False)


def extractor_for(name: str, options: registry.Options, dataset: str, device: str = "cpu") -> Extractor:
    """Make an extractor, with `auto` checkpoints resolved: pocket ones on simulated data, real ones elsewhere.

    Options that depend on the checkpoint are settled then, see `feature_extractors.real_defaults`.

    Parameters
    ----------
    dataset
        Name of the dataset plug-in; "": clips without one, which are real.
    device
        Torch device of the extraction.
    """
    simulated = bool(dataset) and is_simulated(dataset)
    return settled(registry.create("extractor", name, options).resolved(simulated), device)


def is_simulated(dataset: str) -> bool:
    """Tell by the plug-in of a dataset, without loading the data, if these are simulated."""
    return bool(getattr(registry.load("dataset", dataset), "simulated", False))


def resolve(
    row: RowSpec, dataset: str, protocol: str, options: registry.Options, device: str = "cpu"
) -> tuple[Cell, Recommender, Extractor | None]:
    """Make the cell of a row with its plug-ins; None for a model without features.

    Raises
    ------
    UserError
        If a name, an option or a fusion makes no sense.
    """
    name = row.model.partition(":")[0]
    own = {**options, name: {**options.get(name, {}), **row.options}}
    model: Recommender = registry.create("model", row.model, own)
    extractor: Extractor | None = None
    name, fusion = "-", "-"
    if model.uses_features:
        candidate = extractor_for(row.extractor, options, dataset, device)
        has_features = candidate.feature != "-"
        views = len(registry.joined("extractor", row.extractor)) or 1
        fusions.check(Fusion.parse(row.fusion), model, row.extractor, candidate.feature, views)
        name, fusion, extractor = (candidate.label, row.fusion, candidate) if has_features else ("id", "id", None)
    resolved = {
        "dataset": registry.create("dataset", dataset, options).options(),
        "protocol": registry.create("protocol", protocol, protocol_options(protocol, options)).options(),
        "extractor": extractor.options() if extractor else {},
        "model": model.options(),
    }
    return Cell(dataset, protocol, row.model, name, fusion, resolved), model, extractor


def check(rows: Iterable[RowSpec], dataset: str, protocol: str, options: registry.Options) -> None:
    """Refuse what names and options alone tell to be wrong, before anything is imported to run the rows.

    Raises
    ------
    UserError
        As `resolve`, `check_model` and `registry.check_options`.
    """
    registry.check_options(options)
    for row in rows:
        cell, model, _ = resolve(row, dataset, protocol, options)
        check_model(model, cell, "cpu")


def check_model(model: Recommender, cell: Cell, device: str) -> None:
    """Refuse options of a model that its training would refuse, before data are loaded and others are trained.

    Raises
    ------
    UserError
        As `TrainedModel.check`, which looks at options, fusion and device.
    """
    check = getattr(model, "check", None)
    if check is not None:
        fusion = "id" if cell.fusion == "-" else cell.fusion
        check(FitRequest(data=cast(Any, None), features=None, fusion=fusion, seed=0, device=device))


def protocol_options(protocol: str, options: registry.Options) -> dict[str, Mapping[str, Any]]:
    """Merge the options `protocol.*` into those of the chosen protocol."""
    return {**options, protocol: {**options.get("protocol", {}), **options.get(protocol, {})}}


def two_views(extractor: str) -> bool:
    """Return True for an extractor, as typed, that joins two others."""
    return len(registry.joined("extractor", extractor)) == 2


def only_fusion(model: str) -> str:
    """Return the one fusion of a model, as typed, that has no item encoder; "" for any other; see `Recommender`."""
    return str(getattr(registry.load("model", model.partition(":")[0]), "only_fusion", ""))


def default_fusion(model: str, extractor: str) -> str:
    """Return the fusion of a row that names none."""
    if extractor == "id":
        return "id"
    return only_fusion(model) or "gate"


def with_controls(rows: Iterable[RowSpec], protocol: str = "rolling-7d") -> list[RowSpec]:
    """Add controls to rows: `CONTROLS`, id, and random vectors and the shuffled control of each.

    A protocol that has no border in time (leave-one-out) knows neither what is recent nor what is new.
    """
    rows = list(rows)
    timeless = bool(getattr(registry.load("protocol", protocol), "retrospective", False))
    controls = [RowSpec(name, "id", "id") for name in CONTROLS if not (timeless and name in BY_TIME)]
    for row in rows:
        controls += [] if only_fusion(row.model) else [RowSpec(row.model, "id", "id")]
        plain = registry.innermost("extractor", row.extractor) == registry.parse(row.extractor)[0]
        if plain and row.extractor not in ("id", "random"):
            kind = Fusion.parse(row.fusion).kind  # one vector an item: noise has no layers
            controls.append(RowSpec(row.model, f"random:{row.extractor}", kind))
            controls.append(RowSpec(row.model, f"shuffled:{row.extractor}", row.fusion))
    return list(dict.fromkeys([*rows, *controls]))
