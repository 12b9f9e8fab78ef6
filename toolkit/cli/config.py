"""`offramp config`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from jetson.errors import BadInput
from toolkit.cli.console import out, print_json, print_table
from toolkit.cli.group import Commands, key, options
from toolkit.cli.options import JSON

if TYPE_CHECKING:
    from toolkit.cli.settings import Setting

FILES, SETTINGS = "offramp.files", "offramp.settings"
"""Where the group leaves what it has read, in the context's `meta`."""


@click.command("config")
@click.argument("name", metavar="[COMMAND]", required=False)
@click.option("--all", "all_", is_flag=True, help="Show options that keep their default too.")
@JSON
@click.pass_context
def command(context: click.Context, name: str | None, all_: bool, as_json: bool) -> None:
    """Show which options the config files and the environment set, of COMMAND or of all, and check the files."""
    root = context.find_root()
    group = root.command
    assert isinstance(group, Commands)
    if name is not None and name not in group.helps:
        raise BadInput(f"there is no command {name!r}; there are {', '.join(group.helps)}")
    files: list[Path] = context.meta.get(FILES, [])
    settings: list[Setting] = context.meta.get(SETTINGS, [])
    rows = [] if name is not None else [_row("", o, root, settings) for o in options(group)]
    for each in [name] if name is not None else group.helps:
        rows += _rows(each, group, root, settings)
    shown = [r for r in rows if all_ or r["source"] != "default"]
    if as_json:
        print_json({"files": [str(f) for f in files], "settings": shown})
        return
    for file in files:
        out.print(f"read {file}", markup=False)
    if not files:
        out.print("no config file found: offramp.toml here, or offramp/config.toml in the user's configuration")
    if shown:
        cells = [[r["command"] or "(offramp)", r["option"], _text(r["value"]), r["from"] or r["source"]] for r in shown]
        print_table("Settings", ["command", "option", "value", "from"], cells, left=4)
    else:
        out.print("every option has its default")


def _rows(name: str, group: Commands, root: click.Context, settings: list[Setting]) -> list[dict[str, Any]]:
    command = group.get_command(root, name)
    if command is None:
        return []
    with click.Context(command, info_name=name, parent=root) as context:
        return [_row(name, option, context, settings) for option in options(command)]


def _row(command: str, option: click.Option, context: click.Context, settings: list[Setting]) -> dict[str, Any]:
    """One option: its value, and where that is from."""
    found = [s for s in settings if (s.command, s.option) == (command, key(option))]
    value, origin, source = option.get_default(context), None, "default"
    if command == "" and context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE:
        value, source = context.params[option.name or ""], "command line"
    elif option.resolve_envvar_value(context) is not None:
        value, source, origin = option.value_from_envvar(context), "environment", str(option.envvar)
    elif found:
        value, source, origin = found[-1].value, "file", str(found[-1].file)
    return {"command": command or None, "option": key(option), "value": _plain(value), "source": source, "from": origin}


def _plain(value: Any) -> Any:
    """As JSON takes it; a value that only click knows is none."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else None


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
