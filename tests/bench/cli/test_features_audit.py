"""`bench features audit` as a user calls it, and its sheet in a browser."""

import csv
import json

import pytest
from click.testing import CliRunner

from bench.cli import cli
from bench.diagnostics import grading
from feature_extractors.store.lance import FeatureStore, Row
from protocols.errors import DataError, UserError
from protocols.features import FeatureSpace

SCRIPT = "<script>window.hit = 1</script><img src=x onerror='window.hit = 1'>"
LONG = "w" * 400
NAMES = ["=SUM(A1)<b>.mp4", "blue.mp4", "broken.mp4", "red.mp4"]
TEXTS = [SCRIPT, "=1+1\n\nA second line.", f"no frames {LONG}", "\x1b[2JA red wall."]


@pytest.fixture
def media(tmp_path, write_clip):
    root = tmp_path / "media"
    root.mkdir()
    for name, colour in zip(NAMES, ((0, 250, 0), (0, 0, 250), (0, 0, 0), (250, 0, 0)), strict=True):
        write_clip(root / name, colour)
    (root / "broken.mp4").write_bytes(b"no clip at all")
    (root / "later.mp4").write_bytes(b"never extracted")
    return root


@pytest.fixture
def save(tmp_path):
    def save(texts, extractor="captions.text", **config):
        space = FeatureSpace(extractor, 1, "text", {"parents": [], **config}, {"checkpoints": [SCRIPT]})
        store = FeatureStore(tmp_path / "cache" / "features", space)
        store.describe()
        store.add([Row(item, "c", "ok", "", 0.0, text) for item, text in texts.items()])
        store.commit()
        return space.id

    return save


@pytest.fixture
def audit(tmp_path):
    """A function that calls the command and returns what it says; its errors are raised."""

    def audit(*words):
        call = ["features", "audit", *map(str, words), "--cache", str(tmp_path / "cache")]
        done = CliRunner().invoke(cli, call, standalone_mode=False)
        if done.exception:
            raise done.exception
        return done.output

    return audit


@pytest.fixture
def sheet(save, media, audit, tmp_path):
    """The page and the form of all four clips, and what was said when they were written."""
    save(dict(zip(NAMES, TEXTS, strict=True)), frames="uniform:8")
    page = tmp_path / "sheet.html"
    said = audit("captions", "--media", media, "--sheet", page, "--seed", 3, "--frames", "uniform:3")
    return page, page.with_suffix(".csv"), said


def test_spaces_stand_side_by_side_and_hostile_texts_do_not_reach_the_terminal(save, audit):
    save({"\x1b[2J": "\x1b]0;x\x07 I cannot describe this video.", "b": "same", "c": "Same "}, checkpoint="one")
    save({"a": "A dog runs along the beach and a child throws a ball."}, checkpoint="two")
    text = audit("captions")
    assert "\x1b" not in text
    lines = {line[:25].strip(): line[25:].split() for line in text.splitlines()}
    assert lines["share a text"] in (["2", "(66.7%)", "0", "(0.0%)"], ["0", "(0.0%)", "2", "(66.7%)"])
    assert sorted(lines["items"]) == ["1", "3"]
    assert "language of titles" not in lines
    assert '2 x "same"' in text
    assert "I cannot describe this video." in text
    found = {one["items"]: one for one in json.loads(audit("captions", "--json"))["spaces"]}
    assert found[3]["refusals"]["count"] == 1
    assert found[3]["unreadable"]["items"] == {"\x1b[2J": "U+001B"}
    assert found[1]["languages"] == {"en": 1}


def test_the_sheet_is_drawn_by_its_seed_and_its_form_is_summed_up(sheet, audit, tmp_path):
    page, form, said = sheet
    assert "4 clips" in said
    assert "not stored" in said  # later.mp4
    content = page.read_text()
    assert SCRIPT not in content
    assert str(tmp_path) not in content
    assert content.count("data:image/jpeg;base64,") == 9  # three frames of each clip that decodes
    assert "the model saw uniform:8" in content
    assert "A second line." in content
    rows = list(csv.DictReader(form.read_text("utf-8-sig").splitlines()))
    assert [row["item_id"].removeprefix("'") for row in rows] == grading.sample(NAMES, 4, 3)
    assert {row["text"][:2] for row in rows} == {"<s", "'=", "no", "\x1b["}
    filled = form.read_text("utf-8-sig").replace(",,,,,,", ",1,0,0,1,,", 3)
    form.write_text(filled)
    text = audit("--score", form)
    assert [line.split() for line in text.splitlines() if line.startswith("objects_wrong")] == [
        ["objects_wrong", "3", "3", "100.0%", "[43.9%,", "100.0%]"]
    ]
    (found,) = json.loads(audit("captions", "--score", form, "--json"))
    assert (found["rows"], found["questions"]["usable"]["graded"]) == (4, 3)
    with pytest.raises(UserError, match="not of 'titles'"):
        audit("titles", "--score", form)
    form.write_text(filled.replace("1,0,0,1", "1,0,maybe,1", 1))
    with pytest.raises(DataError, match=r"sheet\.csv, row 2, column text_wrong: 'maybe'") as caught:
        audit("--score", form)
    assert caught.value.exit_code == 2
    assert caught.value.remedy


def test_a_form_that_may_be_filled_in_is_never_replaced(sheet, media, audit):
    page, form, _ = sheet
    form.write_text("filled in")
    with pytest.raises(UserError, match="is there already, perhaps filled in"):
        audit("captions", "--media", media, "--sheet", page)
    assert form.read_text() == "filled in"


def test_what_makes_no_sense_is_refused_with_a_remedy(save, media, audit, tmp_path):
    save({"red.mp4": "one"}, checkpoint="one")
    for words, message in (
        ((), "NAME is missing"),
        (("titles",), "no texts of 'titles'"),
        (("captions", "--sheet", tmp_path / "x.html"), "needs clips and titles"),
        (("captions", "--media", media, "--sheet", tmp_path / "x.csv"), "has the name of the CSV"),
        (("captions", "--media", media, "--sheet", tmp_path / "no" / "x.html"), "there is no folder"),
        (
            ("captions", "--sheet", tmp_path / "x.html", "--score", tmp_path / "x.csv"),
            "--sheet has no effect with --score",
        ),
        (("captions", "--media", media, "--sheet", tmp_path / "x.html", "--frames", "all"), "unknown"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            audit(*words)
        assert caught.value.remedy
    save({"red.mp4": "two"}, checkpoint="two")
    with pytest.raises(UserError, match="2 fit"):
        audit("captions", "--media", media, "--sheet", tmp_path / "x.html")
    save({"elsewhere.mp4": "three"}, "transcripts.text")
    with pytest.raises(DataError, match="holds no text of an item"):
        audit("transcripts", "--media", media, "--sheet", tmp_path / "x.html")
    assert not list(tmp_path.glob("x.*"))


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_in_a_browser_texts_stay_texts_and_nothing_scrolls_sideways(sheet, open_page, width):
    page = open_page(sheet[0], viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("article").count() == 4
    assert SCRIPT in page.locator(".text").all_inner_texts()
    assert "=1+1\n\nA second line." in page.locator(".text").all_inner_texts()
    assert page.evaluate("window.hit") is None
    assert NAMES[0] in page.inner_text("main")
    loaded = page.eval_on_selector_all("img", "all => all.map(one => one.complete && one.naturalWidth)")
    assert loaded == [256] * 9
    shown, words = page.locator(".frames").first.bounding_box(), page.locator("article dl").first.bounding_box()
    assert (words["x"] > shown["x"]) == (width == 1280)  # side by side; on a phone one below the other
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
