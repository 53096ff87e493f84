"""A workflow's status in the words of a terminal."""

from __future__ import annotations

from mdpipe.workflows.cluster.door import no_nodes_remedy
from mdpipe.workflows.cluster.status import Status
from mdpipe.workflows.cluster.tally import KINDS, Attempt
from mdpipe.workflows.live import clock_time

ATTEMPTS = 8
ROWS = 12


def status_lines(status: Status) -> list[str]:
    """Say all of a status.

    Parameters
    ----------
    status : Status
        The moment.

    Returns
    -------
    list of str
        Lines: the whole, the steps of each kind, what was retried, what failed.
    """
    lines = [head_line(status)]
    if status.message and status.phase != "Succeeded":
        lines.append(f"  {status.message}")
    if not status.steps_known:
        lines.append(f"  its steps are in a database of the controller; {no_nodes_remedy()}")
    else:
        for kind in KINDS:
            steps, total = status.tally.steps[kind], status.totals.get(kind)
            said = [f"{steps.done}/{total if total is not None else '?'} done"]
            counts = [(getattr(steps, word), word) for word in ("running", "pending", "failed")]
            said += [f"{count} {word}" for count, word in counts if count]
            lines.append(f"  {kind:<10} {', '.join(said)}")
        lines += _group_lines(status)
    classes = status.tally.classes
    if classes:
        counted = ", ".join(f"{count} {name}" for name, count in classes.most_common())
        lines.append(f"attempts that failed: {counted}")
        lines += [f"  {attempt_line(seen, status)}" for seen in status.tally.latest(ATTEMPTS)]
    lines += [failure_line(seen, status) for seen in status.tally.final()[:ROWS]]
    return lines


def head_line(status: Status) -> str:
    """Say where a workflow stands, in one line.

    Parameters
    ----------
    status : Status
        The moment.

    Returns
    -------
    str
        Name, phase, times and progress.
    """
    parts = [f"{status.name}: {'suspended' if status.suspended else status.phase}"]
    if status.started:
        parts.append(clock_time(status.elapsed_s) + ("" if status.over else " so far"))
    if status.steps_known and status.totals:
        done = sum(status.tally.steps[kind].done for kind in KINDS)
        parts.append(f"{done} of {sum(status.totals.values())} steps done")
    elif status.progress:
        # counted by the workflow engine, which does not know of steps that are still to come
        parts.append(f"{status.progress} of the work that has begun")
    if status.eta_s is not None:
        parts.append(f"about {clock_time(status.eta_s)} left")
    return ", ".join(parts)


def attempt_line(seen: Attempt, status: Status | None = None) -> str:
    """Say which attempt failed and why.

    Parameters
    ----------
    seen : Attempt
        The attempt.
    status : Status or None
        Has the name of its group, perhaps.

    Returns
    -------
    str
        Step, group, number, memory, class and cause.
    """
    memory = f" with {seen.memory_mi} Mi" if seen.memory_mi else ""
    step = _step(seen, status)
    return f"{step}, attempt {seen.number}{memory}: {seen.failure}: {seen.cause}"


def failure_line(seen: Attempt, status: Status | None = None) -> str:
    """Say what failed for good and what to do.

    Parameters
    ----------
    seen : Attempt
        Its last attempt.
    status : Status or None
        Has the name of its group, perhaps.

    Returns
    -------
    str
        Step, group, class, cause and remedy.
    """
    step = _step(seen, status)
    return f"failed: {step}: {seen.failure}: {seen.cause}; remedy: {seen.remedy}"


def _step(seen: Attempt, status: Status | None) -> str:
    """Name a step as `mdpipe logs` takes it, and its group as the report does."""
    name = "" if status is None or seen.row is None else status.names.get(seen.row, "")
    return f"{seen.label} [{name}]" if name else seen.label


def _group_lines(status: Status) -> list[str]:
    """Say which of the groups that were not cached are done, run or failed."""
    tally = status.tally
    if not status.rows:
        return ["  all groups were cached"] if status.rows == 0 else []
    said, named = [f"{tally.groups['succeeded']}/{status.rows} done"], []
    for word in ("running", "failed"):
        rows = sorted(tally.rows[word])
        if rows:
            listed = ", ".join(map(str, rows[:ROWS])) + (", …" if len(rows) > ROWS else "")
            said.append(f"{tally.groups[word]} {word} ({listed})")
            named += [
                f"  {'':<10} {row} {word}: {status.names[row]}"
                for row in rows[:ROWS]
                if row in status.names
            ]
    return [f"  {'groups':<10} {', '.join(said)}", *named]
