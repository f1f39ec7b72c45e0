"""Bundles that passed the parity gate, as versions of one model a study in MLflow's registry."""

import json
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hepcnn import __version__, paths
from hepcnn.bundle import read_manifest
from hepcnn.outputs import list_outputs
from hepcnn.stages.describe import list_final_metrics, short_name
from hepcnn.stages.records import RunRecord
from hepcnn.tracking.address import find_bundle as find_bundle
from hepcnn.tracking.store import Store, explained

CHAMPION = "champion"
BUNDLE, VALUE, ERROR = "hepcnn.bundle", "hepcnn.value", "hepcnn.error"
EXAMPLE = "input_example.json"


def register_bundle(store: Store, record: RunRecord, folder: Path, run_id: str, *, metric: str) -> str | None:
    """Make a run's bundle a version of the study's model, once.

    Parameters
    ----------
    store
        Where.
    record, folder
        The run and its folder.
    run_id
        Its run in the store, which has the bundle already: only what MLflow needs to load it is added to it.
    metric
        What the champion is chosen by: larger is better.

    Returns
    -------
    str or None
        The version; None for a run without a bundle, or whose bundle says nothing of the parity gate.

    Notes
    -----
    ``models:/STUDY/latest`` is the newest, by MLflow itself. The alias ``champion`` stays where it is until a version
    is better by more than both errors together: a difference that may be luck moves nothing.
    """
    bundle = paths.bundle(folder)
    if not bundle.exists() or read_manifest(bundle).values.get("onnx_parity") is None:
        return None
    with explained(store.uri):
        if (known := _find_version(store, record.study, record.bundle_id)) is not None:
            return str(known.version)
        with tempfile.TemporaryDirectory() as made:
            _write_model(store, bundle, Path(made), run_id)
            store.client.log_artifacts(run_id, made, "bundle")
        values = list_final_metrics(record)
        tags = {BUNDLE: record.bundle_id, "hepcnn.tagger": record.tagger, "hepcnn.seed": str(record.seed)}
        if (column := short_name(metric)) in values:
            tags |= {VALUE: repr(values[column]), ERROR: repr(values.get(f"{column}_err", 0.0))}
        source = f"{store.client.get_run(run_id).info.artifact_uri}/bundle"
        version = store.client.create_model_version(record.study, source, run_id=run_id, tags=tags)
        _choose_champion(store, record.study, version)
    return str(version.version)


def _find_version(store: Store, name: str, bundle_id: str) -> Any:
    """The version that holds a bundle; makes the model where there is none of this name."""
    exceptions = store.mlflow.exceptions
    try:
        store.client.create_registered_model(name)
    except exceptions.MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    found = store.client.search_model_versions(f"name='{name}'")
    return next((one for one in found if one.tags.get(BUNDLE) == bundle_id), None)


def _choose_champion(store: Store, name: str, version: Any) -> None:
    exceptions = store.mlflow.exceptions
    try:
        champion = store.client.get_model_version_by_alias(name, CHAMPION)
    except exceptions.MlflowException:
        champion = None
    if champion is None or is_better(version.tags, champion.tags):
        store.client.set_registered_model_alias(name, CHAMPION, version.version)


def is_better(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether a version's metric is above another's by more than both errors, added in quadrature."""
    if VALUE not in one or VALUE not in other:
        return False
    errors = math.hypot(float(one[ERROR]), float(other[ERROR]))
    return float(one[VALUE]) - float(other[VALUE]) > errors


def _write_model(store: Store, bundle: Path, folder: Path, run_id: str) -> None:
    """What MLflow needs beside a bundle: loader, signature, example, requirements."""
    manifest = read_manifest(bundle)
    fields = list(dict.fromkeys(["pt", "eta", "phi", *sorted(manifest.recipe.needs)]))
    types = store.mlflow.types
    numbers = types.schema.Array(types.DataType.double)
    inputs = types.Schema([types.ColSpec(numbers, name) for name in fields])
    names = [*manifest.class_names, *(name for name in list_outputs(manifest.tasks) if name != "score")]
    outputs = types.Schema([types.ColSpec(types.DataType.float, name) for name in names])
    signature = store.mlflow.models.ModelSignature(inputs=inputs, outputs=outputs)
    model = store.mlflow.models.Model(artifact_path="bundle", run_id=run_id, signature=signature)
    store.mlflow.pyfunc.add_to_model(model, loader_module="hepcnn.tracking.pyfunc")
    # A jet of three constituents; numbers of any plausible size do.
    cells = {"pt": [120.0, 60.0, 30.0], "eta": [0.1, 0.2, -0.1], "phi": [0.0, 0.1, -0.1]}
    row = [cells.get(name, [100.0, 50.0, 25.0]) for name in fields]
    (folder / EXAMPLE).write_text(json.dumps({"columns": fields, "index": [0], "data": [row]}), encoding="utf-8")
    model.saved_input_example_info = {"artifact_path": EXAMPLE, "type": "dataframe", "pandas_orient": "split"}
    (folder / "requirements.txt").write_text(f"hepcnn=={__version__}\n", encoding="utf-8")
    model.save(str(folder / "MLmodel"))
