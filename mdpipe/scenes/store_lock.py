"""A lock between hosts: an object in the store that its holder keeps renewing."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import time
import uuid
from types import TracebackType

from mdpipe.scenes.durable import DurableTier
from mdpipe.scenes.objects import StoreDownError

LIFETIME_S = 60.0


class StoreLock:
    """One host at a time computes a scene; a holder that stops renewing loses the lock.

    Parameters
    ----------
    tier : DurableTier
        The store.
    key : str
        The scene's key.
    place : str
        Name of the local tier. Whoever holds the local lock of the same scene there knows that an
        earlier holder from the same place is dead, and takes its lock over at once.
    lifetime_s : float
        How long the lock outlives its last renewal, seconds.

    Notes
    -----
    Taken by a conditional put (only if absent), renewed and taken over by conditional puts (only
    if unchanged). A waiter measures with its own clock how long the object has not changed:
    clocks of different hosts are never compared. Should a lock be lost all the same, a scene is
    computed twice with the same bits.
    """

    def __init__(
        self, tier: DurableTier, key: str, place: str, lifetime_s: float = LIFETIME_S
    ) -> None:
        self.objects, self.place, self.lifetime_s = tier.objects, place, lifetime_s
        self.path = f"locks/{tier.namespace}/{key}.json"
        self.token = uuid.uuid4().hex
        self._tag: str | None = None
        self._beats = 0
        self._seen: tuple[str | None, float] = (None, 0.0)
        self._stop = threading.Event()
        self._heart: threading.Thread | None = None

    @property
    def held(self) -> bool:
        """Whether this object has taken the lock."""
        return self._heart is not None

    def try_acquire(self) -> bool:
        """Take the lock if it is free, or if its holder has let it run out.

        Returns
        -------
        bool
            Whether it is held now.

        Raises
        ------
        StoreDownError
            If the store does not answer.
        """
        if not self._put("create") and not self._take_over():
            return False
        self._heart = threading.Thread(target=self._beat, daemon=True)
        self._heart.start()
        return True

    def holder(self) -> str:
        """Return host and process of the holder, for messages.

        Returns
        -------
        str
            Such as `node7, process 123`; empty where it cannot be told.
        """
        with contextlib.suppress(StoreDownError, OSError, ValueError, KeyError, TypeError):
            row = json.loads(self.objects.read(self.path))
            return f"{row['host']}, process {row['process']}"
        return ""

    def release(self) -> None:
        """Give the lock back; what cannot be given back runs out by itself."""
        import obstore

        self._stop.set()
        if self._heart is not None:
            self._heart.join()
        if self._tag is None:
            return
        with contextlib.suppress(StoreDownError, FileNotFoundError):
            if self._current()[0] == self._tag:
                self.objects.ask(lambda: obstore.delete(self.objects.client, self.path))
        self._tag = None

    def _take_over(self) -> bool:
        """Replace a lock whose holder is dead: from the same place, or silent for too long."""
        try:
            tag, owner = self._current()
        except FileNotFoundError:
            return self._put("create")
        if owner.get("token") == self.token:  # the answer to our put was lost on the way
            self._tag = tag
            return True
        if tag != self._seen[0]:
            self._seen = (tag, time.monotonic())
        dead = owner.get("place") == self.place
        if not dead and time.monotonic() - self._seen[1] <= self.lifetime_s:
            return False
        if not self._put({"e_tag": tag}):
            return False
        with contextlib.suppress(FileNotFoundError):
            return bool(self._current()[1].get("token") == self.token)
        return False

    def _current(self) -> tuple[str | None, dict[str, object]]:
        """Return the object's tag and content. Raises FileNotFoundError if there is none."""
        import obstore

        def get() -> tuple[str | None, bytes]:
            result = obstore.get(self.objects.client, self.path)
            return result.meta["e_tag"], bytes(result.bytes())

        tag, raw = self.objects.ask(get)
        try:
            content = json.loads(raw)
        except ValueError:
            content = {}
        return tag, content if isinstance(content, dict) else {}

    def _put(self, mode: object) -> bool:
        """Write the lock under a condition; say whether it held."""
        import obstore
        from obstore import exceptions as known

        self._beats += 1
        content = {
            "token": self.token,
            "place": self.place,
            "host": platform.node(),
            "process": os.getpid(),
            "beats": self._beats,
        }
        raw = json.dumps(content).encode()
        try:
            done = self.objects.ask(
                lambda: obstore.put(self.objects.client, self.path, raw, mode=mode)  # type: ignore[arg-type]
            )
        except (known.AlreadyExistsError, known.PreconditionError, FileNotFoundError):
            return False
        self._tag = done["e_tag"]
        return True

    def _beat(self) -> None:
        """Renew the lock until it is released or lost."""
        while not self._stop.wait(self.lifetime_s / 4):
            with contextlib.suppress(StoreDownError):
                if not self._put({"e_tag": self._tag}):
                    return

    def __enter__(self) -> StoreLock:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
