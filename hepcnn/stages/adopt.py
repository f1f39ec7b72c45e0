"""Runs that left a record but no spool."""

from pathlib import Path
from typing import Any

from hepcnn import paths
from hepcnn.config import StudyConfig, hash_config
from hepcnn.errors import HepcnnError
from hepcnn.spool.listener import list_epoch
from hepcnn.spool.reader import read_spool
from hepcnn.spool.writer import Identity, SpoolWriter, find_spool
from hepcnn.stages.describe import spool_record
from hepcnn.stages.records import RunRecord
from hepcnn.stages.track import identify


def adopt_record(study: StudyConfig, record: RunRecord, folder: Path, *, parent: str) -> Path:
    """Make the spool of a run that has left a record but no spool, or another run's.

    Notes
    -----
    Its times are those of the record: it ended when ``run.json`` was written, and epochs took equally long.
    """
    spool = find_spool(folder)
    config = hash_config(vars(record))
    if spool.exists() and _tells_of(spool, config):
        return spool
    ended = paths.run_record(folder).stat().st_mtime
    clock = _Clock(ended - record.train_seconds)
    stage = "baseline" if record.is_baseline else "train"
    search = str(record.extra.get("search", ""))
    item = f"{search}/{folder.name}" if search else f"{record.tagger}/seed{record.seed}"
    identity = identify(study, "train", item, config=config, parent=parent)
    # Where this is run says nothing of where the training ran.
    tags = {"hepcnn.study": study.study, "hepcnn.stage": stage} | ({"hepcnn.search": search} if search else {})
    known: dict[str, Any] = {"tags": tags, "stage": stage}
    known |= {"name": f"{record.tagger} {search} {folder.name}"} if search else {}
    writer = SpoolWriter(spool, Identity(**(vars(identity) | known)), clock=clock)
    writer.add_params(dict(record.extra.get("searched", {})))
    for number, epoch in enumerate(record.history, 1):
        clock.seconds = ended - record.train_seconds * (1 - number / len(record.history))
        writer.add_metrics(list_epoch(epoch), step=int(epoch["epoch"]))
    clock.seconds = ended
    spool_record(writer, record, folder)
    writer.end("FINISHED")
    writer.close()
    return spool


class _Clock:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


def _tells_of(spool: Path, config: str) -> bool:
    """Whether a spool is that of a record: it was made from it, or its run wrote it."""
    try:
        found = read_spool(spool)
    except HepcnnError:
        return False
    return found.start["config"] == config or found.tags.get("hepcnn.record") == config
