"""Handing over a mail: the server proves who it is, gets so much time and so many bytes, and the log learns why not."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from email import message_from_bytes
from pathlib import Path

import pytest
from directory.authority import Authority, Pair

from otpd.adapters.smtp import Submission
from otpd.clock import Deadline, SystemClock
from otpd.errors import MailError
from otpd.secret import Secret
from otpd.values import UserName

CLOCK = SystemClock()
ELSEWHERE = "0.0.0.0"  # noqa: S104 - this host by an address that is not of loopback: TLS is a must
SECRET = "abcd-efgh"
Serve = Callable[[socket.socket], None]


@contextmanager
def served(serve: Serve) -> Iterator[int]:
    """The port of a server that treats each connection so."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            with suppress(OSError):
                while True:
                    link, _ = listener.accept()
                    with link, suppress(OSError):
                        link.settimeout(10)
                        serve(link)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def submission(port: int, scheme: str = "smtp", host: str = "127.0.0.1") -> Submission:
    return Submission(f"{scheme}://{host}:{port}", "otpd@example.org", "{user}@example.org", "web1.example.org", CLOCK)


def send(to: Submission, user: str = "alice", seconds: float = 5.0) -> None:
    to(UserName(user), "Your code", f"Code: {SECRET}\n", Deadline.after(CLOCK, seconds))


def why(to: Submission, user: str = "alice", seconds: float = 5.0) -> str:
    started = time.monotonic()
    with pytest.raises(MailError) as raised:
        send(to, user, seconds)
    assert time.monotonic() - started < seconds + 1
    assert SECRET not in str(raised.value)
    assert raised.value.__cause__ is None
    return str(raised.value)


def scripted(replies: dict[bytes, bytes], seen: list[bytes] | None = None, greeting: bytes = b"220 here\r\n") -> Serve:
    """A server that answers each command by its first word, and everything else with 250."""

    def serve(link: socket.socket) -> None:
        link.sendall(greeting)
        lines, in_data = link.makefile("rb"), False
        for line in lines:
            if seen is not None:
                command, colon, rest = line.partition(b":")  # versions of smtplib write commands in another case
                seen.append(line if in_data or not colon else command.upper() + colon + rest)
            if in_data and line != b".\r\n":
                continue
            word = b"." if in_data else line.split()[0].upper()
            in_data = word == b"DATA" and b"DATA" not in replies
            link.sendall(replies.get(word, b"354 go on\r\n" if in_data else b"250 ok\r\n"))

    return serve


def test_a_mail_as_it_arrives() -> None:
    seen: list[bytes] = []
    with served(scripted({}, seen)) as port:
        send(submission(port))
    assert [seen[0].lower(), *seen[1:3]] == [
        b"ehlo web1.example.org\r\n",
        b"MAIL FROM:<otpd@example.org>\r\n",
        b"RCPT TO:<alice@example.org>\r\n",
    ]
    message = message_from_bytes(b"".join(seen[[line.lower() for line in seen].index(b"data\r\n") + 1 :]))
    assert (message["From"], message["To"], message["Subject"]) == (
        "otpd@example.org",
        "alice@example.org",
        "Your code",
    )
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"].endswith("@example.org>")
    assert message["Date"]
    assert SECRET in message.get_payload()


@pytest.mark.parametrize(
    "user",
    ["a b", "a\r\nBcc: b", "a>b", "b@c", "a,b", '"a"', "a\0", "\u00e4", ".a", "a..b", "a" * 250, "", "a\n", "a%b"],
)
def test_names_that_make_no_address(user: str) -> None:
    seen: list[bytes] = []
    with served(scripted({}, seen)) as port:
        assert "makes no address" in why(submission(port), user)
    assert seen == []


def test_names_that_are_addresses() -> None:
    seen: list[bytes] = []
    with served(scripted({}, seen)) as port:
        send(replace(submission(port), to="{user}"), "alice@ad.example.org")
    assert b"RCPT TO:<alice@ad.example.org>\r\n" in seen


def test_what_it_logs_in_with_goes_to_the_server_alone() -> None:
    seen: list[bytes] = []
    greeted = {b"EHLO": b"250-here\r\n250 AUTH PLAIN\r\n", b"AUTH": b"235 ok\r\n"}
    to = replace(submission(0), user="otpd", password=Secret(b"pass word"))
    with served(scripted(greeted, seen)) as port:
        send(replace(to, server=f"smtp://127.0.0.1:{port}"))
    assert b"AUTH PLAIN AG90cGQAcGFzcyB3b3Jk\r\n" in seen
    assert "pass word" not in repr(to)
    refusing = greeted | {b"AUTH": b"535 5.7.8 AG90cGQAcGFzcyB3b3Jk\r\n"}
    with served(scripted(refusing)) as port:
        assert why(replace(to, server=f"smtp://127.0.0.1:{port}")).endswith("it refuses otpd's password (535 5.7.8)")
    with served(scripted({b"EHLO": b"250 here\r\n"})) as port:
        assert "does not offer" in why(replace(to, server=f"smtp://127.0.0.1:{port}"))


@pytest.mark.parametrize(
    ("replies", "words"),
    [
        ({b"MAIL": b"451 4.7.1 later\r\n"}, "it refuses the sender (451 4.7.1)"),
        ({b"RCPT": b"550 5.1.1 who\r\n"}, "it refuses the recipient (550 5.1.1)"),
        ({b"DATA": b"554 no\r\n"}, "it refuses the mail (554)"),
        ({b".": b"554 5.6.0 Code: abcd-efgh\r\n"}, "it refuses the mail (554 5.6.0)"),
        ({b"EHLO": b"hello\r\n", b"HELO": b"hello\r\n"}, "it refuses the mail (-1)"),
        ({b"EHLO": b"250-" + b"x" * 9000 + b"\r\n"}, "it refuses the mail (500)"),
    ],
)
def test_what_it_refuses(replies: dict[bytes, bytes], words: str) -> None:
    with served(scripted(replies)) as port:
        assert why(submission(port)).endswith(words)


def test_a_greeting_that_sends_away() -> None:
    with served(scripted({}, greeting=b"554 go away\r\n")) as port:
        assert why(submission(port)).endswith("it refuses the mail (554)")


def _hang(link: socket.socket) -> None:
    link.recv(1)


def _drip(link: socket.socket) -> None:
    while True:
        link.sendall(b"220-\r\n")
        time.sleep(0.05)


def _drip_in_the_handshake(link: socket.socket) -> None:
    link.sendall(b"220 here\r\n")
    link.recv(100)
    link.sendall(b"250-here\r\n250 STARTTLS\r\n")
    link.recv(100)
    link.sendall(b"220 go on\r\n")
    link.recv(5000)
    link.sendall(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xf0\x03\x03")
    while True:
        link.sendall(b"\x00")
        time.sleep(0.05)


@pytest.mark.parametrize("serve", [_hang, _drip, _drip_in_the_handshake])
def test_a_server_that_takes_its_time(serve: Serve) -> None:
    with served(serve) as port:
        assert "did not take the mail in time" in why(submission(port, host=ELSEWHERE), seconds=1)


def test_a_server_that_says_too_much() -> None:
    with served(lambda link: [link.sendall(b"220-more\r\n" * 1000) for _ in range(10_000)] and None) as port:
        assert "it ended the connection" in why(submission(port))


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert why(submission(port)).endswith("Connection refused")


class TestTls:
    @pytest.fixture
    def authority(self, tmp_path: Path) -> Authority:
        return Authority(tmp_path, "authority")

    def secured(self, pair: Pair, seen: list[bytes], *, at_once: bool, early: bytes = b"") -> Serve:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.cert, pair.key)

        def serve(link: socket.socket) -> None:
            if not at_once:
                link.sendall(b"220 here\r\n")
                seen.append(link.recv(100))
                link.sendall(b"250-here\r\n250 STARTTLS\r\n")
                seen.append(link.recv(100))
                link.sendall(b"220 go on\r\n" + early)
            with context.wrap_socket(link, server_side=True) as stream:
                scripted({}, seen, b"220 here\r\n" if at_once else b"")(stream)

        return serve

    @pytest.mark.parametrize("scheme", ["smtp", "smtps"])
    def test_the_certificate_is_the_hosts(self, authority: Authority, scheme: str) -> None:
        seen: list[bytes] = []
        pair = authority.issue("server", ELSEWHERE)
        with served(self.secured(pair, seen, at_once=scheme == "smtps")) as port:
            send(replace(submission(port, scheme, ELSEWHERE), ca_file=str(authority.file)))
        assert b"RCPT TO:<alice@example.org>\r\n" in seen

    @pytest.mark.parametrize("scheme", ["smtp", "smtps"])
    @pytest.mark.parametrize("fault", ["name", "date", "authority"])
    def test_a_certificate_that_is_not_good(
        self, authority: Authority, tmp_path: Path, scheme: str, fault: str
    ) -> None:
        seen: list[bytes] = []
        host = "elsewhere.example.org" if fault == "name" else ELSEWHERE
        pair = authority.issue("server", host, days=-1 if fault == "date" else 1)
        trusted = Authority(tmp_path, "another") if fault == "authority" else authority
        with served(self.secured(pair, seen, at_once=scheme == "smtps")) as port:
            to = replace(submission(port, scheme, ELSEWHERE), ca_file=str(trusted.file))
            assert "its certificate is not good: " in why(to)
        assert not any(b"@" in line for line in seen), "nothing was said to it"

    def test_what_was_said_in_the_clear_is_forgotten(self, authority: Authority) -> None:
        """A reply that somebody put behind STARTTLS' own is not taken for one that came under TLS."""
        seen: list[bytes] = []
        pair = authority.issue("server", ELSEWHERE)
        early = b"250-here\r\n250 AUTH PLAIN\r\n"
        with served(self.secured(pair, seen, at_once=False, early=early)) as port:
            to = submission(port, host=ELSEWHERE)
            why(replace(to, ca_file=str(authority.file), user="otpd", password=Secret(b"secret")))
        assert not any(b"AUTH" in line for line in seen)

    def test_no_starttls(self) -> None:
        seen: list[bytes] = []
        with served(scripted({b"STARTTLS": b"502 5.5.1 no\r\n"}, seen)) as port:
            assert "does not offer" in why(submission(port, host=ELSEWHERE))
        assert not any(b"@" in line for line in seen)
