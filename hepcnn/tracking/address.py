"""An address in MLflow's registry → the folder of a bundle on this machine."""

import contextlib
import hashlib
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from hepcnn import paths
from hepcnn.atomic import atomic_folder
from hepcnn.bundle import MANIFEST, read_manifest
from hepcnn.config import TrackingConfig
from hepcnn.errors import BundleError, did_you_mean, hide_password
from hepcnn.spool.lock import FileLock
from hepcnn.tracking.create import sqlite_path
from hepcnn.tracking.store import TrackingError, check_uri, explained, import_mlflow

FORMS = "models:/NAME@ALIAS, models:/NAME/VERSION or models:/NAME/latest"
ADDRESS = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>[0-9]+|latest))")
WAIT_SECONDS = 600.0


@dataclass(frozen=True)
class Address:
    """What an address names: a model, and either an alias or a version (a number, or ``latest``)."""

    name: str
    alias: str
    version: str


def find_bundle(uri: str, *, store: str = "") -> Path:
    """The folder of a registered bundle; one that is kept elsewhere is downloaded once.

    Parameters
    ----------
    uri
        ``models:/NAME@ALIAS``, ``models:/NAME/VERSION`` or ``models:/NAME/latest``.
    store
        The MLflow store; by default what ``MLFLOW_TRACKING_URI`` says, else ``sqlite:///mlflow.db``.

    Returns
    -------
    Path
        The store's own folder where it is on this machine, else a copy below ``$XDG_CACHE_HOME/hepcnn`` (by default
        ``~/.cache/hepcnn``). It is not to be written to.

    Raises
    ------
    TrackingError
        When the address is of another form, the store cannot be reached, it has no such model, alias or version (the
        message names those that it has), or the version is no bundle of hepcnn or its files are gone.

    Notes
    -----
    A copy is known by store and place of its files, and checked by its checksums: a damaged one is downloaded anew.
    An alias is looked up at each call, so that a new champion is found.
    """
    address = parse_address(uri)
    store = check_uri(store or TrackingConfig().store)
    shown = hide_password(store)
    mlflow = import_mlflow()
    if (database := sqlite_path(store)) is not None and not database.exists():
        raise TrackingError(f"{uri}: there is no store at {shown}: name the right one in MLFLOW_TRACKING_URI")
    with explained(store):
        client = mlflow.MlflowClient(tracking_uri=store)
        version = _find_version(mlflow, client, address, f"{uri} in {shown}")
        source = str(client.get_model_version_download_uri(address.name, version))
    about = f"{uri} (version {version} in {shown})"
    local = _local_folder(source)
    if local is None:
        return _download(mlflow, source, store, about)
    if not local.is_dir():
        raise TrackingError(f"{about}: its files are in {local}, which is not on this machine or was removed")
    return _check(local, about)


def parse_address(uri: str) -> Address:
    """Take an address apart; see `find_bundle`."""
    if (found := ADDRESS.fullmatch(uri)) is None:
        raise TrackingError(f"{uri}: expected {FORMS}")
    parts = found.groupdict(default="")
    return Address(parts["name"], parts["alias"], parts["version"])


def _find_version(mlflow: Any, client: Any, address: Address, about: str) -> str:
    try:
        model = client.get_registered_model(address.name)
    except mlflow.exceptions.MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        names = [one.name for one in client.search_registered_models(max_results=100)]
        raise TrackingError(f"{about}: no model '{address.name}'{_offer(address.name, names, 'models')}") from error
    if address.alias:
        if address.alias not in model.aliases:
            there = _offer(address.alias, model.aliases, "aliases")
            raise TrackingError(f"{about}: '{address.name}' has no alias '{address.alias}'{there}")
        return str(model.aliases[address.alias])
    quoted = address.name.replace("'", "''")
    known = sorted(int(one.version) for one in client.search_model_versions(f"name='{quoted}'"))
    if not known or (address.version != "latest" and int(address.version) not in known):
        there = f"; there are: {', '.join(map(str, known))}" if known else "; it has none"
        raise TrackingError(f"{about}: '{address.name}' has no version {address.version}{there}")
    return str(known[-1]) if address.version == "latest" else str(int(address.version))


def _offer(name: str, known: Iterable[str], what: str) -> str:
    return did_you_mean(name, known) or f"; it has no {what} at all"


def _local_folder(source: str) -> Path | None:
    place = urlsplit(source)
    if place.scheme == "file":
        return Path(unquote(place.path))
    return Path(source) if place.scheme == "" else None


def _download(mlflow: Any, source: str, store: str, about: str) -> Path:
    kept = paths.bundle_cache() / hashlib.sha256(f"{hide_password(store)}\n{source}".encode()).hexdigest()[:16]
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(kept.with_name(f"{kept.name}.lock"), wait=WAIT_SECONDS):
            with contextlib.suppress(BundleError):
                read_manifest(kept)
                return kept
            shutil.rmtree(kept, ignore_errors=True)
            with atomic_folder(kept, marker=MANIFEST) as partial, explained(store):
                got = Path(mlflow.artifacts.download_artifacts(source, dst_path=str(partial), tracking_uri=store))
                _check(got, about)
                for path in list(got.iterdir()):
                    shutil.move(path, partial / path.name)
    except OSError as error:
        raise TrackingError(
            f"{about}: cannot be kept in {kept.parent} ({error.strerror}): name another folder in XDG_CACHE_HOME"
        ) from error
    return kept


def _check(folder: Path, about: str) -> Path:
    if not (folder / MANIFEST).exists():
        raise TrackingError(f"{about}: no bundle of hepcnn (it has no {MANIFEST}): load it with mlflow.pyfunc")
    return folder
