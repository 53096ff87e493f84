"""Run the image as strictly as steps are run, and say whether it is healthy."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from mdpipe.failures import MdpipeError, UsageError
from mdpipe.image.settings import ContainerSettings

WARM_START_S: Final = 3.0
SIZE_MB: Final = 700.0
RANDOM_UID: Final = 54321
STRICT: Final = (
    "--rm", "--pull=never", "--read-only", "--cap-drop=all", "--network=none",
    "--security-opt=no-new-privileges", "--tmpfs=/tmp:rw,mode=1777", "--workdir=/tmp",
)  # fmt: skip
TITLE: Final = "org.opencontainers.image.title"
VERSION: Final = "org.opencontainers.image.version"
LICENCE: Final = "org.opencontainers.image.licenses"
LIBRARIES: Final = ("ffmpeg", "plots", "readers", "threads")
PROBE: Final = ("python", "-m", "mdpipe.image.probe")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what it must be, what was found, and whether that is good."""

    what: str
    rule: str
    found: str
    good: bool


def check_image(
    settings: ContainerSettings, image: str, report: Callable[[str], None]
) -> dict[str, Any]:
    """Check an image on this machine.

    Parameters
    ----------
    settings : ContainerSettings
        The tool and its flags.
    image : str
        Name and tag.
    report : callable
        Takes lines for people.

    Returns
    -------
    dict
        `good`, `findings`, `size_mb`, `weights_mb`, `first_step_s` and the image's `labels`.

    Raises
    ------
    UsageError
        If there is no such image.
    MdpipeError
        If a container does not run to its end.
    """
    inspected = inspect(settings, image)
    labels: dict[str, str] = (inspected.get("Config") or {}).get("Labels") or {}
    size_mb = float(inspected.get("Size", 0)) / 1e6
    user = str((inspected.get("Config") or {}).get("User", ""))
    missing = [name for name in (TITLE, VERSION, LICENCE) if not labels.get(name)]
    findings = [
        Finding("size", f"at most {SIZE_MB:.0f} MB", f"{size_mb:.0f} MB", size_mb <= SIZE_MB),
        Finding("labels", "title, version, licence", ", ".join(missing) or "all", not missing),
        Finding("user", "a fixed number, not root", user, user.partition(":")[0].strip("0") != ""),
    ]
    told: dict[str, Any] = {}
    for who, flags in (
        ("own user", ()),
        (f"user {RANDOM_UID}", (f"--user={RANDOM_UID}:{RANDOM_UID}",)),
    ):
        report(f"running {image} as its {who}" if not flags else f"running {image} as {who}")
        seconds, answers = probe(settings, image, flags)
        told = answers
        findings += judge(who, seconds, answers)
        told["first_step_s"] = round(seconds, 2)
    return {
        "image": image,
        "good": all(finding.good for finding in findings),
        "size_mb": round(size_mb, 1),
        "first_step_s": told["first_step_s"],
        "weights_mb": told.get("weights_mb", {}),
        "labels": labels,
        "findings": findings,
    }


def inspect(settings: ContainerSettings, image: str) -> dict[str, Any]:
    """Return what the tool knows of an image.

    Parameters
    ----------
    settings : ContainerSettings
        The tool and its flags.
    image : str
        Name and tag.

    Returns
    -------
    dict
        Its first answer to `image inspect`.

    Raises
    ------
    UsageError
        If there is no such image.
    """
    asked = subprocess.run(
        [*settings.command(), "image", "inspect", image],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if asked.returncode != 0:
        raise UsageError(f"{image}: no such image here; build it with `mdpipe image build`")
    answer: dict[str, Any] = json.loads(asked.stdout)[0]
    return answer


def probe(
    settings: ContainerSettings, image: str, flags: tuple[str, ...]
) -> tuple[float, dict[str, Any]]:
    """Run the probe in a container.

    Parameters
    ----------
    settings : ContainerSettings
        The tool and its flags.
    image : str
        Name and tag.
    flags : tuple of str
        Further flags of `run`.

    Returns
    -------
    float
        Seconds from the call of the tool to the end of the first step of a simulation.
    dict
        The probe's answers.

    Raises
    ------
    MdpipeError
        If it does not run to its end.
    """
    command = [*settings.command(), "run", *STRICT, *flags, *settings.run_flags, image, *PROBE]
    began = time.monotonic()
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        first = process.stdout.readline() if process.stdout else ""
        seconds = time.monotonic() - began
        rest, said = process.communicate()
    if process.returncode != 0:
        last = (said.strip().splitlines() or ["no message"])[-1]
        raise MdpipeError(f"{image}: the probe ended with code {process.returncode}: {last}")
    answers: dict[str, Any] = {}
    for line in (first + rest).splitlines():
        answers |= json.loads(line)
    return seconds, answers


def judge(who: str, seconds: float, told: dict[str, Any]) -> list[Finding]:
    """Say whether what a probe found is good.

    Parameters
    ----------
    who : str
        As whom it ran.
    seconds : float
        Time to the first step.
    told : dict
        The probe's answers.

    Returns
    -------
    list of Finding
        One for each rule.
    """
    places = ", ".join(told["writable"]) or "nothing"
    return [
        Finding(
            f"first step as {who}", f"within {WARM_START_S:g} s", f"{seconds:.2f} s",
            seconds <= WARM_START_S,
        ),
        Finding(
            f"kernels as {who}", "all loaded from the image",
            f"{told['loaded']} loaded, {told['compiled']} compiled",
            told["compiled"] == 0 and told["loaded"] > 0,
        ),
        Finding(
            f"writable as {who}", "the temporary folder alone", f"{places} beside it",
            told["tmp"] and not told["writable"],
        ),
        Finding(
            f"privileges as {who}", "none, and no way to any",
            f"uid {told['uid']}, capabilities {told['capabilities']:#x}",
            told["uid"] != 0 and told["capabilities"] == 0 and told["no_new_privileges"],
        ),
        Finding(
            f"network as {who}", "none", ", ".join(told["interfaces"]) or "none",
            not told["interfaces"],
        ),
        Finding(
            f"libraries as {who}", "films, plots, readers and threads work",
            ", ".join(f"{name} {told[name]}" for name in LIBRARIES),
            all(told[name] for name in LIBRARIES),
        ),
    ]  # fmt: skip
