"""What an examination found."""

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Finding:
    """One thing about this machine.

    ``detail`` says what it is, ``mend`` what to do about it. What is wrong is a failure if it ``is_needed``, else a
    warning.
    """

    what: str
    is_ok: bool
    detail: str
    is_needed: bool = True
    mend: str = ""

    @property
    def state(self) -> Literal["ok", "warn", "fail"]:
        """Good, worth knowing, or to be mended before anything is run."""
        if self.is_ok:
            return "ok"
        return "fail" if self.is_needed else "warn"

    def describe(self) -> str:
        """One line."""
        return f"{self.state:<4} {self.what}: {self.detail}" + (f"; {self.mend}" if self.mend else "")

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"state": self.state} | asdict(self)
