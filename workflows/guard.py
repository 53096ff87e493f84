"""Kill what an engine leaves behind: reads `+GROUP` and `-GROUP` lines until its input ends.

Run as a plain script in a session of its own. The engine holds the other end of the pipe; however
the engine dies, the pipe ends, and every process group that is still noted is killed, with all that
the steps have started in turn.
"""

import contextlib
import os
import signal
import sys


def main() -> None:
    """Keep the list of process groups, and kill those that are left at the end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line.startswith("+"):
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
