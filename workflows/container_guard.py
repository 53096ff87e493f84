"""Remove the containers that an engine leaves behind: `container_guard.py LABEL TOOL FLAG…`.

Run as a plain script in a session of its own. The engine holds the other end of standard input;
however the engine dies, the pipe ends, and every container with the label is removed. It looks
again until it has found none twice, for a container may just be starting.
"""

import signal
import subprocess
import sys
import time

TRIES = 40
PAUSE_S = 0.25


def remove_labelled(tool: list[str], label: str) -> bool:
    """Remove all containers with a label, at once; say whether there were any.

    Parameters
    ----------
    tool : list of str
        The container tool and its global flags.
    label : str
        `name=value`.

    Returns
    -------
    bool
        Whether any were found, or the tool could not say.
    """
    listed = subprocess.run(
        [*tool, "ps", "--all", "--quiet", "--filter", f"label={label}"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    names = listed.stdout.split()
    if names:
        subprocess.run(
            [*tool, "rm", "--force", *names],
            stdin=subprocess.DEVNULL, capture_output=True, check=False,
        )  # fmt: skip
    return bool(names) or listed.returncode != 0


def main() -> None:
    """Wait for the end of the input, then clear up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    started = False
    for line in sys.stdin:
        started = line.startswith("+")
    if not started:
        return
    clean = 0
    for _ in range(TRIES):
        clean = 0 if remove_labelled(sys.argv[2:], sys.argv[1]) else clean + 1
        if clean == 2:
            return
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
