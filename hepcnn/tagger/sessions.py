"""ONNX Runtime sessions that threads share, that survive a fork, and that travel to other processes."""

import hashlib
import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import onnxruntime

from hepcnn.errors import BundleError, HepcnnError, did_you_mean

PROVIDERS: Mapping[str, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "rocm": "ROCMExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}
Provider = str | tuple[str, dict[str, Any]]

_open: "weakref.WeakValueDictionary[str, OnnxSession]" = weakref.WeakValueDictionary()
_lock = threading.Lock()
_inherited: list[Any] = []


def choose_providers(device: str) -> tuple[Provider, ...]:
    """What ONNX Runtime calls a device, ``cpu``, ``cuda`` or ``cuda:1`` for instance, and the CPU behind it.

    Raises
    ------
    HepcnnError
        For a device that it does not know, or that the installed ONNX Runtime was not built for.
    """
    kind, _, number = device.partition(":")
    if kind not in PROVIDERS or (number and not number.isdecimal()):
        raise HepcnnError(f"device '{device}': expected one such as 'cpu' or 'cuda:0'{did_you_mean(kind, PROVIDERS)}")
    name, there = PROVIDERS[kind], onnxruntime.get_available_providers()
    if name not in there:
        hint = "; pip install onnxruntime-gpu in place of onnxruntime" if kind in ("cuda", "tensorrt") else ""
        raise HepcnnError(f"device '{device}': the installed onnxruntime has no {name}, only {', '.join(there)}{hint}")
    if kind == "cpu":
        return (name,)
    return ((name, {"device_id": int(number)}) if number else name), PROVIDERS["cpu"]


def open_session(model: bytes, providers: Sequence[Provider], threads: int, where: str) -> "OnnxSession":
    """A session of a graph; one that this process has open with the same graph and settings is used again."""
    settings = f"{hashlib.sha256(model).hexdigest()} {providers!r} {threads} {os.getpid()}"
    with _lock:
        session = _open.get(settings)
        if session is None:
            session = _open[settings] = OnnxSession(model, providers, threads, where)
    return session


class OnnxSession:
    """A graph in ONNX Runtime; many threads may run it at once, and it can be pickled.

    Parameters
    ----------
    model
        The ONNX file's bytes.
    providers
        As ONNX Runtime names them, the first choice first.
    threads
        That one run may use; 0 leaves the choice to ONNX Runtime.
    where
        What messages call the graph.
    """

    def __init__(self, model: bytes, providers: Sequence[Provider], threads: int, where: str) -> None:
        self._model, self._providers, self._threads, self._where = model, tuple(providers), threads, where
        self._lock = threading.Lock()
        self._session, self._process = self._start(), os.getpid()

    def __reduce__(self) -> tuple[Any, ...]:
        return open_session, (self._model, self._providers, self._threads, self._where)

    def _start(self) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        try:
            session = onnxruntime.InferenceSession(self._model, options, providers=list(self._providers))
        except Exception as error:  # ONNX Runtime has no common base for what it raises
            raise BundleError(f"{self._where}: ONNX Runtime cannot load it: {error}") from error
        wanted = self._providers[0] if isinstance(self._providers[0], str) else self._providers[0][0]
        if wanted not in session.get_providers():
            # It would go on with the CPU alone and tell nobody but a log.
            raise HepcnnError(f"{self._where}: ONNX Runtime cannot start {wanted} on this machine; device='cpu' works")
        return session

    @property
    def _current(self) -> Any:
        if self._process != os.getpid():
            with self._lock:
                # The threads of a session stay behind when a process forks. It is kept, since its end would wait for
                # them for ever.
                if self._process != os.getpid():
                    _inherited.append(self._session)
                    self._session, self._process = self._start(), os.getpid()
        return self._session

    def get_inputs(self) -> Any:
        """The graph's inputs."""
        return self._current.get_inputs()

    def run(self, names: Sequence[str] | None, feed: Mapping[str, Any]) -> Any:
        """Run the graph on arrays by the names of its inputs."""
        return self._current.run(names, dict(feed))


def threads_asked_for() -> int:
    """What OMP_NUM_THREADS says, which may be a list with one number per level of nesting; 0 where it says nothing."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(first) if first.isdigit() else 0
