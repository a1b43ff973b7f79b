"""The training loop: early stopping on the validation window, or a fixed number of epochs; kill-safe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from protocols.errors import BenchError
from protocols.ranking_problem import Scorer
from recommenders.base import FitRequest
from recommenders.encoder.item_encoder import ItemEncoder
from recommenders.recbole.adapter import check_optimizer
from recommenders.training.checkpoint import Checkpoint
from recommenders.training.epoch_snapshots import EpochSnapshots
from recommenders.training.weights import Weights


@dataclass(frozen=True)
class Plan:
    """Options of the training loop.

    Attributes
    ----------
    lr, weight_decay
        Of AdamW.
    max_epochs, patience
        Stop after `patience` epochs without a better validation nDCG@10.
    clip
        Largest norm of a step's gradient.
    average
        Decay per step of the exponential moving average of the parameters that is validated and kept; 0: the
        parameters themselves.
    precision
        `bfloat16` (autocast), `float32`, or `auto`: the first on a GPU.
    """

    lr: float
    weight_decay: float
    max_epochs: int
    patience: int
    clip: float = 5.0
    average: float = 0.0
    precision: str = "auto"

    def autocast(self, device: str) -> torch.autocast:
        """Context of a training step's forward pass."""
        kind = torch.device(device).type
        wanted = self.precision == "bfloat16" or (self.precision == "auto" and kind == "cuda")
        return torch.autocast(kind, torch.bfloat16, enabled=wanted)


@contextmanager
def seeded(seed: int, stage: int, device: str) -> Iterator[None]:
    """Draw from generators that depend on seed and stage alone; the caller's global state is put back.

    A stage is an epoch (or 0 for initialisation), so a resumed fit needs no stored random state.
    """
    devices = [torch.device(device)] if device.startswith("cuda") else []
    state = int(np.random.SeedSequence([seed, stage]).generate_state(1, np.uint64)[0] >> 1)
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(state)
        for one in devices:
            with torch.cuda.device(one):
                torch.cuda.manual_seed(state)
        yield


def train(
    model: Any,
    encoder: ItemEncoder,
    batches: Callable[[int], Iterable[dict[str, Tensor]]],
    scorer: Callable[[], Scorer],
    request: FitRequest,
    plan: Plan,
    key: str,
) -> tuple[int, list[dict]]:
    """Train in place.

    Parameters
    ----------
    model, encoder, batches, scorer
        See `recommenders.training.trained_model.Prepared`.
    request
        Epochs or validation, seed, checkpoint, device, report.
    plan
        Optimizer and stopping.
    key
        Identity of the fit, see `fit_key`.

    Returns
    -------
    tuple
        Epochs of the kept parameters, and one dict an epoch with loss and, where validated, ndcg@10.

    Raises
    ------
    BenchError
        If the loss or the validation metric stops being a number.
    """
    fit = Fit(model, encoder, request, plan)
    weights = Weights(request.weights, f"{key}-{request.epochs}")
    if request.reuse and (kept := weights.load(model)) is not None:
        fit.take(kept[0])
        return kept[1], kept[2]
    snapshots = EpochSnapshots(request.snapshots, key)
    if request.epochs and (found := snapshots.load(request.epochs)) is not None:
        fit.take(found[0])
        curve = [{"loss": loss} for loss in found[1]]
        weights.save(model, request.epochs, curve)
        return request.epochs, curve
    checkpoint = Checkpoint(request.checkpoint, f"{key}-{request.epochs}")
    saved = checkpoint.load()
    if saved is not None:
        fit.restore(saved)
    while not fit.finished:
        with seeded(request.seed, fit.epoch + 1, request.device):
            fit.train_epoch(batches(fit.epoch + 1))
        if request.epochs is None:
            snapshots.save(fit.epoch, fit.kept, [note["loss"] for note in fit.curve], plan.max_epochs)
        fit.judge(scorer)
        checkpoint.save(fit.state())
        request.report(fit.epoch, fit.note)
    fit.keep_best()
    weights.save(model, fit.best_epoch, fit.curve)
    checkpoint.remove()
    return fit.best_epoch, fit.curve


class Fit:
    """A fit between two epochs; see `train` for the parameters."""

    def __init__(self, model: Any, encoder: ItemEncoder, request: FitRequest, plan: Plan) -> None:
        if request.epochs is None and request.validate is None:
            raise BenchError("a fit needs either a number of epochs or a validation window")
        self.model, self.encoder, self.request, self.plan = model, encoder, request, plan
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=plan.lr, weight_decay=plan.weight_decay, betas=(0.9, 0.98), fused=True
        )
        check_optimizer(self.optimizer, encoder)
        self.epoch, self.steps = 0, 0
        self.curve: list[dict] = []
        self.best_epoch, self.best_value = 0, -np.inf
        self.average = [p.detach().clone() for p in self.parameters]
        self.best: list[Tensor] = []

    @property
    def finished(self) -> bool:
        """True when no epoch is left to train."""
        if self.request.epochs is not None:
            return self.epoch >= self.request.epochs
        return self.epoch >= self.plan.max_epochs or self.epoch - self.best_epoch >= self.plan.patience

    @property
    def note(self) -> str:
        """The last epoch in a few words."""
        return "  ".join(f"{name} {value:.4f}" for name, value in self.curve[-1].items())

    def train_epoch(self, batches: Iterable[dict[str, Tensor]]) -> None:
        """One pass over the batches."""
        self.model.train()
        losses = []
        for batch in batches:
            self.optimizer.zero_grad(set_to_none=True)
            with self.encoder.shared_table():
                with self.plan.autocast(self.request.device):
                    loss = self.model.calculate_loss(batch)
                    if isinstance(loss, tuple):  # parts, as RecBole's own trainer adds them
                        loss = sum(loss)
                    if (penalty := self.encoder.penalty()) is not None:
                        loss = loss + penalty
                loss.backward()
            torch.nn.utils.clip_grad_norm_(self.parameters, self.plan.clip, foreach=True)
            self.optimizer.step()
            self._update_average()
            losses.append(loss.detach())
        self.epoch += 1
        mean = float(torch.stack(losses).mean())
        if not np.isfinite(mean):
            raise BenchError(
                f"training diverged: the loss is {mean} in epoch {self.epoch}",
                remedy=f"lower the learning rate (now {self.plan.lr}), or look at the features for huge values",
            )
        self.curve.append({"loss": mean})

    def _update_average(self) -> None:
        self.steps += 1
        # a short memory at first, or the initialisation would stay in the average for long
        decay = min(self.plan.average, self.steps / (10 + self.steps))
        if self.plan.average:
            torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - decay)

    def judge(self, scorer: Callable[[], Scorer]) -> None:
        """Validate, and remember the parameters if they are the best so far."""
        if self.request.epochs is not None or self.request.validate is None:
            self.best_epoch = self.epoch
            return
        with self.averaged():
            value = float(self.request.validate(scorer()))
        if np.isnan(value):
            raise BenchError("validation nDCG@10 is not a number: does the validation window have a single user?")
        self.curve[-1]["ndcg@10"] = value
        if value > self.best_value:
            self.best_epoch, self.best_value = self.epoch, value
            self.best = [p.detach().clone() for p in self.kept]

    @property
    def kept(self) -> list[Tensor]:
        """The parameters that are validated and kept: the average, where there is one."""
        return self.average if self.plan.average else [p.detach() for p in self.parameters]

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Put the averaged parameters into the model for a while."""
        own = [p.detach().clone() for p in self.parameters]
        self._fill(self.kept)
        try:
            yield
        finally:
            self._fill(own)

    @torch.no_grad()
    def _fill(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.copy_(value)

    def keep_best(self) -> None:
        """Leave the parameters to be kept in the model."""
        self._fill(self.best or self.kept)

    def take(self, parameters: list[Tensor]) -> None:
        """Put the parameters of an earlier fit into the model."""
        self._fill(parameters)

    def state(self) -> dict[str, Any]:
        """Everything the next epoch depends on."""
        return {
            "epoch": self.epoch,
            "steps": self.steps,
            "curve": self.curve,
            "best_epoch": self.best_epoch,
            "best_value": float(self.best_value),
            "parameters": [p.detach() for p in self.parameters],
            "average": self.average,
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
        self.epoch, self.steps, self.curve = state["epoch"], state["steps"], state["curve"]
        self.best_epoch, self.best_value = state["best_epoch"], state["best_value"]
        self._fill(state["parameters"])
        self.average = [value.to(p.device) for value, p in zip(state["average"], self.parameters, strict=True)]
        self.best = [value.to(p.device) for value, p in zip(state["best"], self.parameters, strict=False)]
        self.optimizer.load_state_dict(state["optimizer"])
