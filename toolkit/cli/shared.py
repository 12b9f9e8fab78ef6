"""The options of `offramp` itself: what is logged, where to and how, colours, the config file.

They come before the command's name, and those that do not choose a config file also behind it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from jetson.errors import BadInput
from toolkit.cli import console, logs

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")
VERBOSE = ("warning", "info", "debug")
"""By how many -v there are."""

OPTIONS = (
    click.option("-v", "--verbose", count=True, help="Tell what is done and how long it takes; -vv: in detail."),
    click.option("-q", "--quiet", is_flag=True, help="No progress, no remarks, no warnings: errors alone."),
    click.option("--log-level", type=click.Choice(LEVELS), help="What is told on stderr [default: warning]."),
    click.option("--log-file", type=click.Path(path_type=Path), help="Append to this file too, from info on."),
    click.option("--log-format", type=click.Choice(FORMATS), default="text", show_default=True, help="Of all of it."),
    click.option(
        "--color", type=click.Choice(console.COLORS), default="auto", show_default=True, help="auto: on a terminal."
    ),
)
AMOUNT = ("verbose", "quiet", "log_level")
PLACES = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP)
LATER = "offramp.later"
"""In the context's `meta`: options that stood behind the command's name."""
NAMES = ("verbose", "quiet", "log_level", "log_file", "log_format", "color")


def shared_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give the group these options."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def after_the_name(command: click.Command) -> list[click.Option]:
    """Copies of these options for a command, hidden; those whose names it uses itself are left out."""
    made: Any = shared_options(lambda: None)
    taken = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
    copies = []
    for option in reversed(made.__click_params__):
        if taken.isdisjoint(option.opts):
            copied = copy.copy(option)
            copied.expose_value, copied.hidden, copied.callback = False, True, _again
            copies.append(copied)
    return copies


def _again(context: click.Context, option: click.Parameter, value: Any) -> None:
    """Take an option that stands behind the command's name."""
    name = option.name or ""
    if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
        root = context.find_root()
        before = root.meta.setdefault(LATER, {})
        root.meta[LATER] = {**before, name: value}
        root.params[name] = value
        apply(root)


def apply(context: click.Context) -> None:
    """Set up console and logging as the options say.

    What says how much is told counts from where it was said last: behind the command's name, before it, in the
    environment, in a file.

    Raises:
        BadInput: two of them said in the same place exclude one another.
        StorageError: the log file cannot be written.
    """
    given, later = context.params, context.meta.get(LATER, {})
    level, quiet = "warning", False
    places = [
        [n for n in AMOUNT if n in later],
        *([n for n in AMOUNT if context.get_parameter_source(n) is place] for place in PLACES),
    ]
    for place in places:
        said = {name: later.get(name, given[name]) for name in place if later.get(name, given[name])}
        if len(said) > 1:
            raise BadInput("give one of --verbose, --quiet and --log-level")
        if said:
            quiet = bool(said.get("quiet"))
            level = said.get("log_level") or ("error" if quiet else VERBOSE[min(said["verbose"], 2)])
            break
    given.update(verbose=0, quiet=quiet, log_level=None if quiet else level)
    console.color(given["color"])
    logs.configure(level, given["log_file"], given["log_format"], quiet)


def as_environment(given: Mapping[str, Any]) -> dict[str, str]:
    """The same options for a command that this one starts, as environment variables."""
    said = {name: given[name] for name in NAMES if given.get(name)}
    return {f"OFFRAMP_{name}".upper(): str(int(v)) if isinstance(v, bool) else str(v) for name, v in said.items()}
