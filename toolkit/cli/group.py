"""The group of commands: looks one up by name without importing the others, and gives all of them what they share.

An environment variable for every option, what its text holds, and the options of `offramp` itself are added here, by
walking what a command has, so no command needs to know.
"""

from __future__ import annotations

import importlib
import keyword
from collections.abc import Iterator, Mapping

import click

from toolkit.cli.shared import after_the_name
from toolkit.cli.words import KINDS

PREFIX = "OFFRAMP"
EPILOG = "Options of offramp itself (-v, --quiet, --log-file, ...) are taken here too: offramp --help"


class Commands(click.Group):
    """A group whose commands are modules of `toolkit.cli`."""

    helps: Mapping[str, str] = {}
    """Every command's name and what it is for, in the order of the help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names."""
        return list(self.helps)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one; None when there is none of that name."""
        if cmd_name not in self.helps:
            return None
        # A module cannot be called like a keyword of Python: `import` lies in import_.py.
        module = cmd_name + "_" * keyword.iskeyword(cmd_name)
        command: click.Command = importlib.import_module(f"toolkit.cli.{module}").command
        if command.epilog is None:
            for option in options(command):
                option.envvar = option.envvar or variable(cmd_name, option)
                if option.type is click.STRING:
                    option.type = KINDS.get(option.name or "") or KINDS.get(key(option)) or click.STRING
            command.params += after_the_name(command)
            command.epilog = EPILOG
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Name them all, importing none."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.helps.items()))


def options(command: click.Command) -> Iterator[click.Option]:
    """The options of a command that a file or the environment may set: those that give it a value."""
    return (p for p in command.params if isinstance(p, click.Option) and p.expose_value and not p.is_eager)


def key(option: click.Option) -> str:
    """An option's name in a file: the long one, without its dashes."""
    return max(option.opts, key=len).lstrip("-")


def variable(command: str, option: click.Option) -> str:
    """The environment variable of an option of a command: OFFRAMP_COMMAND_OPTION."""
    return f"{PREFIX}_{command}_{key(option)}".upper().replace("-", "_")
