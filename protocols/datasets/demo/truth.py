"""Ground truth of a demo world, stored apart: only the controls `truth` and `oracle`, and probes, read it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from protocols.dataset import Dataset
from protocols.datasets.demo.factors import Scene, all_factors
from protocols.datasets.demo.population import Clips, Users
from protocols.errors import DataError, UserError

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "truth"


@dataclass(frozen=True, eq=False)
class Truth:
    """Ground truth of a world.

    Attributes
    ----------
    item_ids, user_ids
        Raw ids [I] and [U], in the order of `clips` and `users`.
    scenes
        [I].
    clips, users
        Hidden properties, tastes and activity.
    content_weight
        The dose this world was simulated with.
    """

    item_ids: list[str]
    user_ids: list[str]
    scenes: list[Scene]
    clips: Clips
    users: Users
    content_weight: float


def write(root: Path, truth: Truth) -> None:
    """Write the ground truth into `root/truth`."""
    folder = root / FOLDER
    folder.mkdir()
    facts = {
        "content_weight": truth.content_weight,
        "users": truth.user_ids,
        "clips": {item: asdict(scene) for item, scene in zip(truth.item_ids, truth.scenes, strict=True)},
    }
    (folder / "scenes.json").write_text(json.dumps(facts), encoding="utf-8")
    for name, part in (("clips", truth.clips), ("users", truth.users)):
        np.savez_compressed(folder / f"{name}.npz", **{f.name: getattr(part, f.name) for f in fields(part)})


def read(dataset: Dataset) -> Truth:
    """Read the ground truth that belongs to a loaded demo dataset.

    Raises
    ------
    UserError
        If it was deleted.
    DataError
        If it is damaged.
    """
    if dataset.root is None or not (dataset.root / FOLDER).is_dir():
        raise UserError(
            f"the ground truth of {dataset.name} is not there: {(dataset.root or Path()) / FOLDER}",
            remedy="delete the folder above it and prepare the dataset again (`bench data prepare demo`)",
        )
    folder = dataset.root / FOLDER
    try:
        facts = json.loads((folder / "scenes.json").read_text(encoding="utf-8"))
        with np.load(folder / "clips.npz") as clips, np.load(folder / "users.npz") as users:
            return Truth(
                item_ids=list(facts["clips"]),
                user_ids=facts["users"],
                scenes=[Scene(**scene) for scene in facts["clips"].values()],
                clips=Clips(**clips),
                users=Users(**users),
                content_weight=facts["content_weight"],
            )
    except Exception as error:  # zip, json and key errors alike mean that the files are not what we wrote
        raise DataError(
            f"the ground truth in {folder} cannot be read: {error}",
            remedy="delete the folder above it and prepare the dataset again (`bench data prepare demo`)",
        ) from error


def load_factors(dataset: Dataset) -> pd.DataFrame:
    """Return all planted factors of all clips, for probes: one row an item (raw id), one column a factor."""
    import pandas as pd

    truth = read(dataset)
    rows = [all_factors(scene) for scene in truth.scenes]
    return pd.DataFrame(rows, index=pd.Index(truth.item_ids, name="item_id")).sort_index()


def positions(ids: Sequence[str], known: Sequence[str], what: str) -> np.ndarray:
    """Index of each raw id among the known ones.

    Raises
    ------
    DataError
        If an id is not of this world.
    """
    index = {key: i for i, key in enumerate(known)}
    try:
        return np.array([index[key] for key in ids], dtype=int)
    except KeyError as error:
        raise DataError(f"{what} {error.args[0]!r} is not in the ground truth of this world") from None
