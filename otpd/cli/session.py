"""What every otpctl verb shares: the connection, the proof, output for people and for programs, exit codes."""

import getpass
import os
import pwd
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import IO, Any, Final, Literal, NoReturn

import click

from otpd.adapters import config
from otpd.adapters.zmq_client import ControlClient, Unreachable
from otpd.cli import secret_screen
from otpd.cli.secret_page import Page
from otpd.errors import ConfigError
from otpd.printable import printable, to_json
from otpd.texts import _, mark, preferred

_TRIES: Final = 3
DAEMON_USER: Final = "otpd"
SocketName = Literal["auth", "control"]


class Exit(IntEnum):
    """otpctl's exit codes; scripts rely on them. 2 is click's, for usage."""

    OK = 0
    REFUSED = 1
    DOES_NOT_OPEN = 65  # EX_DATAERR
    NO_SUCH_USER = 67  # EX_NOUSER
    UNAVAILABLE = 69  # EX_UNAVAILABLE
    CANNOT_CREATE = 73  # EX_CANTCREAT
    RESTART = 75  # EX_TEMPFAIL
    NOT_PERMITTED = 77  # EX_NOPERM
    CONFIG = 78  # EX_CONFIG


_EXIT_OF: Final = {
    "no-such-user": Exit.NO_SUCH_USER,
    "unavailable": Exit.UNAVAILABLE,
    "not-permitted": Exit.NOT_PERMITTED,
}


@dataclass
class Session:
    """One run of otpctl; ``as_json`` says whom it talks to."""

    config_path: Path = config.DEFAULT_PATH
    as_json: bool = False

    @property
    def interactive(self) -> bool:
        """Whether a person is there to be asked."""
        return sys.stdin.isatty()

    def call(self, verb: str, **fields: str | None) -> dict[str, Any]:
        """Call ``verb``, proving what otpd demands; ends the program on a refusal."""
        body = {name: value for name, value in fields.items() if value is not None}
        done, reply = self._call(verb, body)
        tries = _TRIES if self.interactive else 1
        while not done and tries and reply.get("reason") in ("proof-required", "proof-refused"):
            if reply["reason"] == "proof-refused":
                tries -= 1
                if not tries:
                    break
                click.echo(reply["message"], err=True)
            else:
                kind = str(reply.get("kind"))
            body["proof"] = self.ask(_(_PROMPTS.get(kind, f"{kind}: ")))
            done, reply = self._call(verb, body)
        return reply if done else self.refuse(reply)

    def try_call(self, verb: str, **fields: str | None) -> tuple[bool, dict[str, Any]]:
        """Call ``verb`` once; whether it was done, and the reply."""
        return self._call(verb, {name: value for name, value in fields.items() if value is not None})

    def call_at(self, socket: SocketName, verb: str) -> dict[str, Any]:
        """Call ``verb`` on one of otpd's sockets; ends the program on a refusal."""
        done, reply = self._call(verb, {}, socket)
        return reply if done else self.refuse(reply)

    def ask(self, prompt: str) -> str:
        """What the person types, unseen; or the next line of standard input where that is no terminal."""
        try:
            if self.interactive:
                return getpass.getpass(prompt)
            return sys.stdin.readline().rstrip("\n")
        except (EOFError, KeyboardInterrupt):
            click.echo(err=True)
            raise click.Abort from None

    def show(self, reply: dict[str, Any], text: str) -> None:
        """A result: the object for programs, ``text`` for people."""
        lines = map(printable, text.split("\n"))  # a label may come from anybody who writes to the directory
        click.echo(to_json(reply) if self.as_json else "\n".join(lines))

    def show_secret(self, reply: dict[str, Any], page: Page, text: str) -> None:
        """A result with secrets: people see them on ``page``, and keep ``text``, which has none."""
        if self.as_json:
            self.show(reply, "")
        elif secret_screen.fault():
            click.echo(page.text())
            self.show(reply, text)
        else:
            self.show(reply, text)  # first, so that whoever ends it by Ctrl-C knows what was done
            with secret_screen.secret_screen(page, _enter) as screen:
                screen.ask(_("Press Enter to go on: "))

    @contextmanager
    def asking_below(self, page: Page | None) -> Iterator[Callable[[str, str], str]]:
        """How to ask, a prompt and what is said before it, while people see ``page``."""
        if page and not self.as_json and not secret_screen.fault():
            with secret_screen.secret_screen(page, lambda: self.ask("")) as screen:
                yield screen.ask
            return
        if page and not self.as_json:
            click.echo(page.text())
        yield self._told_and_asked

    def _told_and_asked(self, prompt: str, notice: str = "") -> str:
        if notice:
            click.echo(notice, err=True)
        return self.ask(prompt)

    def refuse(self, reply: dict[str, Any]) -> NoReturn:
        """Say why not, and end with the exit code that belongs to it."""
        reason = str(reply.get("reason"))
        # It is in our language already, but for what otpd says when it is too busy to look at the request.
        self.fail(reason, _(str(reply.get("message"))), _EXIT_OF.get(reason, Exit.REFUSED))

    def fail(self, reason: str, message: str, code: Exit) -> NoReturn:
        """End with ``message``."""
        raise _Failed(reason, message, code, as_json=self.as_json)

    @staticmethod
    def warn(message: str) -> None:
        """Say something that is no result."""
        click.echo(f"otpctl: {message}", err=True)

    def _call(self, verb: str, body: dict[str, Any], socket: SocketName = "control") -> tuple[bool, dict[str, Any]]:
        try:
            settings = config.load(self.config_path)
        except ConfigError as error:
            self.fail("config", "\n".join(error.faults), Exit.CONFIG)
        path = settings.sockets.control if socket == "control" else settings.sockets.auth
        try:
            return ControlClient(Path(path), daemon_uid()).call(verb, {**body, "language": preferred()})
        except Unreachable as error:
            self.fail("unavailable", str(error), Exit.UNAVAILABLE)


class _Failed(click.ClickException):
    """Ends the program. It is told when whatever was begun is undone, so it is not lost with a screen that goes."""

    def __init__(self, reason: str, message: str, code: Exit, *, as_json: bool) -> None:
        super().__init__(message)
        self.exit_code = code  # type: ignore[misc]  # click asks the instance
        self._object = {"error": reason, "message": message} if as_json else None

    def show(self, file: IO[Any] | None = None) -> None:
        """For programs and for people."""
        if self._object:
            click.echo(to_json(self._object), file)
        click.echo(f"otpctl: {self.message}", file, err=True)


def _enter() -> str:
    """Wait for Enter at the terminal, whatever standard input is."""
    with suppress(EOFError):
        getpass.getpass("")
    return ""


_PROMPTS: Final = {
    "code": mark("Current verification code: "),
    "account password": mark("Account password: "),
}


def daemon_uid() -> int | None:
    """The uid that otpd runs as, if there is such a user."""
    with suppress(KeyError):
        return pwd.getpwnam(DAEMON_USER).pw_uid
    return None


def another(user: str | None) -> str:
    """The name of the user that a verb is about, where that is not who runs it; else nothing."""
    return user if user and user != _own_name() else ""


def _own_name() -> str:
    with suppress(KeyError):
        return pwd.getpwuid(os.getuid()).pw_name
    return ""


PATH: Final = click.Path(path_type=Path, readable=False)  # whether it can be read is for the verb to say
pass_session: Final = click.make_pass_decorator(Session)
user_option: Final = click.option("--user", metavar="NAME", help="Another user; for root.")


show_secret_option: Final = click.option(
    "--show-secret", is_flag=True, help="Show it even where the output is no terminal."
)


def may_show_secret(session: Session, told: bool) -> None:  # noqa: FBT001 - an option's value
    """Refuse to show a secret where it stays, unless told to."""
    why = "" if told else where_it_stays(session)
    if why:
        raise click.UsageError(why)


def where_it_stays(session: Session) -> str:
    """Why a secret that is shown would stay, in a file, a pipe or on a terminal; empty where it would not."""
    at_terminal = sys.stdout.isatty()
    if at_terminal and session.as_json:
        return _("--json would leave a secret on the terminal; leave it out, or add --show-secret.")
    if not at_terminal and not session.as_json:
        return _("this would write a secret into a file or pipe; add --show-secret or --json to do so.")
    if at_terminal and (fault := secret_screen.fault()):
        return _("this terminal would keep the secret ({why}); add --show-secret to show it there.", why=fault)
    return ""


def _set_json(context: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's call
    context.ensure_object(Session).as_json |= value


json_option: Final = click.option(
    "--json", is_flag=True, expose_value=False, callback=_set_json, help="Print JSON, for programs."
)
