"""Where a study is kept: a journal file, or by URL a database or Optuna's gRPC proxy.

Optuna is imported when a storage is opened, not before.
"""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jaxnets.errors import MissingExtra, UsageError

_PACKAGES = ("sqlalchemy", "grpc", "sqlite3", "psycopg2", "psycopg")  # whose errors are the storage's
READY_SECONDS = 10.0  # how long a server may take to answer before it counts as out of reach


class Storage(NamedTuple):
    """An opened storage."""

    where: str  # as messages name it: without a password
    optuna: Any  # optuna.storages.BaseStorage
    batch: Callable[[], contextlib.AbstractContextManager[None]]  # all within is written at once, where that can be


def open_storage(where: str | Path) -> Storage:
    """The storage of a path or a URL, made where there is none.

    Raises UsageError if it cannot be reached, read or written, MissingExtra if a package for it is not installed.
    """
    needed("optuna", extra="sweep", purpose="for sweeps")
    scheme, separator, rest = str(where).partition("://")
    name = re.sub(r":[^:@/]*@", ":***@", str(where))
    with told(name):
        if not separator:
            return _journal(Path(where))
        if scheme == "grpc":
            return Storage(name, _proxy(str(where), rest), contextlib.nullcontext)
        return Storage(name, _database(str(where), scheme), contextlib.nullcontext)


def needed(package: str, *, extra: str, purpose: str) -> None:
    """Raises MissingExtra if a package cannot be imported."""
    try:
        __import__(package)
    except ImportError as error:
        raise MissingExtra(package, extra=extra, purpose=purpose) from error


@contextlib.contextmanager
def told(where: str) -> Iterator[None]:
    """UsageError in place of what a storage that cannot be used raises."""
    try:
        yield
    except OSError as error:
        raise UsageError(_words(where, error)) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in _PACKAGES and type(error).__name__ != "StorageInternalError":
            raise
        raise UsageError(_words(where, error.__cause__ or error)) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's word about a study that was made."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)


def _words(where: str, error: BaseException) -> str:
    why = str(error).strip().partition("\n")[0] or type(error).__name__
    advice = (
        "another program holds it locked; end that one, or give a server's database, and the same command again"
        if "locked" in why
        else "see that it is there, runs and may be written, and give the same command again"
    )
    return f"the storage {where} cannot be used ({why}); {advice}: what it holds is kept"


def _journal(path: Path) -> Storage:
    from optuna.storages import JournalStorage

    from jaxnets.sweep.journal import Journal

    if path.is_dir():
        raise UsageError(f"the storage {path} is a folder; give the path of a file, or a URL as in sqlite:///sweep.db")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not os.access(path, os.W_OK):
        raise UsageError(f"the storage {path} may not be written; change its rights, or give another path")
    journal = Journal(path)
    return Storage(str(path), JournalStorage(journal), journal.batch)


def _proxy(url: str, address: str) -> Any:
    needed("grpc", extra="grpc", purpose=f"for the storage {url}")
    from optuna.storages import GrpcStorageProxy

    host, _, port = address.rstrip("/").rpartition(":")
    if not (host and port.isdigit()):
        raise UsageError(f"the storage {url} is not allowed; give grpc://HOST:PORT, as in grpc://localhost:13000")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls it experimental; it is tested here
        proxy = GrpcStorageProxy(host=host, port=int(port))
    proxy.wait_server_ready(timeout=READY_SECONDS)
    return proxy


def _database(url: str, scheme: str) -> Any:
    from optuna.storages import RDBStorage, _CachedStorage
    from sqlalchemy.exc import NoSuchModuleError

    if scheme in ("postgres", "postgresql"):  # which driver that means differs between versions of SQLAlchemy
        url = f"postgresql+psycopg2://{url.partition('://')[2]}"
    server = scheme.partition("+")[0] in ("postgres", "postgresql", "mysql")
    arguments = {"connect_args": {"connect_timeout": int(READY_SECONDS)}} if server else {}
    try:
        return _CachedStorage(RDBStorage(url, engine_kwargs={"pool_pre_ping": server, **arguments}))
    except ImportError as error:
        if "+psycopg2:" in url:
            raise MissingExtra("psycopg2", extra="postgres", purpose=f"for {scheme} storages") from error
        raise UsageError(
            f"the storage's {scheme} needs a package that is not installed ({error}); install it"
        ) from error
    except (ValueError, NoSuchModuleError) as error:
        raise UsageError(
            f"the storage is not allowed ({error}); give a path, or a URL as in sqlite:///sweep.db, "
            "postgresql://user@host/database or grpc://host:13000"
        ) from error
