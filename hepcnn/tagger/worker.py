"""The program of a worker process that scores ranges of a file, see `hepcnn.processes`."""

from functools import cache
from typing import Any

from hepcnn.errors import BundleError
from hepcnn.processes import answer_jobs
from hepcnn.tagger.ranges import RangeJob, score_range, write_range
from hepcnn.tagger.tagger import Tagger


@cache
def _load(path: str, device: str) -> Tagger:
    return Tagger.load(path, threads=1, device=device)


def _run(job: dict[str, Any]) -> None:
    tagger = _load(job["bundle"], job["device"])
    if tagger.bundle_id != job["bundle_id"]:
        raise BundleError(f"{job['bundle']}: another bundle took this place while it was used")
    write_range(job["part"], score_range(tagger, RangeJob(**job["range"])))


if __name__ == "__main__":
    answer_jobs(_run)
