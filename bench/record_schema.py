"""Schema of run records: the types of all fields that tables, reports and comparisons read.

Nested mappings name the keys that are read somewhere; other keys may hold any JSON.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, NotRequired, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, GetCoreSchemaHandler, TypeAdapter, ValidationError, with_config
from pydantic_core import CoreSchema
from typing_extensions import TypedDict  # pydantic takes that of `typing` from Python 3.12 on only

T = TypeVar("T")

#: Of every mapping: no conversion between types, no NaN; of records and cells also no unknown key.
OPEN = ConfigDict(strict=True, allow_inf_nan=False, extra="allow")
CLOSED = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")

# Integers that a float holds exactly; folds are looped over.
_EXACT = 2**53
Count = Annotated[int, Field(ge=0, le=_EXACT)]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
Fold = Annotated[int, Field(ge=0, lt=10_000)]
#: A whole number stays one: the ids of tables are hashes of numbers as written.
Number = Annotated[int, Field(ge=-_EXACT, le=_EXACT)] | float
Version = Annotated[int, Field(ge=1, le=1000)]
Status = Literal["ok", "failed"]
#: As ISO 8601.
Time = Annotated[str, AfterValidator(lambda text: datetime.fromisoformat(text) and text)]
#: Part of a file name.
Key = Annotated[str, Field(pattern=r"^[\w-]+$", max_length=64)]


@with_config(CLOSED)
class CellContent(TypedDict):
    """`records.Cell` as a mapping."""

    dataset: str
    protocol: str
    model: str
    extractor: str
    fusion: str
    options: dict[str, dict[str, Any]]


@with_config(OPEN)
class DatasetContent(TypedDict, total=False):
    """Description of the dataset."""

    name: str
    version: str
    fingerprint: str
    licence: str
    citation: str


@with_config(OPEN)
class FoldContent(TypedDict, total=False):
    """Description of a fold."""

    folds: Annotated[int, Field(ge=1, le=10_000)]
    border: Time | None
    end: Time | None
    users: Count
    targets: Count
    cold_targets: Count
    targets_per_user_mean: Number
    targets_per_user_median: Number
    released_in_window: Number
    candidates: str
    validation_note: str
    release_note: str
    drawn_from: Count
    left_out: list[str]
    chosen_by_size: str
    retrospective: bool


@with_config(OPEN)
class VerdictContent(TypedDict):
    """Verdict of a leak check."""

    check: str
    ok: bool
    detail: NotRequired[str]
    by_construction: NotRequired[bool]


@with_config(OPEN)
class ProvenanceContent(TypedDict, total=False):
    """Provenance of a feature space."""

    checkpoints: list[str | None]
    licences: list[str | None]


@with_config(OPEN)
class FeaturesContent(TypedDict, total=False):
    """Description of a feature space; empty for rows without features."""

    space: str
    control: str
    degenerate: str
    coverage: Number | None
    seconds_per_item: Number | None
    bytes_per_item: Number | None
    shape: list[Count]
    status: dict[str, Count]
    config: dict[str, Any]
    provenance: ProvenanceContent


@with_config(OPEN)
class TrainingContent(TypedDict, total=False):
    """Description of the training."""

    epochs: Number | None
    parameters: Count
    layer_weights: list[Number] | None
    validated_on: str
    search_curve: list[dict[str, Any]]
    refit_curve: list[dict[str, Any]]


NotNegative = Annotated[Number, Field(ge=0)]


@with_config(OPEN)
class UsageContent(TypedDict):
    """Use of resources, as in `protocols.resource_usage.Usage`."""

    wall_s: NotNegative
    cpu_s: NotNegative
    gpu_s: NotNegative
    cpu_j: NotNegative | None
    gpu_j: NotNegative | None
    items: Count


@with_config(OPEN)
class UsagesContent(TypedDict, total=False):
    """Use of resources by stage; what is not there is unknown."""

    extraction: UsageContent
    training: UsageContent


@with_config(OPEN)
class EnvironmentContent(TypedDict, total=False):
    """Software and machine."""

    commit: str | None
    dirty: bool | None
    packages: dict[str, str | None]
    threads: Count


class Like:
    """Annotation of a mapping that is validated as a `TypedDict` and stays a plain `dict` to its readers."""

    def __init__(self, shape: type) -> None:
        self._shape = shape

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema of the `TypedDict`."""
        return handler.generate_schema(self._shape)


CellFields = Annotated[dict[str, Any], Like(CellContent)]
DatasetFields = Annotated[dict[str, Any], Like(DatasetContent)]
FoldFields = Annotated[dict[str, Any], Like(FoldContent)]
Verdict = Annotated[dict[str, Any], Like(VerdictContent)]
FeatureFields = Annotated[dict[str, Any], Like(FeaturesContent)]
TrainingFields = Annotated[dict[str, Any], Like(TrainingContent)]
UsageFields = Annotated[dict[str, Any], Like(UsagesContent)]
EnvironmentFields = Annotated[dict[str, Any], Like(EnvironmentContent)]


def validate(content: Any, schema: TypeAdapter[T]) -> T:
    """Check parsed JSON by a schema.

    Raises
    ------
    ValueError
        If it does not fit the schema; the message names the first faults.
    """
    try:
        return schema.validate_python(content)
    except ValidationError as error:
        raise ValueError(first_faults(error)) from None


def first_faults(error: ValidationError, most: int = 3) -> str:
    """Write the first faults on one line, each with its place."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    lines = [": ".join(filter(None, (".".join(map(str, one["loc"])), one["msg"]))) for one in faults[:most]]
    return "; ".join(lines) + (f"; {len(faults) - most} more" if len(faults) > most else "")
