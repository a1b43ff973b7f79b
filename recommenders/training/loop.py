"""The training loop: early stopping on the validation window, or a fixed number of epochs; kill-safe."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
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

#: The first epochs are validated in parts, if an epoch has so many steps.
PARTED_EPOCHS, PARTS, PARTED_STEPS = 4, 4, 16
#: A search that keeps so few epochs, or whose best lies so near to its limit, may have missed the optimum.
FEW_EPOCHS, RISING = 2, 0.95


@dataclass(frozen=True)
class Plan:
    """Options of the training loop.

    Attributes
    ----------
    lr, weight_decay
        Of AdamW.
    content_lr
        Multiplies the learning rate of the content vectors of rows that have id vectors too.
    max_epochs, min_epochs, min_steps
        Early stopping ends training between these. An epoch of a small log is a few steps, in which no model leaves
        the plateau on which it ranks by popularity: a model with a gate may need 600 steps for that.
    patience, patience_steps
        It ends after so many epochs, and at least so many steps, without a better validation nDCG@10.
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
    min_epochs: int
    min_steps: int
    patience_steps: int
    content_lr: float
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

    A stage is a stretch between two marks (or 0 for initialisation), so a resumed fit needs no stored random state.
    """
    devices = [torch.device(device)] if device.startswith("cuda") else []
    state = int(np.random.SeedSequence([seed, stage]).generate_state(1, np.uint64)[0]) >> 1
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(state)
        for one in devices:
            with torch.cuda.device(one):
                torch.cuda.manual_seed(state)
        yield


def marks(steps: int) -> Iterator[float]:
    """Epochs after which a fit is validated: quarters of the first four where an epoch has steps enough, then each.

    Parameters
    ----------
    steps
        Of an epoch.

    Examples
    --------
    >>> from itertools import islice
    >>> list(islice(marks(100), 18))[-4:], list(islice(marks(5), 3))
    ([3.75, 4.0, 5.0, 6.0], [1.0, 2.0, 3.0])
    """
    parts = PARTS if steps >= PARTED_STEPS else 1
    yield from (part / parts for part in range(1, PARTED_EPOCHS * parts + 1))
    yield from (float(epoch) for epoch in count(PARTED_EPOCHS + 1))


def train(
    model: Any,
    encoder: ItemEncoder,
    batches: Callable[[int], Iterable[dict[str, Tensor]]],
    steps: int,
    scorer: Callable[[], Scorer],
    request: FitRequest,
    plan: Plan,
    key: str,
) -> tuple[float, list[dict]]:
    """Train in place.

    Parameters
    ----------
    model, encoder, batches, steps, scorer
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
        Epochs of the kept parameters, and one dict a mark (see `marks`) with epoch, loss and, where validated, ndcg@10.

    Raises
    ------
    BenchError
        If the loss or the validation metric stops being a number.
    """
    fit = Fit(model, encoder, batches, steps, request, plan)
    weights = Weights(request.weights, f"{key}-{request.epochs}")
    if request.reuse and (kept := weights.load(model)) is not None:
        fit.take(kept[0])
        return kept[1], kept[2]
    snapshots = EpochSnapshots(request.snapshots, key)
    if request.epochs and (found := snapshots.load(request.epochs)) is not None:
        fit.take(found[0])
        weights.save(model, request.epochs, found[1])
        return request.epochs, found[1]
    checkpoint = Checkpoint(request.checkpoint, f"{key}-{request.epochs}")
    saved = checkpoint.load()
    if saved is not None:
        fit.restore(saved)
    for mark in marks(steps):
        if fit.finished:
            break
        if mark <= fit.epoch:
            continue
        fit.train_to(mark if request.epochs is None else min(mark, request.epochs))
        if request.epochs is None:
            snapshots.save(fit.epoch, fit.kept, fit.losses, plan.max_epochs + PARTED_EPOCHS * PARTS)
        fit.judge(scorer)
        if fit.epoch.is_integer():
            checkpoint.save(fit.state())
            request.report(int(fit.epoch), fit.note)
    fit.keep_best()
    weights.save(model, fit.best_epoch, fit.curve)
    checkpoint.remove()
    return fit.best_epoch, fit.curve


def doubts(epochs: float, curve: Sequence[Mapping[str, float]], max_epochs: int) -> list[str]:
    """Say why a search for the number of epochs may not have found the optimum; empty: nothing speaks against it.

    Parameters
    ----------
    epochs
        That it chose.
    curve, max_epochs
        Its validations, and the limit that it had.
    """
    found = []
    if epochs <= FEW_EPOCHS:
        found.append(f"kept {epochs:g} epochs")
    last = curve[-1]["epoch"] if curve else 0.0
    if last >= max_epochs and epochs > RISING * max_epochs:
        found.append(f"still rising after {last:g} epochs")
    return found


class Fit:
    """A fit between two marks; see `train` for the parameters."""

    def __init__(
        self,
        model: Any,
        encoder: ItemEncoder,
        batches: Callable[[int], Iterable[dict[str, Tensor]]],
        steps_per_epoch: int,
        request: FitRequest,
        plan: Plan,
    ) -> None:
        if request.epochs is None and request.validate is None:
            raise BenchError("a fit needs either a number of epochs or a validation window")
        self.model, self.encoder, self.request, self.plan = model, encoder, request, plan
        self.batches, self.steps_per_epoch = batches, steps_per_epoch
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self._groups(), lr=plan.lr, weight_decay=plan.weight_decay, betas=(0.9, 0.98), fused=True
        )
        check_optimizer(self.optimizer, encoder)
        self.epoch, self.steps, self.steps_in_epoch = 0.0, 0, 0
        self.curve: list[dict] = []
        self.best_epoch, self.best_steps, self.best_value = 0.0, 0, -np.inf
        self.average = [p.detach().clone() for p in self.parameters]
        self.best: list[Tensor] = []
        self._left: Iterator[dict[str, Tensor]] | None = None

    def _groups(self) -> list[dict[str, Any]]:
        """Parameters by learning rate."""
        content = self.encoder.content if self.encoder.ids is not None else None
        slow = set() if content is None else {id(p) for p in content.parameters()}
        parts = [[p for p in self.parameters if (id(p) in slow) is chosen] for chosen in (False, True)]
        rates = self.plan.lr, self.plan.lr * self.plan.content_lr
        return [{"params": part, "lr": lr} for part, lr in zip(parts, rates, strict=True) if part]

    @property
    def finished(self) -> bool:
        """True when nothing is left to train."""
        if self.request.epochs is not None:
            return self.epoch >= self.request.epochs
        plan = self.plan
        in_vain = self.epoch - self.best_epoch >= plan.patience and self.steps - self.best_steps >= plan.patience_steps
        ripe = self.epoch >= plan.min_epochs and self.steps >= plan.min_steps
        return self.epoch >= plan.max_epochs or (in_vain and ripe)

    @property
    def note(self) -> str:
        """The last validation in a few words; empty before the first."""
        last = self.curve[-1] if self.curve else {}
        return "  ".join(f"{name} {value:.4f}" for name, value in last.items() if name != "epoch")

    @property
    def losses(self) -> list[dict]:
        """The curve of a fit that does not validate."""
        return [{"epoch": note["epoch"], "loss": note["loss"]} for note in self.curve]

    def train_to(self, mark: float) -> None:
        """Train up to a number of epochs, within the epoch that is begun or the next one."""
        number = math.ceil(mark)
        last = math.inf if mark == number else round((mark - number + 1) * self.steps_per_epoch)
        losses = []
        self.model.train()
        with seeded(self.request.seed, 1 + round(self.epoch * PARTS), self.request.device):
            if self._left is None:
                self._left = iter(self.batches(number))
            while self.steps_in_epoch < last and (batch := next(self._left, None)) is not None:
                losses.append(self.step(batch))
                self.steps_in_epoch += 1
                done = number - 1 + min(1.0, self.steps_in_epoch / self.steps_per_epoch)
                self.request.within(done, self.request.epochs or self.plan.max_epochs, self.note)
        if mark == number:
            self._left, self.steps_in_epoch = None, 0
        self.epoch = mark
        mean = float(torch.stack(losses).mean())
        if not np.isfinite(mean):
            raise BenchError(
                f"training diverged: the loss is {mean} in epoch {number}",
                remedy=f"lower the learning rate (now {self.plan.lr}), or look at the features for huge values",
            )
        self.curve.append({"epoch": mark, "loss": mean})

    def step(self, batch: dict[str, Tensor]) -> Tensor:
        """One step of the optimizer; its loss."""
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
        return loss.detach()

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
            self.best_epoch, self.best_steps, self.best_value = self.epoch, self.steps, value
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
        """Everything the next epoch depends on, between two of them."""
        return {
            "epoch": self.epoch,
            "steps": self.steps,
            "curve": self.curve,
            "best_epoch": self.best_epoch,
            "best_steps": self.best_steps,
            "best_value": float(self.best_value),
            "parameters": [p.detach() for p in self.parameters],
            "average": self.average,
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
        for name in ("epoch", "steps", "curve", "best_epoch", "best_steps", "best_value"):
            setattr(self, name, state[name])
        self._fill(state["parameters"])
        self.average = [value.to(p.device) for value, p in zip(state["average"], self.parameters, strict=True)]
        self.best = [value.to(p.device) for value, p in zip(state["best"], self.parameters, strict=False)]
        self.optimizer.load_state_dict(state["optimizer"])
