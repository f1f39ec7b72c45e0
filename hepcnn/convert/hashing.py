"""SHA-256 of the input files, found beside the conversion."""

import concurrent.futures
import queue
import threading

from hepcnn.io.reader import sha256_of


class Hasher:
    """Reads files for their SHA-256, one after the other, in a thread that the end of the program does not wait for."""

    def __init__(self) -> None:
        self._wanted: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._found: dict[str, concurrent.futures.Future[str]] = {}
        threading.Thread(target=self._work, daemon=True, name="hepcnn-sha256").start()

    def start(self, path: str) -> None:
        """Ask for the hash of a file."""
        self._found[path] = concurrent.futures.Future()
        self._wanted.put(path)

    def result(self, path: str) -> str:
        """The hash of a file, waited for; raises what reading the file raised."""
        return self._found[path].result()

    def end(self) -> None:
        """Let the thread end after the files that it was asked for."""
        self._wanted.put("")

    def _work(self) -> None:
        while path := self._wanted.get():
            try:
                self._found[path].set_result(sha256_of(path))
            except Exception as error:  # for whoever asks for the result
                self._found[path].set_exception(error)
