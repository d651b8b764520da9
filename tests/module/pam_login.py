"""Runs ``tests/c/pam_driver.c``: logins through the real libpam, with a PAM configuration of their own."""

import contextlib
import json
import os
import select
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

SUCCESS: Final = 0
SERVICE_ERR: Final = 3
PERM_DENIED: Final = 6
AUTH_ERR: Final = 7
AUTHINFO_UNAVAIL: Final = 9
MAXTRIES: Final = 11

PATIENCE_SECONDS: Final = 30
SECRETS: Final = ("hunter2", "654321", "s3cret")  # what tests type and store: never to be seen in a log


@dataclass(frozen=True)
class Builds:
    """The directories of the two builds."""

    hardened: Path
    sanitized: Path


@dataclass
class Result:
    """What a login did, event by event."""

    events: list[dict] = field(default_factory=list)

    def of(self, kind: str) -> list[dict]:
        return [event for event in self.events if event["event"] == kind]

    @property
    def code(self) -> int:
        """What pam_authenticate returned, the last time."""
        return self.of("authenticate")[-1]["code"]

    @property
    def seconds(self) -> float:
        return self.of("authenticate")[-1]["milliseconds"] / 1000

    @property
    def messages(self) -> list[tuple[str, str]]:
        """Style and text of all that the application was told to show or ask."""
        return [(m["style"], m["text"]) for event in self.of("conversation") for m in event["messages"]]

    @property
    def log(self) -> str:
        return "\n".join(event["text"] for event in self.of("log"))


class Login:
    """A login that runs, to be talked to."""

    def __init__(self, command: Sequence[object]) -> None:
        self.result = Result()
        self._process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._unread = b""

    def type(self, answer: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # a login that is over needs no answer
            self._process.stdin.write(answer.encode(errors="surrogateescape") + b"\n")
            self._process.stdin.flush()

    def wait_for(self, kind: str) -> dict:
        """The next event of a kind."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            while b"\n" in self._unread:
                line, _, self._unread = self._unread.partition(b"\n")
                self.result.events.append(json.loads(line))
                if self.result.events[-1]["event"] == kind:
                    return self.result.events[-1]
            ready, _, _ = select.select([self._process.stdout], [], [], deadline - time.monotonic())
            assert ready, f"no {kind} within {PATIENCE_SECONDS} s; so far: {self.result.events}"
            data = os.read(self._process.stdout.fileno(), 65536)
            assert data, f"the driver ended: {self._process.stderr.read().decode()}"
            self._unread += data

    def finish(self) -> Result:
        """Waits for the end; the driver must not have complained (the sanitizers would)."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdin = None
        output, complaints = self._process.communicate(timeout=PATIENCE_SECONDS)
        for line in (self._unread + output).splitlines():
            self.result.events.append(json.loads(line))
        assert (self._process.returncode, complaints) == (0, b""), complaints.decode()
        assert not any(secret in self.result.log for secret in SECRETS), "a secret in the log"
        return self.result


@dataclass
class Stack:
    """An ``auth`` stack with the module in its middle, and the socket that it talks to."""

    build: Path
    directory: Path
    wrapper: Sequence[object] = ()

    @property
    def socket(self) -> Path:
        return self.directory / "auth.sock"

    @property
    def module(self) -> Path:
        return self.build / "pam_otpd.so"

    @property
    def probe(self) -> Path:
        return self.build / "pam_probe.so"

    def lines(self, arguments: str, before: str, after: str) -> list[str]:
        """A stack that returns the module's own code, whatever it is."""
        probe = f"auth required {self.probe}"
        return [
            *([f"{probe} {before}"] if before else []),
            f"auth [success=ok default=die] {self.module} {arguments}",
            *([f"{probe} {after}"] if after else []),
        ]

    def start(
        self,
        arguments: str | None = "",
        *,
        before: str = "",
        after: str = "",
        lines: Sequence[str] = (),
        options: Sequence[object] = (),
        user: str = "alice",
    ) -> Login:
        """Starts a login.

        Args:
            arguments: the module's, to which the socket is added unless they name one, or are ``None``.
            before, after: what ``pam_probe.c`` is to do before and after the module.
            lines: a whole other stack, instead.
            options: of ``pam_driver.c``.
            user: PAM_USER.
        """
        if arguments is not None and not arguments.startswith("socket="):
            arguments = f"socket={self.socket} {arguments}"
        configuration = self.directory / "pam.d"
        configuration.mkdir(exist_ok=True)
        lines = lines or self.lines(arguments or "", before, after)
        (configuration / "door").write_text("".join(f"{line}\n" for line in lines))
        (configuration / "other").write_text(f"auth required {self.probe} fail\n")  # libpam logs its absence
        return Login([*self.wrapper, self.build / "pam_driver", *options, configuration, "door", user])

    def run(self, arguments: str | None = "", *answers: str, **keywords: object) -> Result:
        """A whole login, its prompts answered as ``pam_driver.c`` describes it."""
        login = self.start(arguments, **keywords)
        for answer in answers:
            login.type(answer)
        return login.finish()
