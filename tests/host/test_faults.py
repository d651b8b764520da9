"""What breaks, and what a login is told then: never in, always in time, and the log says why."""

import signal
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import zmq
from module.pam_login import AUTH_ERR, AUTHINFO_UNAVAIL, SUCCESS
from rig.host import Host, Token, connects, run
from rig.people import as_user, in_background

from otpd.protocol import Begin, decode_management, encode_request

from .conftest import PASSWORD, World, eventually
from .test_control import AUTH, CONTROL, call, send

GREETING = b"\xff" + b"\0" * 8 + b"\x7f\x03\0NULL" + b"\0" * 16 + b"\0" * 32


@contextmanager
def restarted(host: Host, settings: str) -> Iterator[None]:
    """otpd with other settings for a while."""
    before = host.settings
    host.stop_daemon()
    host.configure(settings)
    host.start_daemon()
    try:
        yield
    finally:
        host.stop_daemon()
        host.configure(before)
        host.start_daemon()


def modify(host: Host, user: str, change: str) -> None:
    """Change the entry of the user's first token."""
    found = host.ldap("ldapsearch", "-LLL", "-b", f"uid={user},ou=otpd", "(objectClass=otpdToken)", "dn")
    host.ldap("ldapmodify", stdin=f"{found.splitlines()[0]}\nchangetype: modify\n{change}\n")


class TestDirectory:
    def test_gone(self, world: World, alice: tuple[str, Token]) -> None:
        user, token = alice
        login = world.login("anything", user)
        login.wait_for("conversation")
        world.host.stop("slapd")
        code = token.code()
        try:
            login.type(f"text {code}")
            result = login.finish()
            assert result.code == AUTHINFO_UNAVAIL
            assert result.seconds < 6
            assert world.outcome("lenient", user) == AUTHINFO_UNAVAIL, "unreachable is not unenrolled"
            assert world.outcome("imap", user, "otpd-" + "0" * 36) == AUTHINFO_UNAVAIL
            assert call(user, "status")[1]["reason"] == "unavailable"
        finally:
            world.host.start_directory()
        assert world.outcome("anything", user, code) == SUCCESS, "it had not been spent"

    def test_hangs(self, world: World, alice: tuple[str, Token]) -> None:
        user, token = alice
        slapd = world.host.processes["slapd"]
        login = world.login("anything", user)
        login.wait_for("conversation")
        code = token.code()
        slapd.send_signal(signal.SIGSTOP)
        try:
            started = time.monotonic()
            login.type(f"text {code}")
            assert login.finish().code == AUTHINFO_UNAVAIL
            assert time.monotonic() - started < 6.5, "within deadline_seconds"
        finally:
            slapd.send_signal(signal.SIGCONT)
        assert eventually(lambda: world.outcome("anything", user, token.code()) == SUCCESS)

    def test_restarted_between_two_logins(self, world: World, alice: tuple[str, Token]) -> None:
        user, token = alice
        for _ in range(3):
            assert world.outcome("anything", user, token.code()) == SUCCESS
            world.host.stop("slapd", signal.SIGKILL)
            world.host.start_directory()

    def test_refuses(self, world: World, alice: tuple[str, Token]) -> None:
        """The entry that is found may not be written: no login, whatever the code."""
        user, token = alice
        acl = "dn: olcDatabase={1}mdb,cn=config\nchangetype: modify\nreplace: olcAccess\nolcAccess: to * by dn.exact="
        gid, uid = run("id", "-g", "otpd").strip(), run("id", "-u", "otpd").strip()
        who = f'"gidNumber={gid}+uidNumber={uid},cn=peercred,cn=external,cn=auth"'
        world.host.ldap("ldapmodify", stdin=f"{acl}{who} read by * none\n", user="root")
        code = token.code()
        try:
            assert world.outcome("anything", user, code) == AUTHINFO_UNAVAIL
            assert "insufficientAccessRights" in world.host.log("otpd")
        finally:
            world.host.ldap("ldapmodify", stdin=f"{acl}{who} write by * none\n", user="root")
        assert world.outcome("anything", user, code) == SUCCESS

    def test_admits_otpd_alone(self, world: World, alice: tuple[str, Token]) -> None:
        for who in (alice[0], "nobody", "root"):
            assert "otpd" not in world.host.ldap_error("ldapsearch", "-b", "ou=otpd", user=who).replace("ou=otpd", "")
        anonymous = run("ldapsearch", "-x", "-H", "ldapi://%2Frun%2Fotpd-directory%2Fldapi", "-b", "", check=False)
        assert "dn:" not in anonymous
        listening = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
        assert ":0185 " not in listening, "port 389"

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ("replace: otpdSealedSeed\notpdSealedSeed: k1.AAAA", "does not open"),
            ("replace: otpdSealedSeed\notpdSealedSeed: rubbish", "not of the form"),
            ("replace: otpdSealedSeed\notpdSealedSeed: k9.AAAA", "needs the key k9"),
            ("replace: oathOTPLength\noathOTPLength: 5", "oathOTPLength does not parse"),
            ("replace: oathTOTPTimeStepPeriod\noathTOTPTimeStepPeriod: 0", "oathTOTPTimeStepPeriod does not parse"),
            ("replace: oathHMACAlgorithm\noathHMACAlgorithm: 1.2.3", "oathHMACAlgorithm does not parse"),
            ("replace: oathTOTPLastTimeStep\noathTOTPLastTimeStep: -1", "oathTOTPLastTimeStep does not parse"),
            ("replace: otpdState\notpdState: maybe", "otpdState does not parse"),
        ],
    )
    def test_an_entry_that_makes_no_sense(
        self, world: World, alice: tuple[str, Token], change: str, reason: str
    ) -> None:
        user, token = alice
        modify(world.host, user, change)
        assert world.outcome("anything", user, token.code()) == AUTHINFO_UNAVAIL
        assert reason in world.host.log("otpd")
        assert "Traceback" not in world.host.log("otpd")

    def test_a_seed_of_another_user_does_not_open(self, world: World, alice: tuple[str, Token]) -> None:
        """What a directory administrator can do: put her own token's sealed seed into another user's entry."""
        user, _ = alice
        mallory, token = world.person(enrolled=True)
        found = world.host.ldap(
            "ldapsearch", "-LLL", "-b", f"uid={mallory},ou=otpd", "otpdSealedSeed=*", "otpdSealedSeed"
        )
        seed = found.partition("otpdSealedSeed: ")[2].split()[0]
        modify(world.host, user, f"replace: otpdSealedSeed\notpdSealedSeed: {seed}")
        assert world.outcome("anything", user, token.code()) == AUTHINFO_UNAVAIL
        assert seed not in world.host.log("otpd")

    def test_a_base_that_is_not_there_is_no_reason_to_let_in(self, world: World, alice: tuple[str, Token]) -> None:
        user, _ = alice
        with restarted(world.host, world.host.settings + '\n[directory]\nbase_dn = "ou=typo"\n'):
            for service in ("lenient", "anything"):
                assert world.outcome(service, user, "000000") == AUTHINFO_UNAVAIL
        assert "there is no ou=typo" in world.host.log("otpd")

    def test_reset_and_list_keep_apart_what_differs_in_case(self, world: World, alice: tuple[str, Token]) -> None:
        user, token = alice
        run("useradd", "--no-create-home", user.upper())
        for verb in ("reset", "app-password-list", "disable"):
            assert call("root", verb, user=user.upper())[0] == "error"
        assert world.outcome("anything", user, token.code()) == SUCCESS

    def test_an_entry_that_spells_the_name_differently(self, world: World) -> None:
        """uid compares without case, and so a user NAME must not be judged by the entry of the user name."""
        user, token = world.person(enrolled=True)
        run("useradd", "--no-create-home", user.upper())
        for service in ("anything", "lenient"):
            assert world.outcome(service, user.upper(), token.code()) == AUTHINFO_UNAVAIL


class TestDaemon:
    def test_gone(self, world: World, alice: tuple[str, Token]) -> None:
        world.host.stop_daemon()
        try:
            result = world.login("anything", alice[0]).finish()
            assert result.code == AUTHINFO_UNAVAIL
            assert result.seconds < 1
            assert "Connection refused" in result.log or "No such file" in result.log
        finally:
            world.host.start_daemon()

    @pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
    def test_restarted_while_a_prompt_is_open(self, world: World, alice: tuple[str, Token], how: int) -> None:
        user, token = alice
        login = world.login("anything", user)
        login.wait_for("conversation")
        world.host.stop_daemon(how)
        login.type(f"text {token.code()}")
        world.host.start_daemon()
        assert login.finish().code == SUCCESS

    def test_sigterm_answers_what_was_read(self, world: World, alice: tuple[str, Token]) -> None:
        user, token = alice
        for _ in range(20):
            login = world.login("anything", user)
            login.wait_for("conversation")
            login.type(f"text {token.code()}")
            code = world.host.stop_daemon()
            world.host.start_daemon()
            assert login.finish().code == SUCCESS or "already used" not in world.host.log("otpd")
            assert code == [0, 0]

    def test_runs_without_any_privilege(self, world: World) -> None:
        pid = world.host.processes["otpd"].pid
        status = Path(f"/proc/{pid}/status").read_text()
        uid = run("id", "-u", "otpd").strip()
        assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}" in status
        assert "CapEff:\t0000000000000000" in status
        assert "Groups:\t \n" in status
        assert Path(f"/proc/{pid}/mem").stat().st_uid == 0, "not dumpable: not even by another process of otpd"
        with pytest.raises(RuntimeError, match="PermissionError"):
            as_user("otpd", Path(f"/proc/{pid}/mem").read_bytes)

    def test_only_the_helper_is_root(self, world: World) -> None:
        roots = run("ps", "-U", "0", "-u", "0", "-o", "args=").splitlines()
        ours = [line for line in roots if "/usr/sbin/otpd" in line or "/var/lib/otpd-directory" in line]
        assert len(ours) == 1
        assert "otpd-password" in ours[0]

    def test_a_configuration_with_faults(self, world: World) -> None:
        done = run("sh", "-c", "echo 'x = 1' > /tmp/bad.toml; otpd --config /tmp/bad.toml 2>&1; echo $?")
        assert done == "otpd: /tmp/bad.toml: x: there is no such key\n78\n"

    def test_check_says_nothing_when_all_is_well(self) -> None:
        Path("/etc/otpd/keyring").chmod(0o600)
        assert run("otpd", "--check") == ""

    @pytest.mark.parametrize("verb", [b"status", b"nonsense"])
    def test_a_flood_of_one_user_keeps_nobody_out(self, world: World, alice: tuple[str, Token], verb: bytes) -> None:
        user, _ = alice
        # One login each: an app that makes its codes usable again needs the cache to learn of that in milliseconds.
        people = [alice, world.person(enrolled=True), world.person(enrolled=True)]
        mallory, _ = world.person()

        def flood() -> None:
            with zmq.Context() as context:
                links = [context.socket(zmq.DEALER) for _ in range(60)]
                for link in links:
                    link.linger = 0
                    link.connect(f"ipc://{CONTROL}")
                while True:
                    for link in links:
                        with suppress(zmq.Again):
                            link.send_multipart([b"otpd/1", verb, b"{}"], zmq.NOBLOCK)

        with in_background(mallory, flood):
            time.sleep(1)
            for name, token in people:
                login = world.login("anything", name)
                login.type(f"text {token.code()}")
                result = login.finish()
                assert result.code == SUCCESS
                assert result.seconds < 2
            assert call(user, "status")[0] == "ok", "control.sock, too"
        world.host.stop_daemon()
        world.host.start_daemon()

    def test_a_message_without_an_end_takes_no_login_along(self, world: World, alice: tuple[str, Token]) -> None:
        """libzmq holds any number of frames until a message's last one: the process behind control.sock pays alone."""
        user, token = alice
        mallory, _ = world.person()

        def endless() -> None:
            link = raw_handshake(b"")
            link.settimeout(None)
            while True:
                link.sendall((b"\x03" + b"\x00\x00\x00\x00\x00\x00\x10\x00" + b"x" * 4096) * 64)

        control = world.host.processes["otpd-control"]
        with in_background(mallory, endless) as attacker:
            # Where the allocation fails decides: libzmq ends the connection, or aborts, and systemd starts it anew.
            assert eventually(lambda: control.poll() is not None or has_ended(attacker), 60)
            assert world.outcome("anything", user, token.code()) == SUCCESS
        world.host.stop_daemon()
        world.host.start_daemon()

    def test_a_message_of_a_million_frames_hangs_nothing(self, world: World) -> None:
        """It is 2 MB on the wire, and more than the daemon may have once it is a list: it ends, or it answers."""
        mallory, _ = world.person()

        def attack() -> None:
            link = raw_handshake(b"")
            link.settimeout(20)
            with suppress(OSError):  # the daemon may end before all of it is sent
                for _ in range(1900):
                    link.sendall(b"\x01\x00" * 1000)
                link.sendall(b"\x00\x00")

        as_user(mallory, attack)
        control = world.host.processes["otpd-control"]

        def ended_or_answers() -> bool:
            if control.poll() is not None:
                return True
            try:
                return decode_management(send(CONTROL, [b"otpd/1", b"status", b"{}"], seconds=1)[0])[0] == "ok"
            except zmq.Again:
                return False

        assert eventually(ended_or_answers, 60)
        if control.poll() is not None:
            assert control.returncode not in (0, None)
        world.host.stop_daemon()
        world.host.start_daemon()

    def test_as_many_workers_as_can_be_set(self, world: World, alice: tuple[str, Token]) -> None:
        user, _ = alice
        with restarted(world.host, world.host.settings + "\n[daemon]\nworkers = 64\n"):
            logins = [world.login("anything", user) for _ in range(80)]
            for login in logins:
                login.wait_for("conversation")
            world.host.processes["slapd"].send_signal(signal.SIGSTOP)
            for login in logins:
                login.type("text 000000")
            time.sleep(1)
            world.host.processes["slapd"].send_signal(signal.SIGCONT)
            codes = [login.finish().code for login in logins]
        assert set(codes) <= {AUTH_ERR, AUTHINFO_UNAVAIL}
        assert codes.count(AUTH_ERR) >= 64
        assert "Task exception" not in world.host.log("otpd")

    def test_connections_of_one_user_are_limited(self, world: World) -> None:
        mallory, _ = world.person()

        def connect_often() -> int:
            answered = 0
            with zmq.Context() as context:
                for _ in range(250):
                    with context.socket(zmq.DEALER) as link:
                        link.linger = 0
                        link.rcvtimeo = 50
                        link.connect(f"ipc://{CONTROL}")
                        link.send_multipart([b"otpd/1", b"status", b"{}"])
                        with suppress(zmq.Again):
                            link.recv_multipart()
                            answered += 1
            return answered

        assert 50 <= as_user(mallory, connect_often) < 150
        assert "opens too many connections" in world.host.log("otpd")

    def test_an_identity_cannot_end_the_process(self, world: World) -> None:
        """libzmq aborts when a client's Identity is the next automatic one; that must not be known or guessed."""
        mallory, _ = world.person()
        pid = world.host.processes["otpd"].pid

        def attack() -> None:
            links = []
            # The first automatic ids of a process whose rand() was never seeded, and those that follow.
            low, high = 1804289383, 846930886
            unseeded = (low | (high << 31)) & 0xFFFFFFFF
            for number in range(80):
                identity = b"\0" + struct.pack(">I", (unseeded + number) & 0xFFFFFFFF)
                links.append(raw_handshake(identity))
            links += [raw_handshake(b"") for _ in range(15)]
            for link in links:
                link.close()

        as_user(mallory, attack)
        assert world.host.processes["otpd"].poll() is None
        assert world.host.processes["otpd"].pid == pid
        assert call("root", "status", user=mallory)[0] == "ok"

    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b"\0" * 64,
            b"GET / HTTP/1.1\r\n\r\n",
            GREETING[:30],
            GREETING.replace(b"NULL", b"EVIL"),
            GREETING + b"\x04\xff",
            GREETING + b"\x06\xff\xff\xff\xff\xff\xff\xff\xff",
            GREETING + b"\x04\x26\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\0" + b"\x02\xff" * 50,
            GREETING + b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03PUB",
        ],
    )
    def test_raw_rubbish(self, world: World, alice: tuple[str, Token], raw: bytes) -> None:
        for path in (CONTROL, AUTH):
            with socket.socket(socket.AF_UNIX) as link:
                link.connect(path)
                link.sendall(raw)
        user, token = alice
        assert world.outcome("anything", user, token.code()) == SUCCESS

    def test_a_request_too_long_for_its_ticket(self, world: World) -> None:
        frames = encode_request(Begin(user="\x01" * 256, service="\x01" * 256, rhost="\x01" * 256))
        reply = send(AUTH, frames)[0]
        assert reply[1] in (b"error", b"ask")


def has_ended(child: int) -> bool:
    return Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def raw_handshake(identity: bytes) -> socket.socket:
    """A ZMTP connection of a client that sends an Identity of its choice."""

    def property_(name: bytes, value: bytes) -> bytes:
        return bytes([len(name)]) + name + struct.pack(">I", len(value)) + value

    body = b"\x05READY" + property_(b"Socket-Type", b"DEALER") + property_(b"Identity", identity)
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(1)
    link.connect(CONTROL)
    with suppress(OSError):
        link.sendall(GREETING)
        link.recv(64)
        link.sendall(b"\x04" + bytes([len(body)]) + body)
        link.recv(256)
    return link


class TestHelper:
    def test_gone(self, world: World) -> None:
        user, _ = world.person()
        world.host.stop("otpd-password")
        try:
            assert call(user, "enrol-begin", proof=PASSWORD)[1]["reason"] == "unavailable"
            assert world.outcome("one", user, PASSWORD + "123456") == AUTHINFO_UNAVAIL
        finally:
            world.host.start_helper()
        assert call(user, "enrol-begin", proof=PASSWORD)[0] == "ok"

    def test_hangs(self, world: World) -> None:
        user, _ = world.person()
        world.host.processes["otpd-password"].send_signal(signal.SIGSTOP)
        try:
            assert world.outcome("one", user, PASSWORD + "123456") == AUTHINFO_UNAVAIL
        finally:
            world.host.processes["otpd-password"].send_signal(signal.SIGCONT)

    def test_passwords_tried_at_once_do_not_outrun_the_count(self, world: World) -> None:
        user, _ = world.person()

        def guess() -> list[bytes]:
            links = []
            for number in range(24):
                link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                link.settimeout(20)
                link.connect("/run/otpd/password.sock")
                link.send(f"{user}\0wrong{number}".encode())
                links.append(link)
            return [link.recv(16) for link in links]

        assert set(as_user("otpd", guess)) == {b"no"}
        unseen = world.host.log("otpd-password").count("refused unseen")
        assert unseen >= 24 - 6

    def test_time_does_not_tell_a_right_password(self, world: World, alice: tuple[str, Token]) -> None:
        user, token = alice
        seconds = []
        for typed in ("wrong000000", PASSWORD + token.wrong(), "wrong000000", PASSWORD + token.wrong()):
            login = world.login("one", user)
            login.type(f"text {typed}")
            seconds.append(login.finish().seconds)
        assert max(seconds) - min(seconds) < 0.15, seconds

    def test_answers_nobody_but_otpd(self, world: World) -> None:
        """Root may open its socket, and is not answered."""
        user, _ = world.person()

        def ask() -> bytes:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as link:
                link.settimeout(5)
                link.connect("/run/otpd/password.sock")
                with suppress(BrokenPipeError):
                    link.send(f"{user}\0{PASSWORD}".encode())
                try:
                    return link.recv(16)
                except ConnectionError:
                    return b""

        assert ask() == b""
        assert as_user("otpd", ask) == b"yes 1"

    @pytest.mark.parametrize(
        "message",
        [b"", b"\0", b"alice", b"\0secret", b"a" * 300 + b"\0x", b"a\0" + b"x" * 600, b"a\0b\0c", b"a\0b\0c\0d\0e"],
    )
    def test_rubbish(self, world: World, message: bytes) -> None:
        def ask() -> bytes:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as link:
                link.settimeout(10)
                link.connect("/run/otpd/password.sock")
                link.send(message)
                return link.recv(16)

        assert as_user("otpd", ask) in (b"error", b"no")
        assert connects("/run/otpd/password.sock", socket.SOCK_SEQPACKET)
        assert world.host.processes["otpd-password"].poll() is None
