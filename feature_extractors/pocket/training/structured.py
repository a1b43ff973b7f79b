"""Train the structured pocket captioner: `python -m feature_extractors.pocket.training.structured --out DIR`.

It starts from the pocket captioner's weights and learns, in turns drawn at random, to answer the structured prompt
with JSON, to describe clips as before, and to summarise a chain of parts from text alone (`structured_corpus.py`).
Its vocabulary is learned anew from the texts of all three; tokens that the captioner knows keep its embeddings, the
others begin as the mean of the pieces that the captioner writes them in. The losses are those of `train_captioner.py`.
With `--start` an earlier round's folder goes on from its weights. Everything runs in one process with one thread.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from transformers import AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

from feature_extractors.pocket import CAPTIONER
from feature_extractors.pocket.building.clip_pool import make_pool
from feature_extractors.pocket.building.qwen_vl import build_captioner
from feature_extractors.pocket.building.structured_corpus import answer, draw_chain, structured_texts
from feature_extractors.pocket.training.captioner import OPTIONS, VIDEO_TOKENS, Recipe, Trainer, fast_vision
from feature_extractors.pocket.training.loop import IGNORE, Texts, command
from feature_extractors.text.prompt_files import read_prompt

#: Longest answer where whoever loads the checkpoint says nothing else: the JSON has about 45 tokens.
MAX_NEW_TOKENS = 96
#: Shares of the batches that answer in JSON, that describe, and (the rest) that summarise.
STRUCTURED, DESCRIBING = 0.5, 0.2
DEFAULT = Recipe(cpu_seconds=780.0, batch=24, rate=1e-3, seed=3)


def adopt(model: Any, tokenizer: Any, start: Path) -> None:
    """Take over the weights of a captioner with another vocabulary.

    Parameters
    ----------
    model, tokenizer
        To fill; but for the vocabulary, of the architecture of `start`.
    start
        Captioner whose weights to take.
    """
    old: Any = AutoModelForImageTextToText.from_pretrained(start, dtype=torch.float32)
    its = AutoTokenizer.from_pretrained(start)
    known, rows = its.get_vocab(), old.get_input_embeddings().weight.data
    table = torch.empty_like(model.get_input_embeddings().weight)
    for token, at in tokenizer.get_vocab().items():
        pieces = [known[token]] if token in known else its(tokenizer.convert_tokens_to_string([token]))["input_ids"]
        table[at] = rows[pieces].mean(dim=0)
    weights = {name: one for name, one in old.state_dict().items() if one.shape != rows.shape}
    left = model.load_state_dict(weights, strict=False)
    model.get_input_embeddings().weight.data.copy_(table)
    model.tie_weights()
    assert not left.unexpected_keys, left.unexpected_keys


def summarise(trainer: Trainer, texts: Texts) -> dict[str, torch.Tensor]:
    """Loss of a batch of chains, each with a prompt of its own and without a clip."""
    chains = [draw_chain(trainer.rng) for _ in range(trainer.recipe.batch)]
    ids, targets = texts.pairs([texts.reading(one.prompt) for one in chains], [one.summary for one in chains])
    # Behind the answers is padding, which no earlier token sees.
    states = trainer.model.model.language_model(input_ids=ids, use_cache=False).last_hidden_state
    answered = targets[:, 1:] != IGNORE
    loss = F.cross_entropy(trainer.model.lm_head(states[:, :-1][answered]), targets[:, 1:][answered])
    return {"chain": trainer.recipe.lm * loss}


def train(out: Path, work: Path, recipe: Recipe, start: Path | None = None) -> None:
    """Train from the weights in `start` (None: the pocket captioner); write to `out` every minute and at the end."""
    torch.set_num_threads(1)
    torch.manual_seed(recipe.seed)
    pool = make_pool(work, recipe.chunks, recipe.seed)
    build_captioner(out, recipe.seed, structured_texts())
    processor = AutoProcessor.from_pretrained(out)
    model = AutoModelForImageTextToText.from_pretrained(out, dtype=torch.float32).train()
    adopt(model, processor.tokenizer, start or CAPTIONER)
    model.generation_config.max_new_tokens = MAX_NEW_TOKENS
    trainer = Trainer(model, processor, pool, recipe)
    describing, asking = Texts(processor, VIDEO_TOKENS), Texts(processor, VIDEO_TOKENS, [read_prompt("structured")])

    def loss(_: float) -> dict[str, torch.Tensor]:
        drawn = trainer.rng.random()
        if drawn < STRUCTURED:
            parts = trainer.describe(asking, answer)
            return {"json": parts["lm"], "aux": parts["aux"]}
        return trainer.describe(describing) if drawn < STRUCTURED + DESCRIBING else summarise(trainer, describing)

    trainer.descend(loss, out)


def main() -> None:
    """Command line."""
    folders, recipe = command("Train the structured pocket captioner.", DEFAULT, *OPTIONS)
    with fast_vision():
        train(**folders, recipe=recipe)


if __name__ == "__main__":
    main()
