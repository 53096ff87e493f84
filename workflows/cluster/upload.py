"""The inputs of a study, into the store from which its pods take them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mdpipe.cluster_settings import ClusterSettings
from mdpipe.failures import InputError, UsageError
from mdpipe.products import file_digest
from mdpipe.scenes.objects import Listed, Objects
from mdpipe.steps.fingerprint import input_files
from mdpipe.study import Study
from mdpipe.workflows.cluster.store import carried_digest, same_content

AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What an upload did: files and bytes that were sent, and files that were there."""

    sent: int
    sent_bytes: int
    there: int


def upload_inputs(
    study: Study,
    settings: ClusterSettings,
    store: Objects,
    say: Callable[[str], None] = lambda _: None,
    *,
    dry_run: bool = False,
) -> Uploaded:
    """Bring the input files of a study into the store, those that are not there with this content.

    Parameters
    ----------
    study : Study
        The study; files keep their names relative to its folder.
    settings : ClusterSettings
        Where they go.
    store : Objects
        The store.
    say : callable
        Told of each file that is sent.
    dry_run : bool
        Whether to send nothing.

    Returns
    -------
    Uploaded
        What was done.

    Raises
    ------
    UsageError
        If the storage profile takes its inputs from elsewhere.
    InputError
        If there are no inputs, or one lies outside the folder of the study.
    BusyError
        If the store does not answer.
    """
    check_profile(settings)
    files = input_files(study.inputs, study.folder, study.folder / ".none")
    if not files:
        raise InputError(f"{study.folder}: none of the study's inputs is there; nothing to upload")
    if outside := [name for name, _, _ in files if name.startswith("..")]:
        raise InputError(
            f"{outside[0]}: lies outside the study's folder and has no name in the store; move the "
            "study file above all its inputs"
        )
    known = store.list(settings.inputs_key.strip("/"))
    begin = f"{settings.inputs_key.strip('/')}/"

    def send(name: str) -> int | None:
        path = study.folder / name
        if _is_there(store, begin + name, path, known.get(begin + name)):
            return None
        if not dry_run:
            # the digest is for stores whose tags are no digests of the content
            store.put(begin + name, path, file_digest(path))
            say(f"uploaded {name}")
        return path.stat().st_size

    with ThreadPoolExecutor(AT_ONCE) as pool:
        sizes = list(pool.map(send, [Path(name).as_posix() for name, _, _ in files]))
    sent = [size for size in sizes if size is not None]
    return Uploaded(len(sent), sum(sent), len(sizes) - len(sent))


def check_profile(settings: ClusterSettings) -> None:
    """See that inputs are taken from the store at all.

    Parameters
    ----------
    settings : ClusterSettings
        How a study runs on the cluster.

    Raises
    ------
    UsageError
        If they are taken from a claim.
    """
    if settings.storage not in {"artifacts", "sdk"}:
        raise UsageError(
            f"--upload-inputs: the storage profile {settings.storage} reads inputs from the claim "
            f"{settings.inputs_claim}, folder {settings.inputs_path or '/'}, which cannot be "
            "written from here; copy them there once (`workflows/README.md` says how) and submit "
            'without --upload-inputs, or set [cluster] storage = "artifacts" or "sdk", which read '
            "them from the store"
        )


def _is_there(store: Objects, key: str, path: Path, listed: Listed | None) -> bool:
    if listed is None:
        return False
    same = same_content(path, listed)
    return carried_digest(store, key) == file_digest(path) if same is None else same
