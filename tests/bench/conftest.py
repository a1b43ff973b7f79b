"""Synthetic records, for boards without any training; the command line; small clips; a browser."""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import av
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from bench import records, registry
from bench.cli import cli
from protocols.dataset import DatasetPlugin


@pytest.fixture(scope="session")
def bench():
    """A function that runs a command line in this process: exit_code, stdout and stderr are those of a shell."""

    def bench(*words, env=None, typed=None):
        return CliRunner().invoke(cli, [str(word) for word in words], env=env, input=typed, catch_exceptions=False)

    return bench


@dataclass(frozen=True)
class Tiny(DatasetPlugin):
    """A dataset plug-in whose small log is made by a test."""

    name: ClassVar[str] = "tiny"
    dataset: ClassVar = None

    def load(self, cache, progress):
        return self.dataset


@pytest.fixture(scope="module")
def tiny_world(simulate_dataset):
    """The dataset plug-in `tiny` under its name."""
    with pytest.MonkeyPatch.context() as patch:
        honest = registry.load
        patch.setattr(registry, "load", lambda kind, name: Tiny if name == "tiny" else honest(kind, name))
        patch.setattr(Tiny, "dataset", simulate_dataset(seed=5, releases=True))
        yield


@pytest.fixture
def write_cell(tmp_path):
    """A function that writes one cell's records and returns their paths; `lift` is added to every user's values."""

    def write(model, extractor, fusion, *, seeds=(1,), folds=2, users=200, lift=0.0, board="b", **more):
        cell = records.Cell("toy", "rolling-7d", model, extractor, fusion, {"model": {"dim": 8}})
        paths = []
        for seed in seeds:
            for fold in range(folds):
                base = np.random.default_rng([7, fold]).uniform(0.1, 0.6, users)  # the same users for every cell
                noise = np.random.default_rng([seed, fold, len(extractor)]).normal(0, 0.02, users)
                value = np.clip(base + lift + noise, 0, 1)
                frame = pd.DataFrame({"user_id": [f"u{i}" for i in range(users)], "hr@10": value, "ndcg@10": value})
                frame["ndcg@10_warm"], frame["ndcg@10_cold"] = value, np.nan
                record = records.Record(
                    cell=asdict(cell),
                    key=f"k{seed}{fold}",
                    seed=seed,
                    fold=fold,
                    board=board,
                    fold_info={"folds": folds, "users": users, "targets_per_user_mean": 2.0},
                    audit=[{"check": "parameters", "ok": True, "detail": ""}],
                    **more,
                )
                paths.append(records.write(tmp_path / cell.folder, record, frame))
        return paths

    return write


@pytest.fixture(scope="session")
def write_clip():
    """A function that writes a second of one colour (R, G, B), 320 x 160."""

    def write(path, colour):
        with av.open(str(path), "w") as out:
            stream = out.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = 320, 160, "yuv420p"
            for _ in range(10):
                frame = av.VideoFrame.from_ndarray(np.full((160, 320, 3), colour, dtype=np.uint8), "rgb24")
                out.mux(stream.encode(frame))
            out.mux(stream.encode())

    return write


@pytest.fixture(scope="module")
def browser(do_without):
    """A started Chromium."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        do_without("browser", "playwright is not installed")
    with sync_playwright() as driver:
        own = driver.chromium.executable_path
        found = own if Path(own).exists() else shutil.which("chromium") or shutil.which("google-chrome")
        if found is None:
            do_without("browser", "there is no Chromium on this machine")
        started = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def expect(browser):
    """Playwright's assertions that wait; unlike `wait_for_function` they evaluate nothing, which the pages forbid."""
    from playwright.sync_api import expect

    expect.set_options(timeout=120_000)
    return expect


@pytest.fixture
def open_page(browser):
    """A function that opens a file and returns the page; at the end nothing may have gone wrong in the console."""
    problems, contexts = [], []

    def open_page(path, **settings):
        context = browser.new_context(**settings)
        contexts.append(context)
        context.set_default_timeout(120_000)
        page = context.new_page()
        page.on("console", lambda said: problems.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda asked: problems.append(asked.url) if asked.url.startswith("http") else None)
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []
