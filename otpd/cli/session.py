"""What every otpctl verb shares: the connection, the proof, output for people and for programs, exit codes."""

import getpass
import json
import os
import pwd
import sys
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Final, Literal, NoReturn

import click
from rich.console import Console

from otpd.adapters import config
from otpd.adapters.zmq_client import ControlClient, Unreachable
from otpd.errors import ConfigError
from otpd.texts import _, mark, preferred

_TRIES: Final = 3
_PIPE_WIDTH: Final = 240
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
    def console(self) -> Console:
        """Where people read."""
        return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _PIPE_WIDTH)

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
            body["proof"] = self.ask(_(_PROMPTS[kind]))
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
        click.echo(json.dumps(reply, ensure_ascii=False) if self.as_json else text)

    def refuse(self, reply: dict[str, Any]) -> NoReturn:
        """Say why not, and end with the exit code that belongs to it."""
        reason = str(reply.get("reason"))
        # It is in our language already, but for what otpd says when it is too busy to look at the request.
        self.fail(reason, _(str(reply.get("message"))), _EXIT_OF.get(reason, Exit.REFUSED))

    def fail(self, reason: str, message: str, code: Exit) -> NoReturn:
        """End with ``message``."""
        if self.as_json:
            click.echo(json.dumps({"error": reason, "message": message}, ensure_ascii=False))
        self.warn(message)
        sys.exit(code)

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
    """Refuse to write a secret into a file or pipe, unless told to."""
    if not (session.as_json or told or sys.stdout.isatty()):
        raise click.UsageError(
            _("this would write a secret into a file or pipe; add --show-secret or --json to do so.")
        )


def _set_json(context: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's call
    context.ensure_object(Session).as_json |= value


json_option: Final = click.option(
    "--json", is_flag=True, expose_value=False, callback=_set_json, help="Print JSON, for programs."
)
