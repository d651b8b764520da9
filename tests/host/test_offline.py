"""While the directory is away: what a host accepts by itself, once, and what comes of it when the directory is back."""

import base64
import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from module.pam_login import AUTH_ERR, AUTHINFO_UNAVAIL, SUCCESS, Login
from rig.host import Host, Token, connects, own, pam_service, run
from rig.people import as_user

from otpd.adapters.key_file import read_key_ring
from otpd.adapters.offline.memory import Memory
from otpd.clock import Deadline, SystemClock
from otpd.offline import Contact
from otpd.ring_text import new_key_line
from otpd.seal import KeyRing

from .conftest import SETTINGS, World, eventually
from .test_faults import restarted

FILE = Path("/var/lib/otpd/offline.db")
RACERS = 8
ROUNDS = 25


def offline(more: str = "", hours: int = 1) -> str:
    return f"{SETTINGS}\n[offline]\nhours = {hours}\n{more}\n"


def forget() -> None:
    for path in FILE.parent.glob("offline.db*"):
        path.unlink()


@pytest.fixture
def off(world: World) -> Iterator[Host]:
    """A host with [offline] on, and an empty memory."""
    forget()
    with restarted(world.host, offline()):
        yield world.host
    forget()


@contextmanager
def away(host: Host, how: int = signal.SIGTERM) -> Iterator[None]:
    """The directory ends, or, with SIGSTOP, hangs."""
    if how == signal.SIGSTOP:
        host.processes["slapd"].send_signal(how)
    else:
        host.stop("slapd", how)
    try:
        yield
    finally:
        if how == signal.SIGSTOP:
            host.processes["slapd"].send_signal(signal.SIGCONT)
        else:
            host.start_directory()


def last_step(host: Host, user: str) -> int:
    found = host.ldap("ldapsearch", "-LLL", "-b", f"uid={user},ou=otpd", "(objectClass=otpdToken)")
    return int(found.partition("oathTOTPLastTimeStep: ")[2].split()[0])


def failures(host: Host, user: str) -> int:
    found = host.ldap("ldapsearch", "-LLL", "-b", f"uid={user},ou=otpd", "(objectClass=otpdUser)")
    return int(found.partition("oathFailureCount: ")[2].split()[0])


def known(world: World) -> tuple[str, Token]:
    """An enrolled user who has logged in here."""
    user, token = world.person(enrolled=True)
    assert world.outcome("anything", user, token.code()) == SUCCESS
    token.renew = None
    return user, token


def app_password(user: str) -> str:
    made = json.loads(run("otpctl", "app-password", "create", "--service", "imap", "--user", user, "--json"))
    return str(made["password"])


def test_off_by_default(world: World) -> None:
    user, token = known(world)
    with away(world.host):
        assert world.outcome("anything", user, token.code()) == AUTHINFO_UNAVAIL
    assert not FILE.exists()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGSTOP])
def test_a_code_and_an_app_password_go_on_and_are_spent(world: World, off: Host, how: int) -> None:
    user, token = known(world)
    password = app_password(user)
    assert world.outcome("imap", user, password) == SUCCESS
    stranger, other = world.person(enrolled=True)
    code = token.code()
    with away(off, how):
        if how == signal.SIGSTOP:
            time.sleep(2.5)  # until then, what was read last is believed, and the code would be sent to be spent
        login = world.login("anything", user)
        login.type(f"text {code}")
        result = login.finish()
        assert result.code == SUCCESS
        assert result.seconds < 5, "within the deadline"
        assert world.outcome("imap", user, password) == SUCCESS
        login = world.login("anything", user)
        login.type(f"text {code}")
        result = login.finish()
        assert result.code == AUTH_ERR
        assert result.seconds < 1, "the directory is not asked again"
        assert world.outcome("anything", stranger, other.code()) == AUTHINFO_UNAVAIL, "never seen here"
        told = run("otpctl", "status", "--user", user)
        assert "does not answer since" in told
        assert "accepts codes and app-passwords" in told
    log = off.log("otpd")
    assert f"accepted user={user} service=anything reason=accepted" in log
    assert "offline=yes" in log
    assert log.count("directory away") >= 1
    assert eventually(lambda: last_step(off, user) == token.last_step), "brought to the directory"
    assert "directory back" in off.log("otpd")
    assert world.outcome("anything", user, code) == AUTH_ERR, "spent everywhere"
    content = b"".join(path.read_bytes() for path in FILE.parent.glob("offline.db*"))
    seed = base64.b32decode(token.secret)
    for secret in (
        user.encode(),
        token.secret.encode(),
        seed,
        code.encode() + b'"',
        password.replace("-", "").encode(),
    ):
        assert secret not in content


def test_spent_online_shortly_before(world: World, off: Host) -> None:
    user, token = known(world)
    code = token.code()
    assert world.outcome("anything", user, code) == SUCCESS
    with away(off, signal.SIGKILL):
        assert world.outcome("anything", user, code) == AUTH_ERR


def test_eight_offer_one_code_and_kills_lose_nothing(world: World, off: Host) -> None:
    user, token = world.person(enrolled=True)
    pam_service("race", "auth [success=ok default=die] pam_otpd.so\naccount required pam_permit.so\n")
    for number in range(ROUNDS):
        off.forget_steps(user)
        forget_here(off)
        fresh = Token(token.secret)
        assert world.outcome("anything", user, fresh.at(int(time.time()) // 30 - 1)) in (SUCCESS, AUTH_ERR)
        logins = [Login([world.driver, "/etc/pam.d", "race", user]) for _ in range(RACERS)]
        for login in logins:
            login.wait_for("conversation")
        code = fresh.at(int(time.time()) // 30 + 1)
        with away(off):
            # Whoever goes by what was kept a moment ago sends the code in vain, and it is good for nobody then.
            time.sleep(0.5)
            for login in logins:
                login.type(f"text {code}")
            codes = [login.finish().code for login in logins]
            assert codes.count(SUCCESS) == 1, (number, codes)
            if number % 5 == 0:
                off.stop("otpd", signal.SIGKILL)
                off.start_processes("otpd")
                assert world.outcome("anything", user, code) == AUTH_ERR


def forget_here(host: Host) -> None:
    host.stop("otpd")
    forget()
    host.start_processes("otpd")


def test_recovery_codes_are_not_accepted(world: World, off: Host) -> None:
    user, token = known(world)
    codes = json.loads(run("otpctl", "recovery-codes", "--user", user, "--json"))["recovery_codes"]
    assert world.outcome("anything", user, token.code()) == SUCCESS
    with away(off):
        assert world.outcome("anything", user, codes[0]) == AUTHINFO_UNAVAIL
    assert eventually(lambda: world.outcome("anything", user, codes[0]) == SUCCESS)


@pytest.mark.parametrize(("accept", "service"), [("app-password", "anything"), ("code", "imap")])
def test_what_is_not_admitted(world: World, accept: str, service: str) -> None:
    forget()
    with restarted(world.host, offline(f'accept = ["{accept}"]')):
        user, token = known(world)
        password = app_password(user)
        assert world.outcome("imap", user, password) == SUCCESS
        with away(world.host):
            typed = token.code() if service == "anything" else password
            assert world.outcome(service, user, typed) == AUTHINFO_UNAVAIL


def test_failures_are_counted_and_added(world: World, off: Host) -> None:
    user, token = known(world)
    with away(off):
        for _ in range(6):
            world.outcome("anything", user, token.wrong())
        assert world.outcome("anything", user, token.wrong()) == AUTH_ERR
        assert any("must wait" in line and f"user={user} " in line for line in off.log("otpd").splitlines())
    assert eventually(lambda: failures(off, user) >= 5)
    assert failures(off, user) <= 7


def test_the_highest_step_wins(world: World, off: Host) -> None:
    """The directory is not moved down by what an otpd brings that was killed before the directory came back."""
    user, token = known(world)
    with away(off):
        assert world.outcome("anything", user, token.code()) == SUCCESS
        off.stop("otpd", signal.SIGKILL)
    ahead = token.last_step + 5
    set_step(off, user, ahead)
    off.start_processes("otpd")
    assert eventually(lambda: f"brought to the directory user={user}" in off.log("otpd"))
    assert last_step(off, user) == ahead


def test_killed_while_bringing(world: World, off: Host) -> None:
    """Killed at random moments after the directory is back, it brings everything, and failures once."""
    user, token = known(world)
    for number in range(6):
        off.forget_steps(user)
        off.forget_failures(user)
        forget_here(off)
        fresh = Token(token.secret)
        assert world.outcome("anything", user, fresh.at(int(time.time()) // 30 - 1)) in (SUCCESS, AUTH_ERR)
        before = failures(off, user)
        with away(off):
            step = int(time.time()) // 30 + 1
            assert world.outcome("anything", user, fresh.at(step)) == SUCCESS
            assert world.outcome("anything", user, fresh.wrong()) == AUTH_ERR
            # It looks again within a moment.
            off.stop("otpd", signal.SIGKILL)
        off.start_processes("otpd")
        time.sleep(0.25 + number * 0.04)
        off.stop("otpd", signal.SIGKILL)
        off.start_processes("otpd")
        expected = (step, before + 1)
        assert eventually(lambda expected=expected: (last_step(off, user), failures(off, user)) == expected)
        assert world.outcome("anything", user, fresh.at(step)) == AUTH_ERR


def test_killed_between_the_memory_and_the_answer(world: World, off: Host) -> None:
    """Whether it answered or not, a code that was written down never works again."""
    user, token = known(world)
    accepted = 0
    for number in range(12):
        off.forget_steps(user)
        forget_here(off)
        fresh = Token(token.secret)
        assert world.outcome("anything", user, fresh.at(int(time.time()) // 30 - 1)) in (SUCCESS, AUTH_ERR)
        code = fresh.at(int(time.time()) // 30 + 1)
        with away(off):
            login = world.login("anything", user)
            login.wait_for("conversation")
            login.type(f"text {code}")
            time.sleep(number * 0.001)
            off.stop("otpd", signal.SIGKILL)
            off.start_processes("otpd")
            first = login.finish().code
            accepted += first == SUCCESS
            second = world.outcome("anything", user, code)
            assert [first, second].count(SUCCESS) <= 1
            assert world.outcome("anything", user, code) == AUTH_ERR
    assert accepted


def test_a_code_used_offline_is_refused_by_another_host(world: World, off: Host) -> None:
    """Another otpd, with a memory of its own, which was cut off, too."""
    user, token = known(world)
    folder = Path("/run/otpd-second")
    folder.mkdir(exist_ok=True)
    own(folder, "otpd")
    sockets = f'[sockets]\nauth = "{folder}/auth.sock"\ncontrol = "{folder}/control.sock"\n'
    Path("/etc/otpd/second.toml").write_text(offline(f'file = "{folder}/offline.db"') + sockets)
    environment = {"CREDENTIALS_DIRECTORY": "/run/otpd-credentials"}
    second = ("otpd", "--serve", "auth", "--config", "/etc/otpd/second.toml")
    off.spawn("second", *second, user="otpd", environment=environment)
    off.wait(lambda: connects(f"{folder}/auth.sock"), "second")
    there = f"socket={folder}/auth.sock"
    try:
        assert world.outcome("anything", user, token.code(), arguments=there) == SUCCESS
        off.forget_steps(user)
        code = Token(token.secret).at(int(time.time()) // 30 + 1)
        assert world.outcome("anything", user, Token(token.secret).at(int(time.time()) // 30 - 1)) in (
            SUCCESS,
            AUTH_ERR,
        )
        with away(off):
            assert world.outcome("anything", user, code) == SUCCESS
        assert eventually(lambda: last_step(off, user) > int(time.time()) // 30)
        assert eventually(lambda: world.outcome("anything", user, code, arguments=there) == AUTH_ERR)
        assert f"accepted user={user}" in off.log("second")
        with away(off):
            assert world.outcome("anything", user, code, arguments=there) == AUTH_ERR, "it has read it meanwhile"
    finally:
        off.stop("second")


def test_the_limit(world: World, off: Host) -> None:
    """An hour after the last answer, also where otpd was restarted meanwhile, and the clock set back."""
    user, token = known(world)
    off.stop("otpd")
    as_user("otpd", lambda: age(Path("/run/otpd-credentials/keyring"), 3700))
    code = token.code()
    with away(off):
        off.start_processes("otpd")
        assert world.outcome("anything", user, code) == AUTHINFO_UNAVAIL
        assert "longer than [offline] allows" in off.log("otpd")
        assert "accepts nothing" in run("otpctl", "status", "--user", user)
    assert eventually(lambda: world.outcome("anything", user, code) == SUCCESS)


def age(ring: Path, seconds: float) -> None:
    """Make the memory believe that the last answer was that long ago."""
    clock = SystemClock()
    memory = Memory(FILE, read_key_ring(ring, trusted=True), clock, 10)
    at = clock.wall() - seconds
    memory.keep_contact(Contact(at=at, latest=clock.wall()), Deadline.after(clock, 5))
    memory.close()


def test_a_full_disk(world: World, off: Host) -> None:
    """Logins on the directory go on; what cannot be written down is not accepted while it is away."""
    user, token = known(world)
    broken = off.log("otpd").count("Traceback")  # other tests attack control.sock, and its process may have ended so
    off.stop("otpd")
    forget()
    run("mount", "-t", "tmpfs", "-o", "size=200k,mode=0700", "full", str(FILE.parent))
    own(FILE.parent, "otpd")
    try:
        off.start_processes("otpd")
        assert world.outcome("anything", user, token.code()) == SUCCESS
        with suppress(OSError), (FILE.parent / "ballast").open("wb") as ballast:
            while True:
                ballast.write(bytes(4096))
                ballast.flush()
        other, others = world.person(enrolled=True)
        results = [world.outcome("anything", other, others.code()) for _ in range(2)]
        assert results == [SUCCESS] * 2
        assert "full" in off.log("otpd")
        with away(off):
            code = others.at(int(time.time()) // 30 + 1)
            assert world.outcome("anything", other, code) == AUTHINFO_UNAVAIL
        assert off.log("otpd").count("Traceback") == broken
    finally:
        off.stop("otpd")
        run("umount", "-l", str(FILE.parent))
        off.start_processes("otpd")


def set_step(host: Host, user: str, step: int) -> None:
    found = host.ldap("ldapsearch", "-LLL", "-b", f"uid={user},ou=otpd", "(objectClass=otpdToken)", "dn")
    change = (
        f"{found.splitlines()[0]}\nchangetype: modify\nreplace: oathTOTPLastTimeStep\noathTOTPLastTimeStep: {step}\n"
    )
    host.ldap("ldapmodify", stdin=change)


@pytest.mark.parametrize("fault", ["garbage", "other keys", "not a file"])
def test_a_memory_that_cannot_be_used(world: World, fault: str) -> None:
    """Logins on the directory go on; without it, nobody is let in."""
    host = world.host
    forget()
    with restarted(host, offline()):
        user, token = known(world)
        host.stop("otpd")
        forget()
        if fault == "garbage":
            FILE.write_bytes(b"no database" * 1000)
            own(FILE, "otpd")
        elif fault == "not a file":
            FILE.mkdir()
        else:
            make_foreign()
        host.start_processes("otpd")
        assert "[offline] is off" in host.log("otpd")
        host.forget_steps(user)
        assert world.outcome("anything", user, Token(token.secret).at(int(time.time()) // 30)) == SUCCESS
        with away(host):
            code = Token(token.secret).at(int(time.time()) // 30 + 1)
            assert world.outcome("anything", user, code) == AUTHINFO_UNAVAIL
    if FILE.is_dir():
        FILE.rmdir()
    forget()


def make_foreign() -> None:
    """A memory of a host with other keys."""

    def make() -> None:
        Memory(FILE, KeyRing.from_text(new_key_line("k1"), "test"), SystemClock(), 10).close()

    as_user("otpd", make)
