"""Memory for dense batches, used again and again: fresh memory costs more than filling it, a page at a time."""

import math
import weakref

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MOST_FREE = 4


class BufferPool:
    """Hands out float32 tensors on the CPU whose memory comes back when the last of their views is gone."""

    def __init__(self) -> None:
        self._free: list[NDArray[np.float32]] = []
        self._lent: dict[int, weakref.ref[NDArray[np.float32]]] = {}

    def take(self, *shape: int) -> Tensor:
        """A tensor of this shape, with whatever the memory held before."""
        size = math.prod(shape)
        buffer = next((kept for kept in self._free if kept.size >= size), None)
        if buffer is None:
            # What is too small now will be too small again.
            self._free.clear()
            buffer = np.empty(size, np.float32)
        else:
            self._free = [kept for kept in self._free if kept is not buffer]
        # Torch's storage, which all views share, holds this array, and nothing else does.
        lent = buffer[:size].reshape(shape)
        number = id(lent)

        def give_back(_: object, buffer: NDArray[np.float32] = buffer) -> None:
            del self._lent[number]
            if len(self._free) < MOST_FREE:
                self._free.append(buffer)

        self._lent[number] = weakref.ref(lent, give_back)
        return torch.from_numpy(lent)
