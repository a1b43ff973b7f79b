"""Extraction, grids and tuning on a Ray cluster of several nodes on this machine, some of which leave."""

import os
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import psutil
import pytest

from bench import records
from bench.runs import cluster_extraction, engines
from bench.runs import run as runs
from bench.runs.rows import RowSpec, extractor_for
from feature_extractors.base import ExtractContext, Extractor, ItemSource
from feature_extractors.options import FrameOptions
from feature_extractors.pipeline.resolution import resolve_chain
from protocols.errors import UserError
from protocols.features import FeatureSpace
from protocols.progress import Quiet

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.environ.get("BENCH_TEST_RAY"), reason="starts a Ray cluster: BENCH_TEST_RAY=1"),
]


ROOT = Path(__file__).parents[3]
#: Extractions with nodes that come and go at random moments.
TIMES = int(os.environ.get("BENCH_TEST_RAY_TIMES", "3"))


def join(cluster):
    """Add a node; on a busy machine one may need longer to start than Ray waits."""
    for left in reversed(range(5)):
        try:
            return cluster.add_node(num_cpus=2, include_dashboard=False)
        except Exception:
            if not left:
                raise


@pytest.fixture(scope="module")
def cluster():
    """A cluster of three nodes with two slots each; this process is its driver."""
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # as engines.connected, before Ray is imported
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    made = Cluster()
    for _ in range(3):  # the first one is the head
        join(made)
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


@dataclass(frozen=True)
class Colours(FrameOptions, Extractor):
    """Colours of frames as texts, then as vectors, 30 ms a clip: a chain of two stages without torch."""

    name: ClassVar[str] = "colours"

    def extract(self, source, context):
        from feature_extractors.pipeline.run import run_stage
        from feature_extractors.pipeline.stage import Stage, stage_inputs

        def describe(clips):
            time.sleep(0.03 * len(clips))
            return [" ".join(map(str, clip.frames.mean(axis=(1, 2, 3)))) + f" of {len(clips)}" for clip in clips]

        def vectors(texts):
            return np.array([[float(word) for word in text.split(" of ")[0].split()][:1] for text in texts], np.float32)

        inputs = self.select_frames(source, context)
        text = FeatureSpace("colours.text", 1, "text", {"parents": [], **inputs.config})
        texts = run_stage(Stage(text, "texts", 16, lambda: describe, inputs.reader), inputs, context)
        vector = FeatureSpace("colours.vector", 1, "vector", {"parents": [text.id]})
        return run_stage(Stage(vector, "vectors", 16, lambda: vectors), stage_inputs(texts), context)


@pytest.fixture(scope="module")
def colours(demo, tmp_path_factory):
    """Extractor, clips of the demo, and what one process makes of them."""
    extractor, source = Colours(), demo[1]
    return extractor, source, rows(extractor.extract(source, ExtractContext(tmp_path_factory.mktemp("alone"))))


def assert_stored_once(store, source):
    import lance

    found = sorted(store.glob("*.lance"))
    assert len(found) == 2
    for one in found:
        assert sorted(lance.dataset(str(one)).to_table(columns=["item_id"])["item_id"].to_pylist()) == source.item_ids


@pytest.mark.parametrize("seed", range(TIMES))
def test_a_node_leaves_and_another_joins_at_random_moments(cluster, colours, tmp_path, seed):
    extractor, source, wanted = colours
    while len(cluster.worker_nodes) < 2:
        join(cluster)
    cluster.wait_for_nodes()
    draw = random.Random(seed)
    leaving = draw.choice(sorted(cluster.worker_nodes, key=str))
    moves = sorted([(draw.uniform(0.3, 5), "leave"), (draw.uniform(0.3, 5), "join")])

    begun = time.monotonic()
    with ThreadPoolExecutor(1) as other:  # nodes are started in the main thread alone: they set signals
        running = other.submit(cluster_extraction.extract, extractor, source, ExtractContext(tmp_path), "auto")
        for moment, what in moves:
            time.sleep(max(0.0, begun + moment - time.monotonic()))
            cluster.remove_node(leaving) if what == "leave" else join(cluster)
        print(f"seed {seed}: {moves}, over before the last move: {running.done()}")
        found = running.result()
    assert rows(found) == wanted
    assert_stored_once(tmp_path, source)


DRIVER = """
import sys
import threading
from pathlib import Path
from bench.runs import cluster_extraction
from feature_extractors.base import ExtractContext, ItemSource
from tests.bench.runs.test_ray import Colours

address, store, clips = sys.argv[1:]
videos = sorted(map(Path, Path(clips).read_text().split("\\n")))
source = ItemSource([path.stem for path in videos], [None] * len(videos), videos)
cluster_extraction.extract(Colours(), source, ExtractContext(Path(store)), address)
print("done")
"""


def test_a_driver_that_is_killed_is_started_again(cluster, tmp_path, demo):
    videos = sorted(demo[1].videos)
    (tmp_path / "clips").write_text("\n".join(map(str, videos)))
    command = [sys.executable, "-c", DRIVER, cluster.address, str(tmp_path / "store"), str(tmp_path / "clips")]
    first = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not list((tmp_path / "store").glob("*.lance/_versions/*.manifest")):
        assert first.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    first.kill()
    assert "done" not in first.communicate()[0]
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert again.stdout.strip().endswith("done"), again.stderr
    source = ItemSource([path.stem for path in videos], [None] * len(videos), videos)
    wanted = Colours().extract(source, ExtractContext(tmp_path / "alone"))
    assert rows(Colours().extract(source, ExtractContext(tmp_path / "store", overwrite="never"))) == rows(wanted)
    assert_stored_once(tmp_path / "store", source)


def workers():
    """Processes of the cluster that are making a call."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if process.cmdline()[:1] == ["ray::_seeing"]:
                found.append(process)
    return found


def test_a_grid_whose_workers_are_killed_has_the_records_of_a_local_one(cluster, tmp_path):
    request = {"dataset": "ml-100k", "seeds": (1, 2), "options": {"bpr": {"max_epochs": 2, "dim": 8}}}
    rows = [RowSpec("pop", "id", "id"), RowSpec("bpr", "id", "id")]
    over, killed = threading.Event(), []

    def kill():
        while not over.wait(2.0) and len(killed) < 3:
            for process in workers()[:1]:
                process.kill()
                killed.append(process.pid)

    made = {}
    for name, ray in (("local", ""), ("shared", "auto")):
        asked = runs.Request(rows, tmp_path / "cache", tmp_path / name, ray=ray, **request)
        killing = threading.Thread(target=kill if ray else lambda: None)
        killing.start()
        paths = runs.run(asked, Quiet()).paths
        over.set() if ray else None
        killing.join()
        made[name] = {path.name: records.read(path) for path in paths}
    assert killed
    assert made["local"].keys() == made["shared"].keys()
    for name, record in made["local"].items():
        other = made["shared"][name]
        assert record.status == other.status == "ok", other.error
        assert record.metrics == other.metrics and record.users_digest == other.users_digest
    assert not list((tmp_path / "shared").glob(".seen-*"))
