"""The program of a worker process that makes chunks of showers, see `hepcnn.processes`."""

from pathlib import Path
from typing import Any

from hepcnn.processes import answer_jobs


def _run(job: dict[str, Any]) -> None:
    from hepcnn.calorimeters import parse_calorimeter
    from hepcnn.config import ShowersConfig
    from hepcnn.generate.showers.chunk import make_chunk
    from hepcnn.generate.showers.parts import write_part

    calorimeter = parse_calorimeter(job["calorimeter"], where="job")
    settings = ShowersConfig.model_validate(job["settings"])
    write_part(Path(job["path"]), make_chunk(job["particle"], calorimeter, settings, job["seed"], job["chunk"]))


if __name__ == "__main__":
    answer_jobs(_run)
