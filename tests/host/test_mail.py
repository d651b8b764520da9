"""Codes by mail, through the module and a real Postfix: asked for by a word, good once, the same for everybody."""

import json
import multiprocessing
import os
import re
import signal
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from directory.authority import Authority
from module.pam_login import AUTH_ERR, AUTHINFO_UNAVAIL, MAXTRIES, SUCCESS, Login
from rig import mail
from rig.host import CREDENTIALS, LDAPI, Token, run
from rig.mail import Postfix, mails, next_mail
from rig.people import _become, ssh
from rig.processes import own

from otpd.adapters.ldap.connections import Connections, Servers
from otpd.adapters.ldap.directory import LdapDirectory
from otpd.clock import Deadline, SystemClock
from otpd.factor import Attempt, Parts, Post
from otpd.factors.mail import MAILED_PURPOSE, Mail
from otpd.mailed_code import FREE_MAILS, LONG_PAUSE_SECONDS, PAUSE_SECONDS, Mailed
from otpd.otp import Windows
from otpd.seal import KeyRing
from otpd.secret import Secret
from otpd.values import ServiceName, UserName

from .conftest import PASSWORD, World, eventually
from .test_control import call
from .test_faults import restarted

OFFER = "To get a code by mail, type: mail"
ON_ITS_WAY = "If this account takes codes by mail, one is on its way. Type it here."
RACERS = 8
ROUNDS = int(os.environ.get("OTPD_ROUNDS", "3"))
HERE = socket.gethostname()
FROM = "192.0.2.7"
MAIL_PASSWORD = Path("/etc/otpd/mail-password")
SERVICES = """
[service.post]
accept = ["code", "mail"]
tries = 2

[service.german]
accept = ["mail"]
language = "de"

[service.mail-alone]
accept = ["mail"]
tries = 1

[service.sshd]
accept = ["code", "mail"]
"""
SETTINGS = """
[mail]
server = "{server}"
ca_file = "{ca_file}"
user = "{login}"
password_file = "{password_file}"
sender = "otpd@example.org"
to = "{{user}}@example.org"
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder = tmp_path_factory.mktemp("authority")
    for above in (folder, *folder.parents[:2]):
        above.chmod(0o755)
    return Authority(folder, "authority")


@pytest.fixture(scope="module")
def postfix(world: World, authority: Authority) -> Iterator[Postfix]:
    pair = authority.issue("mail", "mail.example.org")
    yield mail.start(world.host, pair.cert, pair.key)
    world.host.stop("postfix-main")


Settings = Callable[..., str]


@pytest.fixture(scope="module")
def settings(world: World, authority: Authority) -> Settings:
    """otpd.toml with a mail server; without ``login``, nothing is said of who otpd is."""
    MAIL_PASSWORD.write_text(mail.PASSWORD + "\n")
    MAIL_PASSWORD.chmod(0o600)
    own(MAIL_PASSWORD, "otpd")
    world.secrets.add(mail.PASSWORD)
    base = world.host.settings

    def given(server: str, login: str = mail.LOGIN) -> str:
        file = MAIL_PASSWORD if login else ""
        table = SETTINGS.format(server=server, ca_file=authority.file, login=login, password_file=file)
        return base + table + SERVICES

    return given


@pytest.fixture(scope="module", autouse=True)
def mailing(world: World, postfix: Postfix, settings: Settings) -> Iterator[None]:
    with restarted(world.host, settings(f"smtp://mail.example.org:{postfix.starttls}")):
        yield


def login(world: World, user: str, service: str = "post", arguments: str = "") -> Login:
    """A login from FROM that waits at its first prompt."""
    world.login(service, user, arguments).finish()  # writes the stack
    one = Login([world.driver, "-r", FROM, "/etc/pam.d", service, user])
    one.wait_for("conversation")
    return one


def asked(world: World, user: str, service: str = "post", word: str = "mail") -> Login:
    """The same, after the word was typed."""
    one = login(world, user, service)
    one.type(f"text {word}")
    one.wait_for("conversation")
    return one


def code_of(world: World, user: str, count: int = 1) -> str:
    """The code in the ``count``-th mail of a user."""
    text = str(next_mail(user, count).get_payload())
    found = re.search(r"^Code: +(\S+)$", text, re.MULTILINE)
    assert found, text
    world.secrets.add(found[1])
    return found[1]


def finish(one: Login, *answers: str) -> int:
    for answer in answers:
        one.type(f"text {answer}")
    return one.finish().code


def failures(user: str) -> int:
    return int(json.loads(run("otpctl", "status", "--user", user, "--json"))["failures"])


def place(user: str) -> str:
    return f"otpdId=mailed-code,uid={user},ou=otpd"


def rewrite(world: World, user: str, **changes: object) -> None:
    """Let what is known of the last code be otherwise: as who holds the key ring, since it is sealed."""
    found = world.host.ldap("ldapsearch", "-LLL", "-b", place(user), "-s", "base", "otpdSealedDigest")
    sealed = found.partition("otpdSealedDigest: ")[2].split()[0].encode()
    keys = KeyRing.from_text(Path("/etc/otpd/keyring").read_text(), "test")
    where = (user, "mailed-code")
    new = replace(Mailed.from_plain(keys.open(MAILED_PURPOSE, where, sealed)), **changes)  # type: ignore[arg-type]
    put(world, user, keys.seal(MAILED_PURPOSE, where, new.to_plain()).decode())


def put(world: World, user: str, sealed: str) -> None:
    change = f"changetype: modify\nreplace: otpdSealedDigest\notpdSealedDigest: {sealed}\n"
    world.host.ldap("ldapmodify", stdin=f"dn: {place(user)}\n{change}")
    time.sleep(0.2)  # until otpd was told


def ago(seconds: int) -> int:
    return int(time.time()) - seconds


class TestOnce:
    def test_a_code_from_the_mailbox_lets_in_once(self, world: World) -> None:
        user, _ = world.person()
        one = asked(world, user)
        code = code_of(world, user)
        assert finish(one, code) == SUCCESS
        assert [text for style, text in one.result.messages if style == "info"] == [
            OFFER,
            ON_ITS_WAY,
        ]
        assert finish(login(world, user), code, "x") == MAXTRIES, "a second time"
        log = world.host.log("otpd")
        assert f"code mailed user={user} service=post rhost={FROM}" in log
        assert f'accepted user={user} service=post rhost={FROM} reason=accepted detail="mailed code"' in log
        assert f'user={user} service=post rhost={FROM} reason="no mailed code that is still good"' in log
        assert failures(user) == 0, "nothing could be right, so it is no guess"

    def test_the_mail(self, world: World) -> None:
        user, _ = world.person()
        one = asked(world, user)
        message = next_mail(user)
        code = code_of(world, user)
        text = str(message.get_payload())
        for part in (
            f"logging in as {user}",
            f"post on {HERE}",
            FROM,
            time.strftime("%Y-%m-%d", time.gmtime()),
            "If this was not you",
        ):
            assert part in text
        assert code not in str(message["Subject"])
        assert message["Auto-Submitted"] == "auto-generated"
        assert message["Message-ID"]
        assert message["Date"]
        assert finish(one, code) == SUCCESS

    def test_in_the_language_of_the_login(self, world: World) -> None:
        user, _ = world.person()
        one = asked(world, user, "german")
        message = next_mail(user)
        assert f"meldet sich als {user} an" in message.get_payload(decode=True).decode()  # type: ignore[union-attr]
        assert "unterwegs" in one.result.messages[-2][1]
        assert finish(one, code_of(world, user)) == SUCCESS

    @pytest.mark.parametrize("word", ["MAIL", "  Mail ", "\uff4d\uff41\uff49\uff4c"])
    def test_as_people_type_it(self, world: World, word: str) -> None:
        user, _ = world.person()
        one = asked(world, user, "mail-alone", word)
        code = code_of(world, user).upper().replace("-", " ")
        typed = "".join(chr(ord(letter) + 0xFEE0) if letter != " " else letter for letter in code)
        assert finish(one, f" {typed if word.isascii() else code} ") == SUCCESS
        assert [text for _style, text in one.result.messages].count("Code by mail: ") == 2

    def test_eight_uses_at_once(self, world: World) -> None:
        """As many hosts, for all that the directory knows."""
        user, _ = world.person()
        for number in range(ROUNDS):
            first = asked(world, user)
            others = [login(world, user) for _ in range(RACERS - 1)]
            code = code_of(world, user, number + 1)
            for one in (first, *others):
                one.type(f"text {code}")
            codes = [one.finish().code for one in (first, *others)]
            assert codes.count(SUCCESS) == 1, (number, codes)

    def test_another_users(self, world: World) -> None:
        (user, _), (other, _) = world.person(), world.person()
        mine, theirs = asked(world, user), asked(world, other)
        code, others_code = code_of(world, user), code_of(world, other)
        assert finish(theirs, code, code) == MAXTRIES
        assert failures(other) == 2, "a wrong one is a guess"
        assert 'reason="wrong mailed code"' in world.host.log("otpd")
        assert finish(login(world, other), others_code) == SUCCESS
        assert failures(other) == 0
        assert finish(mine, code) == SUCCESS

    def test_typos_are_told_and_cost_nothing(self, world: World) -> None:
        user, _ = world.person()
        one = asked(world, user)
        code = code_of(world, user)
        assert finish(one, code[:-1] + ("7" if code[-1] != "7" else "8"), code) == SUCCESS
        assert ("info", "There is a typo in it.") in one.result.messages
        assert failures(user) == 0

    def test_until_it_expires(self, world: World) -> None:
        user, _ = world.person()
        one = asked(world, user)
        code = code_of(world, user)
        rewrite(world, user, expires=ago(1))
        assert finish(one, code, code) == MAXTRIES
        assert failures(user) == 0
        rewrite(world, user, expires=ago(-30))
        assert finish(login(world, user), code) == SUCCESS

    def test_beside_a_device(self, world: World, alice: tuple[str, Token]) -> None:
        user, token = alice
        assert finish(asked(world, user), token.code()) == SUCCESS
        assert finish(login(world, user), code_of(world, user)) == SUCCESS
        assert finish(login(world, user, "mail-alone"), token.code()) == AUTH_ERR
        assert world.outcome("anything", user, "mail") == AUTH_ERR, "a service that does not accept it"
        assert len(mails(user)) == 1

    def test_what_is_sealed_is_bound_to_its_user(self, world: World) -> None:
        (user, _), (other, _) = world.person(), world.person()
        finish(asked(world, user))
        code = code_of(world, user)
        finish(asked(world, other))
        code_of(world, other)
        found = world.host.ldap("ldapsearch", "-LLL", "-b", place(user), "-s", "base", "otpdSealedDigest")
        put(world, other, found.partition("otpdSealedDigest: ")[2].split()[0])
        assert finish(login(world, other), code) == AUTHINFO_UNAVAIL


class TestHowMany:
    def test_one_a_minute_and_few_that_are_not_used(self, world: World) -> None:
        user, _ = world.person()

        def ask_again(comes: int) -> None:
            finish(asked(world, user))
            logged = f"code {'' if len(mails(user)) < comes else 'not '}mailed user={user} "
            count = world.host.log("otpd").count(logged)
            assert eventually(lambda: world.host.log("otpd").count(logged) > count - 1)
            next_mail(user, comes)

        ask_again(1)
        first = code_of(world, user)
        ask_again(1)
        assert "too short a time ago" in world.host.log("otpd")
        rewrite(world, user, sent=ago(PAUSE_SECONDS + 1))
        ask_again(2)
        assert finish(login(world, user), first, code_of(world, user, 2)) == SUCCESS, "the last one alone is good"
        ask_again(3)
        rewrite(world, user, sent=ago(PAUSE_SECONDS + 1), unused=FREE_MAILS)
        ask_again(3)
        time.sleep(0.5)
        assert len(mails(user)) == 3
        rewrite(world, user, sent=ago(LONG_PAUSE_SECONDS + 1), unused=FREE_MAILS)
        ask_again(4)

    def test_a_dialogue_asks_three_times(self, world: World) -> None:
        user, _ = world.person()
        one = login(world, user)
        assert finish(one, *["mail"] * 5) == MAXTRIES
        said = [text for style, text in one.result.messages if style == "info"]
        assert said == [OFFER, *[ON_ITS_WAY] * 3, "This was not accepted."]
        assert failures(user) == 0
        next_mail(user)
        assert len(mails(user)) == 1

    def test_of_eight_hosts_one_sends(self, world: World) -> None:
        user, _ = world.person()
        barrier, sent = multiprocessing.Barrier(RACERS), multiprocessing.Queue()
        arguments = (barrier, Path("/etc/otpd/keyring").read_text(), user, sent)
        racers = [multiprocessing.Process(target=_ask_for_mail, args=arguments) for _ in range(RACERS)]
        for racer in racers:
            racer.start()
        counts = [sent.get(timeout=60) for _ in racers]
        for racer in racers:
            racer.join()
        assert [sum(each) for each in zip(*counts, strict=True)] == [1] * 20


def _ask_for_mail(
    barrier: "multiprocessing.synchronize.Barrier", ring: str, user: str, sent: "multiprocessing.Queue[Any]"
) -> None:
    """What a host does when the word is typed, twenty times; each time, the last code was used before."""
    _become("otpd")
    clock, counts = SystemClock(), []
    directory = LdapDirectory(Connections(Servers((LDAPI,), LDAPI), clock), "ou=otpd")
    keys = KeyRing.from_text(ring, "test")
    for _ in range(20):
        mine: list[str] = []
        post = Post(
            send=lambda _user, _subject, text, _deadline: mine.append(text),  # noqa: B023
            aside=lambda work: bool(work(Deadline.after(clock, 10))),
            valid_seconds=600,
        )
        parts = Parts(directory, keys, clock, lambda *_: None, Windows(), HERE, post.aside, post=post)
        attempt = Attempt(UserName(user), ServiceName("post"), Secret(b"mail"), Deadline.after(clock, 10))
        barrier.wait()
        Mail().verify(attempt, parts)
        barrier.wait()
        counts.append(len(mine))
        for text in mine:
            code = re.search(r"^Code: +(\S+)$", text, re.MULTILINE)[1].encode()  # type: ignore[index]
            assert Mail().verify(replace(attempt, typed=Secret(code)), parts).accepted
        barrier.wait()
    sent.put(counts)
    sent.close()
    sent.join_thread()
    os._exit(0)


class TestNobodyLearns:
    def test_text_and_time_are_the_same_for_everybody(self, world: World, alice: tuple[str, Token]) -> None:
        (new, _), (disabled, _) = world.person(), world.person()
        call("root", "disable", user=disabled)
        users = {"new": new, "enrolled": alice[0], "disabled": disabled, "unknown": "nobody-at-all"}
        times: dict[str, list[float]] = {name: [] for name in users}
        seen = set()
        for _ in range(3):
            for name, user in users.items():
                one = login(world, user)
                started = time.monotonic()
                one.type("text mail")
                one.wait_for("conversation")
                times[name].append(time.monotonic() - started)
                assert finish(one, "aaaa-aaaa", "aaaa-aaaa") == MAXTRIES
                seen.add(tuple(one.result.messages))
        assert len(seen) == 1
        middles = [statistics.median(values) for values in times.values()]
        assert max(middles) - min(middles) < 0.03, times
        assert eventually(lambda: len(mails(new)) == len(mails(alice[0])) == 1)
        assert eventually(lambda: f"code not mailed user={disabled} " in world.host.log("otpd"))
        assert mails(disabled) == []
        assert "nobody-at-all" not in world.host.ldap(
            "ldapsearch", "-LLL", "-b", "ou=otpd", "(objectClass=otpdUser)", "uid"
        )
        assert mails("nobody-at-all") == mails("\N{BLACK SQUARE}") == []

    def test_who_is_disabled_is_not_let_in_by_a_code_that_was_sent_before(self, world: World) -> None:
        user, _ = world.person()
        one = asked(world, user)
        code = code_of(world, user)
        call("root", "disable", user=user)
        assert finish(one, code, code) == MAXTRIES
        call("root", "enable", user=user)
        assert eventually(lambda: finish(login(world, user), code) == SUCCESS)


class TestServers:
    def test_the_other_ways_to_it(self, world: World, postfix: Postfix, settings: Settings) -> None:
        for server, name in (
            (f"smtps://mail.example.org:{postfix.tls}", mail.LOGIN),
            (f"smtp://localhost:{postfix.clear}", ""),
        ):
            with restarted(world.host, settings(server, name)):
                user, _ = world.person()
                assert finish(asked(world, user), code_of(world, user)) == SUCCESS

    def failing(self, world: World, server: str, given: str, words: str, seconds: float = 10) -> str:
        """Ask for a mail that cannot be sent: nobody is held up, and the log says why."""
        with restarted(world.host, given):
            user, _ = world.person()
            one = login(world, user)
            started = time.monotonic()
            one.type("text mail")
            one.wait_for("conversation")
            assert time.monotonic() - started < 1
            other, token = world.person(enrolled=True)
            started = time.monotonic()
            assert world.outcome("anything", other, token.code()) == SUCCESS
            assert time.monotonic() - started < 2, "nobody else waits for it"
            wanted = rf'code not mailed user={user} .*reason="{re.escape(server)}: {words}'
            assert eventually(lambda: bool(re.search(wanted, world.host.log("otpd"))), seconds), world.host.log("otpd")[
                -2000:
            ]
            finish(one)
        return user

    def test_nobody_listens(self, world: World, settings: Settings) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = f"smtps://mail.example.org:{listener.getsockname()[1]}"
        user = self.failing(world, server, settings(server), "Connection refused")
        rewrite(world, user, sent=ago(PAUSE_SECONDS + 1))
        assert finish(asked(world, user), code_of(world, user)) == SUCCESS, "when it is back"

    def test_its_certificate_is_another_hosts(self, world: World, postfix: Postfix, settings: Settings) -> None:
        server = f"smtp://elsewhere.example.org:{postfix.starttls}"
        user = self.failing(world, server, settings(server), "its certificate is not good: Hostname mismatch")
        assert mails(user) == []

    def test_it_refuses_who_does_not_log_in(self, world: World, postfix: Postfix, settings: Settings) -> None:
        server = f"smtp://mail.example.org:{postfix.starttls}"
        self.failing(world, server, settings(server, ""), r"it refuses the recipient \(554 5.7.1\)")

    def test_it_hangs(self, world: World, postfix: Postfix, settings: Settings) -> None:
        server = f"smtps://mail.example.org:{postfix.tls}"
        stopped = [int(pid) for pid in run("pgrep", "-x", "master|smtpd").split()]
        assert stopped
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            self.failing(world, server, settings(server), "it did not take the mail in time", 25)
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)


def test_through_ssh(world: World) -> None:
    user, _ = world.person()
    port = world.host.start_sshd()
    try:
        seen = ssh(port, user, [PASSWORD, "mail", lambda _: code_of(world, user)])
        assert "let in" in seen.screen
        assert OFFER in seen.screen
        assert ON_ITS_WAY in seen.screen
        mail_text = str(next_mail(user).get_payload())
        assert "sshd on" in mail_text
        assert "127.0.0.1" in mail_text
    finally:
        world.host.stop("sshd")


def test_a_password_that_cannot_be_read_stops_the_start(world: World) -> None:
    MAIL_PASSWORD.chmod(0o644)
    try:
        run_as = ["setpriv", "--reuid=otpd", "--regid=otpd", "--clear-groups", "--", "otpd", "--serve", "auth"]
        environment = {"CREDENTIALS_DIRECTORY": str(CREDENTIALS), "PATH": os.environ["PATH"]}
        done = subprocess.run(run_as, text=True, capture_output=True, check=False, timeout=20, env=environment)
    finally:
        MAIL_PASSWORD.chmod(0o600)
    assert done.returncode == os.EX_CONFIG
    assert f"{MAIL_PASSWORD}: must be readable by its owner alone" in done.stderr
