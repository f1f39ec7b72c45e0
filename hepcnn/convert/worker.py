"""The program of a worker process that makes parts, see `hepcnn.processes`."""

from pathlib import Path
from typing import Any

from hepcnn.convert.parts import write_parts
from hepcnn.convert.ranges import RangeJob, make_parts
from hepcnn.processes import answer_jobs


def _run(job: dict[str, Any]) -> None:
    write_parts(Path(job["part"]), make_parts(RangeJob.model_validate(job["range"])))


if __name__ == "__main__":
    answer_jobs(_run)
