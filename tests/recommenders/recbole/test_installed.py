"""Without recbole, a run says so before anything is loaded, and how to install it."""

import importlib.util
import tomllib
from pathlib import Path

import pytest

from protocols.errors import INSTALL_RECBOLE, UserError
from recommenders.base import FitRequest
from recommenders.recbole_model import RecBole
from recommenders.sasrec import SASRec


@pytest.mark.parametrize("plugin", [SASRec(), RecBole(model="NARM")])
def test_a_missing_recbole_is_named(plugin, monkeypatch):
    request = FitRequest(data=None, features=None, fusion="id", seed=0, device="cpu")
    plugin.check(request)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs the package recbole, which is not installed") as caught:
        plugin.check(request)
    assert caught.value.remedy == INSTALL_RECBOLE


def test_plain_pip_is_asked_for_nothing_that_it_cannot_install():
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    assert not any(one.startswith(("recbole", "ray")) for one in project["project"]["dependencies"])
    pin = INSTALL_RECBOLE.split("'")[1]
    assert project["project"]["optional-dependencies"]["recbole"] == [pin]
    assert "recbole" in project["tool"]["uv"]["default-groups"]
