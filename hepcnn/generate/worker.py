"""The program of a worker process that makes chunks, see `hepcnn.processes`."""

from pathlib import Path
from typing import Any

from hepcnn.processes import answer_jobs


def _run(job: dict[str, Any]) -> None:
    from hepcnn.generate.card import DetectorCard
    from hepcnn.generate.chunk import generate_chunk
    from hepcnn.generate.parts import write_part
    from hepcnn.generate.settings import JetSettings

    settings = JetSettings.model_validate(job["settings"])
    card = DetectorCard.model_validate(job["card"])
    write_part(Path(job["path"]), generate_chunk(job["process"], settings, card, job["seed"], job["chunk"]))


if __name__ == "__main__":
    answer_jobs(_run)
