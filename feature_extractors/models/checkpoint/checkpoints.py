"""Checkpoints: the files of `pocket`, `random`, a directory or a hub id, and a fingerprint of them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from feature_extractors.models.checkpoint import cards, hub
from feature_extractors.models.checkpoint.cards import Card
from protocols.atomic_write import write_atomically
from protocols.errors import CheckpointError, UserError
from protocols.hashing import digest, file_digest

# Of the weights of every random-weight baseline.
RANDOM_WEIGHT_SEED = 20260101
DECIDING = (".json", ".safetensors", ".txt", ".jinja", ".model")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


class AbsentCheckpointError(UserError):
    """No files for a checkpoint word; `word` tells which option of an extractor asked for it."""

    def __init__(self, word: str, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.word = word


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that is on disk.

    Attributes
    ----------
    name
        `pocket`, `random`, a hub id, or a directory's own name.
    folder
        Its files, in the standard Hugging Face layout.
    fingerprint
        Identifies every byte that decides outputs.
    revision
        Commit on the hub; None for directories.
    random
        True: keep architecture and tokenizer, but draw the weights anew.
    """

    name: str
    folder: Path
    fingerprint: str
    revision: str | None = None
    random: bool = False

    @property
    def provenance(self) -> dict[str, Any]:
        """Provenance; lists, because a chain of stages has one entry a stage."""
        return {
            "checkpoints": [self.name],
            "revisions": [self.revision],
            "fingerprints": [self.fingerprint],
            "licences": [None if self.ours else cards.licence_of(self.card)],
        }

    @property
    def card(self) -> Card | None:
        """Facts about it; None: it is not in our table."""
        of_hub = self.revision or "/" in self.name
        return cards.find(self.name) if of_hub else cards.of_folder(self.name)

    @property
    def ours(self) -> bool:
        """True for the checkpoints of this repository and their random-weight baselines."""
        return is_ours(self.name)


def is_ours(word: str) -> bool:
    """Return True for the words of this repository's checkpoints: `pocket`, `random`, `pocket-small` and the like.

    Examples
    --------
    >>> is_ours("random-llava-onevision"), is_ours("pockets/model")
    (True, False)
    """
    return word.partition("-")[0] in ("pocket", "random") and "/" not in word


@dataclass(frozen=True)
class Layout:
    """Files that every checkpoint of a kind has.

    Attributes
    ----------
    config, weights
        Names of the configuration and of the weights (or of their one file, where an index names none).
    """

    config: str = "config.json"
    weights: str = "model.safetensors"


#: As transformers saves a model.
TRANSFORMERS = Layout()


def resolve(
    word: str,
    pocket: Path,
    revision: str | None = None,
    pins: Path | None = None,
    layout: Layout = TRANSFORMERS,
) -> Checkpoint:
    """Find the files that a checkpoint word stands for.

    Parameters
    ----------
    word
        `pocket`, `random` (the pocket architecture with random weights), a directory, or a hub id.
    pocket
        Directory of the pocket checkpoint.
    revision
        Hub commit, branch or tag; None: the pinned one, else that of its card, else the newest, which is then pinned.
    pins
        JSON file of hub commits resolved earlier, so that the same command uses the same weights next month.
    layout
        Files that must be there.

    Raises
    ------
    UserError
        If the word is none of these, or the hub cannot be reached.
    CheckpointError
        If the directory lacks a file that every checkpoint has.
    """
    if word in ("pocket", "random"):
        random = word == "random"
        check_files(pocket, layout=layout)
        parts = [_fingerprint(pocket, weights=not random), RANDOM_WEIGHT_SEED if random else None]
        return Checkpoint(word, pocket, digest(parts), random=random)
    folder = Path(word).expanduser()
    if folder.is_dir():
        check_files(folder, layout=layout)
        return Checkpoint(folder.resolve().name, folder, _fingerprint(folder))
    if folder.is_absolute() or not _HUB_ID.fullmatch(word):
        raise AbsentCheckpointError(
            word,
            f"checkpoint {word!r} is neither a directory nor a hub id",
            remedy="give a directory, a hub id like Qwen/Qwen2.5-VL-3B-Instruct, 'pocket' or 'random'",
        )
    return _from_hub(word, revision, pins, layout)


def check_files(folder: Path, needed: Sequence[str] = (), layout: Layout = TRANSFORMERS) -> None:
    """Refuse a directory that lacks files.

    Parameters
    ----------
    folder
        Checkpoint directory.
    needed
        File names, beside those of the layout; `a|b` means either.
    layout
        Its configuration and weights (every shard that the index names) are always needed.

    Raises
    ------
    CheckpointError
        Naming the missing file.
    """
    for names in (layout.config, *needed):
        if not any((folder / name).is_file() for name in names.split("|")):
            raise _missing(folder, names.replace("|", " or "))
    index = folder / f"{layout.weights}.index.json"
    if not index.is_file():
        shards = [layout.weights]
    else:
        try:
            shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError) as error:
            raise CheckpointError(f"checkpoint {folder}: {index.name} is no index of weights ({error})") from error
    for shard in shards:
        if not (folder / shard).is_file():
            raise _missing(folder, shard)


def check_keys(checkpoint: Checkpoint, info: dict[str, Any]) -> None:
    """Refuse weights that do not fit the architecture exactly.

    Parameters
    ----------
    checkpoint
        For the message.
    info
        What `from_pretrained(..., output_loading_info=True)` returned second.

    Raises
    ------
    CheckpointError
        Naming the files and the first keys: missing ones would silently stay random.
    """
    problems = []
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        keys = sorted(str(key) for key in info.get(kind) or ())
        if keys:
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            problems.append(f"{kind.replace('_', ' ')}: {', '.join(keys[:3])}{more}")
    if problems:
        files = ", ".join(sorted(p.name for p in checkpoint.folder.glob("*.safetensors")))
        raise CheckpointError(
            f"checkpoint {checkpoint.folder} ({files}) does not fit its config.json: {'; '.join(problems)}",
            remedy="fetch or save the checkpoint again; weights and config.json must belong together",
        )


def unreadable(checkpoint: Checkpoint, error: Exception) -> CheckpointError:
    """Return the error for a checkpoint whose files are there but do not load."""
    text = " ".join(str(error).split())[:400]
    return CheckpointError(
        f"checkpoint {checkpoint.folder} cannot be loaded: {text or type(error).__name__}",
        remedy="a file in it is missing, truncated or of another model: fetch or save it again",
    )


def _missing(folder: Path, name: str) -> CheckpointError:
    return CheckpointError(
        f"checkpoint {folder}: {name} is missing",
        remedy="fetch the checkpoint again, or give the directory that holds its configuration and its weights",
    )


def _fingerprint(folder: Path, weights: bool = True) -> str:
    files = [
        p
        for p in sorted(folder.rglob("*"))
        if p.is_file()
        and p.suffix in DECIDING
        and not any(part.startswith(".") for part in p.relative_to(folder).parts)
    ]
    chosen = [p for p in files if weights or not p.name.endswith((".safetensors", ".safetensors.index.json"))]
    return digest([(p.relative_to(folder).as_posix(), _file_hash(p, *_signature(p))) for p in chosen], 32)


def _signature(path: Path) -> tuple[int, ...]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


@cache
def _file_hash(path: Path, *signature: int) -> str:
    """Hash of a file; gigabytes of weights are read once a process while their file stays what it was."""
    return file_digest(path)


def _from_hub(word: str, revision: str | None, pins: Path | None, layout: Layout) -> Checkpoint:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    pinned = _read_pins(pins)
    card = cards.find(word)
    wanted = revision or pinned.get(word) or (card.revision if card else None)
    # A known revision is taken from disk when it is there; an open one is asked for first, and what an earlier
    # download called the newest serves without a connection.
    found: str | None = None
    failure: Exception | None = None
    for local in (True, False) if wanted else (False, True):
        if wanted and not local and (failure := hub.connection_failure(word, wanted)):
            break
        try:
            patterns = [f"*{suffix}" for suffix in DECIDING]
            found = snapshot_download(word, revision=wanted, allow_patterns=patterns, local_files_only=local)
            break
        except (RepositoryNotFoundError, RevisionNotFoundError) as error:
            message = f"the hub has no checkpoint {word!r} at revision {wanted or 'main'}"
            raise AbsentCheckpointError(word, message) from error
        except Exception as error:
            failure = error
    if found is None:
        raise AbsentCheckpointError(
            word,
            f"checkpoint {word!r} is not in the local hub cache and cannot be fetched ({type(failure).__name__})",
            remedy="give a local directory (--checkpoint DIR, --text-encoder DIR), or 'pocket', which needs no network",
        ) from failure
    folder = Path(found)
    commit = folder.name
    check_files(folder, layout=layout)
    if pins is not None and revision is None and pinned.get(word) != commit:
        _write_pins(pins, {**_read_pins(pins), word: commit})
    return Checkpoint(word, folder, f"{word}@{commit}", commit)


def _write_pins(pins: Path, content: dict[str, str]) -> None:
    try:
        write_atomically(pins, json.dumps(content, indent=2, sort_keys=True) + "\n")
    except OSError as error:
        raise UserError(
            f"{pins}, the pinned revisions of hub checkpoints, cannot be written: {error.strerror}",
            remedy="free some space or choose another folder (--cache FOLDER)",
        ) from error


def _read_pins(pins: Path | None) -> dict[str, str]:
    if pins is None or not pins.is_file():
        return {}
    try:
        return dict(json.loads(pins.read_text(encoding="utf-8")))
    except ValueError as error:
        raise UserError(
            f"{pins} is not valid JSON", remedy="delete it; hub revisions are then resolved anew"
        ) from error
