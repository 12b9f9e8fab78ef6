"""`offramp completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from jetson.errors import BadInput
from toolkit.cli.console import say

VARIABLE = "_OFFRAMP_COMPLETE"
"""Set by the script when the shell asks; `toolkit.cli.main` answers then."""
PLACES = {
    "bash": 'eval "$(offramp completion bash)" in ~/.bashrc',
    "zsh": 'eval "$(offramp completion zsh)" in ~/.zshrc',
    "fish": "offramp completion fish > ~/.config/fish/completions/offramp.fish",
}


@click.command("completion")
@click.argument("shell", type=click.Choice(list(PLACES)))
def command(shell: str) -> None:
    """Print what makes SHELL complete commands, options and files of offramp."""
    from toolkit.cli import cli

    kind = get_completion_class(shell)
    if kind is None:
        raise BadInput(f"click knows no completion for {shell}")
    try:
        click.echo(kind(cli, {}, "offramp", VARIABLE).source())
    except RuntimeError as error:  # too old a bash
        raise BadInput(str(error)) from None
    say(f"for good: {PLACES[shell]}")
