"""The config files: where they are, what may stand in them, and how an option's value is read from one.

A key outside of a table holds for `offramp` itself and for every command that has such an option; a table is named
like a command and holds for it alone. docs/decisions/0020-config-file.md says why files are found, and paths meant, as
they are.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from jetson.errors import BadInput
from toolkit.cli.group import Commands, key, options
from toolkit.cli.words import Located

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NAME = "offramp.toml"
MOST_BYTES = 1 << 20
KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text in quotes"}


@dataclass(frozen=True)
class Setting:
    """One value of a file, as the option takes it."""

    command: str
    """Empty for `offramp` itself."""
    option: str
    name: str
    """Of the parameter."""
    value: Any
    file: Path


def find() -> list[Path]:
    """The user's file and the project's, those that are there, the one that counts more last.

    The project's is in the working directory; inside a repository the nearest above it counts as well.
    """
    home = os.environ.get("XDG_CONFIG_HOME", "")
    user = Path(home) if Path(home).is_absolute() else Path("~/.config").expanduser()
    found = [user / "offramp" / "config.toml"]
    here = Path.cwd()
    above = [here, *here.parents]
    root = next((number for number, folder in enumerate(above) if (folder / ".git").exists()), 0)
    project = next((folder / NAME for folder in above[: root + 1] if (folder / NAME).exists()), None)
    # As a user would name it: what is found through it is named so as well.
    found += [Path(os.path.relpath(project))] if project is not None else []
    return [file for file in found if file.exists()]


def read(files: Iterable[Path], group: Commands, context: click.Context) -> list[Setting]:
    """Every setting of the files, later ones counting more.

    Raises:
        BadInput: a file is no TOML, or names an option or a command that there is none of, or gives one a value that
            it does not take; the message names the file and the key.
    """
    found: list[Setting] = []
    for file in files:
        tables = _parse(file)
        commands = {name: _command(group, context, name) for name in group.list_commands(context)}
        own = {key(o): o for o in options(group)}
        general = {k: v for k, v in tables.items() if not isinstance(v, dict)}
        specific = {k: v for k, v in tables.items() if isinstance(v, dict)}
        for name in specific:
            if name not in commands:
                _refuse(f"{file}: [{name}]: there is no such command", name, commands)
        for name, value in general.items():
            takers = [(c, o[name]) for c, o in (("", own), *commands.items()) if name in o]
            if not takers:
                known = {n for o in (own, *commands.values()) for n in o}
                _refuse(f"{file}: {name}: no command has such an option", name, known)
            found += [_setting(c, option, value, file, name) for c, option in takers]
        for command, table in specific.items():
            for name, value in table.items():
                if name not in commands[command]:
                    _refuse(
                        f"{file}: [{command}] {name}: offramp {command} has no such option", name, commands[command]
                    )
                found.append(_setting(command, commands[command][name], value, file, f"[{command}] {name}"))
    return found


def default_map(settings: Iterable[Setting]) -> dict[str, Any]:
    """The settings as click takes them: by parameter, those of a command under its name."""
    made: dict[str, Any] = {}
    for setting in settings:
        level = made.setdefault(setting.command, {}) if setting.command else made
        level[setting.name] = setting.value
    return made


def _command(group: Commands, context: click.Context, name: str) -> dict[str, click.Option]:
    command = group.get_command(context, name)
    return {} if command is None else {key(o): o for o in options(command)}


def _parse(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise BadInput(f"{file}: cannot be read as a config file: {error.strerror}") from None
    if len(data) > MOST_BYTES:
        raise BadInput(f"{file}: too large for a config file")
    try:
        return tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput(f"{file}: not TOML: {error}") from None


def _refuse(message: str, name: str, known: Iterable[str]) -> None:
    near = difflib.get_close_matches(name.replace("_", "-"), known, n=1)
    raise BadInput(message + (f"; did you mean {near[0]}?" if near else ""))


def _setting(command: str, option: click.Option, value: Any, file: Path, where: str) -> Setting:
    """A value as the option takes it; paths are meant from the file's folder."""
    given = value if option.multiple and isinstance(value, list) else [value]
    read = [_value(option, each, file, where) for each in given]
    checked: Any = tuple(read) if option.multiple else read[0]
    try:
        with click.Context(click.Command(command)) as nowhere:
            option.type_cast_value(nowhere, checked)
    except click.BadParameter as error:
        raise BadInput(f"{file}: {where}: {error.message}") from None
    return Setting(command, key(option), option.name or "", checked, file)


def _value(option: click.Option, value: Any, file: Path, where: str) -> Any:
    kind = option.type
    takes: Mapping[type, bool] = {
        bool: isinstance(kind, click.types.BoolParamType),
        int: isinstance(kind, (click.types.IntParamType, click.types.FloatParamType)),
        float: isinstance(kind, click.types.FloatParamType),
        str: not isinstance(kind, (click.types.BoolParamType, click.types.IntParamType, click.types.FloatParamType)),
    }
    # A type of our own that reads text takes a number too, where text may be one: image-size = 224.
    number = type(value) in (int, float) and getattr(kind, "takes_numbers", False)
    if not (takes.get(type(value), False) or number):
        wanted = [KINDS[k] for k, taken in takes.items() if taken]
        raise BadInput(f"{file}: {where} must be {wanted[-1]}, not {value!r}")
    if isinstance(value, str) and isinstance(kind, click.Path):
        return str(file.parent / Path(value).expanduser())
    return kind.beside(file.parent, value) if isinstance(kind, Located) and isinstance(value, str) else value
