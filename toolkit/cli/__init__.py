"""The `offramp` command. A subcommand is imported when it is called, and imports what it needs when it runs."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import click
from click.core import ParameterSource
from click.shell_completion import shell_complete

from jetson import __version__
from jetson.errors import OfframpError
from jetson.log import get_logger
from toolkit.cli import logs
from toolkit.cli.group import Commands
from toolkit.cli.quiet import no_telemetry
from toolkit.cli.shared import apply, shared_options
from toolkit.cli.stop import Terminated, clean_stop

COMMANDS = {
    "import": "Make a checkpoint of your own ViT, with untrained exits.",
    "train": "Train a multi-exit ViT: a checkpoint.",
    "build": "Cut a checkpoint into units, export and check them: a bundle.",
    "calibrate": "Learn anew how good and how sure a bundle's exits are; int8 from other frames.",
    "engines": "Build a TensorRT engine of every unit, into the cache.",
    "info": "Show what a bundle holds.",
    "deploy": "Bring a bundle to boards over SSH, build its engines and profile it there.",
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
    "config": "Show which options come from where, and check the config files.",
    "version": "Print the versions of offramp and of what it stands on.",
}
INTERRUPTED = 130
TERMINATED = 143
logger = get_logger(__name__)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="offramp")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar="OFFRAMP_CONFIG",
    is_eager=True,
    expose_value=False,
    callback=lambda context, _option, file: _configure(context, file),
    help="Take options from this TOML file [default: the user's, then ./offramp.toml].",
)
@shared_options
@click.pass_context
def cli(context: click.Context, **_shared: Any) -> None:
    """Deploy multi-exit Vision Transformers on NVIDIA Jetson.

    On the development host: train, build, report. On the device: profile, run. Exit code 2 means that the input
    cannot be used, 1 that the work failed; both come with one line that says why.
    """
    apply(context)


cli.helps = COMMANDS  # type: ignore[attr-defined]
for _option in cli.params:
    if isinstance(_option, click.Option) and _option.expose_value:
        _option.envvar = f"OFFRAMP_{(_option.name or '').upper()}"


def _configure(context: click.Context, file: Path | None) -> None:
    """Read the config files, before any other option is."""
    from toolkit.cli.config import FILES, SETTINGS
    from toolkit.cli.settings import default_map, find, read

    if context.resilient_parsing:  # a shell asks for completions
        return
    files = find() if file is None else [file]
    settings = read(files, cast("Commands", context.command), context)
    context.meta[FILES], context.meta[SETTINGS] = files, settings
    context.default_map = default_map(settings)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what follows `offramp`; `sys.argv` when None.

    Returns:
        The exit code. Errors of `jetson.errors` become one line on stderr; a bug keeps its traceback.
    """
    if asked := os.environ.get("_OFFRAMP_COMPLETE"):
        from toolkit.cli import completion

        completion.add_bash()
        return shell_complete(cli, {}, "offramp", "_OFFRAMP_COMPLETE", asked)
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # file names may hold what the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    no_telemetry()
    with logs.session():
        return _ended(words)


def _ended(words: Sequence[str]) -> int:
    """Run one command to its exit code, saying in one line why it is not 0."""
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
        logger.debug("where it came from", exc_info=error)
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
    logs.tell_error(command, message, code)
    return code


def _first(words: Sequence[str]) -> str:
    return next((w for w in words if w in COMMANDS), "")


def _usage(error: click.ClickException) -> str:
    message, hint = error.format_message().rstrip(), ""
    if isinstance(error, click.UsageError) and error.ctx is not None:
        hint = f" (see: {error.ctx.command_path} --help)"
        option = error.param if isinstance(error, click.BadParameter) else None
        source = error.ctx.get_parameter_source(option.name or "") if isinstance(option, click.Option) else None
        if option is not None and source is ParameterSource.ENVIRONMENT:
            message += f" (from the environment variable {option.envvar})"
    return message + hint
