"""Other programs, asked with a limit on how long they may take: a scheduler that is down would keep them for ever."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

PATIENCE_S = 5.0


@dataclass(frozen=True)
class Answer:
    """What a program said: its exit status (None: it took too long, or is not there), and its output."""

    status: int | None
    output: str
    complaint: str

    @property
    def is_good(self) -> bool:
        """Whether it ended with 0."""
        return self.status == 0

    @property
    def reason(self) -> str:
        """Why it failed, in one line."""
        lines = [line for line in (self.complaint or self.output).splitlines() if line.strip()]
        return lines[0].strip()[:200] if lines else f"exit status {self.status}"


def ask(command: Sequence[str], *, patience: float = PATIENCE_S) -> Answer:
    """Run a program and wait for it, but not for long."""
    try:
        found = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=patience,
            stdin=subprocess.DEVNULL,
            env=os.environ | {"LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        return Answer(None, "", f"no answer within {patience:g} s")
    except OSError as error:
        return Answer(None, "", f"{command[0]}: {error.strerror}")
    return Answer(found.returncode, found.stdout, found.stderr)
