"""How a process that loads gives way to those that answer meanwhile. Standard library only."""

import time
from pathlib import Path

LOADING = 19
"""The priority, as `nice` counts, of one that loads while others answer."""
RATE_SECONDS = 0.1
"""An ordinary user may change the priority of a session, of whichever, no sooner than this after another change."""


def yield_session(nice: int, process: int | str = "self", patience: float = 0.0) -> bool:
    """Give a process's session this priority among other sessions; whether the kernel has taken it.

    That of the session's autogroup, where the kernel has it, is the only one that an ordinary user may raise again.
    For `patience` seconds it is tried again where somebody has just changed another's.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            Path(f"/proc/{process}/autogroup").write_text(str(nice))
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(RATE_SECONDS / 5)
        except OSError:
            return False
        else:
            return True
