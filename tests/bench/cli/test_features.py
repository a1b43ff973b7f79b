"""`bench features` and `bench extract` on a folder, as a user calls them."""

import json
import os
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from click.testing import CliRunner

from bench import registry
from bench.cli import cli
from bench.runs import rows as row_specs
from bench.runs import run as runs
from bench.runs import worker
from bench.runs.rows import RowSpec
from feature_extractors.base import Extractor
from feature_extractors.store.lance import FeatureStore, Row
from protocols.errors import UserError
from protocols.features import FeatureSpace


@dataclass(frozen=True)
class Sizes(Extractor):
    """File sizes of clips: two stages without any model."""

    name: ClassVar[str] = "sizes"
    feature: ClassVar[str] = "text, vector"
    licence: ClassVar[str] = "none needed"
    calls: ClassVar[list] = []

    broken: str = ""

    def extract(self, source, context):
        from feature_extractors.pipeline.run import run_stage
        from feature_extractors.pipeline.stage import Stage, stage_inputs, video_inputs

        def read(paths):
            Sizes.calls.append(len(paths))
            if any(self.broken and self.broken in path.name for path in paths):
                raise RuntimeError("stumbled")
            return [str(path.stat().st_size) for path in paths]

        def vectors(texts):
            return np.array([[float(text), 1, int(text) % 7] for text in texts], np.float32)

        text = FeatureSpace("sizes.text", 1, "text", {"parents": []}, {"checkpoints": ["ruler"]})
        words = run_stage(Stage(text, "sizes", 4, lambda: read), video_inputs(source, context), context)
        vector = FeatureSpace("sizes.vector", 1, "vector", {"parents": [text.id]}, text.provenance)
        return run_stage(Stage(vector, "vectors", 8, lambda: vectors), stage_inputs(words), context)


class Entry:
    value = "here:Sizes"

    def load(self):
        return Sizes


@pytest.fixture(autouse=True)
def sizes(monkeypatch):
    real = registry.names
    monkeypatch.setattr(
        registry, "names", lambda kind: {**real(kind), **({"sizes": Entry()} if kind == "extractor" else {})}
    )
    Sizes.calls.clear()
    return Sizes.calls


@pytest.fixture
def media(tmp_path):
    root = tmp_path / "media"
    (root / "x").mkdir(parents=True)
    for k in range(12):
        (root / "x" / f"{k:02d}.mp4").write_bytes(b"v" * (100 + 13 * k))
    (root / "zero.mp4").touch()
    return root


@pytest.fixture
def bench(tmp_path):
    def call(*words, typed=None):
        return CliRunner().invoke(cli, [*words, "--cache", str(tmp_path / "cache")], input=typed, standalone_mode=False)

    return call


@pytest.fixture
def extracted(bench, media):
    def call(*words):
        return bench("extract", "--extractor", "sizes", "--media", str(media), *words)

    return call


def spaces_of(bench):
    return {row["extractor"]: row for row in json.loads(bench("features", "list", "--json").output)["spaces"]}


def test_a_folder_is_extracted_and_summed_up(extracted, bench, media):
    found = extracted()
    assert found.return_value == 0, found
    assert "12   92.3%  ok" in found.output
    assert "1    7.7%  empty        the file has 0 bytes" in found.output
    assert "coverage 92.3% of 13 items, 12 bytes each" in found.output
    assert extracted("--min-coverage", "0.92").return_value == 0
    below = extracted("--min-coverage", "0.93")
    assert below.return_value == 1
    assert "below --min-coverage" in below.output
    rows = spaces_of(bench)
    assert (rows["sizes.text"]["items"], rows["sizes.text"]["ok"]) == (13, 12 / 13)
    assert rows["sizes.vector"]["kind"] == "vector"
    assert rows["sizes.text"]["checkpoints"] == ["ruler"] and rows["sizes.text"]["datasets"] == ["folder media"]
    listed = bench("features", "list").output
    assert listed.count("checkpoint ruler; dataset folder media") == 2
    with pytest.raises(UserError, match="--media and --dataset"):
        raise extracted("--dataset", "demo").exception


def test_overwrite_never_missing_always(extracted, sizes, media):
    assert "13  100.0%  missing      not in the store" not in extracted("--overwrite", "never").output
    assert sizes == []
    stumbled = extracted("--set", "sizes.broken=07")
    assert "error        RuntimeError: stumbled" in stumbled.output
    sizes.clear()
    assert "coverage 84.6%" in extracted("--overwrite", "never").output
    assert sizes == []
    assert "coverage 92.3%" in extracted("--overwrite", "missing").output
    assert sizes == [4]  # the one batch with the error
    assert "coverage 92.3%" in extracted().output
    assert sizes == [4]
    assert "coverage 92.3%" in extracted("--overwrite", "always").output
    assert sizes == [4, 4, 4, 4]
    (media / "new.mp4").write_bytes(b"new")
    assert "missing      not in the store, and nothing is to be extracted" in extracted("--overwrite", "never").output


def test_limit_items_and_shards(extracted, sizes, tmp_path):
    assert "coverage 100.0% of 3 of 13 items" in extracted("--limit", "3").output
    assert sizes == [3]
    (tmp_path / "ids.txt").write_text("x/11.mp4\nx/10.mp4\n")
    assert "coverage 100.0% of 2 of 13 items" in extracted("--items", str(tmp_path / "ids.txt")).output
    assert sizes == [3, 2]
    (tmp_path / "ids.txt").write_text("x/11.mp4\n11.mp4\n")
    assert "1 of 2 named items are not there, the first is '11.mp4'" in str(
        extracted("--items", str(tmp_path / "ids.txt")).exception
    )
    outputs = [extracted("--shard", f"{k}/2").output for k in range(2)]
    assert sum("of 13 items" in text and "of 0 of" not in text for text in outputs) == 1  # one block of items
    assert "coverage 92.3% of 13 items" in extracted("--overwrite", "never").output
    assert "expected i/n" in str(extracted("--shard", "2/2").exception)


def test_show_says_how_and_what(extracted, bench):
    extracted()
    found = json.loads(bench("features", "show", "sizes.v", "--json").output)
    assert found["status"] == {"ok": 12, "empty": 1}
    assert found["reasons"] == ["the file has 0 bytes"]
    assert found["config"]["parents"] == [spaces_of(bench)["sizes.text"]["id"]]
    assert found["provenance"] == {"checkpoints": ["ruler"]}
    assert found["diagnostics"][0]["constant"] == 1
    assert found["degenerate"] == found["diagnostics"][0]["degenerate"] != ""
    text = bench("features", "show", "sizes.v").output
    assert "items: 13 (12 ok, 1 empty)" in text
    assert "DEGENERATE: effective rank 1." in text
    parent = bench("features", "show", "sizes.text").output
    assert f"made into: {found['id']}" in parent
    assert "diagnostics" not in parent
    assert "did you mean 'sizes." in str(bench("features", "show", "size.vecto").exception)


def test_export_and_its_card(extracted, bench, tmp_path):
    extracted()
    done = bench("features", "export", "sizes.vector", "--to", str(tmp_path / "out"), "--format", "hf")
    assert "12 items of sizes.vector" in done.output
    card = (tmp_path / "out" / "README.md").read_text()
    assert "- summary: File sizes of clips" in card
    assert "none needed" in card
    assert str(tmp_path) not in card
    again = bench("features", "export", "sizes.vector", "--to", str(tmp_path / "out"))
    assert "not an empty folder" in str(again.exception)
    assert again.exception.exit_code == 2


def test_delete_asks_first(extracted, bench):
    extracted()
    text = spaces_of(bench)["sizes.text"]["id"]
    assert bench("features", "delete", "sizes.text", typed="n\n").return_value == 1
    assert len(spaces_of(bench)) == 2
    asked = bench("features", "delete", "sizes.text", typed="y\n")
    assert asked.return_value == 0
    assert "was made from it and stays" in asked.output
    assert text not in {row["id"] for row in spaces_of(bench).values()}
    assert bench("features", "delete", "sizes.v", "--yes").return_value == 0
    assert "no features in" in bench("features", "list").output


def test_verify_exits_with_one_and_names_the_row_and_extraction_mends_it(extracted, bench, tmp_path):
    extracted()
    assert bench("features", "verify").return_value == 0
    row = spaces_of(bench)["sizes.vector"]
    needle = np.array([113, 1, 1], np.float32).tobytes()
    (file,) = (tmp_path / "cache" / "features" / f"{row['id']}.lance" / "data").glob("*.lance")
    content = file.read_bytes()
    at = content.index(needle)
    file.write_bytes(content[:at] + b"\x01" + content[at + 1 :])
    found = bench("features", "verify")
    assert found.return_value == 1
    assert "DAMAGED  sizes.vector" in found.output
    assert "item 'x/01.mp4': the checksum does not fit" in found.output
    assert "ok  sizes.text" in found.output
    assert bench("features", "verify", "sizes.text").return_value == 0
    assert [one["ok"] for one in json.loads(bench("features", "verify", "--json").stdout)] == [True, False]
    assert "coverage 92.3%" in extracted().output
    assert bench("features", "verify").return_value == 0


def test_show_counts_the_notes_of_items_that_have_a_feature(bench, tmp_path):
    space = FeatureSpace("noted.text", 1, "text", {"parents": []})
    store = FeatureStore(tmp_path / "cache" / "features", space)
    store.describe()
    notes = ["", "cut", "cut", "digital silence"]
    store.add([Row(str(at), "h", "ok", note, 0.1, "text") for at, note in enumerate(notes)])
    store.commit()
    shown = bench("features", "show", "noted.text").output
    assert "items: 4 (4 ok)" in shown
    assert "  2 ok with the note: cut" in shown
    assert "  1 ok with the note: digital silence" in shown
    facts = json.loads(bench("features", "show", "noted.text", "--json").output)
    assert (facts["notes"], facts["reasons"]) == ({"cut": 2, "digital silence": 1}, [])


def test_list_shows_what_is_damaged_or_set_aside(extracted, bench, tmp_path):
    extracted()
    rows = spaces_of(bench)
    root = tmp_path / "cache" / "features"
    (root / f"{rows['sizes.text']['id']}.json").unlink()
    for path in (root / f"{rows['sizes.vector']['id']}.lance" / "data").iterdir():
        path.write_bytes(b"\0" * 100)
    aside = root / f"{rows['sizes.text']['id']}.lance.damaged-20240101T000000-1"
    aside.mkdir()
    (aside / "x").write_bytes(b"12345")
    text = bench("features", "list").output
    assert "no readable description" in text
    assert "is damaged" in text
    assert f"set aside as damaged: {aside.name}, 5 B" in text
    assert bench("features", "verify").return_value == 1
    assert "bench features verify" in bench("features", "show", rows["sizes.vector"]["id"]).exception.remedy


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_hostile_names_do_not_reach_the_terminal(extracted, bench, tmp_path):
    space = FeatureSpace("evil.text", 1, "text", {"prompt": "\x1b[31m"})
    store = FeatureStore(tmp_path / "cache" / "features", space)
    store.describe()
    store.add([Row("\x1b[2J", "", "missing", "\x1b]0;title\x07", 0.0, None), Row("b", "c", "strange", "", 0.0, None)])
    store.commit()
    for words in (("show", "evil"), ("verify", "evil"), ("list",)):
        assert "\x1b" not in bench("features", *words).output


def test_published_vectors_stand_on_boards_by_file_name_with_their_controls(tmp_path):
    path = tmp_path / "my vectors.npy"
    np.save(path, np.eye(3))
    (tmp_path / "my vectors.ids.txt").write_text("a\nb\nc")
    typed = f"published:{path}"
    rows = row_specs.with_controls([RowSpec("sasrec", typed, "gate")])
    assert {row.extractor for row in rows} >= {typed, f"shuffled:{typed}", f"random:{typed}", "id"}
    assert len(row_specs.with_controls([RowSpec("sasrec", f"mean:{typed}", "gate")])) == 6
    request = runs.Request(rows, tmp_path, tmp_path)
    cells = {row.extractor: cell for row, (cell, _, _) in zip(rows, runs.resolve(request), strict=True)}
    label = cells[typed].extractor
    assert label.startswith("published:my_vectors.npy@")
    assert cells[f"shuffled:{typed}"].extractor == f"shuffled:{label}"
    for cell in cells.values():
        assert str(tmp_path) not in json.dumps([cell.extractor, cell.options, str(cell.folder)])
        assert len(cell.folder.parts) == 3
    np.save(path, np.eye(3) * 2)
    (other,) = runs.resolve(replace(request, rows=[RowSpec("sasrec", typed, "gate")]))
    assert other[0].id != cells[typed].id
    shuffled = registry.create("extractor", f"mean:shuffled:{typed}", {})
    assert worker._control(shuffled) == "mean:shuffled"
    assert worker._control(shuffled.inner.inner) == ""


def test_a_store_that_cannot_be_written_is_read_by_every_command(extracted, bench, tmp_path, read_only):
    extracted()
    commands = [
        ["list"],
        ["list", "--json"],
        ["show", "sizes.vector"],
        ["show", "sizes.text", "--json"],
        ["verify"],
        ["audit", "sizes.text"],
        ["audit", "sizes.text", "--json"],
        *(["export", "sizes.vector", "--to", str(tmp_path / form), "--format", form] for form in ("npy", "parquet")),
    ]
    with read_only(tmp_path / "cache"):
        for words in commands:
            done = bench("features", *words)
            assert done.exception is None, (words, done.exception)
            assert "sizes" in done.output
        for words in (["features", "delete", "sizes.vector", "--yes"], ["extract", "--extractor", "sizes"]):
            refused = bench(*words, *(["--media", str(tmp_path / "media")] if words[0] == "extract" else []))
            assert isinstance(refused.exception, UserError)
            assert "denied" in str(refused.exception)
