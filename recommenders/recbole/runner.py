"""Runner for any model of RecBole: build it around an item encoder, feed it, and check that features reach scores."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from recbole.data.interaction import Interaction
from recbole.data.transform import construct_transform
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType
from scipy.cluster.vq import kmeans2
from torch import Tensor, nn

from protocols.errors import BenchError, UserError
from protocols.ranking_problem import TrainingData
from recommenders.data.pairs import PairBatch
from recommenders.data.prefixes import PrefixBatch
from recommenders.data.sequences import pad_histories
from recommenders.encoder.item_encoder import ItemEncoder
from recommenders.encoder.projection import Content
from recommenders.recbole import adapter, compat
from recommenders.recbole.dataset import ATTRIBUTE, FIELDS, WarmDataset

# What some models keep between evaluations; scores would stay those of the parameters it was made with.
CACHES = ("restore_user_e", "restore_item_e")
# Users and items scored at once by models that score pair by pair.
PAIRS = 200_000


@contextmanager
def global_random(seed: int, stage: int) -> Iterator[None]:
    """Seed the generators of `random` and numpy, which some models draw from, and put their states back."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002  # RecBole's own
    number = int(np.random.SeedSequence([seed, stage, 0x4EC]).generate_state(1)[0])
    random.seed(number)
    np.random.seed(number)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


class ExtraRows(nn.Module):
    """An item encoder with rows behind the warm items that stand for no item, such as the mask of BERT4Rec.

    Such a model knows the extra rows by number, so there is no place for cold items.
    """

    bias = None

    def __init__(self, encoder: ItemEncoder, rows: int, init_std: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.extra = nn.Parameter(torch.randn(rows, encoder.embedding_dim) * init_std)
        self.embedding_dim = encoder.embedding_dim

    @property
    def weight(self) -> Tensor:
        """Table [1 + n_warm + rows, d]."""
        return torch.cat([self.encoder.weight[: 1 + self.encoder.n_warm], self.extra])

    def forward(self, ids: Tensor) -> Tensor:
        """Vectors [..., d] of ids [...]."""
        return F.embedding(ids, self.weight)


@dataclass(eq=False)
class Network:
    """A model of RecBole with its item encoder.

    Attributes
    ----------
    sequential
        Whether it scores a history, or a user that it knows.
    max_length
        Length that histories are padded to.
    prepare
        What RecBole's own loader does to every batch of this model (masking, reversing); None: nothing.
    """

    model: Any
    encoder: ItemEncoder
    sequential: bool
    max_length: int
    device: str
    prepare: Any
    dataset: WarmDataset

    def interaction(self, batch: PrefixBatch | PairBatch) -> Any:
        """Make RecBole's batch of ours."""
        model = self.model
        columns = {model.USER_ID: batch.user, model.NEG_ITEM_ID: batch.negative}
        if isinstance(batch, PrefixBatch):
            columns |= {
                model.ITEM_SEQ: batch.history,
                model.ITEM_SEQ_LEN: batch.length,
                model.POS_ITEM_ID: batch.target,
                f"{ATTRIBUTE}_list": np.minimum(batch.history, 1),
            }
        else:
            columns[model.ITEM_ID] = batch.item
            if self._pointwise:
                columns = {
                    model.USER_ID: np.tile(batch.user, 2),
                    model.ITEM_ID: np.concatenate([batch.item, batch.negative]),
                    "label": np.repeat(np.array([1.0, 0.0], np.float32), len(batch.user)),
                }
        return self._interaction(columns)

    @property
    def _pointwise(self) -> bool:
        return self.model.input_type == InputType.POINTWISE

    def _interaction(self, columns: dict[str, np.ndarray]) -> Any:
        made = Interaction({name: torch.from_numpy(column) for name, column in columns.items()})
        if self.prepare is not None:
            made = self.prepare(self.dataset, made)
        return made.to(self.device)

    def ready_to_score(self) -> None:
        """Evaluation mode, with the item table made once and nothing left of earlier parameters."""
        self.model.eval()
        for name in CACHES:
            if hasattr(self.model, name):
                setattr(self.model, name, None)
        self.encoder.hold_table()

    def scores(self, users: np.ndarray, histories: Sequence[np.ndarray]) -> np.ndarray:
        """Scores float32 [B, 1 + items], the first column being padding; warm items only where it knows no others."""
        columns = {self.model.USER_ID: users}
        if self.sequential:
            ids, length = pad_histories(histories, self.max_length)
            ids = np.pad(ids, ((0, 0), (0, self.max_length - ids.shape[1])))
            columns |= {
                self.model.ITEM_SEQ: ids,
                self.model.ITEM_SEQ_LEN: length,
                # models of the CPR family compute a loss on their way to the scores: any item serves
                self.model.POS_ITEM_ID: np.ones_like(users),
                f"{ATTRIBUTE}_list": np.minimum(ids, 1),
            }
        with torch.inference_mode():
            try:
                found = self.model.full_sort_predict(self._interaction(columns))
                return found.view(len(users), -1).float().cpu().numpy()
            except NotImplementedError:
                return self._pair_by_pair(columns, len(users))

    def _pair_by_pair(self, columns: dict[str, np.ndarray], count: int) -> np.ndarray:
        n_ids = self.encoder.n_warm + 1
        out = np.zeros((count, n_ids), np.float32)
        step = max(1, PAIRS // n_ids)
        for at in range(0, count, step):
            part = {name: column[at : at + step] for name, column in columns.items()}
            rows = len(part[self.model.USER_ID])
            wide = {name: np.repeat(column, n_ids, axis=0) for name, column in part.items()}
            wide[self.model.ITEM_ID] = np.tile(np.arange(n_ids), rows)
            out[at : at + rows] = self.model.predict(self._interaction(wide)).view(rows, n_ids).float().cpu().numpy()
        return out


def build(
    name: str,
    data: TrainingData,
    encoder: Callable[[int], ItemEncoder],
    options: Mapping[str, Any],
    *,
    max_length: int,
    init_std: float,
    device: str,
) -> Network:
    """Construct a model and put an item encoder in the place of its item table.

    Parameters
    ----------
    name
        Of the model in RecBole.
    encoder
        Makes the item encoder for the width of the model's table.
    options
        Under RecBole's names; `model_options` adds what RecBole ships.
    init_std
        Standard deviation of rows of the table that stand for no item.

    Raises
    ------
    UserError
        If there is no such model, or it has no item table of its own.
    BenchError
        If it asks for something that it is not handed.
    """
    kind = compat.model_class(name)
    config = adapter.model_config(options, max_length, device)
    prepare = construct_transform(config) if config["transform"] else None  # adds names of fields to the config
    dataset = WarmDataset(data, max_length)
    model = kind(config, dataset).to(device)
    if name == "S3Rec":
        _second_stage(model)
    table = getattr(model, "item_embedding", None)
    if not isinstance(table, nn.Embedding):
        raise UserError(
            f"RecBole's {name} has no item table that features could feed",
            remedy="`bench list recbole` names the models that have one",
        )
    width, extra = table.weight.shape[1], table.weight.shape[0] - data.n_warm - 1
    if extra < 0:
        raise BenchError(f"the item table of {name} has fewer rows than there are items")
    items = encoder(width).to(device)
    adapter.inject(model, ExtraRows(items, extra, init_std).to(device) if extra else items)
    if not hasattr(model, "USER_ID"):
        model.USER_ID = FIELDS["USER_ID_FIELD"]
    sequential = issubclass(kind, SequentialRecommender)
    network = Network(model, items, sequential, max_length, device, prepare, dataset)
    _fit_the_table(network, data)
    return network


def model_options(name: str, dim: int, batch: int, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a model: those of RecBole's overall.yaml, then of the model's own file, then ours."""
    options: dict[str, Any] = {"loss_type": "CE", "pooling_mode": "mean", **compat.default_options(name)}
    options |= {size: dim for size in ("embedding_size", "hidden_size") if size in options}
    return {**options, "selected_features": [ATTRIBUTE], "train_batch_size": batch, **overrides}


def _second_stage(model: Any) -> None:
    """Let S3Rec predict next items from the start: its first stage predicts attributes, and those are all the same."""
    model.train_stage, model.loss_fct = "finetune", nn.CrossEntropyLoss()


def cluster(model: Any, seed: int, epoch: int) -> None:
    """Group users and items before an epoch, for NCL's prototypes; RecBole's trainer does it with faiss on a GPU."""

    def run_kmeans(vectors: np.ndarray) -> tuple[Tensor, Tensor]:
        count = min(model.k, max(1, len(vectors) // 4))
        centres, member = kmeans2(vectors, count, minit="points", seed=np.random.default_rng([seed, epoch]))
        middle = F.normalize(torch.from_numpy(centres).float(), dim=1)
        return middle.to(model.device), torch.from_numpy(member).long().to(model.device)

    model.run_kmeans = run_kmeans
    model.e_step()


def _fit_the_table(network: Network, data: TrainingData) -> None:
    """Leave cold items out of the table where a model has no place for them."""
    if len(data.items) == data.n_warm:
        return
    try:
        network.ready_to_score()
        network.scores(np.ones(2, np.int64), [np.arange(min(3, data.n_warm))] * 2)
    except (RuntimeError, IndexError, ValueError):
        network.encoder.warm_only = True
    finally:
        network.model.train()


@contextmanager
def _away_from_zero(content: Content) -> Iterator[None]:
    """Move parameters that start at zero, and with them what features say, away from it for a while."""
    kept = [parameter.detach().clone() for parameter in content.parameters()]
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in content.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator).to(parameter))
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(content.parameters(), kept, strict=True):
                parameter.copy_(value)


def check_injection(network: Network, data: TrainingData) -> None:
    """Assert that a changed feature moves scores: of the item itself, or of others that follow it or neighbour it.

    Raises
    ------
    BenchError
        If nothing moves: the features would be fed to a table that the model does not read.
    """
    content = network.encoder.content
    assert content is not None
    user = int(data.user[0]) + 1
    history = data.sequences[user - 1][-network.max_length :]

    def scores() -> np.ndarray:
        network.model.train()  # forgets a table that was kept
        network.ready_to_score()
        with global_random(0, 0):
            return network.scores(np.array([user, user]), [history, history])[0]

    with _away_from_zero(content):
        before = scores()
        item = int(history[-1])
        kept = content.features[item].clone()
        mean = content.features.float().mean(dim=0)
        content.features[item] = mean.to(kept.dtype) - 3 * (kept.float() + 1).to(kept.dtype)
        after = scores()
        content.features[item] = kept
    network.model.train()
    if not np.isfinite(before[1:]).any() or np.allclose(before, after, rtol=1e-6, atol=1e-9):
        raise BenchError(f"features do not reach the scores of {type(network.model).__name__}")
