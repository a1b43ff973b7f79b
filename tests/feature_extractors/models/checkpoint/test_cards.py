"""The table of checkpoints: who uses it, and what is said of a checkpoint that is not in it."""

import json
import shutil
from dataclasses import replace

import pytest
from click.testing import CliRunner

from bench import registry
from bench.cli import cli
from feature_extractors import pocket
from feature_extractors.base import ExtractContext
from feature_extractors.models.checkpoint import cards, checkpoints
from feature_extractors.pipeline.resolution import resolve_chain, unlisted
from feature_extractors.titles import Titles


def test_every_checkpoint_that_an_extractor_takes_has_a_card_and_ids_are_unique():
    ids = [card.id for card in cards.CARDS]
    assert len(set(ids)) == len(ids)
    taken = {one for name in registry.names("extractor") for one in registry.load("extractor", name).checkpoints}
    assert taken <= set(ids)
    assert all(len(card.revision) == 40 for card in cards.CARDS if card.revision)


def test_bench_list_checkpoints_shows_licences_and_users_of_each():
    found = CliRunner().invoke(cli, ["list", "checkpoints", "--json"])
    rows = {row["name"]: row for row in json.loads(found.output)}
    assert set(rows) == {card.id for card in cards.CARDS}
    row = rows["BAAI/bge-large-en-v1.5"]
    assert row["licence"] == "MIT (https://huggingface.co/BAAI/bge-large-en-v1.5)"
    assert "captions" in row["default of"]


@pytest.mark.parametrize(("folder", "licence"), [("mine", cards.NOT_LISTED), ("bge-large-en-v1.5", "MIT")])
def test_a_folder_works_by_its_name_or_is_said_to_be_in_no_table(tmp_path, folder, licence):
    shutil.copytree(pocket.TEXT_ENCODER, tmp_path / folder)
    context = ExtractContext(tmp_path / "store")
    chain = resolve_chain(Titles(text_encoder=str(tmp_path / folder)), context)
    assert [space.provenance["licences"] for space in chain] == [[licence]]
    assert len(unlisted(chain)) == (licence == cards.NOT_LISTED)
    ours = resolve_chain(Titles(text_encoder="pocket"), context)
    assert (ours[0].provenance["licences"], unlisted(ours)) == ([None], [])


def test_the_revision_of_the_card_is_loaded_unless_another_one_is_asked_for_or_pinned(tmp_path, monkeypatch):
    commit, pins, asked = "c" * 40, tmp_path / "pins.json", []

    def download(word, revision, **how):
        asked.append(revision)
        return str(shutil.copytree(pocket.TEXT_ENCODER, tmp_path / str(revision), dirs_exist_ok=True))

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.setattr(cards, "CARDS", (replace(cards.find("BAAI/bge-large-en-v1.5"), revision=commit),))
    word = "BAAI/bge-large-en-v1.5"
    assert checkpoints.resolve(word, pocket.TEXT_ENCODER).revision == commit
    assert checkpoints.resolve(word, pocket.TEXT_ENCODER, "main").revision == "main"
    pins.write_text(json.dumps({word: "d" * 40}))
    assert checkpoints.resolve(word, pocket.TEXT_ENCODER, pins=pins).revision == "d" * 40
    assert asked == [commit, "main", "d" * 40]
