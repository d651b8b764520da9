"""An embedded directory and the otpd that uses it, several of which run side by side in one sandbox."""

import functools
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from fleet.clients import Link
from rig.host import DAEMONS, run
from rig.processes import Processes, connects, own

from bench import people
from bench.load import load
from otpd import app_password
from otpd.adapters.slapd import BASE_DN
from otpd.protocol import Answer, Ask, Begin, Done, decode_reply, encode_request
from otpd.secret import Secret
from otpd.values import UserName

_SETTINGS: Final = """\
[sockets]
auth = "{run}/auth.sock"
control = "{run}/control.sock"

[directory]
uris = ["{uri}"]

[keys]
file = "{key_ring}"

[service.imap]
accept = ["app-password"]
"""
_CODE_SERVICE: Final = "door"
_APP_SERVICE: Final = "imap"
_NOTIFIED_SECONDS: Final = 0.1
"""Long after a notification has come: the median is a millisecond."""


class BenchError(Exception):
    """What is measured does not do what it should."""


@dataclass
class Place(Processes):
    """One directory of ``users`` users and one otpd, with everything below ``folder`` and ``/run``."""

    folder: Path
    users: int
    quick: bool = False

    def __post_init__(self) -> None:
        self.label = f"{self.users}-"
        self.run = Path("/run", f"bench-{self.users}")
        self.state = self.folder / f"{self.users}-users"
        self.config = self.run / "otpd.toml"
        self.uri = "ldapi://" + str(self.run / "ldapi").replace("/", "%2F")

    def fill(self) -> float | None:
        """Load the users, unless an earlier run has; the seconds."""
        if (self.state / "complete").exists():
            return None
        shutil.rmtree(self.state, ignore_errors=True)
        self.state.mkdir(parents=True)
        run("otpctl", "keys", "init", "--file", str(self.state / "keyring"))
        own(self.state / "keyring", "otpd")
        seconds = load(self.state, self.users, self.state / "keyring", quick=self.quick)
        (self.state / "complete").touch()
        return seconds

    def start(self) -> Self:
        """Start slapd and both processes of otpd, and wait until what is read is kept."""
        self.run.mkdir()
        self.run.chmod(0o777)
        # Other users than root go through here to what is theirs.
        self.state.chmod(0o711)
        key_ring = self.run / "keyring"
        shutil.copyfile(self.state / "keyring", key_ring)
        key_ring.chmod(0o600)
        own(key_ring, "otpd")
        self.config.write_text(_SETTINGS.format(run=self.run, uri=self.uri, key_ring=key_ring))
        command = ("/usr/sbin/slapd", "-d", "0", "-F", str(self.state / "slapd.d"), "-h", self.uri)
        self.spawn("slapd", *command, user="otpd-directory")
        self.wait(lambda: connects(str(self.run / "ldapi")), "slapd", 60)
        for name, socket in DAEMONS.items():
            self.spawn(name, "otpd", "--config", str(self.config), "--serve", socket, user="otpd")
        for name, socket in DAEMONS.items():
            self.wait(functools.partial(connects, str(self.run / f"{socket}.sock")), name)
        self.wait(lambda: "notifies of changes" in self.log("otpd"), "the cache")
        self.link = Link(self.run / "auth.sock")
        return self

    def log_in(self, name: UserName) -> float:
        """A login with the code of now: begin and answer, as the PAM module does it; the seconds."""
        return self._log_in(name, _CODE_SERVICE, people.code_of(name, time.time()))

    def log_in_to_mail(self, name: UserName) -> float:
        """A login with the app password; the seconds."""
        return self._log_in(name, _APP_SERVICE, app_password_text(name))

    def forget_steps(self, names: list[UserName]) -> None:
        """Make the codes of now usable again; otpd is notified."""
        step = "replace: oathTOTPLastTimeStep\noathTOTPLastTimeStep: 0\n"
        self._modify("".join(f"dn: {people.device_dn(name)}\nchangetype: modify\n{step}\n" for name in names))

    def empty_cache(self) -> None:
        """Change the base entry: what is kept is then forgotten, whoever it is of."""
        self._modify(f"dn: {BASE_DN}\nchangetype: modify\nreplace: description\ndescription: {time.monotonic()}\n\n")

    def _modify(self, changes: str) -> None:
        become = ("setpriv", "--reuid=otpd", "--regid=otpd", "--clear-groups", "--")
        run(*become, "ldapmodify", "-Q", "-Y", "EXTERNAL", "-H", self.uri, stdin=changes)
        time.sleep(_NOTIFIED_SECONDS)

    def _log_in(self, name: UserName, service: str, typed: str) -> float:
        began = time.perf_counter()
        asked = self._exchange(encode_request(Begin(user=name, service=service)))
        if not isinstance(asked, Ask):
            raise BenchError(f"{name}: no prompt, but {asked}")
        done = self._exchange(encode_request(Answer(dialogue=asked.dialogue, text=Secret(typed.encode()))))
        seconds = time.perf_counter() - began
        if not isinstance(done, Done) or done.verdict != "accept":
            raise BenchError(f"{name}: {done}\n{self.log('otpd')[-2000:]}")
        return seconds

    def _exchange(self, frames: list[bytes]) -> object:
        self.link.send(frames)
        answer = self.link.receive()
        return decode_reply(answer) if answer else None


def app_password_text(name: UserName) -> str:
    """What the user's mail program was given."""
    return app_password.to_text(people.app_password_of(name)).reveal().decode()
