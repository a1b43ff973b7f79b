"""Sentence encoders in the layout of sentence-transformers, such as BGE (arXiv 2309.07597): text to vector."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from feature_extractors.models.checkpoint.checkpoints import Checkpoint, check_keys
from feature_extractors.models.checkpoint.loading import checkpoint_errors, random_weights
from feature_extractors.models.threads import torch_threads
from feature_extractors.models.token_batching import by_tokens
from protocols.errors import CheckpointError, UserError

# Behaviour of this loader, part of the key of every feature made with it.
VERSION = 1
#: Tokens of one model call, padding included: 64 texts of 256 tokens, or fewer longer ones.
TOKENS = 1 << 14
#: Names of the prompt of items, as sentence-transformers knows them.
DOCUMENTS = ("document", "passage", "corpus")
# Without modules.json sentence-transformers quietly takes mean pooling, which is wrong for BGE.
NEEDED = ("modules.json", "config.json", "tokenizer.json|tokenizer_config.json")


def load_model(checkpoint: Checkpoint, dtype: str, device: str) -> Any:
    """Load a `SentenceTransformer`.

    Raises
    ------
    CheckpointError
        If a file is missing or unreadable, or a weight key is missing or unexpected.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import AutoModel

    loading = {"dtype": getattr(torch, dtype), "use_safetensors": True}
    folder = str(checkpoint.folder)
    with checkpoint_errors(checkpoint, NEEDED):
        check_modules(checkpoint.folder)
        if not checkpoint.random:
            # sentence-transformers says nothing about keys that do not fit: look at them first.
            _, info = AutoModel.from_pretrained(folder, output_loading_info=True, trust_remote_code=False, **loading)
            check_keys(checkpoint, info)
        model = SentenceTransformer(
            folder, device=device, trust_remote_code=False, local_files_only=True, model_kwargs=loading
        )
        if checkpoint.random:
            body: Any = model[0].auto_model
            with random_weights():
                body.load_state_dict(type(body)(body.config).state_dict())
    return model.eval()


def check_modules(folder: Path) -> None:
    """Refuse a folder without a file of one of its modules, or with classes of anybody else's: they would be run."""
    try:
        modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        kinds = [str(module["type"]) for module in modules]
        paths = [str(module["path"]) for module in modules if str(module["type"]).endswith("Pooling")]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"checkpoint {folder}: modules.json is no list of modules ({error})") from error
    for kind in kinds:
        if not kind.startswith("sentence_transformers."):
            raise CheckpointError(
                f"checkpoint {folder}: modules.json names the class {kind}, which is not of sentence-transformers",
                remedy="such code is never run here; take a checkpoint of sentence_transformers modules alone",
            )
    for path in paths:
        if not (folder / path / "config.json").is_file():
            raise CheckpointError(f"checkpoint {folder}: {path}/config.json is missing", remedy="fetch it again")


def document_prompt(prompts: Mapping[str, str | None], default: str | None = None, asked: str = "") -> str | None:
    """Choose what stands before each text.

    Parameters
    ----------
    prompts, default
        Of the checkpoint's configuration: texts by name, and the name of the one that its makers use.
    asked
        `none`; the name of a prompt; the text of one; "": the checkpoint's default, else its prompt of documents.

    Returns
    -------
    str | None
        None: nothing.

    Raises
    ------
    UserError
        If a single word is asked for and no prompt has that name.

    Examples
    --------
    >>> own = {"query": "query: ", "Document": "title: none | text: "}
    >>> document_prompt(own), document_prompt(own, "query"), document_prompt(own, asked="query")
    ('title: none | text: ', 'query: ', 'query: ')
    >>> document_prompt({}, asked="passage: "), document_prompt({}), document_prompt(own, asked="none")
    ('passage: ', None, None)
    """
    if asked == "none":
        return None
    if asked in prompts:
        return prompts[asked] or None
    if re.fullmatch(r"[\w-]+", asked):
        known = ", ".join(sorted(name for name, text in prompts.items() if text)) or "none"
        raise UserError(
            f"no prompt is named {asked!r} in the checkpoint, which has: {known}",
            remedy="a text that is to stand before each text ends with a blank, as in 'passage: '",
        )
    if asked:
        return asked
    if default is not None:
        return prompts.get(default) or None
    # sentence-transformers writes empty prompts beside those that the makers named
    own = {name.lower(): text for name, text in prompts.items() if text}
    return next((own[name] for name in DOCUMENTS if name in own), None)


def prompts_of(folder: Path) -> tuple[dict[str, str | None], str | None]:
    """Read the prompts of a folder's `config_sentence_transformers.json`, and the name of the default one."""
    path = folder / "config_sentence_transformers.json"
    try:
        config = dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
        return dict(config.get("prompts") or {}), config.get("default_prompt_name")
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"checkpoint {folder}: {path.name} is no JSON object of settings ({error})") from error


class TextEncoder:
    """Texts to vectors.

    Parameters
    ----------
    checkpoint, dtype, device
        As in `load_model`.
    threads
        Torch threads.
    prompt
        Stands before each text; None: nothing.
    """

    def __init__(
        self, checkpoint: Checkpoint, dtype: str, device: str, threads: int = 1, prompt: str | None = None
    ) -> None:
        with torch_threads(threads):
            self.model = load_model(checkpoint, dtype, device)
        self._threads, self._prompt = threads, prompt or ""

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Encode a batch.

        Returns
        -------
        np.ndarray
            float32 [N, D], as pooled and normalised by the checkpoint's own modules.
        """
        texts = list(texts)
        with torch_threads(self._threads):
            groups = by_tokens(self._lengths(texts), TOKENS)
            parts = [self._encode([texts[at] for at in group]) for group in groups]
        vectors = np.concatenate(parts)
        vectors[np.concatenate(groups)] = vectors.copy()
        return vectors

    def note(self, text: str) -> str:
        """Remark for the reader of a row: a text that is not read to its end."""
        longest = self.model.max_seq_length
        if not longest or 2 * len((self._prompt + text).encode("utf-8", "surrogatepass")) < longest:
            return ""
        tokens = self.model.tokenizer(self._prompt + text, truncation=False, verbose=False)["input_ids"]
        return f"only the first {longest} tokens of the text are read" if len(tokens) > longest else ""

    def _lengths(self, texts: list[str]) -> list[int]:
        """Tokens of each text, as far as the model reads it."""
        texts = [self._prompt + text for text in texts]
        ids = self.model.tokenizer(texts, truncation=True, max_length=self.model.max_seq_length)["input_ids"]
        return [len(one) for one in ids]

    def _encode(self, texts: list[str]) -> np.ndarray:
        vectors = self.model.encode(
            texts, prompt=self._prompt, batch_size=len(texts), convert_to_numpy=True, show_progress_bar=False
        )
        return np.asarray(vectors, dtype=np.float32)
