"""Jobs of a run (a cell with a seed and a fold), and the context that they share."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bench import records
from bench.runs.catalogue_size import Fitting
from feature_extractors.base import Extractor
from protocols.dataset import Dataset, DatasetPlugin
from protocols.features import Features, ItemFeatures
from protocols.ranking_problem import Fold, Problem
from protocols.splitting.base import ProtocolPlugin
from recommenders.base import FitRequest, Recommender
from recommenders.encoder.fusions import Fusion


@dataclass(frozen=True, eq=False)
class Job:
    """Cell with a seed and a fold, to be computed.

    Attributes
    ----------
    cell, model, extractor
        The cell with its plug-ins; None for a model without features.
    features
        Key of its features in `RunContext.features`.
    seed, fold
        Of the recommender and of seeded controls; 0 is the earliest fold.
    key
        Of its record.
    search_fold, search_key
        Fold on whose validation window the number of epochs is chosen, and key of that search.
    fitted_by
        Key of the search that fits what this job refits, see `bench.runs.run.fitting_search`; "": none.
    tuning
        Report on how the options of the model were chosen, for the record.
    """

    cell: records.Cell
    model: Recommender
    extractor: Extractor | None
    features: tuple[str, int | None] | None
    seed: int
    fold: int
    key: str
    search_fold: int
    search_key: str
    fitted_by: str = ""
    tuning: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        """File name of its record, without ending."""
        return f"s{self.seed}-f{self.fold}-{self.key}"


@dataclass(frozen=True, eq=False)
class RunContext:
    """Data, features and folders that all jobs of a run share; sent once to each worker process.

    `by_size` says what the size of the catalogue has decided.
    """

    plugin: DatasetPlugin
    dataset: Dataset
    protocol: ProtocolPlugin
    folds: list[Fold]
    board: str
    features: dict[tuple[str, int | None], Features]
    cache: Path
    results: Path
    device: str = "cpu"
    threads: int = 1
    ranking_threads: int = 1
    passed: dict[str, Any] = field(default_factory=dict)
    by_size: Fitting = field(default_factory=lambda: Fitting([], {}, []))

    def record(self, job: Job) -> Path:
        """Return the path of the record of a job."""
        return self.results / job.cell.folder / f"{job.stem}.json"

    def scratch(self, key: str) -> Path:
        """Return the folder of the state from which a killed fit resumes."""
        return self.cache / "checkpoints" / key

    def snapshots(self, search_key: str) -> Path:
        """Return the folder of the epoch snapshots that a search leaves for the refit that it fits."""
        return self.cache / "checkpoints" / f"{search_key}.snapshots"

    def remove_snapshots(self, jobs: Iterable[Job]) -> None:
        """Remove the epoch snapshots of a run; another run that is looking for them trains instead."""
        for key in {key for job in jobs for key in (job.search_key, job.fitted_by) if key}:
            shutil.rmtree(self.snapshots(key), ignore_errors=True)

    def weights(self, job: Job) -> Path:
        """Return the file of the trained parameters of a job."""
        return self.cache / "models" / f"{job.key}.safetensors"

    def aligned(self, job: Job, problem: Problem) -> ItemFeatures | None:
        """Align features to a problem's items, standardised by its warm items; None for a job without features."""
        if job.features is None:
            return None
        extracted = self.features[job.features]
        fusion = Fusion.parse(job.cell.fusion)
        if fusion.layer is not None:
            extracted = extracted.layer(fusion.layer, fusion.chosen_readout(extracted.space.readouts))
        elif fusion.layers in ("softmax", "uniform"):
            extracted = extracted.select_readout(fusion.chosen_readout(extracted.space.readouts))
        features = extracted.align(list(problem.training.items), problem.training.warm)
        return features.standardised(job.model.standardise, problem.training.warm)

    def fit_request(self, job: Job, problem: Problem, features: ItemFeatures | None) -> FitRequest:
        """Make the request to fit a job's model on a problem with features from `aligned`."""
        if features is not None and job.extractor is not None:
            features = job.extractor.on_items(features, job.seed)
        end = self.folds[job.fold].end
        return FitRequest(
            data=problem.training,
            features=features,
            fusion="id" if job.cell.fusion == "-" else job.cell.fusion,
            seed=job.seed,
            device=self.device,
            oracle=partial(self.plugin.oracle, self.dataset, end=end) if self.dataset.simulated else None,
        )
