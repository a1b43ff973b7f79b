"""From files to fields to vectors: what the shipped checkpoint says, what is refused, and what is made again."""

import json
from dataclasses import replace

import pytest

from feature_extractors.base import ItemSource
from feature_extractors.captions import Captions
from feature_extractors.media.result import Failure
from feature_extractors.models import video_captioner
from feature_extractors.pocket import STRUCTURED, TEXT_ENCODER
from feature_extractors.structured_captions import StructuredCaptions
from feature_extractors.text.structured import FIELDS, readings
from protocols.datasets.demo.media import encode
from protocols.datasets.demo.scene import named_attributes


@pytest.fixture(scope="module")
def scenes():
    from feature_extractors.pocket.evaluation.captioner import held_out_scenes

    return held_out_scenes(4, held_back=False, seed=12)


@pytest.fixture(scope="module")
def source(scenes, tmp_path_factory):
    root = tmp_path_factory.mktemp("clips")
    paths = [root / f"{k}.mp4" for k in range(len(scenes))]
    for path, scene in zip(paths, scenes, strict=True):
        path.write_bytes(encode(scene))
    return ItemSource([f"item{k}" for k in range(len(paths))], [None] * len(paths), paths)


@pytest.fixture
def structured():
    return StructuredCaptions(checkpoint=str(STRUCTURED), text_encoder=str(TEXT_ENCODER), max_new_tokens=96, batch=4)


@pytest.fixture
def stages(note_stages):
    """Notes stages that had something to do, with the number of items."""
    return note_stages(lambda name, items: (name, items))


@pytest.fixture
def saying(monkeypatch):
    """Lets the captioner say what the test says."""

    class Says:
        def __init__(self, *_, **options):
            pass

        def __call__(self, clips):
            return [next(answers) for _ in clips]

    def say(*texts):
        nonlocal answers
        answers = iter(texts)
        monkeypatch.setattr(video_captioner, "Captioner", Says)

    answers = iter(())
    return say


def test_the_chain_names_what_is_seen_and_is_served_from_the_store(structured, source, scenes, context, stages):
    features = structured.extract(source, context)
    texts = structured.texts(source, context)
    assert features.ok.all()
    assert features.values.shape == (4, 128)
    assert stages == [
        ("structured-captions.answers", 4),
        ("structured-captions.text", 4),
        ("structured-captions.vector", 4),
    ]
    for text, scene in zip(texts.values, scenes, strict=True):
        assert [line.partition(":")[0] for line in text.splitlines()] == list(FIELDS)
        assert named_attributes(scene)["setting"] in text
    assert structured.extract(source, context).digest == features.digest
    assert len(stages) == 3
    assert features.space.config["parents"] == [texts.space.id]
    assert texts.space.provenance["checkpoints"] == ["structured"]


def test_invalid_answers_are_rows_with_a_reason_and_none_of_them_is_embedded(
    structured, source, context, saying, stages
):
    good = json.dumps(dict.fromkeys(FIELDS, "sea"))
    saying(good, "I'm sorry, I cannot watch videos.", good.replace('"mood"', '"food"'), "")
    features = structured.extract(source, context)
    assert features.status.tolist() == ["ok", "empty", "empty", "empty"]
    assert features.reason.tolist()[1:] == [
        "invalid answer: the answer is no JSON",
        "invalid answer: field 'mood' is missing",
        "the model gave no text",
    ]
    assert not features.values[1:].any()
    assert (features.seconds > 0).all()
    # They are final: nobody asks the model again for what it has said.
    done = len(stages)
    assert structured.extract(source, replace(context, retry=True)).digest == features.digest
    assert len(stages) == done


def test_what_the_model_said_stays_to_be_read(structured, source, context, saying):
    from feature_extractors.store import catalogue

    saying(*[f"<b>{k}</b> no" for k in range(4)])
    assert not structured.extract(source, context).ok.any()
    entry = catalogue.find(context.store, "structured-captions.answers")
    rows = [row for block in catalogue.read_ok(entry.store, catalogue.read_index(entry.store)) for row in block]
    assert sorted(row.value for row in rows) == [f"<b>{k}</b> no" for k in range(4)]


def test_bad_clips_keep_their_own_reasons(structured, source, context, saying, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(source.videos[0].read_bytes()[:300])
    videos = [source.videos[0], tmp_path / "gone.mp4", tmp_path / "broken.mp4", None]
    saying(json.dumps(dict.fromkeys(FIELDS, "sea")))
    features = structured.extract(ItemSource(source.item_ids, source.titles, videos), context)
    assert features.status.tolist() == ["ok", "missing", "undecodable", "missing"]
    assert features.reason[3] == "no video is named"


def test_another_reading_does_not_look_again(structured, source, context, saying, stages, monkeypatch):
    from feature_extractors.text import structured as reading

    saying(*[json.dumps(dict.fromkeys(FIELDS, "sea"))] * 4)
    structured.texts(source, context)
    monkeypatch.setattr(reading, "VERSION", reading.VERSION + 1)
    structured.texts(source, context)
    assert [name for name, _ in stages] == ["structured-captions.answers", *["structured-captions.text"] * 2]


def test_the_twin_says_nothing_valid_and_is_embedded_as_it_is(structured, source, context, stages):
    twin = replace(structured, checkpoint="random", max_new_tokens=24)
    features = twin.extract(source, context)
    assert features.ok.all()
    assert [name for name, _ in stages] == ["structured-captions.answers", "structured-captions.vector"]
    said = twin.texts(source, context).values.tolist()
    assert all(isinstance(one, Failure) for one in readings(said))
    assert all(structured.texts(source, context).values != said)


def test_pocket_is_a_checkpoint_of_its_own_and_the_options_are_those_of_captions():
    assert StructuredCaptions.pocket != Captions.pocket
    assert StructuredCaptions().options().keys() == Captions().options().keys()
