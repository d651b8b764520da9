"""Programs that people use: each in a mount namespace with its own PAM configuration and user database."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest
from fake_daemons import Frames, Serve, ask, done, verbs
from pam_login import Builds

ALICE = 64322
BOB = 64323
QR = "\n" + "\n".join("██▀▀▄▄  █" * 4 for _ in range(21)) + "\n"
INFOS = ["First line.", QR, "JBSW Y3DP EHPK 3PXP"]

NAMESPACE = """
mount --bind {0}/pam.d /etc/pam.d
mount --bind {0}/passwd /etc/passwd
mount --bind {0}/shadow /etc/shadow
mount --bind {0}/sudoers /etc/sudoers
mount -t tmpfs tmpfs /run
mkdir /run/otpd /run/sshd
mount --bind {0} /run/otpd
exec "$@"
"""

SSHD = """
HostKey {0}/host_key
UsePAM yes
StrictModes no
PidFile none
AuthorizedKeysFile {0}/client_key.pub
AuthenticationMethods {1}
KbdInteractiveAuthentication yes
PasswordAuthentication yes
"""


def judge(request: Frames) -> Frames:
    return done("accept" if b"text=654321" in request else "refuse", infos=["Judged."])


class Host:
    """A directory that becomes the configuration of a machine."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write(self, name: str, text: str, mode: int = 0o644) -> None:
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def spawn(self, *command: str, user: int | None = None) -> pexpect.spawn:
        """A program on a terminal, of root or of another user."""
        become = [] if user is None else ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        script = NAMESPACE.format(self.directory)
        words = ["-m", "sh", "-ec", script, "sh", *become, "env", "LC_ALL=C.UTF-8", "TERM=dumb", *command]
        return pexpect.spawn("unshare", words, timeout=20, encoding="utf-8", dimensions=(60, 200))

    def run(self, *command: str) -> None:
        pexpect.run(" ".join(command))

    @contextmanager
    def ssh(self, methods: str, *options: str) -> Iterator[pexpect.spawn]:
        """An ssh client and a server of its own, without a port; runs ``id -un`` at the end."""
        self.write("sshd_config", SSHD.format(self.directory, methods))
        self.write("ssh_config", f"ProxyCommand /usr/sbin/sshd -i -f {self.directory}/sshd_config\n", 0o600)
        for key in ("host_key", "client_key"):
            if not (self.directory / key).exists():
                self.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "''", "-f", str(self.directory / key))
        common = ["-F", f"{self.directory}/ssh_config", "-i", f"{self.directory}/client_key"]
        for option in ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", *options):
            common += ["-o", option]
        child = self.spawn("ssh", *common, "alice@door", "id", "-un")
        yield child
        child.close()


@pytest.fixture
def host(builds: Builds, directory: Path) -> Host:
    host = Host(directory)
    stack = f"auth required {builds.hardened}/pam_otpd.so timeout=5\n" + "".join(
        f"{kind} required pam_permit.so\n" for kind in ("account", "session")
    )
    for service in ("su", "sudo", "sshd", "door"):
        host.write(f"pam.d/{service}", stack)
    host.write("pam.d/other", "auth required pam_deny.so\naccount required pam_deny.so\n")
    users = [line for line in Path("/etc/passwd").read_text().splitlines() if not line.startswith(("alice:", "bob:"))]
    users += [f"alice:x:{ALICE}:{ALICE}::/tmp:/bin/sh", f"bob:x:{BOB}:{BOB}::/tmp:/bin/sh"]
    host.write("passwd", "\n".join([*users, ""]))
    host.write("shadow", "root:*:19000:0:99999:7:::\nalice:*:19000:0:99999:7:::\nbob:*:19000:0:99999:7:::\n", 0o640)
    host.write("sudoers", "Defaults passwd_tries=3\nbob ALL=(ALL) ALL\n", 0o440)
    return host


def field(request: Frames, name: str) -> bytes:
    return next(frame.partition(b"=")[2] for frame in request if frame.startswith(name.encode() + b"="))


def expect_infos_and_prompt(child: pexpect.spawn) -> None:
    child.expect_exact("First line.")
    for _ in range(21):
        child.expect_exact("██▀▀▄▄  █" * 4)
    child.expect_exact("JBSW Y3DP EHPK 3PXP")
    child.expect_exact("Verification code: ")


def test_su(host: Host, serve: Serve) -> None:
    daemon = serve(ask(infos=INFOS), judge)
    child = host.spawn("su", "alice", "-c", "id -un", user=BOB)
    expect_infos_and_prompt(child)
    child.sendline("654321")
    child.expect_exact("Judged.")
    child.expect_exact("alice")
    child.expect(pexpect.EOF)
    assert "654321" not in child.before
    assert (field(daemon.requests[0], "user"), field(daemon.requests[0], "ruser")) == (b"alice", b"bob")


def test_su_with_a_wrong_code(host: Host, serve: Serve) -> None:
    serve(ask(), judge)
    child = host.spawn("su", "alice", "-c", "id -un", user=BOB)
    child.expect_exact("Verification code: ")
    child.sendline("111111")
    child.expect_exact("Authentication failure")
    child.expect(pexpect.EOF)


def test_sudo_is_silent(host: Host, serve: Serve) -> None:
    """sudo passes PAM_SILENT (its option pam_silent, on by default): the prompt is all that is shown."""
    daemon = serve(ask(infos=INFOS), judge)
    child = host.spawn("sudo", "id", "-un", user=BOB)
    child.expect_exact("Verification code: ")
    assert child.before == ""
    child.sendline("654321")
    child.expect_exact("root")
    assert child.before == "\r\n"
    child.expect(pexpect.EOF)
    assert verbs(daemon.requests) == ["begin", "answer"]


def test_sudo_shows_what_is_shown_in_spite_of_pam_silent(host: Host, serve: Serve, builds: Builds) -> None:
    """So it is the flag, not sudo's conversation, that keeps infos back."""
    serve(done())
    stack = host.directory / "pam.d" / "sudo"
    stack.write_text(f"auth required {builds.hardened}/pam_probe.so show\n" + stack.read_text())
    child = host.spawn("sudo", "id", "-un", user=BOB)
    child.expect_exact("no PAM_AUTHTOK")
    child.expect_exact("root")
    child.expect(pexpect.EOF)


def test_sudo_asks_again_after_a_wrong_code(host: Host, serve: Serve) -> None:
    serve(ask(), judge, ask(), judge)
    child = host.spawn("sudo", "id", "-un", user=BOB)
    for code in ("111111", "654321"):
        child.expect_exact("Verification code: ")
        child.sendline(code)
    child.expect_exact("root")
    child.expect(pexpect.EOF)


def test_sudo_without_a_person(host: Host, serve: Serve) -> None:
    daemon = serve(ask(), done("refuse"))
    child = host.spawn("sudo", "-n", "id", "-un", user=BOB)
    child.expect_exact("a password is required")
    child.expect(pexpect.EOF)
    assert "root" not in child.before
    assert verbs(daemon.requests) in ([], ["begin", "cancel"])


def test_sudo_without_a_daemon(host: Host) -> None:
    child = host.spawn("sudo", "id", "-un", user=BOB)
    child.expect(["incorrect password attempts", "no password was provided", "password is required"])
    child.expect(pexpect.EOF)


def test_pamtester(host: Host, serve: Serve) -> None:
    serve(ask(infos=INFOS), judge)
    child = host.spawn("pamtester", "door", "alice", "authenticate", "setcred(PAM_ESTABLISH_CRED)")
    expect_infos_and_prompt(child)
    child.sendline("654321")
    child.expect_exact("successfully authenticated")
    child.expect_exact("credential info has successfully been set")
    child.expect(pexpect.EOF)


def test_ssh_keyboard_interactive(host: Host, serve: Serve) -> None:
    daemon = serve(ask(infos=INFOS), judge)
    with host.ssh("keyboard-interactive") as child:
        expect_infos_and_prompt(child)
        child.sendline("654321")
        child.expect_exact("alice")
        child.expect(pexpect.EOF)
    assert (field(daemon.requests[0], "user"), field(daemon.requests[0], "service")) == (b"alice", b"sshd")


def test_ssh_public_key_then_code(host: Host, serve: Serve) -> None:
    serve(ask(), judge)
    with host.ssh("publickey,keyboard-interactive") as child:
        child.expect_exact("Verification code: ")
        child.sendline("654321")
        child.expect_exact("alice")
        child.expect(pexpect.EOF)


def test_ssh_asks_again_after_a_wrong_code(host: Host, serve: Serve) -> None:
    serve(ask(), judge, ask(), judge)
    with host.ssh("keyboard-interactive") as child:
        for code in ("111111", "654321"):
            child.expect_exact("Verification code: ")
            child.sendline(code)
        child.expect_exact("alice")
        child.expect(pexpect.EOF)


def test_ssh_outlasts_a_restart_of_the_daemon(host: Host, serve: Serve) -> None:
    first = serve(ask())
    with host.ssh("keyboard-interactive") as child:
        child.expect_exact("Verification code: ")
        first.stop()
        second = serve(judge)
        child.sendline("654321")
        child.expect_exact("alice")
        child.expect(pexpect.EOF)
    assert verbs(second.requests) == ["answer"]


def test_ssh_password_method_answers_every_prompt_with_the_password(host: Host, serve: Serve) -> None:
    daemon = serve(ask(infos=INFOS), judge)
    with host.ssh("password", "PreferredAuthentications=password") as child:
        child.expect_exact("password: ")
        child.sendline("654321")
        child.expect_exact("alice")
        child.expect(pexpect.EOF)
    assert field(daemon.requests[1], "text") == b"654321"


def test_ssh_without_a_daemon_is_refused(host: Host) -> None:
    with host.ssh("keyboard-interactive") as child:
        child.expect_exact("Permission denied")
        child.expect(pexpect.EOF)
