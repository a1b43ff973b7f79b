"""RQ-VAE: a residual-quantised autoencoder of item features, whose codes are semantic ids."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recommenders.data.semantic_codes import Clusters
from recommenders.training import loop

#: Width of the hidden layers and of what is quantised; steps, items a step, learning rate of the training.
HIDDEN, LATENT = 128, 32
STEPS, BATCH, LR = 1000, 1024, 1e-3
#: Weight of what moves encodings to their centres, and steps after which a code that nobody had is placed anew.
COMMITMENT, RESTART = 0.25, 50


class RQVAE(nn.Module):
    """Encoder, a codebook for each level that quantises what the levels before left over, and decoder.

    Rajput et al., "Recommender Systems with Generative Retrieval", NeurIPS 2023, after Lee et al., "Autoregressive
    Image Generation using Residual Quantization", CVPR 2022. Codes start at residuals of random items, and in the first
    half of the training those without items do so again; else few codes end up with all items. (The paper starts them
    at the centres of k-means, for the same reason.)
    """

    def __init__(self, width: int, levels: int, codes: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, LATENT))
        self.decoder = nn.Sequential(nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, width))
        self.books = nn.ParameterList(torch.zeros(codes, LATENT) for _ in range(levels))

    def quantise(self, encoded: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Codes [B, levels] of encodings [B, d], the sums of their centres [B, d], and the loss of quantising."""
        left, total, codes, loss = encoded, torch.zeros_like(encoded), [], encoded.new_zeros(())
        for book in self.books:
            nearest = torch.cdist(left.detach(), book.detach()).argmin(dim=1)
            centre = book[nearest]
            loss = loss + F.mse_loss(centre, left.detach()) + COMMITMENT * F.mse_loss(left, centre.detach())
            codes.append(nearest)
            left, total = left - centre.detach(), total + centre
        return torch.stack(codes, dim=1), total, loss

    def loss(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Mean squared error of the decoded vectors [B, K], plus the loss of quantising; and the codes."""
        encoded = self.encoder(vectors)
        codes, total, loss = self.quantise(encoded)
        through = encoded + (total - encoded).detach()  # the gradient passes by the rounding
        return F.mse_loss(self.decoder(through), vectors) + loss, codes

    @torch.no_grad()
    def restart(self, vectors: Tensor, used: Tensor) -> None:
        """Place the codes that are not `used` (bool [levels, codes]) at residuals of vectors [B, K]."""
        left = self.encoder(vectors)
        for book, known in zip(self.books, used, strict=True):
            idle = (~known).nonzero().squeeze(1)
            book[idle] = left[torch.randint(len(left), (len(idle),))]
            left = left - book[torch.cdist(left, book).argmin(dim=1)]


def rqvae_clusters(vectors: np.ndarray, n_warm: int, levels: int, codes: int, seed: int) -> Clusters:
    """Train an RQ-VAE on the warm items and quantise all.

    Parameters
    ----------
    vectors
        float32 [M, K], the warm items first.
    levels, codes
        Codebooks, and codes in each (fewer where there are fewer warm items).
    seed
        Of initial weights, batches and restarts.
    """
    everything = torch.from_numpy(np.ascontiguousarray(vectors, dtype=np.float32))
    warm = everything[:n_warm]
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)  # the same bits on any number of threads
        with loop.seeded(seed, 0, "cpu"):
            model = RQVAE(warm.shape[1], levels, min(codes, n_warm))
            _train(model, warm)
        with torch.no_grad():
            members = model.quantise(model.encoder(everything))[0].numpy()
        return Clusters(members, (len(model.books[0]),) * levels)
    finally:
        torch.set_num_threads(threads)


def _train(model: RQVAE, warm: Tensor) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    used = torch.zeros(len(model.books), len(model.books[0]), dtype=torch.bool)
    model.restart(warm, used)
    for step in range(1, STEPS + 1):
        batch = warm if len(warm) <= BATCH else warm[torch.randint(len(warm), (BATCH,))]
        loss, codes = model.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        used.scatter_(1, codes.T, True)
        if step % RESTART == 0:
            if step < STEPS // 2:
                model.restart(batch, used)
            used.zero_()
