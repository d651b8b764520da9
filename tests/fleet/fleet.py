"""Three hosts and two providers, each in a network namespace of its own.

A host has its own /run/otpd, /etc/otpd, /var/lib/otpd and boot id too, by a mount namespace: what otpd, otpctl and the
module find at their usual places is the host's. Programs and accounts are the sandbox's.
"""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from directory.samples import soon
from directory.servers import ACCOUNT, BASE, PASSWORD
from rig.host import DAEMONS, Host, run
from rig.network import Network, enter
from rig.processes import LOGS, Processes, connects, own

from otpd.directory import User
from otpd.enrolment import first_token_id
from otpd.values import UserName

from .clients import Login, manage
from .phone import Phone
from .providers import Provider, two_providers

_FOLDER: Final = Path("/run/fleet")
_OWN: Final = {"run": "/run/otpd", "etc": "/etc/otpd", "var": "/var/lib/otpd"}
_BOOT_ID: Final = "/proc/sys/kernel/random/boot_id"
_DATA_BYTES: Final = 256 * 2**20
_SETTINGS: Final = """\
[totp]
window_steps = {window_steps}
drift_steps = 0

[directory]
uris = {uris}
provider = "{provider}"
base_dn = "{base}"
bind_dn = "{account}"
bind_password_file = "/etc/otpd/bind-password"
ca_file = "/srv/tls/fleet.pem"

[daemon]
deadline_seconds = {deadline_seconds}

[service.default]
tries = 1

[service.imap]
accept = ["app-password"]
tries = 1

[service.shell]
remember_hours = 1
tries = 1
"""


@dataclass
class FleetHost(Processes):
    """A host: its own network, files and boot id, and both processes of otpd."""

    name: str
    holder: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.label = f"{self.name}-"

    @property
    def auth(self) -> Path:
        """auth.sock, as it is seen from outside of the host's namespace."""
        return self._folder("run") / "auth.sock"

    @property
    def control(self) -> Path:
        """control.sock, likewise."""
        return self._folder("run") / "control.sock"

    def boot(self) -> None:
        """Make the host's namespaces, and its files as ``make install`` left them."""
        for which, usual in _OWN.items():
            Path(usual).mkdir(parents=True, exist_ok=True)
            shutil.copytree(usual, self._folder(which))
        own(self._folder("run"), "otpd")
        own(self._folder("var"), "otpd")
        boot_id = _FOLDER / self.name / "boot_id"
        boot_id.write_text(f"{uuid.uuid4()}\n")
        binds = {**{str(self._folder(which)): usual for which, usual in _OWN.items()}, str(boot_id): _BOOT_ID}
        script = "".join(f"mount --bind {mine} {usual} && " for mine, usual in binds.items())
        unshare = ["unshare", "--mount", "--propagation", "private", "sh", "-c", f"{script}echo up && exec sleep inf"]
        self.holder = subprocess.Popen(unshare, stdout=subprocess.PIPE)
        assert self.holder.stdout
        if self.holder.stdout.readline() != b"up\n":
            raise RuntimeError(f"{self.name} has no namespace")
        inside = f"/proc/{self.holder.pid}"
        self.enter = ("nsenter", f"--mount={inside}/ns/mnt", f"--root={inside}/root", *enter(self.name)[1:])

    def configure(self, settings: str) -> None:
        """Write its otpd.toml, and what otpd binds with."""
        (self._folder("etc") / "otpd.toml").write_text(settings)
        self._give("bind-password", PASSWORD.encode())

    def take_keys(self, ring: bytes) -> None:
        """The fleet's key ring."""
        self._give("keyring", ring)

    def make_keys(self) -> bytes:
        """``otpctl keys init``; the ring, for the other hosts."""
        run(*self.enter, "otpctl", "keys", "init")
        return (self._folder("etc") / "keyring").read_bytes()

    def start(self, *names: str) -> None:
        """Start otpd's processes, or some of them, and wait until they answer."""
        for name in names or DAEMONS:
            self.spawn(name, "otpd", "--serve", DAEMONS[name], user="otpd")
        for name in names or DAEMONS:
            self.wait(functools.partial(connects, str(self._folder("run") / f"{DAEMONS[name]}.sock")), name)

    def restart(self, settings: str | None = None) -> None:
        """``systemctl restart``, perhaps with other settings."""
        self.stop_all()
        if settings is not None:
            self.configure(settings)
        self.start()

    def kill(self, *names: str) -> None:
        """``kill -9``."""
        for name in names:
            self.stop(name, signal.SIGKILL)

    def shut_down(self) -> None:
        """End all that runs."""
        self.stop_all()
        if self.holder:
            self.holder.kill()
            self.holder.wait()

    def _folder(self, which: str) -> Path:
        return _FOLDER / self.name / which

    def _give(self, name: str, content: bytes) -> None:
        path = self._folder("etc") / name
        path.touch(mode=0o600)
        path.write_bytes(content)
        own(path, "otpd")


@dataclass
class Fleet:
    """The hosts, the providers, and the network between them; ``first`` takes every write."""

    network: Network
    first: Provider
    second: Provider
    hosts: tuple[FleetHost, ...]
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(1, 100_000)))

    def settings(self, host: FleetHost, **other: object) -> str:
        """An otpd.toml: the last host reads app passwords from the second provider, the others from the first."""
        uris = [self.first.ldaps, self.second.ldaps]
        given = {
            "uris": json.dumps(uris[::-1] if host is self.hosts[-1] else uris),
            "provider": self.first.ldaps,
            "base": BASE,
            "account": ACCOUNT,
            "window_steps": 10,
            "deadline_seconds": 5,
        }
        return _SETTINGS.format(**(given | other))

    @contextmanager
    def set(self, *hosts: FleetHost, **other: object) -> Iterator[None]:
        """Other settings for a while, on some hosts or all."""
        for host in hosts or self.hosts:
            host.restart(self.settings(host, **other))
        try:
            yield
        finally:
            for host in hosts or self.hosts:
                host.restart(self.settings(host))

    def people(self, count: int) -> list[str]:
        """New accounts, on all hosts."""
        names = [f"person{next(self.numbers)}" for _ in range(count)]
        with Path("/etc/passwd").open("a") as accounts:
            accounts.writelines(f"{name}:x:{50_000 + int(name[6:])}:100::/:/bin/sh\n" for name in names)
        return names

    def enroll(self, user: str, host: FleetHost | None = None) -> Phone:
        """Enrol a user, as root; the phone has used the first of its codes."""
        control = (host or self.hosts[0]).control
        status, begun = manage(control, "enrol-begin", user=user)
        assert status == "ok", begun
        phone = Phone(begun["secret"])
        status, reply = manage(control, "enrol-confirm", user=user, ticket=begun["ticket"], code=phone.code())
        assert status == "ok", reply
        phone.token_id = reply["token"]
        return phone

    def app_password(self, user: str, host: FleetHost | None = None) -> tuple[str, str]:
        """A new app password for imap, and its id."""
        status, made = manage((host or self.hosts[0]).control, "app-password-create", user=user, services="imap")
        assert status == "ok", made
        return made["password"], made["id"]

    def recovery_codes(self, user: str, host: FleetHost | None = None) -> list[str]:
        """A new set."""
        status, made = manage((host or self.hosts[0]).control, "recovery-codes", user=user)
        assert status == "ok", made
        codes: list[str] = made["recovery_codes"]
        return codes

    def user(self, name: str, provider: Provider | None = None) -> User | None:
        """What a provider has of a user, asked past otpd."""
        return (provider or self.first).directory().user(UserName(name), soon())

    def forget(self, user: str) -> None:
        """Make the codes of now usable again, and forget failures, at the write provider."""
        place = f"uid={user},{BASE}"
        self.first.apply(
            f"dn: otpdId={first_token_id(UserName(user))},{place}\nchangetype: modify\n"
            "replace: oathTOTPLastTimeStep\noathTOTPLastTimeStep: 0\n\n"
        )
        self.forget_failures(user)

    def forget_failures(self, user: str) -> None:
        """Set the count of wrong guesses to zero."""
        self.first.apply(f"dn: uid={user},{BASE}\nchangetype: modify\nreplace: oathFailureCount\noathFailureCount: 0\n")

    def at_the_prompt(self, host: FleetHost, user: str, service: str = "door") -> Login:
        """A login that waits for its answer."""
        login = Login.begin(host.auth, user, service)
        assert login, f"{host.name} did not ask"
        return login

    def entries(self, provider: Provider) -> list[str]:
        """All that a provider has of otpd's."""
        found = provider.search(BASE, "(objectClass=*)", "*", "entryUUID", "entryCSN").split("\n\n")
        return sorted("\n".join(sorted(entry.splitlines())) for entry in found)

    def replicated(self, seconds: float = 20) -> bool:
        """Whether both providers come to hold the same in time."""
        until = time.monotonic() + seconds
        while self.entries(self.first) != self.entries(self.second):
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
        return True


@contextmanager
def running_fleet(names: Sequence[str] = ("host1", "host2", "host3")) -> Iterator[Fleet]:
    """The whole bench, up and well."""
    Host(sys.executable).install()
    LOGS.mkdir(mode=0o700, exist_ok=True)
    network = Network()
    with ExitStack() as ends:
        ends.callback(network.close)
        first, second = two_providers(network, _DATA_BYTES)
        ends.callback(first.stop)
        ends.callback(second.stop)
        hosts = tuple(FleetHost(name) for name in names)
        fleet = Fleet(network, first, second, hosts)
        for host in hosts:
            network.attach(host.name)
            host.boot()
            ends.callback(host.shut_down)
            host.configure(fleet.settings(host))
        ring = hosts[0].make_keys()
        for host in hosts:
            host.take_keys(ring)
            host.start()
        yield fleet


def rounds(name: str, usual: int) -> int:
    """How often something is tried: as often as the whole run has time for, or as the environment says."""
    return int(os.environ.get(f"OTPD_FLEET_{name}", usual))
