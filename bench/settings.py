"""Folders of cache and results, and options from the command line and from files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields
from pathlib import Path
from typing import Any

import platformdirs
import yaml

from protocols import object_store
from protocols.errors import UserError, did_you_mean

CACHE_VARIABLE = "BENCH_CACHE"
RESULTS_VARIABLE = "BENCH_RESULTS"
#: Folder of local files where cache or results are in an object store.
LOCAL_VARIABLE = "BENCH_LOCAL"
#: Files of a results folder that an object store keeps: records, users, findings, and choices of the number of epochs.
RESULT_FILES = re.compile(
    r"(explain-(.+-)?)?s\d+-f\d+-[\w-]+\.(json|parquet)|search-\w+\.json|records\.jsonl|users\.parquet"
)
#: Levels of lists and mappings in a YAML file.
DEEPEST = 20
_CHOSEN: ContextVar[str | None] = ContextVar("cache folder of the command that runs", default=None)


@contextmanager
def using_cache(folder: str) -> Iterator[None]:
    """Make a folder the cache folder within a block: names of prepared datasets are looked up there, too."""
    token = _CHOSEN.set(folder)
    try:
        yield
    finally:
        _CHOSEN.reset(token)


def cache_folder(given: str | None = None, *, reading: bool = False) -> Path:
    """Return the folder for prepared data, features and checkpoints, made if absent unless it is for `reading`.

    Order: the `--cache` option (see `using_cache`), the environment variable BENCH_CACHE, the platform's user cache.
    For `s3://bucket/prefix` it is a local folder that stands for the store, see `protocols.object_store`.

    Raises
    ------
    UserError
        If it cannot be written (never where it is for `reading`), or is no place in an object store.
    """
    path = given or _CHOSEN.get() or os.environ.get(CACHE_VARIABLE) or _user_cache()
    return _absolute(path) if reading else _writable(path, "cache")


def results_folder(given: str | None = None, *, reading: bool = False) -> Path:
    """Return the folder for local records: `--results`, BENCH_RESULTS, or `results/local` below the working folder.

    As `cache_folder`: one for `reading` is not made, and may lie on a mount that cannot be written. Of one in an object
    store the local copies are renewed.
    """
    path = given or os.environ.get(RESULTS_VARIABLE) or "results/local"
    folder = _absolute(path) if reading else _writable(path, "results")
    object_store.pull(folder, RESULT_FILES)
    return folder


def _user_cache() -> str:
    return platformdirs.user_cache_dir("video-rec-bench")


def _absolute(path: str) -> Path:
    if object_store.is_uri(path):
        return object_store.folder_of(path, _absolute(os.environ.get(LOCAL_VARIABLE) or _user_cache()))
    return Path(path).expanduser().absolute()


def _writable(path: str, what: str) -> Path:
    variable = CACHE_VARIABLE if what == "cache" else RESULTS_VARIABLE
    folder = _absolute(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".write-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"the {what} folder {folder} cannot be written: {error.strerror}",
            remedy=f"choose another with --{what} FOLDER or {variable}=FOLDER",
        ) from error
    object_store.check(folder)
    return folder


def parse_sets(assignments: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Turn `NAME.OPTION=VALUE` words into option values by plug-in name.

    Examples
    --------
    >>> parse_sets(["demo.content_weight=0", "sasrec.dim=32"])
    {'demo': {'content_weight': '0'}, 'sasrec': {'dim': '32'}}
    """
    options: dict[str, dict[str, Any]] = {}
    for text in assignments:
        target, equals, value = text.partition("=")
        name, dot, option = target.rpartition(".")
        if not equals or not dot or not name or not option:
            raise UserError(f"--set {text!r}: expected NAME.OPTION=VALUE, for example --set sasrec.dim=32")
        options.setdefault(name, {})[option] = value
    return options


def mappings(entries: Any, shape: type, where: str) -> list[dict[str, Any]]:
    """Check a list in a file whose entries name fields of a dataclass.

    Parameters
    ----------
    entries
        What the file holds.
    shape
        The dataclass.
    where
        File and key, for errors.

    Raises
    ------
    UserError
        If it is no list of mappings, or a key is none of the fields (did you mean ...).
    """
    known = [option.name for option in fields(shape)]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{where} must be a list of mappings of {', '.join(known)}")
    for entry in entries:
        for key in entry:
            if key not in known:
                raise did_you_mean(f"key of {where}:", str(key), known)
    return list(entries)


def require_types(value: Any, shape: Any) -> None:
    """Check a value of a file by type annotations: those of a dataclass, say.

    Raises
    ------
    ValueError
        If it does not fit; the message names the first faults.
    """
    from pydantic import TypeAdapter, ValidationError

    from bench.record_schema import first_faults

    try:
        TypeAdapter(shape).validate_python(value)
    except ValidationError as error:
        raise ValueError(first_faults(error)) from None


class _Loader(yaml.SafeLoader):
    """YAML in which dates are texts and no key stands twice in a mapping."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in known if tag != "tag:yaml.org,2002:timestamp"]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds one mapping of JSON types: dates are read as texts.

    Raises
    ------
    UserError
        If the file is missing, not YAML, repeats a key, nests deeper than `DEEPEST`, or holds something else, such as
        a set or a key that is no text.
    """
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except RecursionError as error:
        raise UserError(f"{path} is nested too deeply") from error
    except (yaml.YAMLError, ValueError) as error:  # of text that is no UTF-8, of whole numbers of 5,000 digits
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold a mapping of option names to values")
    _require_json_types(content, str(path))
    return content


def _require_json_types(value: Any, where: str, depth: int = 0) -> None:
    """Refuse what JSON cannot hold, and nesting that never ends (an alias within its own anchor)."""
    if depth > DEEPEST:
        raise UserError(f"{where[:200]}: nested too deeply")
    if isinstance(value, dict):
        for key, one in value.items():
            if not isinstance(key, str):
                raise UserError(f"{where}: key {key!r} is no text", remedy="write it in quotes")
            _require_json_types(one, f"{where}: {key}", depth + 1)
    elif isinstance(value, list):
        for one in value:
            _require_json_types(one, where, depth + 1)
    elif not (value is None or isinstance(value, str | int | float)):
        raise UserError(f"{where}: a {type(value).__name__} is neither text, number, list nor mapping")
