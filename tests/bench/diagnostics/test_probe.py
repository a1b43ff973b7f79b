"""Linear probes."""

import numpy as np
import pandas as pd

from bench.diagnostics.probe import probe
from protocols.features import Features, FeatureSpace


def test_probes_find_what_is_there_and_nothing_else():
    rng = np.random.default_rng(0)
    n = 400
    colour, number = rng.integers(0, 4, n), rng.normal(size=n)
    values = np.concatenate([np.eye(4)[colour], number[:, None], rng.normal(size=(n, 10))], axis=1)
    status = np.array(["ok"] * (n - 1) + ["error"])
    empty = np.array([""] * n)
    space = FeatureSpace("toy", 1, "vector", {})
    ids = [f"i{i}" for i in range(n)]
    features = Features(space, ids, values.astype(np.float32), status, empty, np.zeros(n))
    factors = pd.DataFrame(
        {"colour": [f"c{c}" for c in colour], "number": number, "hidden": rng.choice(["a", "b"], n)}, index=ids
    ).sample(frac=1, random_state=1)
    found = probe(features, factors)
    assert found.loc["colour", "accuracy"] > 0.95
    assert found.loc["number", "accuracy"] > 0.6
    assert abs(found.loc["hidden", "accuracy"] - 0.5) < 0.1
    assert found.loc["number", "chance"] < 0.35
