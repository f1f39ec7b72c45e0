"""Numbers of the device that the host reads later, so that neither waits for the other."""

import torch
from torch import Tensor


class LateValue:
    """A small tensor on its way to the host."""

    def __init__(self, value: Tensor) -> None:
        self._event: torch.cuda.Event | None = None
        self._value = value.detach()
        if value.is_cuda:
            self._value = torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
            self._value.copy_(value.detach(), non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record()

    def read(self) -> list[float]:
        """The numbers, once they have come."""
        if self._event is not None:
            self._event.synchronize()
        numbers: list[float] = self._value.tolist()
        return numbers
