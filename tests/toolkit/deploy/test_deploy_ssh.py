"""What ssh says becomes one line; no connection is made here."""

from __future__ import annotations

import sys

import pytest

from jetson.errors import BadInput, WorkFailed
from toolkit.deploy.ssh import Address, Lost, Pipes, explain, is_unreachable

BOARD = Address("me@orin", 2222, ("-J", "gateway"))
CHANGED = """
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!
  ssh-keygen -f "/home/me/.ssh/known_hosts" -R "[orin]:2222"
Host key verification failed.
"""


@pytest.mark.parametrize(
    ("text", "code", "kind", "said"),
    [
        (CHANGED, 255, BadInput, "ssh-keygen -R '[orin]:2222'"),
        ("Host key verification failed.", 255, BadInput, "by hand and look at it: ssh -p 2222 -J gateway me@orin"),
        ("me@orin: Permission denied (publickey,password).", 255, BadInput, "(publickey,password)"),
        ("ssh: Could not resolve hostname orin: Name or service not known", 255, BadInput, "there is no host orin"),
        ("ssh: connect to host orin port 22: Connection refused", 255, WorkFailed, "me@orin cannot be reached"),
        ("ssh: connect to host orin port 22: No route to host", 255, WorkFailed, "cannot be reached"),
        ("unknown option -- Z\nusage: ssh [-46AaCf]", 255, BadInput, "was given: unknown option -- Z"),
        ("sh: 1: python3: not found", 127, BadInput, "me@orin has no python3"),
        ("fish: Unknown command: python3", 127, BadInput, "me@orin has no python3"),
        ("", 0, BadInput, "is no Python"),
        ("Segmentation fault", 139, WorkFailed, "Segmentation fault"),
    ],
)
def test_what_is_known(text: str, code: int, kind: type[Exception], said: str) -> None:
    error = explain(text, code, BOARD)
    assert type(error) is kind
    assert said in str(error)


@pytest.mark.parametrize("text", ["Connection to orin closed by remote host.", "", "client_loop: send disconnect"])
def test_a_connection_that_breaks_is_no_error_of_the_users(text: str) -> None:
    assert explain(text, 255, BOARD) is None


def test_what_is_worth_another_try() -> None:
    texts = ("ssh: connect to host orin port 22: Connection refused", "Permission denied (publickey).")
    assert [is_unreachable(explain(t, 255, BOARD)) for t in texts] == [True, False]


def begins(*lines: str) -> list[str]:
    return [sys.executable, "-c", "\n".join(lines)]


def test_what_a_login_shell_prints_first_is_passed_over() -> None:
    pipes = Pipes(begins("print('Welcome to Ubuntu')", "print('offramp-board 3 12 1', flush=True)", "input()"), BOARD)
    pipes.close()


def test_an_old_python_is_named() -> None:
    with pytest.raises(BadInput, match=r"me@orin has Python 3\.8\.10, and Offramp needs 3\.10 or later"):
        Pipes(begins("print('offramp-board 3 8 10')"), BOARD)


def test_a_shell_that_never_stops_talking() -> None:
    with pytest.raises(BadInput, match="prints without end"):
        Pipes(begins("while True: print('x' * 1000)"), BOARD)


def test_a_connection_that_breaks_at_once() -> None:
    with pytest.raises(Lost, match="closed by remote host"):
        Pipes(begins("import sys; print('closed by remote host', file=sys.stderr); sys.exit(255)"), BOARD)
