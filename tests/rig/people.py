"""What people do at a terminal: ssh, otpctl, pamtester, each the real program on a pty."""

import os
import pickle
import pwd
import re
import select
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import pexpect

_SECONDS: Final = 20
_SETTLED_SECONDS: Final = 0.02

Answer = str | Callable[[str], str]
"""What is typed, or a function that finds it out from the screen so far."""


@dataclass(frozen=True)
class Seen:
    """How a session at a terminal went: what was on the screen, the prompts that came, whether it ended well."""

    screen: str
    prompts: tuple[str, ...]
    succeeded: bool


def converse(
    command: Sequence[str],
    answers: Sequence[Answer],
    user: str = "root",
    seconds: float = _SECONDS,
    environment: Mapping[str, str] | None = None,
    columns: int = 100,
) -> Seen:
    """Run ``command`` on a pty as ``user``, type one answer to each prompt, and see how it ends.

    A prompt is what ends in a colon and a space with the cursor behind it. More prompts than answers end the session.
    """
    child = pexpect.spawn(
        command[0],
        list(command[1:]),
        timeout=seconds,
        encoding="utf-8",
        codec_errors="replace",
        dimensions=(60, columns),
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "TERM": "xterm", "HOME": _home(user)}
        | dict(environment or {}),
        preexec_fn=(lambda: _become(user)) if user != "root" else None,
    )
    screen, line, prompts, left = "", "", [], list(answers)
    while child.expect([r"([^\r\n]*: )$", pexpect.EOF, pexpect.TIMEOUT]) == 0:
        line += child.before + child.after
        if select.select([child.child_fd], [], [], _SETTLED_SECONDS)[0]:
            continue  # more of it comes, so that what was read only looks like a prompt
        screen, line = screen + line, ""
        prompts.append(re.split(r"[\r\n]", _lines(screen))[-1])
        if not left:
            break
        answer = left.pop(0)
        child.sendline(answer if isinstance(answer, str) else answer(_lines(screen)))
    else:
        screen += line + (child.before if isinstance(child.before, str) else "")
    child.close(force=True)
    return Seen(_lines(screen), tuple(prompts), child.exitstatus == 0)


def _lines(screen: str) -> str:
    """What was written to a terminal, in lines: a place that the cursor goes to begins one. Colours stay."""
    written = re.sub(r"\x1b\[\?1049h[\r\n]*|\x1b\[2K[\r\n]*", "", screen)  # another screen, and what wipes it
    return re.sub(r"\x1b\[[?0-9;]*[A-Zhl]", "", re.sub(r"\x1b\[\d+;\d+H", "\n", written))


def codes_on(screen: str) -> list[str]:
    """The recovery codes that it shows, a line each."""
    return re.findall(r"^([0-9a-z]{4}(?:-[0-9a-z]{4}){2})\r*$", screen, re.MULTILINE)


def ssh(port: int, user: str, answers: Sequence[Answer], *options: str, command: str = "echo let in") -> Seen:
    """Log in with the real ssh client, and run ``command`` there."""
    fixed = (
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "LogLevel=ERROR",
        "NumberOfPasswordPrompts=1",
        "ConnectTimeout=10",
        *options,
    )
    flags = [flag for option in fixed for flag in ("-o", option)]
    return converse(["ssh", "-F", "none", "-p", str(port), *flags, f"{user}@127.0.0.1", command], answers)


def pamtester(service: str, user: str, answers: Sequence[Answer]) -> Seen:
    """Run the PAM stack of ``service``."""
    return converse(["pamtester", service, user, "authenticate"], answers)


def _become(user: str) -> None:
    account: Any = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)


def _home(user: str) -> str:
    return pwd.getpwnam(user).pw_dir


def as_user(user: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Run ``function`` in a child process that is ``user``; its result, or the exception it raised."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _become(user)
        try:
            result = (True, function(*arguments))
        except Exception as error:  # noqa: BLE001 - it is handed on
            result = (False, f"{type(error).__name__}: {error}")
        os.write(writing, pickle.dumps(result))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        done, result = pickle.loads(pipe.read())  # noqa: S301 - from our own child
    os.waitpid(child, 0)
    if not done:
        raise RuntimeError(result)
    return result


@contextmanager
def in_background(user: str, function: Callable[[], Any]) -> Iterator[int]:
    """Run ``function`` in a child process that is ``user``, until the block ends."""
    child = os.fork()
    if child == 0:
        try:
            _become(user)
            function()
        finally:
            os._exit(1)
    try:
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
