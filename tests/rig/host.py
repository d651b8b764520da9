"""One host: slapd, otpd-password, otpd and sshd as real processes, installed by ``make install``.

It writes to /etc, /run and /var as a host's administrator would, so it refuses to work outside tests/sandbox. It needs
nothing but the standard library and what otpd itself needs.
"""

import json
import pwd
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyotp

from rig.processes import LOGS, Processes, connects, own

REPOSITORY: Final = Path(__file__).parents[2]
LDAPI: Final = "ldapi://%2Frun%2Fotpd-directory%2Fldapi"
CREDENTIALS: Final = Path("/run/otpd-credentials")
PERIOD_SECONDS: Final = 30
DAEMONS: Final = {"otpd": "auth", "otpd-control": "control"}

PASSWORD_THEN_CODE: Final = "auth requisite pam_unix.so\nauth required pam_otpd.so\naccount required pam_unix.so\n"
CODE_ONLY: Final = "auth required pam_otpd.so\naccount required pam_unix.so\n"
ONE_ANSWER: Final = (
    "auth required pam_otpd.so forward_pass\nauth required pam_unix.so use_first_pass\naccount required pam_unix.so\n"
)
SESSION: Final = "session required pam_permit.so\n"


@dataclass
class Token:
    """An authenticator app: gives each code once, and waits for the next time step when there is no more.

    ``renew`` is called instead of waiting, to make the codes of now usable again.
    """

    secret: str
    last_step: int = 0
    renew: Callable[[], None] | None = None

    def code(self) -> str:
        """A code that otpd accepts: within one step of now, and later than the last one given."""
        while True:
            now = int(time.time()) // PERIOD_SECONDS
            # Never back by more than one: otpd learns from a code how far a clock is off.
            step = max(self.last_step + 1, now) if self.last_step else now - 1
            # A step that is about to leave the window might be judged too late.
            if step == now - 1 and time.time() % PERIOD_SECONDS > PERIOD_SECONDS - 3:
                step = now
            if step <= now + 1:
                self.last_step = step
                return self.at(step)
            if self.renew:
                self.renew()
                self.last_step = 0
            else:
                time.sleep(0.2)

    def at(self, step: int) -> str:
        """The code of a time step."""
        return pyotp.TOTP(self.secret).generate_otp(step)

    def wrong(self) -> str:
        """A code that is not right in any step near now."""
        now = int(time.time()) // PERIOD_SECONDS
        near = {self.at(step) for step in range(now - 25, now + 26)}
        return next(code for code in (f"{number:06}" for number in range(1000)) if code not in near)


@dataclass
class Host(Processes):
    """The host that this sandbox is."""

    python: str = "/usr/bin/python3"
    settings: str = ""

    def install(self) -> None:
        """Install otpd as its README says, and make its users."""
        if not Path("/run/otpd-sandbox").exists():
            raise RuntimeError("this is no sandbox: run it through tests/sandbox")
        LOGS.mkdir(mode=0o700, exist_ok=True)
        make = ["make", "-C", str(REPOSITORY), "install", "PREFIX=/usr", f"PYTHON={self.python}"]
        with (LOGS / "install.log").open("wb") as log:
            subprocess.run(make, check=True, stdout=log, stderr=log)
        for user in ("otpd", "otpd-directory"):
            if not known(user):
                nologin = "/usr/sbin/nologin"
                run("useradd", "--system", "--user-group", "--no-create-home", "--shell", nologin, user)

    def configure(self, settings: str) -> None:
        """Write /etc/otpd/otpd.toml."""
        self.settings = settings
        Path("/etc/otpd/otpd.toml").write_text(settings)

    def make_directory(self) -> None:
        """``otpctl directory init`` and ``otpctl keys init``."""
        run("otpctl", "directory", "init")
        run("otpctl", "keys", "init")

    def start(self) -> None:
        """Start everything but sshd, and wait until it answers."""
        self.start_syslog()
        self.start_directory()
        Path("/run/otpd").mkdir(exist_ok=True)
        own("/run/otpd", "otpd")
        Path("/var/lib/otpd").mkdir(mode=0o700, exist_ok=True)
        own("/var/lib/otpd", "otpd")
        self.start_helper()
        self.start_daemon()

    def start_helper(self) -> None:
        """Start otpd-password, as its socket unit does."""
        self.spawn("otpd-password", "otpd-password", "--socket", "/run/otpd/password.sock")
        self.wait(lambda: connects("/run/otpd/password.sock", socket.SOCK_SEQPACKET), "otpd-password")

    def start_syslog(self) -> None:
        """Write what programs send to syslog(3) to a file, as a host's log would."""
        if not Path("/dev/log").exists():
            sink = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            sink.bind("/dev/log")
            Path("/dev/log").chmod(0o666)
            threading.Thread(target=_write_syslog, args=(sink,), daemon=True).start()

    def start_directory(self) -> None:
        """Start the embedded slapd, as otpd-directory.service does."""
        Path("/run/otpd-directory").mkdir(exist_ok=True)
        own("/run/otpd-directory", "otpd-directory")
        state = "/var/lib/otpd-directory/slapd.d"
        self.spawn("slapd", "/usr/sbin/slapd", "-d", "0", "-F", state, "-h", LDAPI, user="otpd-directory")
        self.wait(lambda: connects("/run/otpd-directory/ldapi"), "slapd")

    def start_daemon(self) -> None:
        """Start otpd, a process for each socket, as otpd.service and otpd-control.service do."""
        self.start_processes(*DAEMONS)

    def start_processes(self, *names: str) -> None:
        """Start some of otpd's processes, with the key ring as their credential, and wait until they answer."""
        CREDENTIALS.mkdir(mode=0o700, exist_ok=True)
        shutil.copyfile("/etc/otpd/keyring", CREDENTIALS / "keyring")
        own(CREDENTIALS, "otpd")
        own(CREDENTIALS / "keyring", "otpd")
        environment = {"CREDENTIALS_DIRECTORY": str(CREDENTIALS)}
        for name in names:
            self.spawn(name, "otpd", "--serve", DAEMONS[name], user="otpd", environment=environment)
        for name in names:
            self.wait(lambda path=f"/run/otpd/{DAEMONS[name]}.sock": connects(path), name)

    def restart_daemon(self) -> None:
        """``systemctl restart otpd``."""
        self.stop_daemon()
        self.start_daemon()

    def stop_daemon(self, how: int = signal.SIGTERM) -> list[int]:
        """End both processes of otpd; their exit codes."""
        return [self.stop(name, how) for name in DAEMONS]

    def log(self, name: str) -> str:
        """What a process has logged; ``otpd`` is both processes of otpd."""
        return "".join(super(Host, self).log(one) for one in (DAEMONS if name == "otpd" else [name]))

    def add_user(self, name: str, password: str) -> None:
        """A person with an account on this host."""
        run("useradd", "--create-home", "--shell", "/bin/bash", name)
        run("chpasswd", stdin=f"{name}:{password}\n")

    def enroll(self, name: str) -> Token:
        """Enrol a user as root does, with the first code that the app gives."""
        with subprocess.Popen(
            ["otpctl", "enroll", "--json", "--user", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            token = Token(json_line(process.stdout)["secret"])
            output, _ = process.communicate(token.code() + "\n", timeout=20)
        if process.returncode:
            raise RuntimeError(f"enrolment of {name} failed: {output}\n{self.log('otpd')}")
        return token

    def forget_steps(self, name: str) -> None:
        """Make the codes of now usable again, for a test that needs many: as the directory's own client, by LDAP."""
        found = self.ldap("ldapsearch", "-LLL", "-b", f"uid={name},ou=otpd", "(objectClass=otpdToken)", "dn")
        for line in found.splitlines():
            if line.startswith("dn:"):
                change = f"{line}\nchangetype: modify\nreplace: oathTOTPLastTimeStep\noathTOTPLastTimeStep: 0\n"
                change += "-\nreplace: oathTOTPTimeStepDrift\n"
                self.ldap("ldapmodify", stdin=change)

    def forget_failures(self, name: str) -> None:
        """Set the count of wrong guesses to zero, as the directory's own client."""
        change = f"dn: uid={name},ou=otpd\nchangetype: modify\nreplace: oathFailureCount\noathFailureCount: 0\n"
        self.ldap("ldapmodify", stdin=change)

    def ldap(self, tool: str, *arguments: str, stdin: str = "", user: str = "otpd") -> str:
        """Run an OpenLDAP client as ``user``."""
        return run(*self._ldap_command(tool, user), *arguments, stdin=stdin)

    def ldap_error(self, tool: str, *arguments: str, user: str = "otpd") -> str:
        """All that an OpenLDAP client prints, whatever comes of it."""
        command = [*self._ldap_command(tool, user), *arguments]
        done = subprocess.run(command, text=True, capture_output=True, check=False, timeout=60)
        return done.stdout + done.stderr

    def _ldap_command(self, tool: str, user: str) -> list[str]:
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--"]
        external = ["-o", "ldif-wrap=no", "-Q", "-Y", "EXTERNAL", "-H", LDAPI]
        groups = {"nobody": "nogroup"}
        return [word.replace(f"--regid={user}", f"--regid={groups.get(user, user)}") for word in become] + [
            tool,
            *external,
        ]

    def start_sshd(self, *settings: str, pam: str = PASSWORD_THEN_CODE) -> int:
        """A real sshd on a loopback port, which is returned; PAM's service is sshd."""
        pam_service("sshd", pam)
        port = free_port()
        home = Path("/etc/ssh/rig")
        home.mkdir(exist_ok=True)
        key = home / "host_key"
        if not key.exists():
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
        lines = (
            "ListenAddress 127.0.0.1",
            f"Port {port}",
            f"HostKey {key}",
            "PidFile none",
            "UsePAM yes",
            "KbdInteractiveAuthentication yes",
            "PasswordAuthentication no",
            "UseDNS no",
            *settings,
        )
        (home / "sshd_config").write_text("\n".join(lines) + "\n")
        self.spawn("sshd", "/usr/sbin/sshd", "-D", "-e", "-f", str(home / "sshd_config"))
        self.wait(lambda: connects(("127.0.0.1", port)), "sshd")
        return port


def _write_syslog(sink: socket.socket) -> None:
    with (LOGS / "syslog.log").open("ab", buffering=0) as log:
        while True:
            log.write(sink.recv(65536) + b"\n")


def pam_service(name: str, auth: str) -> None:
    """Write /etc/pam.d/NAME."""
    Path("/etc/pam.d", name).write_text(auth + SESSION)


def run(*command: str, stdin: str = "", check: bool = True, **options: Any) -> str:
    """Run a command; its standard output. Raises with all of its output where it fails."""
    done = subprocess.run(command, input=stdin, text=True, capture_output=True, check=False, timeout=60, **options)
    if check and done.returncode:
        raise RuntimeError(f"{command} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def json_line(stream: Any) -> dict[str, Any]:
    """The next line of ``stream`` as JSON."""
    line = stream.readline()
    if not line:
        raise RuntimeError("no answer")
    result: dict[str, Any] = json.loads(line)
    return result


def known(user: str) -> bool:
    """Whether NSS knows a user."""
    with suppress(KeyError):
        pwd.getpwnam(user)
        return True
    return False


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_host(python: str, settings: str) -> Iterator[Host]:
    """A host with everything but users and sshd."""
    host = Host(python)
    host.install()
    host.configure(settings)
    host.make_directory()
    try:
        host.start()
        yield host
    finally:
        host.stop_all()
