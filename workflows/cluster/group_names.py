"""Names of groups as the report has them, which a workflow, that only counts, does not know.

They are read from the slices of those groups alone that are told of, as far as the store of the
workflow answers in time. A shared volume cannot be read without a pod; its groups have rows only.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from mdpipe.cluster_settings import ClusterSettings
from mdpipe.failures import BusyError, MdpipeError
from mdpipe.run_folder import RunFolder
from mdpipe.scenes.objects import Objects, StoreDownError
from mdpipe.scenes.store_client import Patience
from mdpipe.sealed import unseal
from mdpipe.steps.plan import group_title
from mdpipe.user_settings import read_settings
from mdpipe.workflows.cluster.door import Door, Workflow
from mdpipe.workflows.cluster.names import settings_of
from mdpipe.workflows.cluster.store import open_store

LONGEST_S: Final = 1.0
"""After that no more of them are read."""

READERS: Final = 8
HASTE: Final = Patience(attempts=1, silence_s=0.7, rest_s=60.0)
LAYOUT: Final = RunFolder(Path())


class GroupNames:
    """Names of the pending groups of workflows, each read once.

    Parameters
    ----------
    door : Door
        The way to the cluster, whose secret has the keys of the store.
    """

    def __init__(self, door: Door) -> None:
        self._door = door
        self._known: dict[tuple[str, int], str] = {}
        self._stores: dict[str, Objects | None] = {}

    def of(self, workflow: Workflow, rows: Iterable[int]) -> dict[int, str]:
        """Return the names of groups, as far as they can be had at once.

        Parameters
        ----------
        workflow : dict
            The Workflow object.
        rows : iterable of int
            Lines of what was pending, at most some tens, those that matter most first.

        Returns
        -------
        dict
            Row to name; rows of which nothing is known are left out.
        """
        run = workflow["metadata"]["name"]
        wanted = list(dict.fromkeys(rows))
        unknown = [row for row in wanted if (run, row) not in self._known]
        if unknown and (store := self._store(workflow)) is not None:
            end = time.monotonic() + LONGEST_S
            with ThreadPoolExecutor(READERS) as pool:
                found = pool.map(lambda row: _read(store, run, row, end), unknown)
            answers = zip(unknown, found, strict=True)
            self._known |= {(run, row): name for row, name in answers if name is not None}
        names = {row: self._known.get((run, row), "") for row in wanted}
        return {row: name for row, name in names.items() if name}

    def _store(self, workflow: Workflow) -> Objects | None:
        """Open the store of a workflow; None if it has none, or nobody may."""
        run = workflow["metadata"]["name"]
        if run not in self._stores:
            # names are a help and never a reason to fail
            try:
                self._stores[run] = self._opened(workflow)
            except BusyError:  # of a secret that is to be had later, perhaps
                return None
            except (MdpipeError, OSError):
                self._stores[run] = None
        return self._stores[run]

    def _opened(self, workflow: Workflow) -> Objects | None:
        settings = settings_of(workflow) or read_settings(ClusterSettings, "cluster")
        if not settings.store or settings.storage == "volume":
            return None
        return open_store(settings, self._door, HASTE)


def _read(store: Objects, run: str, row: int, end: float) -> str | None:
    """Read a group's name from its slice; empty if it has none, None if that is not known."""
    if time.monotonic() > end:
        return None
    path = LAYOUT.slice(row) / LAYOUT.plan
    try:
        raw = store.read(f"runs/{run}/{path.as_posix()}")
        return group_title(unseal(raw.splitlines()[0], path))
    except StoreDownError:
        return None
    except (MdpipeError, OSError, ValueError, LookupError, TypeError):
        return ""
