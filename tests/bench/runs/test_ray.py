"""Extraction, grids and tuning on a Ray cluster of several nodes on this machine, some of which leave."""

import os
import threading
import time

import numpy as np
import pytest

from bench import records
from bench.runs import cluster_extraction, engines
from bench.runs import run as runs
from bench.runs.rows import RowSpec, extractor_for
from feature_extractors.base import ExtractContext
from feature_extractors.pipeline.resolution import resolve_chain
from protocols.errors import UserError
from protocols.progress import Quiet

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.environ.get("BENCH_TEST_RAY"), reason="starts a Ray cluster: BENCH_TEST_RAY=1"),
]


@pytest.fixture(scope="module")
def cluster():
    """A cluster of three nodes with two slots each; this process is its driver."""
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # as engines.connected, before Ray is imported
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    for _ in range(2):
        made.add_node(num_cpus=2)
    made.wait_for_nodes()
    ray = engines.connected(made.address)
    yield made
    ray.shutdown()
    made.shutdown()


def square(shared, item):
    folder, power = shared
    marks = len(list(folder.glob(f"{item}-*")))
    (folder / f"{item}-{marks}").touch()
    if item == 13:
        raise UserError("thirteen", remedy="twelve")
    if item == 3 and not marks:
        import os

        os._exit(9)
    return item**power


def drive(engine, items):
    found, dead = {}, []
    engines.drive(engine, items, lambda item, value: found.setdefault(item, value) is not None, dead.append)
    return found, dead


def test_a_call_whose_process_dies_is_made_again(cluster, tmp_path):
    with engines.RayEngine("auto", square, (tmp_path, 2), tmp_path) as engine:
        assert engine.slots() == 6
        assert drive(engine, range(1, 9)) == ({n: n**2 for n in range(1, 9)}, [])
    assert len(list(tmp_path.glob("3-*"))) == 2 and len(list(tmp_path.iterdir())) == 9


def test_an_error_arrives_as_it_is_and_ends_the_other_calls(cluster, tmp_path):
    with (
        pytest.raises(UserError, match="thirteen") as caught,
        engines.RayEngine("auto", square, (tmp_path, 2), tmp_path) as one,
    ):
        drive(one, range(13, 400))
    assert caught.value.remedy == "twelve" and len(list(tmp_path.iterdir())) < 300


def test_needs_that_no_node_has_are_refused(cluster, tmp_path):
    with pytest.raises(UserError, match="no node"):
        engines.RayEngine("auto", square, (tmp_path, 2), tmp_path, "cuda")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Extractor and clips of a small demo."""
    from bench import registry

    plugin = registry.create("dataset", "demo", {"demo": {"clips": 200, "users": 40, "interactions": 600}})
    dataset = plugin.load(tmp_path_factory.mktemp("data"), Quiet())
    extractor = extractor_for("captions", {}, "demo")
    return extractor, runs.item_source(plugin, dataset)


def rows(features):
    return [features.status.tolist(), features.values.tobytes(), features.digest]


def test_a_store_made_by_nodes_that_come_and_go_is_that_of_one_process(cluster, demo, tmp_path):
    extractor, source = demo
    alone = ExtractContext(tmp_path / "alone")
    resolve_chain(extractor, alone, True)
    wanted = extractor.extract(source, alone)

    node = cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()

    def leave():
        time.sleep(4)
        cluster.remove_node(node)

    leaving = threading.Thread(target=leave)
    leaving.start()
    found = cluster_extraction.extract(extractor, source, ExtractContext(tmp_path / "shared"), "auto")
    leaving.join()
    assert rows(found) == rows(wanted)
    assert np.all(found.ok)
    import lance

    for store in (tmp_path / "shared").glob("*.lance"):
        ids = lance.dataset(str(store)).to_table(columns=["item_id"])["item_id"].to_pylist()
        assert sorted(set(ids)) == sorted(source.item_ids)


def test_a_grid_on_a_cluster_has_the_records_of_a_local_one(cluster, tmp_path):
    request = {"dataset": "ml-100k", "seeds": (1, 2), "options": {"bpr": {"max_epochs": 2, "dim": 8}}}
    rows = [RowSpec("pop", "id", "id"), RowSpec("bpr", "id", "id")]
    made = {}
    for name, ray in (("local", ""), ("shared", "auto")):
        asked = runs.Request(rows, tmp_path / "cache", tmp_path / name, ray=ray, **request)
        paths = runs.run(asked, Quiet()).paths
        made[name] = {path.name: records.read(path) for path in paths}
    assert made["local"].keys() == made["shared"].keys()
    for name, record in made["local"].items():
        other = made["shared"][name]
        assert record.status == other.status == "ok", other.error
        assert record.metrics == other.metrics and record.users_digest == other.users_digest
    assert not list((tmp_path / "shared").glob(".seen-*"))
