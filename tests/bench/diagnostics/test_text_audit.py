"""Audit of stored texts, against texts whose faults were put in by hand."""

import pytest

from bench.diagnostics import refusals, text_audit
from bench.diagnostics.languages import NO_WORDS, UNSURE, language
from feature_extractors.store.catalogue import find, find_all
from feature_extractors.store.lance import FeatureStore, Row
from protocols.errors import UserError
from protocols.features import FeatureSpace

PLAIN = {
    "a": "A dog runs along the beach and a child throws a ball.",
    "b": "Two women are cooking noodles in a small kitchen.",
    "c": "two  women are cooking\nnoodles in a small KITCHEN.",
    "d": "I'm sorry, but I cannot describe this video.",
    "e": "the man is " * 40,
    "f": "A hand writes \N{REPLACEMENT CHARACTER} on a board with white chalk.",
    "g": "Un hombre con sombrero toca la guitarra en la plaza del pueblo.",
}


@pytest.fixture
def save(tmp_path):
    """A function that stores rows as a text space and returns its entry."""

    def save(texts, extractor="captions.text", config=None, others=()):
        space = FeatureSpace(extractor, 1, "text", config or {"parents": []}, {"checkpoints": ["mine"]})
        store = FeatureStore(tmp_path, space)
        store.describe()
        store.add([Row(item, "c", "ok", "", 0.0, text) for item, text in texts.items()])
        store.add([Row(item, "", status, "why", 0.0, None) for item, status in others])
        store.commit()
        return find(tmp_path, space.id)

    return save


def test_every_fault_is_counted_where_it_was_put(save):
    entry = save({**PLAIN, "h": " \n"}, others=[("x", "undecodable"), ("y", "empty")])
    found = text_audit.audit(text_audit.read(entry))
    assert found.status == {"ok": 7, "undecodable": 1, "empty": 2}
    assert (found.items, found.texts) == (10, 7)
    assert (found.distinct, found.shared) == (6, 2)
    assert found.commonest == {"two women are cooking noodles in a small kitchen.": 2}
    assert set(found.refusals.items) == {"d"}
    assert set(found.loops.items) == {"e"}
    assert found.unreadable.items == {"f": "U+FFFD"}
    assert found.languages["es"] == 1
    assert sum(found.languages.values()) == 7
    assert found.title_languages is None
    assert (found.longest, found.words["longest"], found.words["median"]) == ("e", 120, 10)
    assert found.as_json()["refusals"]["count"] == 1


def test_only_the_items_asked_for_count_and_those_not_there_are_said(save):
    entry = save(PLAIN, others=[("x", "missing")])
    stored = text_audit.read(entry, ["a", "b", "x", "new"])
    assert stored.status == {"ok": 2, "missing": 1, "not stored": 1}
    assert set(stored.texts) == {"a", "b"}
    titles = text_audit.audit(stored, ["The dog and the ball on the beach"]).title_languages
    assert titles == {"en": 1}


def test_a_space_without_texts_has_no_lengths(save):
    found = text_audit.audit(text_audit.read(save({}, others=[("x", "empty")])))
    assert (found.words, found.longest, found.texts, found.languages) == ({}, "", 0, {})


def test_a_damaged_row_is_no_text(save, tmp_path):
    entry = save({"a": "wordwordword", "b": "otherothertext"})
    (file,) = (entry.folder / "data").glob("*.lance")
    content = file.read_bytes()
    assert content.count(b"wordwordword") == 1
    file.write_bytes(content.replace(b"wordwordword", b"wordwordwork"))
    stored = text_audit.read(entry)
    assert stored.status == {"ok": 1, "damaged": 1}
    assert set(stored.texts) == {"b"}


def test_a_name_means_the_last_texts_of_an_extractor(save, tmp_path):
    windows = save({"a": "[]"}, "transcripts.windows")
    spoken = save({"a": "hello"}, "transcripts.text", {"parents": [windows.id]})
    one, two = save(PLAIN), save(PLAIN, config={"parents": [], "checkpoint": "other"})
    save(PLAIN, "captions-of-mine.text")
    assert len(find_all(tmp_path)) == 5

    def chosen(name):
        return [entry.id for entry in text_audit.choose(tmp_path, name)]

    assert chosen("transcripts") == [spoken.id]
    assert chosen("transcripts.windows") == [windows.id]
    assert chosen("captions") == sorted([one.id, two.id])
    assert chosen(one.id) == [one.id]
    with pytest.raises(UserError, match="there are texts of: captions, captions-of-mine, transcripts"):
        chosen("titles")
    with pytest.raises(UserError, match="no texts of ''"):
        chosen("")


def test_published_texts_are_found_by_their_file(save, tmp_path):
    from feature_extractors.files.texts import content_key

    files = [tmp_path / "one.csv", tmp_path / "two.csv"]
    for file in files:
        file.write_text(f"item_id,text\na,{file.stem}\n")
    entries = [save({"a": f.stem}, "published-texts.text", {"parents": [], "content": content_key(f)}) for f in files]
    for file, entry in zip(files, entries, strict=True):
        assert [found.id for found in text_audit.choose(tmp_path, f"published-texts:{file}")] == [entry.id]
    assert len(text_audit.choose(tmp_path, "published-texts")) == 2


@pytest.mark.parametrize(
    "text",
    [
        "I cannot view the video, so here is a guess.",
        "As an AI language model, I do not watch videos.",
        "I\N{RIGHT SINGLE QUOTATION MARK}m unable to access external links.",
        "Unfortunately no video was provided.",
        "Please upload the video again.",
        "I don't see an attached image.",
        "抱歉，我无法查看视频内容。",
        "I am sorry, but as an assistant I must stop here.",
    ],
)
def test_refusals_are_found(text):
    assert refusals.phrase(f"Well.\n\n{text}")


@pytest.mark.parametrize(
    "text",
    [
        "I can't believe how good this is!",
        "A sign says: sorry, we are closed.",
        "A man explains that he cannot see the sea.",
        "A woman as an artist paints a wall.",
        "No videos of cats today, the caption reads.",
        "The AI robot waves at an assistant.",
        "i'm an assassin in this game",
    ],
)
def test_what_people_say_in_clips_is_no_refusal(text):
    assert refusals.phrase(text) == ""


def test_the_list_is_searched_in_linear_time_even_in_hostile_texts():
    assert refusals.phrase("please upload the " * 20_000 + "i cannot " * 20_000) == ""


def test_languages():
    assert language("Ein Mann fährt mit dem Fahrrad durch die Stadt.") == "de"
    assert language("一个男人在街上骑自行车") == "zh"
    assert language("ok") == UNSURE
    assert language(" 12:30 !!! \N{CAT FACE}") == language("") == NO_WORDS
