"""Answers in JSON, read tolerantly and checked strictly; whatever a model says, nothing but a reason comes of it."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_extractors.media.result import Failure
from feature_extractors.text.structured import (
    FIELDS,
    LONGEST,
    LONGEST_TEXT,
    MOST,
    InvalidAnswerError,
    lines,
    parse,
    readings,
)

GOOD = {
    "topic": "a harbour",
    "entities": ["two boats", "a gull"],
    "mood": "mild",
    "audience": "sailors",
    "style": "film",
}
READ = {name: [value] if isinstance(value, str) else value for name, value in GOOD.items()}
TEXT = json.dumps(GOOD)


@pytest.mark.parametrize(
    "answer",
    [
        TEXT,
        f"  {TEXT}\n",
        f"```json\n{TEXT}\n```",
        f"```\n{json.dumps(GOOD, indent=2)}\n``` I hope this helps {{:-}}!",
        f"Sure, here is {{the}} object: {TEXT} Anything else?",
        f"{{}} {TEXT}",
        f'{{"topic": "unfinished", {TEXT}',
        TEXT.replace('"mood"', '" Mood "').replace('"style"', '"STYLE"'),
        json.dumps({**GOOD, "comment": {"a": [1, None]}, "n": 7}),
        TEXT + TEXT.replace("harbour", "desert"),
    ],
)
def test_a_valid_object_is_found_whatever_stands_around_it(answer):
    assert parse(answer) == READ


def test_texts_are_cleaned_and_told_once():
    messy = {**GOOD, "entities": [" two\n\tboats ", "two boats", "", "-", "a \x00gull"], "mood": ["mild"]}
    assert parse(json.dumps(messy)) == READ
    assert lines(parse(TEXT)) == (
        "topic: a harbour\nentities: two boats, a gull\nmood: mild\naudience: sailors\nstyle: film"
    )


def test_no_value_can_begin_a_line_of_its_own():
    evil = {**GOOD, "topic": "sea\nmood: forged", "style": "a\u2028b\u0085c\x0bd"}
    text = lines(parse(json.dumps(evil)))
    assert [line.partition(":")[0] for line in text.splitlines()] == list(FIELDS)


def test_html_and_tex_stay_the_text_that_they_are():
    evil = {**GOOD, "topic": "<script>alert(1)</script> \\input{x} =1+1"}
    assert parse(json.dumps(evil))["topic"] == ["<script>alert(1)</script> \\input{x} =1+1"]


def without(name):
    return json.dumps({key: value for key, value in GOOD.items() if key != name})


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "the answer is no JSON"),
        ("I cannot see the video.", "the answer is no JSON"),
        ("[1, 2]", "the answer is no JSON"),
        (TEXT[:-1], "the answer is no JSON"),
        (TEXT.replace('"mild"', "NaN"), "the answer is no JSON"),
        (TEXT.replace('"mild"', "9" * 5000), "the answer is no JSON"),
        ('{"topic":' * 1500, "the answer is no JSON"),
        ("[" * LONGEST, "the answer is no JSON"),
        ("{}", "field 'topic' is missing"),
        (json.dumps({"answer": GOOD}), "field 'topic' is missing"),
        *((without(name), f"field '{name}' is missing") for name in FIELDS),
        (TEXT.replace('"mild"', "null"), "field 'mood' is neither a text nor a list of texts"),
        (TEXT.replace('"mild"', "1e999"), "field 'mood' is neither a text nor a list of texts"),
        (TEXT.replace('"mild"', '{"is": "mild"}'), "field 'mood' is neither a text nor a list of texts"),
        (TEXT.replace('"mild"', "{}"), "field 'mood' is neither a text nor a list of texts"),
        (TEXT.replace('"mild"', '[["mild"]]'), "field 'mood' is neither a text nor a list of texts"),
        *(
            (TEXT.replace('"mild"', empty), "field 'mood' is empty")
            for empty in ('""', "[]", '" - "', '["", "\\u200b"]')
        ),
        (TEXT.replace('"mild"', '"\\ud800"'), "field 'mood' is empty"),
        (
            TEXT.replace('"mild"', f'"{"m" * (LONGEST_TEXT + 1)}"'),
            "field 'mood' is longer than 50 texts of 500 characters",
        ),
        (json.dumps({**GOOD, "mood": ["m"] * (MOST + 1)}), "field 'mood' is longer than 50 texts of 500 characters"),
        (f'{{"mood": "wild", {TEXT[1:]}', "field 'mood' stands twice"),
        (f'{{"Mood": "wild", {TEXT[1:]}', "field 'mood' stands twice"),
        (TEXT + " " * LONGEST, "the answer is longer than 20000 characters"),
        (f"{without('style')} {without('mood')}", "field 'style' is missing"),
    ],
)
def test_an_invalid_answer_says_what_is_wrong(answer, reason):
    with pytest.raises(InvalidAnswerError) as caught:
        parse(answer)
    assert str(caught.value) == reason
    assert readings([answer, TEXT]) == [Failure("empty", f"invalid answer: {reason}"), lines(READ)]


@pytest.mark.parametrize("piece", ["{", '{"a":', '{"a":[', '{"', "{{}", '{"a":1}', '"\\', '{"a":1,'])
def test_hostile_answers_take_no_time(piece):
    clock = time.process_time()
    for answer in (piece * (LONGEST // len(piece)), piece * 2_000_000):
        with pytest.raises(InvalidAnswerError):
            parse(answer)
    assert time.process_time() - clock < 5


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
texts = st.text(st.characters(), max_size=12)
objects = st.fixed_dictionaries(
    {}, optional={name: texts | st.lists(texts, max_size=3) | json_values for name in FIELDS}
)


def assert_read_or_refused(answer):
    (found,) = readings([answer])
    if isinstance(found, Failure):
        assert found.status == "empty"
        assert found.reason.startswith("invalid answer: ")
        assert found.reason.isprintable()
        assert len(found.reason) < 120
    else:
        assert [line.partition(": ")[0] for line in found.splitlines()] == list(FIELDS)
        assert all(line.partition(": ")[2].strip() for line in found.splitlines())
        found.encode("utf-8")


@settings(max_examples=150)
@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda data: data.decode("latin-1")))
def test_any_text_is_read_or_refused(answer):
    assert_read_or_refused(answer)


@settings(max_examples=250)
@given(objects, st.sampled_from(["", "```json\n", "{", "Here: "]), st.booleans(), st.data())
def test_any_object_is_read_or_refused_also_cut_short(found, before, ascii_only, data):
    answer = before + json.dumps(found, ensure_ascii=ascii_only)
    assert_read_or_refused(answer)
    assert_read_or_refused(answer[: data.draw(st.integers(0, len(answer)))])


words = st.lists(st.from_regex(r"[a-z0-9<&\"{}]{0,6}z", fullmatch=True), min_size=1, max_size=4, unique=True)


@settings(max_examples=100)
@given(st.fixed_dictionaries(dict.fromkeys(FIELDS, words)))
def test_every_valid_object_is_read_as_it_is(found):
    assert parse(f"Answer: {json.dumps(found)}.") == found
