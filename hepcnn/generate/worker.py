"""A worker process: reads the chunks to make from stdin, one JSON object a line, and answers each on stdout.

A process of its own, started as ``python -m hepcnn.generate.worker``: it runs no line of the caller's main module,
keeps what Pythia and FastJet print away from the caller, and can be ended at any moment. It ends itself when its stdin
closes, even in the middle of a chunk, so none survives its caller.
"""

import json
import os
import queue
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from hepcnn.errors import HepcnnError


def main() -> None:
    """Answer until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 1)
    jobs: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_listen, args=(jobs,), daemon=True).start()
    while True:
        print(json.dumps(_answer(jobs.get())), file=answers, flush=True)


def _listen(jobs: "queue.Queue[dict[str, Any]]") -> None:
    for line in sys.stdin:
        jobs.put(json.loads(line))
    os._exit(0)


def _answer(job: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"chunk": job["chunk"], "n_jets": _run(job)}
    except HepcnnError as error:  # a message for the user: the caller raises it again
        return {"chunk": job["chunk"], "error": str(error), "kind": type(error).__name__}
    except Exception as error:  # the caller must hear of every failure, whatever it is
        return {"chunk": job["chunk"], "error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}


def _run(job: dict[str, Any]) -> int:
    from hepcnn.generate.card import DetectorCard
    from hepcnn.generate.chunk import generate_chunk
    from hepcnn.generate.parts import write_part
    from hepcnn.generate.settings import JetSettings

    settings = JetSettings.model_validate(job["settings"])
    card = DetectorCard.model_validate(job["card"])
    result = generate_chunk(job["process"], settings, card, job["seed"], job["chunk"])
    write_part(Path(job["path"]), result)
    return result.n_jets


if __name__ == "__main__":
    main()
