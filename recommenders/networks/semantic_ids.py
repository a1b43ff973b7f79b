"""The network of `semantic-ids`: a history of items made of codes, and a decoder of the next item's codes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from protocols.features import ItemFeatures
from recommenders.data.semantic_codes import SemanticCodes, Trie
from recommenders.data.sequences import pad_histories
from recommenders.networks.sasrec import Block
from recommenders.networks.whole_sequence import FastDropout
from recommenders.training import losses


class CodeEncoder(nn.Module):
    """Item vectors as sums of the vectors of their codes; callable on ids, positions plus one, 0 for padding.

    Attributes
    ----------
    facts
        Of the codes, see `SemanticCodes`.
    """

    content = None
    ids = None
    codes: Tensor

    def __init__(self, codes: SemanticCodes, dim: int, init_std: float) -> None:
        super().__init__()
        self.facts = codes.facts
        self.levels = nn.ParameterList(torch.randn(size, dim) * init_std for size in codes.sizes)
        self.register_buffer("codes", torch.from_numpy(codes.table), persistent=False)

    def parts(self, codes: Tensor) -> Tensor:
        """Vectors [..., l, d] of codes [..., l]."""
        found = [F.embedding(codes[..., level], self.levels[level]) for level in range(codes.shape[-1])]
        return torch.stack(found, dim=-2)

    def forward(self, ids: Tensor) -> Tensor:
        """Vectors [..., d] of ids [...]."""
        return self.parts(self.codes[(ids - 1).clamp(min=0)]).sum(dim=-2) * (ids > 0)[..., None]

    @contextmanager
    def shared_table(self) -> Iterator[None]:
        """Do nothing: vectors are made when they are asked for."""
        yield

    def penalty(self) -> None:
        """Return None: there is no term that a training step adds to the loss."""

    def layer_weights(self) -> list[float]:
        """Return no weights of layers."""
        return []

    def check_frozen(self, features: ItemFeatures | None) -> None:
        """Do nothing: the features are no part of the network."""


class SemanticIdNetwork(nn.Module):
    """Causal history encoder over items, and a causal decoder over the codes of the next one.

    The decoder reads the state of the history and then the codes so far, one block after the other, and gives the
    logits of the next code by products with the vectors of the codes of that level. `dense` uses the same parameters
    without generating: the decoder reads the state alone, and scores are products with the sums of codes.
    """

    item_embedding: CodeEncoder

    ITEM_SEQ, POS_ITEM_ID, TIME = "item_id_list", "item_id", "time"

    def __init__(
        self, encoder: CodeEncoder, dim: int, layers: int, heads: int, inner: int, dropout: float, length: int,
        dense: bool, n_warm: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.item_embedding, self.max_seq_length, self.dense, self.n_warm = encoder, length, dense, n_warm
        self.position_embedding = nn.Parameter(torch.randn(length, dim) * 0.1)
        self.level_embedding = nn.Parameter(torch.randn(len(encoder.levels), dim) * 0.1)
        self.history = nn.ModuleList(Block(dim, heads, inner, dropout) for _ in range(layers))
        self.decoder = nn.ModuleList(Block(dim, heads, inner, dropout) for _ in range(layers))
        self.norm_history, self.norm_decoder = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout = FastDropout(dropout)

    def states(self, ids: Tensor) -> Tensor:
        """States [B, L, d] of the histories up to each position."""
        scale = self.position_embedding.shape[1] ** 0.5
        x = self.dropout(self.item_embedding(ids) * scale + self.position_embedding[: ids.shape[1]])
        for block in self.history:
            x = block(x)
        return self.norm_history(x)

    def decode(self, state: Tensor, codes: Tensor) -> Tensor:
        """Vectors [T, l + 1, d] before each code of states [T, d] and the first codes [T, l], and after the last."""
        x = state[:, None]
        if codes.shape[1]:
            scale = self.level_embedding.shape[1] ** 0.5
            x = torch.cat([x, self.item_embedding.parts(codes) * scale], dim=1)
        x = x + self.level_embedding[: x.shape[1]]
        for block in self.decoder:
            x = block(x)
        return self.norm_decoder(x)

    def calculate_loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Mean over targets of the cross-entropy of their codes, summed over levels; of the item, if `dense`."""
        target = batch[self.POS_ITEM_ID].flatten()
        there = target.nonzero().squeeze(1)
        hidden = self.states(batch[self.ITEM_SEQ]).flatten(0, 1)[there]
        target, encoder = target[there] - 1, self.item_embedding
        with torch.autocast(hidden.device.type, enabled=False):
            hidden = hidden.float()
            if self.dense:
                table = encoder.parts(encoder.codes[: self.n_warm]).sum(dim=1)
                return losses.full_softmax(self.decode(hidden, target.new_empty(len(target), 0))[:, 0], table, target)
            codes = encoder.codes[target]
            found = self.decode(hidden, codes[:, :-1])
            each = [F.cross_entropy(found[:, i] @ e.T, codes[:, i]) for i, e in enumerate(encoder.levels)]
            return torch.stack(each).sum()

    def search(self, state: Tensor, trie: Trie, beams: int) -> Tensor:
        """Log-probabilities [B, N] of the items of a trie, by beam search; -inf for those outside of the beams.

        Only prefixes of items are followed. With as many beams as there are prefixes the search is exact.
        """
        score = state.new_zeros(len(state), 1)
        rows, nodes = torch.arange(len(state), device=state.device), torch.zeros_like(state[:, 0], dtype=torch.long)
        prefix = torch.empty(1, 0, dtype=torch.long, device=state.device)
        for level, (found, parents) in enumerate(zip(trie.prefixes, trie.parents, strict=True)):
            out = self.decode(state[rows], prefix[nodes])[:, -1]
            logits = F.log_softmax(out @ self.item_embedding.levels[level].T, dim=1)
            pair = torch.full(score.shape, -1, dtype=torch.long, device=state.device)
            pair[rows, nodes] = torch.arange(len(rows), device=state.device)
            prefix, parent = (torch.from_numpy(one).to(state.device) for one in (found, parents))
            known = pair[:, parent]
            score = score[:, parent] + logits[known.clamp(min=0), prefix[:, -1]]
            score = score.masked_fill(known < 0, -torch.inf)
            if score.shape[1] > beams:
                least = score.topk(beams, dim=1).values[:, -1:]
                score = score.masked_fill(score < least, -torch.inf)
            rows, nodes = (score > -torch.inf).nonzero(as_tuple=True)
        return score[:, torch.from_numpy(trie.leaf).to(state.device)]


class SemanticIdScorer:
    """Scores of a `SemanticIdNetwork`; warm and cold items are searched apart, so that neither displaces the other."""

    def __init__(self, model: SemanticIdNetwork, beams: int) -> None:
        self.model, self.beams = model.eval(), beams
        table = model.item_embedding.codes.cpu().numpy()
        parts = [slice(0, model.n_warm), slice(model.n_warm, len(table))]
        self.n_items, self.parts = len(table), [part for part in parts if part.start < part.stop]
        self.tries = [Trie.of(table[part]) for part in self.parts]

    def score(self, users: Sequence[str], histories: Sequence[np.ndarray]) -> np.ndarray:
        """Score all items of the problem for some users; see `protocols.ranking_problem.Scorer`."""
        model, encoder = self.model, self.model.item_embedding
        ids, length = pad_histories(histories, model.max_seq_length)
        scores = np.full((len(users), self.n_items), -np.inf, dtype=np.float32)
        with torch.inference_mode():
            device = model.position_embedding.device
            states = model.states(torch.from_numpy(ids).to(device))
            state = states[torch.arange(len(ids)), torch.from_numpy(length - 1)]
            for part, trie in zip(self.parts, self.tries, strict=True):
                if model.dense:
                    user = model.decode(state, encoder.codes.new_empty(len(state), 0))[:, 0]
                    found = user @ encoder.parts(encoder.codes[part]).sum(dim=1).T
                else:
                    found = model.search(state, trie, self.beams)
                scores[:, part] = found.cpu().numpy()
        return scores
