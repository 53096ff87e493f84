"""The durable tier of the scene cache: the same entries in a store that speaks the S3 protocol."""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mdpipe.products import remove
from mdpipe.scenes.entry import (
    ENTRY,
    KEY,
    CorruptEntryError,
    Description,
    decode_description,
    encode_description,
)
from mdpipe.scenes.lock import Notice, silent
from mdpipe.scenes.objects import Objects, Patience, StoreDownError
from mdpipe.scenes.statistics import Event, Recorder, forget

LISTERS = 16


class DurableTier:
    """Entries in a bucket: `scenes/<namespace>/<2 hex>/<key>/`, the data first, `entry.json` last.

    Parameters
    ----------
    url : str
        `s3://bucket/prefix`; see `Objects`.
    namespace : str
        Part of the store that these scenes share with nobody.
    notice : callable
        Told, in one line, what the user should know but need not act on.
    record : callable
        Told what happened.
    patience : Patience or None
        How long the store is waited for.

    Raises
    ------
    UsageError
        If the URL is not one of a bucket, or the library for stores is not installed.
    """

    def __init__(
        self,
        url: str,
        namespace: str = "default",
        notice: Notice = silent,
        record: Recorder = forget,
        patience: Patience | None = None,
    ) -> None:
        self.prefix = f"scenes/{namespace}"
        self.namespace = namespace
        self.notice, self.record = notice, record
        self.objects = Objects(url, patience)

    def present(self, keys: Collection[str]) -> set[str]:
        """Say which of many scenes are in the store, by listing it: no request for a key.

        Parameters
        ----------
        keys : collection of str
            Scene keys.

        Returns
        -------
        set of str
            Those with data in the store; an upload that broke off counts, and shows when it is
            fetched. Empty if the store is down.
        """
        try:
            return self.listed(keys)
        except StoreDownError as error:
            self._failed("cannot be listed", error)
            return set()

    def listed(self, keys: Collection[str]) -> set[str]:
        """Say which of many scenes are in the store, where not knowing is a failure.

        Parameters
        ----------
        keys : collection of str
            Scene keys.

        Returns
        -------
        set of str
            As `present` returns it.

        Raises
        ------
        StoreDownError
            If the store does not answer.
        """
        wanted = set(keys)
        found: set[str] = set()
        with ThreadPoolExecutor(LISTERS) as pool:
            for names in pool.map(self._names, sorted({key[:2] for key in wanted})):
                found.update(wanted.intersection(names))
        return found

    def all_keys(self) -> Iterator[str]:
        """Yield the keys in the store, by listing it.

        Yields
        ------
        str
            A key.
        """
        every = [f"{digit:02x}" for digit in range(256)]
        with ThreadPoolExecutor(LISTERS) as pool:
            for names in pool.map(self._names, every):
                yield from names

    def _names(self, digits: str) -> list[str]:
        """Return the sorted keys that begin with two digits."""
        import obstore

        prefix = f"{self.prefix}/{digits}/"
        listed = self.objects.ask(
            lambda: obstore.list_with_delimiter(self.objects.client, prefix=prefix)
        )
        names = (row.rstrip("/").rpartition("/")[2] for row in listed["common_prefixes"])
        return sorted(name for name in names if KEY.fullmatch(name))

    def describe(self, key: str) -> Description | None:
        """Read the metadata of an entry; a damaged one is set aside.

        Parameters
        ----------
        key : str
            The scene's key.

        Returns
        -------
        Description or None
            None if there is no good entry.

        Raises
        ------
        StoreDownError
            If the store does not answer.
        """
        raw = last = b""
        for _ in range(self.objects.patience.attempts):
            last = raw
            try:
                raw = self.objects.read(self._name(key, ENTRY))
                return decode_description(raw, key)
            except FileNotFoundError:
                return None
            except CorruptEntryError as error:
                # the way may have damaged it: only what is wrong twice alike is wrong in the store
                if raw == last:
                    self.quarantine(key, str(error))
                    return None
        raise StoreDownError("its answers differ from each other")

    def fetch(self, key: str, into: Path) -> Description | None:
        """Bring a scene's data into an empty folder, each byte compared with its digest.

        Parameters
        ----------
        key : str
            The scene's key.
        into : Path
            An empty folder; what it holds is to be thrown away unless this returns an entry.

        Returns
        -------
        Description or None
            None if there is no good entry, or the store is down: then there is a notice.
        """
        try:
            return self.demand(key, into)
        except StoreDownError as error:
            self._failed(f"gives no scene {key[:12]}", error)
            return None

    def demand(self, key: str, into: Path) -> Description | None:
        """Bring a scene's data into an empty folder, where not knowing is a failure.

        Parameters
        ----------
        key : str
            The scene's key.
        into : Path
            As for `fetch`.

        Returns
        -------
        Description or None
            None if there is no good entry.

        Raises
        ------
        StoreDownError
            If the store does not answer.
        """
        described = self.describe(key)
        if described is None:
            return None
        for name, record in described.files.items():
            path, target = self._name(key, name), into / name
            fetch = functools.partial(self.objects.download, path, target)
            if not self.objects.brings(fetch, record.sha256.__eq__):
                self.quarantine(key, f"{name}: its bytes are not those that were written")
                return None
        return described

    def push(self, described: Description, folder: Path) -> bool:
        """Copy an entry to the store, unless it is there.

        Parameters
        ----------
        described : Description
            What it is.
        folder : Path
            Where its data lie.

        Returns
        -------
        bool
            Whether it is in the store now; if not, there is a notice.
        """
        key = described.key
        try:
            if self.describe(key) is not None:
                return True
            for name in described.files:
                self.objects.put(self._name(key, name), folder / name)
            self.objects.put(self._name(key, ENTRY), encode_description(described))
        except StoreDownError as error:
            self._failed(f"did not take scene {key[:12]}", error)
            return False
        self.record(Event("pushed", key, described.bytes))
        return True

    def verify(self) -> list[str]:
        """Read every byte of every entry and set the damaged ones aside.

        Returns
        -------
        list of str
            The keys of the damaged ones.

        Raises
        ------
        StoreDownError
            If the store does not answer.
        """
        damaged: list[str] = []
        with tempfile.TemporaryDirectory() as scratch:
            for key in list(self.all_keys()):
                if self.demand(key, Path(scratch) / key) is None:
                    damaged.append(key)
                remove(Path(scratch) / key)
        return damaged

    def quarantine(self, key: str, reason: str) -> None:
        """Set a damaged entry aside below `quarantine/`, its metadata first.

        Parameters
        ----------
        key : str
            The scene's key.
        reason : str
            What is wrong with it.
        """
        aside = f"quarantine/{self.namespace}/{key}.{time.time_ns():x}"
        try:
            self.objects.set_aside(self._name(key, ""), aside, ENTRY)
        except StoreDownError as error:
            self._failed(f"keeps a damaged scene {key[:12]}", error)
            return
        self.record(Event("quarantined", key))
        self.notice(
            f"scene store: entry {key[:12]} is damaged ({reason}); set aside as {aside}, "
            "the scene is computed again"
        )

    def _name(self, key: str, name: str) -> str:
        if not KEY.fullmatch(key):
            raise ValueError(f"a scene key must be 64 hex digits, got {key!r}")
        return f"{self.prefix}/{key[:2]}/{key}/{name}"

    def _failed(self, what: str, error: Exception) -> None:
        self.record(Event("store-failed", ""))
        self.notice(f"scene store: {what}: {error}; going on without it")
