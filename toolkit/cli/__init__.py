"""The `offramp` command. A subcommand is imported when it is called, and imports what it needs when it runs."""

from __future__ import annotations

import errno
import importlib
import io
import keyword
import os
import sys
from collections.abc import Sequence

import click
from click.shell_completion import shell_complete

from jetson import __version__
from jetson.errors import OfframpError
from toolkit.cli.stop import Terminated, clean_stop

COMMANDS = {
    "import": "Make a checkpoint of your own ViT, with untrained exits.",
    "train": "Train a multi-exit ViT: a checkpoint.",
    "build": "Cut a checkpoint into units, export and check them: a bundle.",
    "calibrate": "Learn anew how good and how sure a bundle's exits are; int8 from other frames.",
    "engines": "Build a TensorRT engine of every unit, into the cache.",
    "info": "Show what a bundle holds.",
    "profile": "Measure a bundle's units on this device: a latency profile.",
    "doctor": "Tell whether this machine is ready, and what mends what is not.",
    "run": "Answer frames within a budget.",
    "serve": "Answer frames over HTTP or a Unix socket.",
    "plan": "Tell what the planner would do within a budget, and why.",
    "simulate": "Replay budgets with every policy, without hardware.",
    "suggest": "Tell which early exits are worth their time.",
    "report": "Write a run's report, one HTML file.",
    "completion": "Print what makes a shell complete offramp's commands.",
    "demo": "Everything once, on handwritten digits, in a few minutes.",
}
INTERRUPTED = 130
TERMINATED = 143


class _Commands(click.Group):
    """Looks a subcommand up by name, without importing the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        # A module cannot be called like a keyword of Python: `import` lies in import_.py.
        module = cmd_name + "_" * keyword.iskeyword(cmd_name)
        command: click.Command = importlib.import_module(f"toolkit.cli.{module}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="offramp")
def cli() -> None:
    """Deploy multi-exit Vision Transformers on NVIDIA Jetson.

    On the development host: train, build, report. On the device: profile, run. Exit code 2 means that the input
    cannot be used, 1 that the work failed; both come with one line that says why.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what follows `offramp`; `sys.argv` when None.

    Returns:
        The exit code. Errors of `jetson.errors` become one line on stderr; a bug keeps its traceback.
    """
    if asked := os.environ.get("_OFFRAMP_COMPLETE"):
        return shell_complete(cli, {}, "offramp", "_OFFRAMP_COMPLETE", asked)
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # file names may hold what the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    try:
        with clean_stop():
            invoke(words)
            sys.stdout.flush()
        return 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        return _fail(_first(words), _usage(error), 2)
    except OfframpError as error:
        return _fail(_first(words), str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort) as error:
        return _fail(_first(words), str(error) or "interrupted", INTERRUPTED)
    except Terminated:
        return _fail(_first(words), "terminated", TERMINATED)
    except (BrokenPipeError, SystemExit) as error:
        # The reader of our output has gone, and there is nobody to tell. rich makes a SystemExit of it.
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _fail(_first(words), "the disk is full; free some space and run the same command again", 2)
        raise


def invoke(words: Sequence[str]) -> None:
    """Run one command; what it raises is for the caller. `cli.main` would print and exit on its own."""
    with cli.make_context("offramp", list(words)) as context:
        cli.invoke(context)


def _fail(command: str, message: str, code: int) -> int:
    print(f"offramp{command}: " + " ".join(message.split()), file=sys.stderr)
    return code


def _first(words: Sequence[str]) -> str:
    return next((f" {w}" for w in words if w in COMMANDS), "")


def _usage(error: click.ClickException) -> str:
    hint = ""
    if isinstance(error, click.UsageError) and error.ctx is not None:
        hint = f" (see: {error.ctx.command_path} --help)"
    return error.format_message().rstrip() + hint
