"""Names of datasets that plug-ins load."""

from dataclasses import replace

import pytest

from bench import registry
from bench.runs import run as runs
from bench.runs.rows import RowSpec
from protocols.errors import BenchError
from protocols.progress import Quiet


def test_a_plug_in_that_loads_data_of_another_name_is_refused(tiny_world, tmp_path, monkeypatch):
    tiny = registry.load("dataset", "tiny")
    monkeypatch.setattr(tiny, "dataset", replace(tiny.dataset, name="other"))
    request = runs.Request([RowSpec("pop", "id", "id")], tmp_path, tmp_path, "tiny", "rolling-7d")
    with pytest.raises(BenchError, match="dataset 'tiny' loads data that are called 'other'") as caught:
        runs.prepare(request, Quiet())
    assert "Dataset.build(self.name" in caught.value.remedy
