"""Arguments that are too long for a command line: `@PATH` stands for what is in a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mdpipe.failures import UsageError

SIGN = "@"


def expand(words: Sequence[str]) -> list[str]:
    """Replace each `@PATH` by the content of that file, and each `@@x` by `@x`.

    Parameters
    ----------
    words : sequence of str
        Arguments as they were given.

    Returns
    -------
    list of str
        As many arguments. The content of a file is one of them, verbatim, its last newline and
        any `@` of its own included; `@PATH` without such a file stays as it is.

    Raises
    ------
    UsageError
        If a file is there and cannot be read.
    """
    return [_expand(word) for word in words]


def _expand(word: str) -> str:
    if not word.startswith(SIGN):
        return word
    if word.startswith(2 * SIGN):
        return word[1:]
    path = Path(word[1:])
    try:
        # decoded as the arguments of a process are
        return os.fsdecode(path.read_bytes()) if path.is_file() else word
    except (OSError, ValueError) as error:
        raise UsageError(
            f"argument {word[:200]}: the file cannot be read ({error}); correct its rights, or "
            f"write {SIGN}{word[:200]} for an argument that begins with {SIGN}"
        ) from error
