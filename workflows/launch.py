"""Become a step that cannot outlive its engine: `launch.py ENGINE_PID PROGRAM ARGUMENT…`.

Run as a plain script, not imported, so that it starts in a few milliseconds. On Linux the kernel is
asked to kill this process when its parent dies, which survives `exec`; elsewhere the guard process
alone sees to that. The step is also made the kernel's first choice when memory runs out, so that
the engine lives to tell the story.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Bind this process to its parent, then become the program."""
    engine, program = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        try:
            with open("/proc/self/oom_score_adj", "w", encoding="ascii") as stream:  # noqa: PTH123
                stream.write("500")
        except OSError:
            pass
    if os.getppid() != engine:  # it died before it could be watched
        sys.exit(75)
    try:
        os.execvp(program[0], program)
    except OSError as error:
        sys.stderr.write(f"{program[0]}: cannot be started: {error.strerror}\n")
        sys.exit(127 if isinstance(error, FileNotFoundError) else 126)


if __name__ == "__main__":
    main()
