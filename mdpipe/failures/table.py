"""The table of failure classes: how each is recognised, retried and explained.

Every engine reads this table and nothing else: the local one through `classify`, the cluster's
through the same rows turned into a retry strategy.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Change = Literal["nothing", "resume", "more-memory", "other-node"]
"""What a retry does differently; an engine that cannot do it does not retry."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waiting time before a retry: base · factor^(n-1), at most `cap_s`, spread by `jitter`."""

    base_s: float = 0.0
    factor: float = 2.0
    cap_s: float = 0.0
    jitter: float = 0.25

    def delay_s(self, retry: int, uniform: float) -> float:
        """Return the waiting time before a retry.

        Parameters
        ----------
        retry : int
            Number of the retry, from 1.
        uniform : float
            A random number in [0, 1); the delay is spread by ± `jitter` around its centre.

        Returns
        -------
        float
            Seconds, at most `cap_s`.
        """
        # the exponent is bounded so that a long run of retries cannot overflow a float
        centre = min(self.base_s * self.factor ** min(retry - 1, 64), self.cap_s)
        return min(centre * (1.0 + self.jitter * (2.0 * uniform - 1.0)), self.cap_s)


@dataclass(frozen=True, slots=True)
class FailureClass:
    """One way to fail.

    Attributes
    ----------
    name : str
        The class, as reports and logs print it.
    exit_codes : tuple of int
        Exit codes that mean this class.
    signals : tuple of int
        Signals that, having ended the process, mean this class.
    messages : tuple of str
        Regular expressions (no case) found in the last lines of standard error, or in the
        message of a pod. They are written in the common subset of Python's `re` and RE2.
    decisive : bool
        Whether the exit code is believed whatever the message says.
    retries : int
        How often a step is tried again for this class.
    backoff : Backoff
        How long to wait before that.
    change : str
        What the retry does differently.
    exit_code : int
        What the program returns when this class ends a run.
    remedy : str
        What the user is told to do.
    """

    name: str
    exit_codes: tuple[int, ...]
    signals: tuple[int, ...]
    messages: tuple[str, ...]
    decisive: bool
    retries: int
    backoff: Backoff
    change: Change
    exit_code: int
    remedy: str

    def as_dict(self) -> dict[str, Any]:
        """Return the row as plain data.

        Returns
        -------
        dict
            Field name to value.
        """
        return asdict(self)


NO_WAIT = Backoff()

TABLE: tuple[FailureClass, ...] = (
    FailureClass(
        "usage", (2,), (), (), True, 0, NO_WAIT, "nothing", 2,
        "correct the command; `mdpipe COMMAND --help` lists its arguments",
    ),
    FailureClass(
        "bad-study", (78,), (), (), True, 0, NO_WAIT, "nothing", 78,
        "correct the key of the study file that the message names, then run again",
    ),
    FailureClass(
        "bad-input", (66,), (), ("artifact.*(no key found|key does not exist)",),
        True, 0, NO_WAIT, "nothing", 66,
        "correct or remove the input that the message names, then run again",
    ),
    FailureClass(
        "disk-full", (), (25,),
        ("no space left on device", "disk is full", "disk quota exceeded", "file too large"),
        False, 2, Backoff(30.0, 2.0, 300.0), "other-node", 75,
        "free space (`mdpipe cache gc --dry-run` shows what the scene cache could give), "
        "then run again: finished steps are kept",
    ),
    FailureClass(
        "out-of-memory", (137,), (),
        ("oomkilled", "cannot allocate memory", "out of memory", r"\bmemoryerror\b",
         "_arraymemoryerror", "bad_alloc", "unable to allocate"),
        False, 3, Backoff(1.0, 2.0, 10.0), "more-memory", 137,
        "give the step more memory, or run with fewer workers, a smaller picture or fewer threads",
    ),
    FailureClass(
        "incompatible-image", (126, 127), (4,),
        ("exec format error", "illegal instruction", "no such file or directory: .*python",
         "glibc.*not found", "no match for platform"),
        False, 2, Backoff(5.0, 2.0, 60.0), "other-node", 70,
        "use an image, or an installation, that is made for this processor and system",
    ),
    FailureClass(
        "out-of-stock", (), (),
        ("find failed message", "unschedulable", "insufficient (cpu|memory|ephemeral-storage)",
         "exceeded quota", "errimagepull", "imagepullbackoff", "^timeout$"),
        False, 8, Backoff(30.0, 2.0, 600.0), "other-node", 75,
        "wait, or allow another kind of node, or ask for fewer resources",
    ),
    FailureClass(
        "interrupted", (129, 130, 143), (1, 2, 9, 15),
        ("interrupted", "stopped; run .* again", "pod deleted", "(node|workflow) shutdown",
         "stopped with strategy",
         "low on resource", "preempt", "evicted", "nodelost", "pod was rejected",
         "unexpectedadmissionerror", "pod failed before main container starts"),
        False, 5, Backoff(0.5, 2.0, 30.0), "resume", 75,
        "run again: finished steps are kept and scenes go on from their last checkpoint",
    ),
    FailureClass(
        "time-limit", (124,), (24,),
        ("active on the node longer than the specified deadline", "time limit exceeded",
         "deadlineexceeded"),
        False, 2, Backoff(1.0, 2.0, 10.0), "resume", 75,
        "raise the step's time limit, or run again: scenes go on from their last checkpoint",
    ),
    FailureClass(
        "network", (), (13,),
        ("connection (reset|refused|aborted|timed out)", "timed out", "temporary failure in name",
         "name or service not known", "network is unreachable", "broken pipe", "tls handshake",
         "slowdown", "service unavailable", r"\b50[0234]\b.*(error|status|response)",
         "unexpected eof", "throttl", "stale file handle",
         r"artifact \S+ failed to (load|save)", "failed to (put|get|list|create) .*(file|dir|obj)"),
        False, 6, Backoff(2.0, 2.0, 60.0), "nothing", 75,
        "check the network and the store's address, then run again",
    ),
    FailureClass(
        "container-tool", (125,), (), (), False, 2, Backoff(5.0, 2.0, 60.0), "nothing", 75,
        "read what podman or docker says, correct [container] of the settings (`mdpipe image "
        "check` tries them), or run with --engine process",
    ),
    FailureClass(
        "try-again", (75,), (), (), False, 5, Backoff(2.0, 2.0, 60.0), "nothing", 75,
        "run again in a while",
    ),
    FailureClass(
        "bug", (1, 70), (3, 5, 6, 7, 8, 11, 31), (), False, 0, NO_WAIT, "nothing", 70,
        "a fault of the program: please report it with the log of the step",
    ),
)  # fmt: skip
"""All classes, in the order in which messages are looked at; the last one takes the rest."""

_BY_NAME = {row.name: row for row in TABLE}


def failure_class(name: str) -> FailureClass:
    """Return the row of a class.

    Parameters
    ----------
    name : str
        Name of the class, such as `out-of-memory`.

    Returns
    -------
    FailureClass
        The row.

    Raises
    ------
    KeyError
        If there is no such class.
    """
    return _BY_NAME[name]
