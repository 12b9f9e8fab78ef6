"""`offramp completion`."""

from __future__ import annotations

import os
from typing import Any

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class, get_completion_class

from jetson.errors import BadInput
from toolkit.cli.console import print_json, say
from toolkit.cli.options import JSON

VARIABLE = "_OFFRAMP_COMPLETE"
"""Set by the script when the shell asks; `toolkit.cli.main` answers then."""
PLACES = {
    "bash": 'eval "$(offramp completion bash)" in ~/.bashrc',
    "zsh": 'eval "$(offramp completion zsh)" in ~/.zshrc',
    "fish": "offramp completion fish > ~/.config/fish/completions/offramp.fish",
}


class Bash(BashComplete):
    """Bash breaks words at colons too, and exits are written with them: 3:cnn-add comes as three words."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the cursor and what is begun, put together again at colons."""
        words: list[str] = []
        before, begun = super().get_completion_args()
        for word in (*before, begun):
            if words and (word == ":" or words[-1].endswith(":")) and not words[-1].startswith("-"):
                words[-1] += word
            else:
                words.append(word)
        self._kept = words[-1].rpartition(":")
        return words[:-1], words[-1]

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """Without what stands before the last colon, which bash keeps."""
        before, colon, _ = self._kept if "COMP_WORDS" in os.environ else ("", "", "")
        return f"{item.type},{item.value.removeprefix(before + colon) if item.type == 'plain' else item.value}"


def add_bash() -> None:
    """Have click complete for bash with `Bash`."""
    add_completion_class(Bash)


@click.command("completion")
@click.argument("shell", type=click.Choice(list(PLACES)))
@JSON
def command(shell: str, as_json: bool) -> None:
    """Print what makes SHELL complete commands, options and files of offramp."""
    from toolkit.cli import cli

    kind = get_completion_class(shell)
    if kind is None:
        raise BadInput(f"click knows no completion for {shell}")
    try:
        script = kind(cli, {}, "offramp", VARIABLE).source()
    except RuntimeError as error:  # too old a bash
        raise BadInput(str(error)) from None
    if as_json:
        print_json({"shell": shell, "script": script, "for_good": PLACES[shell]})
        return
    click.echo(script)
    say(f"for good: {PLACES[shell]}")
