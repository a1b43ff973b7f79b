"""Published features and texts: vectors and texts from files that somebody else has made."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from feature_extractors.base import ExtractContext, Extractor, ItemSource
from feature_extractors.models.checkpoint import defaults
from feature_extractors.options import TextExtractor

if TYPE_CHECKING:
    from feature_extractors.pipeline.stage import Model
    from protocols.features import Features

BATCH = 64


def file_label(path: str, key: str) -> str:
    """Short name of a file for boards: its own name, harmless and at most 40 characters, and 8 digits of its hash."""
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in Path(path).name)
    return f"{safe[:40]}@{key[:8]}"


#: What `Published.label` and `PublishedTexts.label` write, also wrapped and joined.
_LABEL = re.compile(
    r"(?P<head>\bpublished(?:-texts)?(?:\[[^]]*\])?:)(?P<name>[\w.-]{1,40})@(?P<key>[0-9a-f]{8})(?=\+|$)"
)


def typed(label: str, files: Iterable[str] = ()) -> str:
    """Write the label of an extractor as a user types it: with files in the place of their names and hashes.

    Parameters
    ----------
    files
        Candidates, paths or names; a file that is not among them is named as in the label.

    Examples
    --------
    >>> typed("shuffled:published:my_v.npy@0b157667", ["t.csv", "/data/my v.npy"])
    'shuffled:published:/data/my v.npy'
    """
    known = list(files)

    def write(found: re.Match[str]) -> str:
        short = f"{found['name']}@{found['key']}"
        return found["head"] + next((one for one in known if file_label(one, found["key"]) == short), found["name"])

    return _LABEL.sub(write, label)


def typed_files(spec: str) -> list[str]:
    """Return the files that an extractor is given as it was typed: `published:/data/v.npy`, also wrapped and joined."""
    return re.findall(r"\bpublished(?:-texts)?(?:\[[^]]*\])?:([^+]+)", spec)


@dataclass(frozen=True)
class Published(Extractor):
    """Vectors that somebody else has made: `published:PATH` with .npy, .npz, .safetensors or .parquet.

    The hash of the file stands in the feature space's id: after a change the vectors are taken anew. Items that the
    file does not hold have status `missing`.

    Attributes
    ----------
    path
        The file, see `vector_files.read_vectors`.
    ids
        File of ids, one a line or a JSON list; "": those inside the file, or `NAME.ids.txt|json` beside it.
    id_column, vector_column
        Of a parquet file; "": `item_id`, and the only column of lists or else all numeric columns. Arrays of an .npz;
        "": `ids` and `vectors`.
    """

    name: ClassVar[str] = "published"
    licence: ClassVar[str] = "as the publisher of the file says"
    argument: ClassVar[str] = "path"

    path: str = ""
    ids: str = ""
    id_column: str = ""
    vector_column: str = ""

    @cached_property
    def key(self) -> str:
        """SHA-256 of the file, and of the ids beside it."""
        from feature_extractors.files.ids import regular_file
        from feature_extractors.files.vectors import sidecar
        from protocols.hashing import digest, file_digest

        path = Path(self.path).expanduser()
        regular_file(path)
        ids = Path(self.ids).expanduser() if self.ids else sidecar(path) if path.suffix.lower() == ".npy" else None
        if ids is None and path.suffix.lower() == ".safetensors":
            ids = next((p for p in map(path.with_suffix, (".ids.txt", ".ids.json")) if p.exists()), None)
        if ids is None:
            return file_digest(path)
        regular_file(ids)
        return digest([file_digest(path), file_digest(ids)], 64)

    @property
    def label(self) -> str:
        """Name of the file and its hash; folders are no part of it."""
        return f"{self.own_name}:{file_label(self.path, self.key)}"

    def options(self) -> dict[str, Any]:
        """Options that decide the vectors: the content of the file, not its place."""
        return {"content": self.key, "id_column": self.id_column, "vector_column": self.vector_column}

    def extract(self, source: ItemSource, context: ExtractContext) -> Features:
        """Take the vectors of all items into the store."""
        from feature_extractors.files.ids import positions, strangers
        from feature_extractors.files.vectors import read_vectors, rows
        from feature_extractors.media.result import Failure
        from feature_extractors.pipeline.run import run_stage
        from feature_extractors.pipeline.stage import Inputs, Stage
        from protocols.features import FeatureSpace

        ids = Path(self.ids).expanduser() if self.ids else None
        found = read_vectors(Path(self.path).expanduser(), ids, self.id_column, self.vector_column)
        places = positions(found.ids, source.item_ids, found.where)
        _say(context, strangers(found.ids, source.item_ids, Path(self.path).name))
        config = {"parents": [], **self.options(), **({"left_out": list(found.left_out)} if found.left_out else {})}
        space = FeatureSpace(self.name, self.code_version, "vector", config, _provenance(self.path, self.key))
        absent = Failure("missing", f"not in {Path(self.path).name}")
        failures = [absent if at is None else None for at in places]
        content = ["" if at is None else self.key for at in places]

        def model() -> Model:
            return lambda batch: list(rows(found, batch))

        stage = Stage(space, "published vectors", BATCH, model)
        return run_stage(stage, Inputs(source.item_ids, places, content, failures), context)


@dataclass(frozen=True)
class PublishedTexts(TextExtractor):
    """Texts that somebody else has written, through a text encoder: `published-texts:PATH`.

    PATH is a csv, tsv or parquet file or a Hugging Face datasets folder. A chain of two cached stages: the texts, under
    the hash of the file, then their vectors. Items that the file does not hold have status `missing`, those with an
    empty text `empty`.

    Attributes
    ----------
    path
        File or folder, see `text_files.read_texts`.
    id_column, text_column
        Names of its columns.
    split
        Of a folder with several; "": all of them.
    """

    name: ClassVar[str] = "published-texts"
    licence: ClassVar[str] = "as the publisher of the file says"
    checkpoints: ClassVar[tuple[str, ...]] = (defaults.TEXT_ENCODER,)
    argument: ClassVar[str] = "path"
    noun: ClassVar[str] = "published text"

    path: str = ""
    id_column: str = "item_id"
    text_column: str = "text"
    split: str = ""

    @cached_property
    def key(self) -> str:
        """SHA-256 of the file, or of all files of the folder."""
        from feature_extractors.files.texts import content_key

        return content_key(Path(self.path).expanduser(), self.split)

    @property
    def label(self) -> str:
        """Name of the file or folder and its hash; the folders above are no part of it."""
        return f"{self.own_name}:{file_label(self.path, self.key)}"

    def options(self) -> dict[str, Any]:
        """Options that decide the vectors: the content of the file, not its place."""
        return {**{key: value for key, value in super().options().items() if key != "path"}, "content": self.key}

    def texts(self, source: ItemSource, context: ExtractContext) -> Features:
        """Return the texts themselves, a feature space of kind `text`."""
        from feature_extractors.files.ids import positions, strangers
        from feature_extractors.files.texts import read_texts
        from feature_extractors.pipeline.run import run_stage
        from feature_extractors.pipeline.stage import Stage, text_inputs
        from protocols.features import FeatureSpace

        found = read_texts(Path(self.path).expanduser(), self.id_column, self.text_column, self.split)
        places = positions(found.ids, source.item_ids, found.where)
        _say(context, strangers(found.ids, source.item_ids, Path(self.path).name))
        texts: Sequence[str | None] = [None if at is None else found.texts[at] for at in places]
        config = {"parents": [], "content": self.key, "id_column": self.id_column, "text_column": self.text_column}
        space = FeatureSpace(f"{self.name}.text", self.code_version, "text", config, _provenance(self.path, self.key))

        def model() -> Model:
            return lambda batch: batch

        stage = Stage(space, "published texts", BATCH, model)
        return run_stage(stage, text_inputs(source.item_ids, texts, "published text"), context)


def _say(context: ExtractContext, line: str) -> None:
    if line:
        context.progress.say(line)


def _provenance(path: str, key: str) -> dict[str, Any]:
    """As of a checkpoint, so that chains join; only the name of the file is true elsewhere too."""
    return {"checkpoints": [Path(path).name], "revisions": [None], "fingerprints": [key]}
