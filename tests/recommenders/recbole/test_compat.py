"""Each patch of RecBole: what breaks without it is what works with it."""

import importlib
import subprocess
import sys

import numpy as np
import pytest
import torch

from protocols.errors import UserError
from recommenders.recbole import compat


def test_numpy_aliases_for_metrics_and_config():
    compat.apply()
    from recbole.evaluator.metrics import NDCG

    position = np.array([[False, True, False], [True, False, False]])
    metric = NDCG({"metric_decimal_place": 4, "topk": [3]})
    result = metric.metric_info(position, np.array([1, 1]))
    assert result[:, -1] == pytest.approx([1 / np.log2(3), 1.0])
    assert np.float64 is np.float64 and np.complex128 is np.complex128 and np.str_ is np.str_


def test_dok_matrix_update_fills_the_graph_of_lightgcn():
    from scipy.sparse import coo_matrix, dok_matrix

    compat.apply()
    graph = dok_matrix((5, 5), dtype=np.float32)
    graph._update({(np.int32(0), np.int32(3)): 1, (np.int64(4), np.int64(1)): 1})
    assert graph.toarray().sum() == 2 and graph[0, 3] == 1 and graph[4, 1] == 1

    model = compat.model_class("LightGCN")
    bare = model.__new__(model)
    bare.n_users, bare.n_items = 3, 4
    bare.interaction_matrix = coo_matrix((np.ones(2, np.float32), ([0, 1], [2, 3])), shape=(3, 4))
    adjacency = model.get_norm_adj_mat(bare).to_dense()
    assert adjacency.shape == (7, 7) and torch.allclose(adjacency, adjacency.T)
    assert adjacency[0, 3 + 2] == pytest.approx(1.0, abs=1e-5) and int((adjacency > 0).sum()) == 4


def test_importing_a_sequential_model_leaves_anomaly_mode_off():
    import recbole.model.sequential_recommender.sine as culprit

    importlib.reload(culprit)  # what any first import of a sequential model does
    assert torch.is_anomaly_enabled()
    assert compat.model_class("SASRec").__name__ == "SASRec"
    assert not torch.is_anomaly_enabled()


def test_unknown_model_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="did you mean 'NARM'"):
        compat.model_class("NARN")


def test_default_options_are_recboles():
    options = compat.default_options("SASRec")
    assert options["hidden_dropout_prob"] == 0.5 and options["layer_norm_eps"] == 1e-12
    assert compat.default_options("NoSuchModel") == {} == compat.default_options("../overall")


def test_listing_recommenders_imports_nothing_heavy():
    code = (
        "import sys, recommenders.sasrec, recommenders.pop, recommenders.oracle; "
        "print([m for m in ('torch', 'recbole', 'pandas', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_network_leaves_the_anomaly_mode_on():
    """RecBole's package of sequential models turns it on when it is imported, which doubles the time of training."""
    names = ["gru4rec", "nextitnet", "bert4rec", "sasrec", "two_towers", "pairwise"]
    code = "import torch\n" + "".join(f"import recommenders.networks.{name}\n" for name in names)
    subprocess.run([sys.executable, "-c", code + "assert not torch.is_anomaly_enabled()"], check=True)
