"""A real mail server: Postfix, which takes mail at a submission port and puts it into one folder."""

import os
import pwd
import socket
import time
from dataclasses import dataclass
from email import message_from_binary_file
from email.message import Message
from pathlib import Path
from typing import Final

from rig.host import Host, connects, free_port, run

HOME: Final = Path("/run/postfix-rig")
INBOX: Final = HOME / "mail/all/new"
DOMAIN: Final = "example.org"
LOGIN: Final = "otpd"
PASSWORD: Final = "kept-in-a-file"
_SECONDS: Final = 20

_MAIN: Final = """\
compatibility_level = 3.6
queue_directory = {home}/queue
data_directory = {home}/data
mail_owner = postfix
setgid_group = postdrop
maillog_file = /var/log/otpd-rig/postfix.log
myhostname = mail.{domain}
mydestination =
mynetworks = 127.0.0.0/8
inet_protocols = ipv4
virtual_mailbox_domains = {domain}
virtual_mailbox_base = {home}/mail
virtual_mailbox_maps = static:all/
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
smtpd_tls_cert_file = {cert}
smtpd_tls_key_file = {key}
smtpd_tls_auth_only = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_local_domain = {domain}
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = permit_sasl_authenticated, reject
"""
_MASTER: Final = """\
127.0.0.1:{starttls} inet n - n - - smtpd -o smtpd_tls_security_level=encrypt
127.0.0.1:{tls} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
127.0.0.1:{clear} inet n - n - - smtpd -o smtpd_sasl_auth_enable=no -o smtpd_relay_restrictions=permit_mynetworks,reject
  -o smtpd_recipient_restrictions=permit_mynetworks,reject
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
tlsmgr unix - - n 1000? 1 tlsmgr
anvil unix - - n - 1 anvil
virtual unix - n n - - virtual
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
"""
_SASL: Final = """\
pwcheck_method: auxprop
auxprop_plugin: sasldb
sasldb_path: {home}/sasldb
mech_list: PLAIN LOGIN
"""


@dataclass(frozen=True)
class Postfix:
    """Its ports: with STARTTLS, with TLS from the start, and for this host alone in the clear."""

    starttls: int
    tls: int
    clear: int


def start(host: Host, cert: Path, key: Path) -> Postfix:
    """Start it; ``cert`` and ``key`` are those of mail.example.org, which /etc/hosts knows from here on."""
    account = pwd.getpwnam("postfix")
    HOME.mkdir(exist_ok=True)
    for name in ("queue", "data", "mail", "conf", "conf/sasl"):
        (HOME / name).mkdir(exist_ok=True)
    for name in ("data", "mail"):
        os.chown(HOME / name, account.pw_uid, account.pw_gid)
    ports = Postfix(free_port(), free_port(), _low_port())
    given = {"home": HOME, "domain": DOMAIN, "cert": cert, "key": key, "uid": account.pw_uid, "gid": account.pw_gid}
    (HOME / "conf/main.cf").write_text(_MAIN.format(**given))
    (HOME / "conf/master.cf").write_text(_MASTER.format(**vars(ports)))
    (HOME / "conf/sasl/smtpd.conf").write_text(_SASL.format(**given))
    run("saslpasswd2", "-p", "-c", "-f", str(HOME / "sasldb"), "-u", DOMAIN, LOGIN, stdin=PASSWORD)
    os.chown(HOME / "sasldb", account.pw_uid, account.pw_gid)
    with Path("/etc/hosts").open("a") as hosts:
        hosts.write(f"\n127.0.0.1 mail.{DOMAIN} elsewhere.{DOMAIN}\n")
    host.spawn("postfix-main", "postfix", "-c", str(HOME / "conf"), "start-fg")
    host.wait(lambda: connects(("127.0.0.1", ports.starttls)), "postfix-main")
    return ports


def mails(user: str) -> list[Message]:
    """What has come for a user, oldest first."""
    found = []
    for path in sorted(INBOX.glob("*"), key=lambda path: path.stat().st_mtime_ns):
        with path.open("rb") as file:
            message = message_from_binary_file(file)
        if message["To"] == f"{user}@{DOMAIN}":
            found.append(message)
    return found


def next_mail(user: str, count: int = 1) -> Message:
    """The mail that is the ``count``-th for a user; it is waited for."""
    until = time.monotonic() + _SECONDS
    while len(found := mails(user)) < count:
        if time.monotonic() > until:
            raise RuntimeError(f"no mail came for {user}")
        time.sleep(0.02)
    return found[count - 1]


def _low_port() -> int:
    """A loopback port that it takes root to listen on."""
    for port in range(600, 1024):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no port is free")
