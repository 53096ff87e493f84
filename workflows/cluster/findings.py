"""What `mdpipe doctor` finds: one line each, with its remedy, and an exit code for all."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from mdpipe.failures import failure_class

Level = Literal["error", "warning"]
"""`error`: a study cannot run so; `warning`: it runs, until something happens or grows."""

EXIT_CODES: Final = {"error": failure_class("bad-study").exit_code, "warning": 1}
"""What `mdpipe doctor` ends with for its worst finding; 0 for none."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the cluster lacks.

    Attributes
    ----------
    level : str
        `error` or `warning`.
    check : str
        Which check found it.
    what : str
        The rule.
    where : str
        The object, and the key in it.
    got : str
        What is there instead.
    fix : str
        A command, or the part of `workflows/deploy` that has it.
    """

    level: Level
    check: str
    what: str
    where: str
    got: str
    fix: str

    def line(self) -> str:
        """Return the finding in one line.

        Returns
        -------
        str
            Where, rule, value and remedy.
        """
        return f"{self.level} {self.check}: {self.where}: {self.what}, got {self.got}; {self.fix}"


@dataclass(slots=True)
class Report:
    """What a look at a cluster gave.

    Attributes
    ----------
    facts : dict
        What is there, for people: versions, names.
    findings : list of Finding
        What is wrong, errors first.
    unknown : list of str
        What could not be told, and why.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """Return the exit code for the worst finding."""
        levels = {finding.level for finding in self.findings}
        return max((EXIT_CODES[level] for level in levels), default=0)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data.

        Returns
        -------
        dict
            `facts`, `findings`, `unknown` and `exit_code`.
        """
        return asdict(self) | {"exit_code": self.exit_code}
