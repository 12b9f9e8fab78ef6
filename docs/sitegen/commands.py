"""Every command and option, from click's own objects: what a page says is what `--help` says."""

from __future__ import annotations

import inspect

import click

from sitegen.text import code, plain, table
from toolkit import cli


def reference() -> str:
    """A section for each command."""
    parts = []
    for name, summary in cli.COMMANDS.items():
        with cli.cli.make_context("offramp", [name], resilient_parsing=True) as parent:
            command = cli.cli.get_command(parent, name)
            assert command is not None
            context = click.Context(command, info_name=name, parent=parent)
            parts.append(_section(name, summary, command, context))
    return "\n".join(parts)


def exit_codes() -> str:
    """A row for each code that `offramp` exits with."""
    rows = [
        ("0", "the work was done"),
        ("1", "the input was fine and the work failed; one line on stderr says why"),
        ("2", "the input cannot be used as it is: an option, a file, a model; one line on stderr says why"),
        (str(cli.INTERRUPTED), "Ctrl-C"),
        (str(cli.TERMINATED), "SIGTERM"),
    ]
    return table(["code", "meaning"], [(code(number), meaning) for number, meaning in rows])


def _section(name: str, summary: str, command: click.Command, context: click.Context) -> str:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    lines = [f"## offramp {name}", "", "```text", usage, "```", ""]
    for paragraph in inspect.cleandoc(command.help or summary).split("\n\n"):
        lines += [plain(paragraph.replace("\b", "")), ""]
    rows = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and isinstance(parameter, click.Option) and not parameter.hidden:
            rows.append((code(record[0]), plain(record[1])))
    return "\n".join([*lines, table(["option", "meaning"], rows)])
