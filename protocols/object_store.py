"""Folders in object stores: a local folder holds copies of what a bucket holds, and its path names the bucket.

The folder of `s3://bucket/prefix` is `HOME/object-stores/s3/bucket/prefix`. A file below it stands for the object of
that name: `write` and `remove` change both, the object first, so that a copy has its object; `pull` and `fetch` renew
copies. Files that nobody writes by `write` (locks, states of training) are of this machine only. Feature spaces have no
copies: Lance reads and writes them in the bucket, with `lance_options`. For a file in any other folder all functions do
what they say and no more, so that callers need not tell one kind from the other.

Credentials are those that the tools of the store use: variables AWS_* and GOOGLE_*, profiles, roles. None is kept or
shown. The store must have conditional puts, see `lacks_conditional_puts`.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from protocols.atomic_write import write_atomically
from protocols.errors import UserError

SCHEMES = ("s3", "gs")
#: Folder that holds the folders of stores: a path through it names one.
FOLDER = "object-stores"
#: Files that are copied at a time.
THREADS = 16
_BUCKET, _PART = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}"), re.compile(r"[\w.=+-]+")
_NO_BUCKET = ("NoSuchBucket",)
_REFUSED = (
    "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "403 Forbidden",
    "401 Unauthorized", "no credentials", "NoCredentials", "CredentialsNotLoaded", "session.get_credentials",
)  # fmt: skip


class Object(NamedTuple):
    """Object as the store knows it: size in bytes, version, time of the last change."""

    size: int
    tag: str
    generation: str | None
    changed: datetime


def is_uri(text: str) -> bool:
    """Return True for `s3://bucket/prefix` and the like, of whatever scheme."""
    return "://" in text


def folder_of(uri: str, home: Path) -> Path:
    """Return the local folder that stands for a place in a bucket.

    Examples
    --------
    >>> folder_of("s3://bucket/bench/cache", Path("/home/me")).as_posix()
    '/home/me/object-stores/s3/bucket/bench/cache'

    Raises
    ------
    UserError
        If it is no place in a bucket of a known store, or it holds credentials or `..`.
    """
    scheme, _, rest = uri.partition("://")
    bucket, *parts = rest.rstrip("/").split("/")
    fine = all(_PART.fullmatch(part) and part.strip(".") for part in parts)
    if scheme not in SCHEMES or not _BUCKET.fullmatch(bucket) or not fine:
        raise UserError(
            f"{scheme}://... is no place in an object store: scheme {' or '.join(SCHEMES)}, a bucket, and a prefix of "
            "letters, digits and . _ = + - are expected",
            remedy="s3://BUCKET/PREFIX; credentials stand in the environment, never in an address",
        )
    return Path(home, FOLDER, scheme, bucket, *parts)


def uri_of(path: Path | str) -> str:
    """Return the address of what a local path stands for; "" for one that is only local.

    Examples
    --------
    >>> uri_of(Path("/home/me/object-stores/s3/bucket/bench/cache")), uri_of("/data/cache")
    ('s3://bucket/bench/cache', '')
    """
    parts = Path(path).parts
    if FOLDER in parts:
        scheme, *rest = [*parts[parts.index(FOLDER) + 1 :], ""]
        if scheme in SCHEMES and any(rest):
            return f"{scheme}://{'/'.join(filter(None, rest))}"
    return ""


def shown(path: Path) -> str:
    """Name a folder or file as the user knows it: by its address if it has one."""
    return uri_of(path) or str(path)


def write(path: Path, content: str | bytes | Callable[[Path], object]) -> None:
    """Write a file as `write_atomically`, and before it appears the object that it stands for.

    Raises
    ------
    UserError
        If the store cannot be written; then the file is as it was.
    OSError
        As `write_atomically`.
    """
    uri = uri_of(path)
    write_atomically(path, content, (lambda part: _upload(part, uri)) if uri else None)


def _upload(part: Path, uri: str) -> None:
    with _place(uri) as (obstore, store, key):
        obstore.put(store, key, part)
        _stamp(part, obstore.head(store, key))


def fetch(path: Path) -> None:
    """Make a file the copy of its object: renewed, or removed where there is no object."""
    uri = uri_of(path)
    if uri:
        found = look(uri)
        if found is None:
            path.unlink(missing_ok=True)
        elif not _is_copy(path, found):
            _download(path, uri)


def pull(folder: Path, names: re.Pattern[str]) -> None:
    """Make the files of a folder, at any depth, the copies of their objects.

    Parameters
    ----------
    folder
        Any; nothing is done for a local one.
    names
        Of the files that are copied, or removed where their object is gone; others are not touched.
    """
    uri = uri_of(folder)
    if not uri:
        return
    from concurrent.futures import ThreadPoolExecutor  # takes a while to load, and most folders are local

    before = [path for path in folder.rglob("*") if names.fullmatch(path.name)]  # later ones have their objects
    found = {path: one for path, one in _listed(folder, uri) if names.fullmatch(path.name)}
    late = sorted(path for path, one in found.items() if not _is_copy(path, one))
    with ThreadPoolExecutor(THREADS) as threads:
        for last in (False, True):  # a record appears after the values of its users
            part = [path for path in late if (path.suffix == ".json") == last]
            list(threads.map(lambda path: _download(path, uri_of(path)), part))
    for path in before:
        if path not in found:
            path.unlink(missing_ok=True)


def _listed(folder: Path, uri: str) -> Iterator[tuple[Path, Object]]:
    """Yield the objects below a place with their local paths; names that lead out of the folder are left out."""
    with _place(uri) as (obstore, store, key):
        for chunk in obstore.list(store, prefix=key):
            for one in chunk:
                parts = one["path"].removeprefix(f"{key}/").split("/")
                if not {"", ".", ".."} & set(parts) and not any("\\" in p or "\0" in p for p in parts):
                    yield folder.joinpath(*parts), _object(one)


def _download(path: Path, uri: str) -> None:
    with _place(uri) as (obstore, store, key):
        found = obstore.get(store, key)

        def save(part: Path) -> None:
            part.write_bytes(found.bytes())
            _stamp(part, found.meta)

        write_atomically(path, save)


def remove(path: Path) -> None:
    """Remove a file and its object, if they are there."""
    uri = uri_of(path)
    if uri:
        with _place(uri) as (obstore, store, key):
            obstore.delete(store, key)
    path.unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder, and all objects below the place that it stands for."""
    uri = uri_of(folder)
    if not uri:
        shutil.rmtree(folder)
        return
    with _place(uri) as (obstore, store, key):
        for chunk in obstore.list(store, prefix=key):
            obstore.delete(store, [one["path"] for one in chunk])
    shutil.rmtree(folder, ignore_errors=True)


def folders(parent: Path, ending: str) -> list[Path]:
    """List the folders in a folder whose names have an ending, sorted."""
    uri = uri_of(parent)
    if not uri:
        return sorted(path for path in parent.glob(f"*{ending}") if path.is_dir())
    with _place(uri) as (obstore, store, key):
        found = obstore.list_with_delimiter(store, key)["common_prefixes"]
    return sorted(parent / name for one in found if (name := one.rsplit("/", 1)[-1]).endswith(ending))


def content(folder: Path) -> tuple[int, datetime | None]:
    """Return bytes and the last change of all that lies in the place of a store that a folder stands for."""
    found = [one for _, one in _listed(folder, uri_of(folder))]
    return sum(one.size for one in found), max((one.changed for one in found), default=None)


def look(uri: str) -> Object | None:
    """Look an object up; None where there is none."""
    try:
        with _place(uri) as (obstore, store, key):
            return _object(obstore.head(store, key))
    except FileNotFoundError:
        return None


def read(uri: str, first: int = 0, end: int | None = None, tag: str = "") -> bytes:
    """Read an object, or some of its bytes.

    Raises
    ------
    FileNotFoundError
        If there is none, or none any more of the version `tag`.
    """
    options: dict[str, Any] = {"if_match": tag} if tag else {}
    if end is not None:
        options["range"] = (first, end)
    with _place(uri) as (obstore, store, key):
        try:
            return bytes(obstore.get(store, key, options=options).bytes())
        except obstore.exceptions.PreconditionError as error:
            raise FileNotFoundError(f"{uri} was replaced") from error


def put(uri: str, content: bytes, replacing: Object | None = None) -> bool:
    """Write an object on condition that there is none, or that it is still the one that is replaced.

    Returns
    -------
    bool
        False if the condition does not hold.
    """
    mode: Any = "create"
    if replacing is not None:
        mode = {"e_tag": replacing.tag} | ({"version": replacing.generation} if replacing.generation else {})
    with _place(uri) as (obstore, store, key):
        unmet = (obstore.exceptions.AlreadyExistsError, obstore.exceptions.PreconditionError)
        try:
            obstore.put(store, key, content, mode=mode)
        except (*unmet, FileNotFoundError) as error:
            if any(sign in str(error) for sign in _NO_BUCKET):
                raise fault(uri, str(error)) from error
            return False
    return True


def delete(uri: str) -> None:
    """Delete an object, if it is there."""
    with _place(uri) as (obstore, store, key):
        obstore.delete(store, key)


def check(folder: Path) -> None:
    """Write and delete an object in the place that a folder stands for; nothing is done for a local one.

    Raises
    ------
    UserError
        If there is no such bucket, the credentials are refused, or the store does not answer.
    """
    uri = uri_of(folder)
    if uri:
        probe = f"{uri}/.write-{uuid4().hex}"
        put(probe, b"")
        delete(probe)


def lacks_conditional_puts(folder: Path) -> bool:
    """Return True if the store lets a second writer replace what a first one has just made.

    Two runs then write over each other's features and claim the same jobs.
    """
    probe = f"{uri_of(folder)}/.write-{uuid4().hex}"
    try:
        return not put(probe, b"1") or put(probe, b"2")
    finally:
        delete(probe)


def lance_options(uri: str) -> dict[str, str] | None:
    """Return `storage_options` of Lance: what the environment says and Lance does not read itself; None: nothing."""
    endpoint = _endpoint(os.environ) if uri.startswith("s3://") else ""
    if not endpoint:
        return None
    return {"aws_endpoint": endpoint, "allow_http": str(endpoint.startswith("http://")).lower()}


def fault(uri: str, text: str) -> UserError:
    """Return the error for what a client of a store says; nothing of it is repeated but its codes."""
    bucket = "/".join(uri.split("/")[:3])
    if any(sign in text for sign in _NO_BUCKET):
        return UserError(f"there is no bucket {bucket}", remedy="make it, or name another; AWS_REGION says where it is")
    if any(sign in text for sign in _REFUSED):
        return UserError(
            f"{bucket} refuses these credentials{_codes(text)}",
            remedy="set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (for gs:// "
            "GOOGLE_APPLICATION_CREDENTIALS), of somebody who may list, read, write and delete there",
        )
    return UserError(
        f"{bucket} does not answer as it should{_codes(text)}",
        remedy="run the same command again to go on: what is stored is kept; AWS_ENDPOINT_URL and AWS_REGION say where",
    )


def is_fault(text: str) -> bool:
    """Return True for a message that Lance passes on from the client of a store."""
    return any(sign in text for sign in ("Generic S3 error", "Generic GCS error", *_NO_BUCKET, *_REFUSED))


def _codes(text: str) -> str:
    """Keep the codes of a message: the rest may hold addresses and keys."""
    found = re.findall(r"<Code>(\w{1,40})</Code>|status code: (\d{3}[A-Za-z ]{0,30})", text)
    codes = dict.fromkeys(one.strip() for pair in found for one in pair if one)
    return f" ({', '.join(codes)})" if codes else ""


@contextmanager
def _place(uri: str) -> Iterator[tuple[Any, Any, str]]:
    """Yield the client's module, the store of a bucket and a key in it; its errors become those of a user."""
    try:
        import obstore
    except ImportError as error:
        raise UserError(
            "an object store needs the package obstore, which is not installed",
            remedy="pip install 'video-rec-bench[s3]'",
        ) from error
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    given = tuple(sorted((k, v) for k, v in os.environ.items() if k.startswith(("AWS_", "GOOGLE_"))))
    told = obstore.exceptions
    try:
        yield obstore, _store(scheme, bucket, given), key
    except (told.AlreadyExistsError, told.PreconditionError):
        raise
    except told.InvalidPathError as error:
        raise UserError(
            f"{uri} holds an object whose name is no path: an empty part of it, or . or ..",
            remedy="remove that object, or use a prefix of your own",
        ) from error
    except (told.BaseError, ValueError) as error:
        raise fault(uri, f"{type(error).__name__}: {error}") from None


@lru_cache(maxsize=8)
def _store(scheme: str, bucket: str, given: tuple[tuple[str, str], ...]) -> Any:
    """Make the client of a bucket; `given` is the environment."""
    from obstore.store import from_url

    env = dict(given)
    # waits are drawn and may be short: their sum ends a request, not their number
    how: dict[str, Any] = {"retry_config": {"retry_timeout": timedelta(seconds=60), "max_retries": 1000}}
    if scheme == "s3":
        endpoint = _endpoint(env)
        if endpoint:
            how |= {"endpoint": endpoint, "client_options": {"allow_http": endpoint.startswith("http://")}}
        if "AWS_ACCESS_KEY_ID" not in env and env.get("AWS_SKIP_SIGNATURE", "").lower() not in ("1", "true"):
            from obstore.auth.boto3 import Boto3CredentialProvider

            how["credential_provider"] = Boto3CredentialProvider()
    return from_url(f"{scheme}://{bucket}", **how)


def _endpoint(env: Mapping[str, str]) -> str:
    return env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL") or ""


def _object(meta: Any) -> Object:
    return Object(meta["size"], meta["e_tag"] or "", meta["version"], meta["last_modified"])


def _stamp(part: Path, meta: Any) -> None:
    """Give a copy the time of its object, in whole seconds, as stores tell it."""
    seconds = int(meta["last_modified"].timestamp())
    os.utime(part, (seconds, seconds))


def _is_copy(path: Path, found: Object) -> bool:
    try:
        about = path.stat()
    except FileNotFoundError:
        return False
    return about.st_size == found.size and about.st_mtime == int(found.changed.timestamp())
