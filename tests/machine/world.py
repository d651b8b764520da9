"""A booted machine with otpd on it, installed as its README says, and what people and administrators do there."""

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from machine.machine import SOURCE, Machine, booted
from rig.host import LDAPI, Token
from rig.people import Answer, Seen

# What an administrator types, in the unpacked source, as root. The README quotes it.
INSTALL: Final = """\
make install
systemd-sysusers otpd.conf
systemd-tmpfiles --create otpd.conf
systemctl daemon-reload
otpctl directory init
otpctl keys init
systemctl enable --now otpd-directory otpd
"""
# The door of ssh: password, then code. With a root session left open until a login has worked.
SSH: Final = """\
cp /usr/local/share/doc/otpd/examples/otpd.conf /etc/ssh/sshd_config.d/otpd.conf
sed -i -e '/^@include common-auth/{r /usr/local/share/doc/otpd/examples/sshd.example' -e 'd}' /etc/pam.d/sshd
systemctl reload ssh
"""
# The door of a mail server.
IMAP: Final = """\
cp /usr/local/share/doc/otpd/examples/imap.example /etc/pam.d/imap
"""

PREFIX: Final = {"bookworm": "/usr/local", "trixie": "/usr"}
PASSWORD: Final = "correct horse battery staple"
SETTINGS: Final = "/etc/otpd/otpd.toml"
FILES: Final = "find /usr /etc /var/lib -xdev ! -type d | sort"


@dataclass
class World:
    """A machine with otpd, and alice, who has enrolled; what must never be in a log."""

    machine: Machine
    before: set[str]
    token: Token = field(default_factory=lambda: Token(""))
    secrets: set[str] = field(default_factory=lambda: {PASSWORD})

    @property
    def prefix(self) -> str:
        return PREFIX[self.machine.suite]

    def administer(self, lines: str) -> str:
        """Type ``lines``, with the PREFIX of this machine."""
        if self.prefix != "/usr/local":
            lines = lines.replace("/usr/local", self.prefix)
            lines = re.sub(r"^(make .*)$", rf"\1 PREFIX={self.prefix}", lines, flags=re.MULTILINE)
        return self.machine.shell(f"cd {SOURCE}\n{lines}")

    def code(self) -> str:
        """The code that alice's app shows now; as often as it is asked for, the directory forgets that it was used."""
        ldap = ["-o", "ldif-wrap=no", "-Q", "-Y", "EXTERNAL", "-H", LDAPI]
        found = self.machine.run(
            "ldapsearch", *ldap, "-LLL", "-b", "ou=otpd", "(objectClass=otpdToken)", "dn", user="otpd"
        )
        for dn in found.split("\n\n"):
            if dn.strip():
                change = f"{dn.strip()}\nchangetype: modify\nreplace: oathTOTPLastTimeStep\noathTOTPLastTimeStep: 0\n"
                change += "-\nreplace: oathTOTPTimeStepDrift\n"
                self.machine.run("ldapmodify", *ldap, user="otpd", stdin=change)
        self.token.last_step = 0
        return self.shown_code()

    def shown_code(self) -> str:
        """A code that alice's app has not yet shown."""
        code = self.token.code()
        self.secrets.add(code)
        return code

    def ssh(self, answers: Sequence[Answer], user: str = "alice") -> Seen:
        """Log in over ssh; whatever is asked after ``answers`` is answered with nothing, so that ssh ends by itself."""
        return self.machine.talk(ssh_to(user), [*answers, *[""] * 4])

    def login(self) -> None:
        """Alice gets in with her password and a code."""
        seen = self.ssh([PASSWORD, self.code()])
        assert "let in" in seen.screen, (seen, self.machine.journal("--lines=40"))
        assert len(seen.prompts) == 2

    def refused(self, code: str) -> float:
        """Alice does not get in, with the right password and ``code``, a right one; seconds that it took."""
        started = time.monotonic()
        seen = self.ssh([PASSWORD, code])
        seconds = time.monotonic() - started
        assert "let in" not in seen.screen
        assert "Permission denied" in seen.screen
        return seconds

    def imap(self, password: str) -> Seen:
        return self.machine.talk(["pamtester", "imap", "alice", "authenticate", "acct_mgmt"], [password])

    def enroll(self, user: str, password: str) -> tuple[Token, dict[str, str]]:
        """The user enrols, with the account password; the token, and otpctl's last answer."""
        with self.machine.start("otpctl", "enroll", "--json", user=user) as process:
            assert process.stdin
            assert process.stdout
            process.stdin.write(f"{password}\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            if "secret" not in answer:
                process.communicate(timeout=20)
                return Token(""), answer
            token = Token(answer["secret"])
            output, _ = process.communicate(f"{token.code()}\n", timeout=20)
        return token, json.loads(output)

    def pid(self, unit: str = "otpd") -> int:
        return int(self.property(unit, "MainPID"))

    def property(self, unit: str, name: str) -> str:
        return self.machine.run("systemctl", "show", "--property", name, "--value", unit).strip()

    def state(self, unit: str) -> str:
        return self.property(unit, "ActiveState")

    def wait_for(self, unit: str, state: str, seconds: float = 20) -> None:
        until = time.monotonic() + seconds
        while self.state(unit) != state:
            assert time.monotonic() < until, self.machine.run("systemctl", "status", unit, check=False)
            time.sleep(0.05)

    def wait_for_another(self, pid: int, seconds: float = 20) -> None:
        """Until otpd runs, as another process than ``pid``."""
        until = time.monotonic() + seconds
        while self.pid() in (0, pid) or self.state("otpd") != "active":
            assert time.monotonic() < until, self.machine.journal("-u", "otpd")
            time.sleep(0.05)


def ssh_to(user: str, *options: str) -> list[str]:
    """The command that logs in to the machine in whose network it runs."""
    fixed = (
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "LogLevel=ERROR",
        "NumberOfPasswordPrompts=1",
    )
    flags = [flag for option in (*options, *fixed) for flag in ("-o", option)]
    return ["ssh", "-F", "none", *flags, f"{user}@127.0.0.1", "echo let in"]


@contextmanager
def mended_at_the_end(world: World) -> Iterator[None]:
    """What is done to otpd's files in between is undone, as an administrator would."""
    world.machine.shell("rm -rf /root/kept && cp -a /etc/otpd /root/kept")
    try:
        yield
    finally:
        world.machine.shell("cp -a /root/kept/* /etc/otpd && systemctl restart otpd")


@contextmanager
def installed(suite: str) -> Iterator[World]:
    """A machine of a Debian suite with otpd, whose ssh takes password and code; alice and bob have accounts."""
    with booted(suite) as machine:
        for user in ("alice", "bob"):
            machine.run("useradd", "--create-home", "--shell", "/bin/bash", user)
            machine.run("chpasswd", stdin=f"{user}:{PASSWORD}\n")
        machine.copy_source()
        world = World(machine, before=set(machine.shell(FILES).splitlines()))
        world.administer(INSTALL)
        world.administer(SSH)
        world.administer(IMAP)
        yield world
