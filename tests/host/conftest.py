"""One host for all tests of this folder: real slapd, otpd, otpd-password, and whatever else a test starts."""

import functools
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from module.pam_login import Login
from rig.host import Host, Token, json_line, pam_service, running_host

PASSWORD = "hunter2 and more"
SETTINGS = """\
[totp]
issuer = "otpd test"

[service.default]
tries = 1

[service.patient]
tries = 3

[service.lenient]
unenrolled = "allow"

[service.one]
accept = ["password+code"]
tries = 1

[service.imap]
accept = ["app-password"]
tries = 1

[service.smtp]
accept = ["app-password"]
tries = 1

[service.mixed]
accept = ["code", "app-password"]
tries = 1
"""
MODULE_ONLY = "auth required pam_otpd.so\naccount required pam_permit.so\n"


@dataclass
class World:
    """The host, and what tests need around it."""

    host: Host
    driver: Path
    numbers: Iterator[int] = field(default_factory=itertools.count)
    secrets: set[str] = field(default_factory=set)

    def person(self, *, enrolled: bool = False) -> tuple[str, Token]:
        """A new user, whose password is PASSWORD, and the user's authenticator app."""
        name = f"user{next(self.numbers)}"
        self.host.add_user(name, PASSWORD)
        token = self.host.enroll(name) if enrolled else Token("")
        if enrolled:
            self.secrets.add(token.secret)
            token.renew = functools.partial(self.host.forget_steps, name)
        return name, token

    def enroll_self(self, user: str) -> Token:
        """The user enrols at a shell, proving the account password, as a program would drive it."""
        with subprocess.Popen(
            ["otpctl", "enroll", "--json", "--label", "phone"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            user=user,
            text=True,
        ) as process:
            assert process.stdin
            process.stdin.write(PASSWORD + "\n")
            process.stdin.flush()
            token = Token(json_line(process.stdout)["secret"], renew=functools.partial(self.host.forget_steps, user))
            self.secrets.add(token.secret)
            process.communicate(token.code() + "\n", timeout=20)
        assert process.returncode == 0
        return token

    def login(self, service: str, user: str, arguments: str = "") -> Login:
        """Begin a login at a PAM service whose stack is the module alone."""
        line = f"auth [success=ok default=die] pam_otpd.so {arguments}\n"
        pam_service(service, line + "account required pam_permit.so\n")
        return Login([self.driver, "/etc/pam.d", service, user])

    def outcome(self, service: str, user: str, *answers: str, arguments: str = "") -> int:
        """The PAM return code of a login, each prompt answered in turn."""
        login = self.login(service, user, arguments)
        for answer in answers:
            login.type(f"text {answer}")
        return login.finish().code


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    build = tmp_path_factory.mktemp("driver")
    build.chmod(0o755)
    source = Path(__file__).parents[1] / "c" / "pam_driver.c"
    subprocess.run(["cc", "-o", build / "pam_driver", source, "-lpam"], check=True)
    for folder in build.parents:
        if folder != Path("/tmp") and str(folder).startswith("/tmp"):
            folder.chmod(0o755)
    with running_host(sys.executable, SETTINGS) as host:
        yield World(host, build / "pam_driver")


@pytest.fixture
def host(world: World) -> Host:
    return world.host


@pytest.fixture
def alice(world: World) -> tuple[str, Token]:
    """An enrolled user."""
    return world.person(enrolled=True)


@pytest.fixture(scope="session", autouse=True)
def visible_to_others(world: World) -> Iterator[set[str]]:
    """The command lines and environments of all processes during the whole run, as another user might see them."""
    seen: set[str] = set()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            for path in itertools.chain(Path("/proc").glob("[0-9]*/cmdline"), Path("/proc").glob("[0-9]*/environ")):
                try:
                    seen.add(path.read_bytes().decode(errors="replace"))
                except OSError:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    yield seen
    ended.set()
    watcher.join()


def eventually(condition: Callable[[], bool], seconds: float = 10) -> bool:
    """Whether ``condition`` comes true in time."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True
