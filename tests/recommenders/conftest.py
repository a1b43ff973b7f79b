"""Small planted data that the tests of recommenders share. Also loaded by path from a process that gets killed."""

from dataclasses import replace

import numpy as np
import pytest

from protocols.concatenated import ConcatenatedItems
from protocols.features import ItemFeatures
from protocols.ranking_problem import TrainingData


def training_data(sequences, n_warm=None, n_cold=0):
    """Training data of sequences of item positions; `n_cold` more items that nobody has taken."""
    n_warm = n_warm or int(max(max(s) for s in sequences)) + 1
    sequences = [np.asarray(s, dtype=np.int64) for s in sequences]
    return TrainingData(
        items=np.array([f"w{i:04d}" for i in range(n_warm)] + [f"x{i:04d}" for i in range(n_cold)]),
        n_warm=n_warm,
        users=np.array([f"u{i:04d}" for i in range(len(sequences))]),
        user=np.repeat(np.arange(len(sequences)), [len(s) for s in sequences]),
        item=np.concatenate(sequences),
        timestamp=np.concatenate([np.arange(len(s)) for s in sequences]),
        border=10**12,
        release=np.zeros(n_warm + n_cold, dtype=np.int64),
    )


def chains(users=80, items=30, length=12, seed=0, noise=0.1):
    """Sequences in which one item follows another: a planted permutation, with some noise; and the permutation."""
    rng = np.random.default_rng(seed)
    follows = np.roll(rng.permutation(items), 1)[np.argsort(rng.permutation(items))]
    out = []
    for _ in range(users):
        row = [int(rng.integers(items))]
        while len(row) < length:
            row.append(int(rng.integers(items)) if rng.random() < noise else int(follows[row[-1]]))
        out.append(row)
    out += [[i, int(follows[i])] for i in range(items)]  # every item is warm
    return out, follows


def item_features(n_items, n_warm, dim=12, seed=0, values=None):
    """Random features of all items with the statistics of the warm ones."""
    if values is None:
        values = np.random.default_rng(seed).normal(2.0, 3.0, (n_items, dim)).astype(np.float32)
    warm = values[:n_warm].astype(np.float32)
    scale = float(np.sqrt(warm.var(axis=0).mean())) or 1.0
    return ItemFeatures("test-space", values, np.ones(len(values), dtype=bool), warm.mean(axis=0), scale)


def views_for(fusion, features):
    """The features as a fusion takes them: for `cross-attention` the first half of the columns is the coarse view."""
    if fusion != "cross-attention":
        return features
    half = features.values.shape[1] // 2
    cut = [slice(0, half), slice(half, None)]
    parts = [replace(features, values=features.values[:, at], mean=features.mean[at]) for at in cut]
    return ConcatenatedItems.of(parts, features.space_id)


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def make_data():
    return training_data


@pytest.fixture(scope="session")
def make_features():
    return item_features


@pytest.fixture(scope="session")
def make_views():
    return views_for


@pytest.fixture(scope="session")
def planted():
    return chains()
