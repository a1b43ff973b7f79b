"""The demo as a dataset: files in the cache, interruptions, bad caches, ground truth apart."""

import hashlib
import re
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest

from protocols.dataset import DatasetPlugin
from protocols.datasets.demo import Demo, truth
from protocols.datasets.demo.factors import WORDS
from protocols.errors import BenchError, DataError, UserError
from protocols.progress import Quiet
from protocols.ranking_problem import TrainingData

ROOT = Path(__file__).parents[4]
CLIPS = 16
SMALL = {"clips": CLIPS, "users": 40, "interactions": 200, "weeks": 4}
LOAD = (
    "import sys; from pathlib import Path; from protocols.datasets.demo import Demo;"
    "from protocols.progress import Quiet;"
    "Demo(clips={clips}, users=40, interactions=200, weeks=4).load(Path(sys.argv[1]), Quiet())"
)


def load(cache, **more):
    return Demo(**{**SMALL, **more}).load(cache, Quiet())


def start(cache, clips=CLIPS, before=""):
    return subprocess.Popen(
        [sys.executable, "-c", before + LOAD.format(clips=clips), str(cache)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )


def content(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*.mp4")}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    load(folder)
    return folder


def training_of(dataset, border):
    items = dataset.items.index.to_numpy().astype(str)
    none = np.zeros(0, dtype=np.int64)
    return TrainingData(items, len(items), none, none, none, none, border, none)


def test_small_world_is_a_dataset_that_says_it_is_simulated(cache):
    dataset = load(cache)
    assert len(dataset.items) == CLIPS and len(dataset.interactions) == 200 and dataset.simulated
    assert dataset.licence == "CC0-1.0" and dataset.card and dataset.root.is_dir()
    log = dataset.interactions.merge(dataset.items, left_on="item_id", right_index=True)
    assert (log["timestamp"] >= log["release"]).all()
    assert not dataset.interactions.duplicated(["user_id", "item_id"]).any()
    assert all(Path(v).stat().st_size > 2000 for v in dataset.items["video"])
    assert dataset.items["duration"].between(2, 4).all()


def test_names_tell_nothing(cache):
    dataset = load(cache)
    known = truth.read(dataset)
    names = [Path(v).name for v in dataset.items["video"]]
    assert all(re.fullmatch(r"[0-9a-f]{20}\.mp4", n) for n in names)
    assert all(re.fullmatch(r"[0-9a-f]{12}", i) for i in dataset.items.index)
    assert names != sorted(names) and known.item_ids != sorted(known.item_ids)
    assert not any(word in " ".join(names) for word in WORDS)
    # neither ids nor file names lie in order of release
    assert abs(np.corrcoef(np.arange(CLIPS), dataset.items["release"].rank())[0, 1]) < 0.7


def test_second_load_renders_nothing_and_is_the_same(cache, monkeypatch):
    first = load(cache)
    monkeypatch.setattr("subprocess.Popen", None)
    assert load(cache).fingerprint == first.fingerprint


def test_a_cache_that_cannot_be_written_is_enough_for_a_world_that_is_there(cache, read_only):
    expected = load(cache).fingerprint
    with read_only(cache):
        assert load(cache).fingerprint == expected
        with pytest.raises(UserError, match=r"cannot write to the cache.*Permission denied"):
            load(cache, content_weight=0.5)


def test_dose_reuses_the_clips_and_changes_the_log(cache, monkeypatch):
    monkeypatch.setattr("subprocess.Popen", None)
    one, null = load(cache), load(cache, content_weight=0.0)
    assert list(one.items["video"]) == list(null.items["video"])
    assert one.items["title"].equals(null.items["title"])
    assert one.fingerprint != null.fingerprint and "content_weight=0.0" in null.version


def test_killed_rendering_ends_its_workers_and_resumes_to_the_same_bytes(cache, tmp_path, wait_until):
    process = start(tmp_path)
    wait_until(lambda: list(tmp_path.rglob("*.mp4")), 60)
    workers = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert workers and not psutil.wait_procs(workers, timeout=20)[1]
    done = content(tmp_path)
    assert 0 < len(done) < CLIPS and not list(tmp_path.rglob("world-*/"))
    stale = next(tmp_path.rglob("media-*/")) / "left.mp4.123.part"
    stale.write_bytes(b"half")
    dataset = load(tmp_path)
    assert content(tmp_path) == content(cache)
    assert not stale.exists() and dataset.fingerprint == load(cache).fingerprint


def test_two_processes_at_once_make_one_whole_cache(cache, tmp_path):
    both = [start(tmp_path), start(tmp_path)]
    said = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert content(tmp_path) == content(cache)
    assert load(tmp_path).fingerprint == load(cache).fingerprint


def test_waiting_for_another_process_is_said(cache, tmp_path):
    from filelock import FileLock

    said = []

    class Loud(Quiet):
        def say(self, message):
            said.append(message)
            lock.release()

    media = tmp_path / "datasets" / "demo" / "media-v2-seed1"
    shutil.copytree(next(cache.glob("datasets/demo/media-*/")), media)
    lock = FileLock(f"{media}.lock", thread_local=False)
    lock.acquire()
    thread = threading.Thread(target=lambda: Demo(**SMALL).load(tmp_path, Loud()))
    thread.start()
    thread.join(60)
    assert any("waiting for another process" in s for s in said)


def test_progress_counts_every_clip(tmp_path):
    steps = []

    class Counting(Quiet):
        @contextmanager
        def task(self, title, total=None):
            steps.append(total)
            yield self

        def advance(self, n=1, note=""):
            steps.append(n)

    Demo(**{**SMALL, "clips": 8, "interactions": 60}).load(tmp_path, Counting())
    assert steps[0] == 8 and sum(steps[1:]) == 8


def test_full_disk_is_a_clear_error_and_keeps_what_was_done(tmp_path):
    # a limit on file size stands in for the full disk: writes fail in the workers in the same way
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000));"
    process = start(tmp_path, before=limit)
    _, err = process.communicate()
    assert process.returncode != 0
    assert "UserError: demo clips: cannot write" in err and "File too large" in err
    assert not list(tmp_path.rglob("*.part"))
    kept = content(tmp_path)
    load(tmp_path)
    assert kept.items() <= content(tmp_path).items()


def test_no_space_for_the_log_is_a_clear_error(cache, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "somewhere")

    shutil.copytree(cache / "datasets", tmp_path / "datasets", ignore=shutil.ignore_patterns("world-*"))
    monkeypatch.setattr("protocols.datasets.demo.truth.write", full)
    with pytest.raises(UserError, match="No space left") as caught:
        load(tmp_path)
    assert "--cache" in caught.value.remedy
    monkeypatch.undo()
    assert load(tmp_path).fingerprint == load(cache).fingerprint


def test_unwritable_cache_is_a_clear_error(tmp_path):
    (tmp_path / "datasets").write_text("a file where a folder should be")
    with pytest.raises(UserError, match="cannot write to the cache"):
        load(tmp_path)


def test_dead_workers_are_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", shutil.which("true"))
    with pytest.raises(BenchError, match="were not rendered"):
        load(tmp_path)


def test_damaged_log_names_the_file(cache, tmp_path):
    shutil.copytree(cache / "datasets", tmp_path / "datasets")
    file = load(tmp_path).root / "interactions.parquet"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DataError, match=re.escape(str(file))):
        load(tmp_path)


def test_without_ground_truth_only_truth_and_oracle_fail(cache, tmp_path):
    shutil.copytree(cache / "datasets", tmp_path / "datasets")
    whole = load(tmp_path)
    border = int(whole.interactions["timestamp"].iloc[150])
    texts = Demo(**SMALL).truth_texts(whole)
    assert set(texts) == set(whole.items.index) and len(set(texts.values())) == CLIPS
    assert truth.load_factors(whole).index.equals(whole.items.index)
    shutil.rmtree(whole.root / "truth")
    bare = load(tmp_path)
    assert bare.fingerprint == whole.fingerprint and content(tmp_path) == content(cache)
    for call in (
        lambda: Demo(**SMALL).truth_texts(bare),
        lambda: Demo(**SMALL).oracle(bare, training_of(bare, border), border + 1),
        lambda: truth.load_factors(bare),
    ):
        with pytest.raises(UserError, match="ground truth"):
            call()


def test_damaged_ground_truth_names_the_folder(cache, tmp_path):
    shutil.copytree(cache / "datasets", tmp_path / "datasets")
    dataset = load(tmp_path)
    (dataset.root / "truth" / "users.npz").write_bytes(b"PK")
    with pytest.raises(DataError, match="truth"):
        Demo(**SMALL).truth_texts(dataset)


def test_factors_agree_with_gold_texts(cache):
    dataset = load(cache)
    factors, texts = truth.load_factors(dataset), Demo(**SMALL).truth_texts(dataset)
    for item, row in factors.iterrows():
        assert {row["colour"], row["texture"], row["palette"]} <= set(re.findall(r"\w+", texts[item]))


def test_oracle_hook_uses_nothing_at_or_after_the_border(cache, tmp_path):
    """Same scores when the log after the border is gone: only ids and histories come from the log."""
    dataset = load(cache)
    border = int(dataset.interactions["timestamp"].quantile(0.75))
    end = int(dataset.interactions["timestamp"].max()) + 1
    before = dataset.interactions[dataset.interactions["timestamp"] < border]
    training = training_of(dataset, border)
    place = {item: i for i, item in enumerate(training.items)}
    histories = before.groupby("user_id")["item_id"].apply(lambda x: np.array([place[i] for i in x]))
    scores = Demo(**SMALL).oracle(dataset, training, end).score(list(histories.index), list(histories))
    assert scores.shape == (len(histories), CLIPS) and (scores.max(axis=1) > 0).all()
    shutil.copytree(cache / "datasets", tmp_path / "datasets")
    before.to_parquet(load(tmp_path).root / "interactions.parquet")
    cut = load(tmp_path)
    assert len(cut.interactions) < 200
    again = Demo(**SMALL).oracle(cut, training_of(cut, border), end).score(list(histories.index), list(histories))
    np.testing.assert_array_equal(scores, again)


def test_oracle_refuses_items_of_another_world(cache):
    dataset = load(cache)
    training = training_of(dataset, 1_736_200_000_000)
    training.items[0] = "stranger"
    with pytest.raises(DataError, match="stranger"):
        Demo(**SMALL).oracle(dataset, training, 1_736_300_000_000)


@pytest.mark.parametrize("option", [{"clips": 0}, {"weeks": 0}, {"content_weight": -1.0}, {"seed": -1}])
def test_impossible_options_are_refused(tmp_path, option):
    with pytest.raises(UserError, match=next(iter(option))):
        load(tmp_path, **option)


def test_datasets_without_ground_truth_say_so(cache):
    class Plain(DatasetPlugin):
        name = "plain"

    dataset = load(cache)
    with pytest.raises(UserError, match="only for simulated data"):
        Plain().truth_texts(dataset)
    with pytest.raises(UserError, match="only for simulated data"):
        Plain().oracle(dataset, training_of(dataset, 1), 2)


def test_listing_the_plugin_is_cheap_and_rendering_imports_no_torch():
    code = (
        "import sys, protocols.datasets.demo;"
        "print([m for m in ('torch', 'av', 'pandas', 'lance', 'numpy') if m in sys.modules]);"
        "import protocols.datasets.demo.media; print([m for m in ('torch', 'pandas') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert out.split("\n")[:2] == ["[]", "[]"]
