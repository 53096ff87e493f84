"""The command line.

The commands are imported when they are asked for: `mdpipe --help` must answer at once.
"""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Final

import click

from mdpipe import __version__, inject, progress
from mdpipe.cli.arguments import expand
from mdpipe.failures import (
    FailureClass,
    MdpipeError,
    classify_error,
    exit_on_sigterm,
    failure_class,
    leave_last_words,
)
from mdpipe.failures.signals import TERMINATED
from mdpipe.memory import PeakRecorder

COMMANDS: Final = {
    "run": (
        "run",
        "Run a whole study: every step in order; run again to resume.",
    ),
    "demo": ("run", "Run the demo study on the sample data."),
    "plan": ("run", "Show what a study would run and what is cached already."),
    "preprocess": ("steps", "Read, check, classify and group the inputs of a study."),
    "simulate": ("steps", "Run one scene, of a study or of its own."),
    "render": ("steps", "Render the films and stills of one group's scenes."),
    "combine": ("steps", "Make the film, the report and the table of a run."),
    "workflow": ("workflow", "Print a study as a workflow of Argo Workflows."),
    "submit": ("cluster", "Run a study as a workflow on a cluster."),
    "status": ("cluster", "Say how far a workflow on a cluster is."),
    "logs": ("cluster", "Print what the programs of a workflow's pods have said."),
    "fetch": ("cluster", "Fetch film, report and tables of a workflow."),
    "stop": ("cluster", "Hold a workflow, or end it now."),
    "resume": ("cluster", "Go on with a workflow that was held, was ended or has failed."),
    "reap": ("cluster", "Give up pods of workflows that wait in vain for a node or an image."),
    "cache": ("cache", "List, verify and clean the scene cache."),
    "data": ("data", "Make sample data sets."),
    "info": ("data", "Say what a file or run folder holds, or what runs here."),
    "digest": ("data", "Print the digest of a scene's content."),
    "validate": ("check", "Check energies, forces and virials against reference data."),
    "bench": ("bench", "Time engine and analysis, beside other programs."),
    "warm": ("run", "Compile all kernels now."),
    "image": ("image", "Build and check the container image."),
    "doctor": ("doctor", "Say what a cluster lacks to run a study, and how to mend it."),
    "failures": ("check", "Show the table of failure classes."),
    "completion": ("completion", "Print the completion script of a shell."),
}
"""Command -> (module in this package, one-line help)."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used; help lines come from `COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"mdpipe.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Turn a folder of water configurations into simulations, a film, a report and a table."""


def main() -> None:
    """Run the command line; every failure is one line on standard error and an exit code."""
    exit_on_sigterm()
    named = os.environ.get(progress.VARIABLE)
    recorder = PeakRecorder(Path(named) if named else None)
    stopped = "stopped; run the same command again to resume"
    try:
        inject.reached(0.0)
        code = cli.main(expand(sys.argv[1:]), standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        code = _complain(stopped, failure_class("interrupted"))
    except click.ClickException as error:
        if isinstance(error, click.UsageError) and error.ctx is not None:
            click.echo(f"see `{error.ctx.command_path} --help`", err=True)
        code = _complain(error.format_message(), failure_class("usage"))
    except MdpipeError as error:
        _complain(str(error), classify_error(error))
        code = error.exit_code
    except SystemExit as end:
        if end.code == TERMINATED:  # already told on standard error
            leave_last_words(failure_class("interrupted"), "terminated (SIGTERM)")
        raise
    except Exception as error:  # noqa: BLE001  # the last line of defence: one line, and the table's code
        traceback.print_exc()
        code = _complain(f"{type(error).__name__}: {error}", classify_error(error))
    finally:
        recorder.write()
    sys.exit(code if isinstance(code, int) else 0)


def _complain(message: str, row: FailureClass) -> int:
    """Say why the program ends, to the user and to the engine; return the class's exit code."""
    click.echo(f"mdpipe: {message}", err=True)
    leave_last_words(row, message)
    return row.exit_code
