"""The structured pocket captioner: what it may be taught, how it takes over weights, and what it answers."""

import json
import re

import numpy as np
import pytest

from feature_extractors.models.checkpoint.checkpoints import resolve
from feature_extractors.pocket import CAPTIONER, STRUCTURED
from feature_extractors.pocket.building.corpus import ATTRIBUTES, UNNAMED, is_held_back, random_named, read_caption
from feature_extractors.pocket.building.qwen_vl import build_captioner
from feature_extractors.pocket.building.structured_corpus import (
    Chain,
    answer,
    draw_chain,
    fields,
    read_fields,
    structured_texts,
)
from feature_extractors.text.prompt_files import read_prompt
from feature_extractors.text.structured import FIELDS, lines, parse


def test_the_shipped_files_are_small_and_safe():
    from safetensors import safe_open

    files = [path for path in STRUCTURED.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 3_350_000
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".jinja"}
    with safe_open(STRUCTURED / "model.safetensors", "pt") as file:
        assert {file.get_slice(key).get_dtype() for key in file.keys()} == {"F16"}  # noqa: SIM118
    card = (STRUCTURED.parent / "README.md").read_text(encoding="utf-8")
    assert "`structured/`" in card
    assert "training.structured" in card


def test_training_texts_name_no_unnamed_factor_and_no_held_back_combination():
    rng = np.random.default_rng(3)
    texts = list(structured_texts(5, 400))
    assert not {word for text in texts for word in re.findall(r"[a-z]+", text.lower())} & UNNAMED
    for chain in [draw_chain(rng) for _ in range(300)]:
        told = [read_caption(line) for line in chain.prompt.splitlines() if " s: " in line]
        assert told
        assert not any(map(is_held_back, told))
        assert not set(re.findall(r"[a-z]+", (chain.prompt + chain.summary).lower())) & UNNAMED


def test_mood_audience_and_style_follow_from_what_is_named_alone():
    rng = np.random.default_rng(4)
    for _ in range(300):
        named = random_named(rng)
        said = parse(answer(named))
        assert list(said) == list(FIELDS)
        assert read_fields(said) == named
        same = {**random_named(rng), **{a: named[a] for a in ("motion", "setting", "word")}}
        assert {k: fields(same)[k] for k in ("mood", "audience", "style")} == {
            k: fields(named)[k] for k in ("mood", "audience", "style")
        }


def test_a_chain_is_told_as_the_extractor_tells_it_and_summarised_by_what_most_parts_show():
    rng = np.random.default_rng(5)
    chains = [draw_chain(rng) for _ in range(200)]
    for chain in chains:
        parts = re.findall(r"(?m)^(\d+)-(\d+(?:\.\d)?) s: (.+)$", chain.prompt)
        starts, ends = [float(part[0]) for part in parts], [float(part[1]) for part in parts]
        assert starts == [8.0 * k for k in range(len(parts))]
        assert ends[:-1] == starts[1:]
        right = [read_caption(part[2]) == chain.named for part in parts]
        assert sum(right) > len(right) / 2
        assert read_caption(chain.summary) == chain.named
        said = chain.prompt.splitlines()[-2].partition(": ")[2]
        assert (said == "no speech") != chain.said
        assert chain.summary.endswith("Words are heard.") == chain.said
    assert {len(re.findall(" s: ", chain.prompt)) for chain in chains} == {1, 2, 3, 4}
    assert any(read_caption(chain.prompt) != chain.named for chain in chains)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """An untrained checkpoint with the vocabulary of the three tasks."""
    folder = tmp_path_factory.mktemp("built")
    build_captioner(folder, 0, structured_texts(n=100))
    return folder


def load(folder):
    from transformers import AutoModelForImageTextToText, AutoProcessor

    return AutoModelForImageTextToText.from_pretrained(folder), AutoProcessor.from_pretrained(folder)


def test_weights_of_another_vocabulary_are_taken_over(built):
    import torch

    from feature_extractors.pocket.training.structured import adopt

    (model, processor), (old, its) = load(built), load(CAPTIONER)
    adopt(model, processor.tokenizer, CAPTIONER)
    table, before = model.get_input_embeddings().weight, old.get_input_embeddings().weight
    new, known = processor.tokenizer.get_vocab(), its.tokenizer.get_vocab()
    assert torch.equal(table[new["<|im_end|>"]], before[known["<|im_end|>"]])
    assert torch.equal(table[new["Ġcircling"]], before[known["Ġcircling"]])
    assert "Ġentities" in new or "entities" in new
    word = next(token for token in new if token not in known)
    pieces = its.tokenizer(processor.tokenizer.convert_tokens_to_string([word]))["input_ids"]
    assert torch.allclose(table[new[word]], before[pieces].mean(dim=0))
    assert model.lm_head.weight.data_ptr() == table.data_ptr()
    others = {k: v for k, v in old.state_dict().items() if v.shape != before.shape}
    assert all(torch.equal(model.state_dict()[k], v) for k, v in others.items())


def test_only_answers_are_learned_and_padding_changes_nothing(built):
    from feature_extractors.pocket.training.captioner import VIDEO_TOKENS
    from feature_extractors.pocket.training.loop import IGNORE, Texts

    model, processor = load(built)
    texts = Texts(processor, VIDEO_TOKENS)
    prompts = [texts.reading("Describe the whole video."), texts.reading("What do you see?" * 9)]
    ids, targets = texts.pairs(prompts, ["Two red rings.", "No."])
    assert processor.video_token_id not in ids
    for row, (prompt, said) in enumerate(zip(prompts, ("Two red rings.", "No."), strict=True)):
        learned = targets[row][targets[row] != IGNORE]
        assert processor.tokenizer.decode(learned) == f"{said}<|im_end|>"
        assert ids[row, : len(prompt)].tolist() == prompt
        assert (targets[row, : len(prompt)] == IGNORE).all()
    alone = texts.pairs(prompts[:1], ["Two red rings."])[0]
    inner = model.model.language_model
    together = inner(input_ids=ids, use_cache=False).last_hidden_state[0, : alone.shape[1]]
    assert np.allclose(
        together.detach(), inner(input_ids=alone, use_cache=False).last_hidden_state[0].detach(), atol=1e-5
    )


def test_losses_of_all_three_tasks_reach_the_weights(built):
    from feature_extractors.pocket.building.clip_pool import Pool
    from feature_extractors.pocket.training.captioner import VIDEO_TOKENS, Recipe, Trainer, fast_vision
    from feature_extractors.pocket.training.loop import Texts
    from feature_extractors.pocket.training.structured import summarise

    model, processor = load(built)
    rng = np.random.default_rng(0)
    labels = np.stack([rng.integers(len(values), size=4) for values in ATTRIBUTES.values()], axis=1)
    pool = Pool(rng.integers(0, 255, (4, 8, 48, 48, 3)).astype(np.uint8), labels, np.ones(4, np.float32))
    trainer = Trainer(model, processor, pool, Recipe(batch=2, noise=0.0))
    asking = Texts(processor, VIDEO_TOKENS, [read_prompt("structured")])
    with fast_vision():
        sum(trainer.describe(asking, answer).values()).backward()
    assert {name for name, weight in model.named_parameters() if weight.grad is None} == set()
    model.zero_grad()
    summarise(trainer, asking)["chain"].backward()
    blind = {name for name, weight in model.named_parameters() if weight.grad is None}
    assert blind == {name for name, _ in model.named_parameters() if ".visual." in name}


def test_training_cuts_frames_as_the_processor_does(built):
    from feature_extractors.media.result import Clip
    from feature_extractors.models.video_lm import Front, chat_turn
    from feature_extractors.pocket.building.clip_pool import Pool, resize
    from feature_extractors.pocket.training.captioner import Recipe, Trainer

    model, processor = load(built)
    frames = np.random.default_rng(0).integers(0, 255, (8, 112, 112, 3)).astype(np.uint8)
    clip = Clip(frames, list(range(8)), [k / 8 for k in range(8)], 8, 8.0, 0, "pyav")
    expected = Front(processor, lambda clip: chat_turn(processor, "What?"))([clip])["pixel_values_videos"]
    pool = Pool(resize(frames)[None], np.zeros((1, 6), dtype=np.int64), np.ones(1, dtype=np.float32))
    found = Trainer(model, processor, pool, Recipe(noise=0.0)).pixels(np.array([0]))
    assert np.abs(found.flatten(0, 1) - expected).max() < 1e-5


@pytest.fixture(scope="module")
def shares(tmp_path_factory):
    """Answers of the shipped checkpoint about a few clips that nobody trained on."""
    from feature_extractors.pocket.evaluation.captioner import accuracy, decoded, held_out_scenes
    from feature_extractors.pocket.evaluation.structured import answers, structured_shares

    scenes = held_out_scenes(16, held_back=False, seed=9)
    found, clips = resolve("pocket", STRUCTURED), decoded(scenes, tmp_path_factory.mktemp("scenes"))
    asked, described = (list(answers(found, prompt, clips)) for prompt in ("structured", "describe"))
    return structured_shares(asked, scenes), accuracy(described, scenes)


def test_it_answers_in_json_about_clips_never_trained_on(shares):
    # Chance is below .17 for each of these, .35 for the word.
    asked, _ = shares
    assert asked["invalid"] == 0
    for name in ("colour", "setting", "word", "motion", "mood", "style"):
        assert asked[name] > 0.7, asked


def test_it_still_describes(shares):
    _, described = shares
    for name in ("colour", "setting", "word", "motion"):
        assert described[name] > 0.7, described


def test_it_summarises_text_alone():
    from feature_extractors.pocket.evaluation.structured import chain_shares, held_out_chains, summaries

    chains = held_out_chains(16, seed=9)
    said = list(summaries(resolve("pocket", STRUCTURED), chains))
    assert min(chain_shares(said, chains).values()) > 0.7


def test_shares_count_what_is_right_and_what_is_invalid():
    from feature_extractors.pocket.evaluation.captioner import held_out_scenes
    from feature_extractors.pocket.evaluation.structured import chain_shares, structured_shares
    from protocols.datasets.demo.scene import named_attributes

    scenes = held_out_scenes(2, held_back=False, seed=1)
    true = [named_attributes(scene) for scene in scenes]
    assert set(structured_shares([answer(one) for one in true], scenes).values()) == {1.0, 0.0}
    half = structured_shares([answer(true[0]), "no"], scenes)
    assert set(half.values()) == {0.5}
    wrong = json.dumps({**fields(true[0]), "mood": "none"})
    assert structured_shares([wrong, answer(true[1])], scenes)["mood"] == 0.5
    chain = Chain(true[0], [], "wug")
    assert chain_shares([chain.summary, lines(parse(answer(true[1])))], [chain, chain])["heard"] == 0.5
