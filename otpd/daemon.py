"""otpd: the daemon, put together."""

import argparse
import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final, NoReturn

from otpd import __version__
from otpd.adapters import config, process, systemd
from otpd.adapters.aside import Aside
from otpd.adapters.config import Config
from otpd.adapters.key_file import read_key_ring
from otpd.adapters.ldap.cache import Cache
from otpd.adapters.ldap.connections import Connections, Servers
from otpd.adapters.ldap.directory import LdapDirectory
from otpd.adapters.ldap.inspection import LdapInspector
from otpd.adapters.ldap.servers import servers_of
from otpd.adapters.ldap.watch import Watch
from otpd.adapters.nss import NssAccounts
from otpd.adapters.offline.directory import OfflineDirectory
from otpd.adapters.offline.host import Host
from otpd.adapters.offline.keeper import Keeper
from otpd.adapters.offline.memory import Memory
from otpd.adapters.offline.view import MemoryView
from otpd.adapters.password_client import PasswordClient
from otpd.adapters.smtp import submission_of
from otpd.adapters.zmq_server import ListenError, Server
from otpd.clock import SystemClock
from otpd.dialogue import Dialogue
from otpd.directory import Directory
from otpd.enrol_at_login import EnrolAtLogin
from otpd.enrolment import Enrolments
from otpd.errors import ConfigError, OtpdError, StoreError
from otpd.factor import Parts, Post
from otpd.factors.mail import MAIL_SECONDS
from otpd.management import Management
from otpd.management.verb import Context
from otpd.otp import Windows
from otpd.seal import KeyRing
from otpd.service import BUSY_DIALOGUE, BUSY_MANAGEMENT, Service
from otpd.ticket import Tickets

LOG: Final = logging.getLogger("otpd")
_CREDENTIAL: Final = "keyring"
_DAY_SECONDS: Final = 86400
_STACK_BYTES: Final = 2**20
SOCKETS: Final = ("auth", "control")
_MEMORY_BYTES: Final = 512 * 2**20
_AUTH_MODE: Final = 0o660
_CONTROL_MODE: Final = 0o666


class BrokenError(OtpdError):
    """A part of the daemon that must never end has ended."""


def compose(settings: Config, keys: KeyRing, which: Sequence[str] = SOCKETS) -> Service:
    """The service that ``settings`` describe, for the sockets ``which``."""
    threading.stack_size(_STACK_BYTES)  # the usual 8 MiB a worker would count against the limit on memory
    clock, accounts, policy = SystemClock(), NssAccounts(), settings.policy()
    servers, base_dn = servers_of(settings.directory), settings.directory.base_dn
    parts = Parts(
        directory=LdapDirectory(Connections(servers, clock), base_dn),
        keys=keys,
        clock=clock,
        check_password=PasswordClient(Path(settings.password.socket)),
        windows=Windows(settings.totp.window_steps, settings.totp.drift_steps, settings.hotp.look_ahead),
        host=process.host_name(),
        aside=Aside(clock),
        unused_seconds=settings.app_password.unused_days * _DAY_SECONDS,
    )
    logins = replace(parts, post=_post(settings))
    if "auth" in which:
        logins = replace(logins, directory=_login_directory(settings, keys, servers))
    rule, path = settings.offline.rule(), Path(settings.offline.file)
    tickets = Tickets(keys, process.boot_id(), clock)
    enrolments = Enrolments(parts, settings.totp.issuer, settings.totp.parameters())
    return Service(
        dialogue=Dialogue(policy, accounts, logins, tickets, EnrolAtLogin(enrolments)),
        management=Management(
            Context(
                policy,
                accounts,
                parts,
                tickets,
                enrolments,
                LdapInspector(servers, base_dn, clock, provider_named=bool(settings.directory.provider)),
                MemoryView(rule, path, keys, clock) if rule.hours else None,
                settings.app_password.limit,
            )
        ),
        pool=ThreadPoolExecutor(settings.daemon.workers, thread_name_prefix="worker"),
        clock=clock,
        deadline_seconds=settings.daemon.deadline_seconds,
    )


def _login_directory(settings: Config, keys: KeyRing, servers: Servers) -> Directory:
    """What logins go by: the directory, what is kept of it, and, under ``[offline]``, what this host remembers."""
    clock, base_dn = SystemClock(), settings.directory.base_dn
    connections, cache = Connections(servers, clock), None
    if settings.cache.megabytes:
        cache = Cache(clock, settings.cache.megabytes * 2**20)
        Watch(Connections(servers, clock), base_dn, cache, clock).start()
    host = _offline_host(settings, keys)
    if host is None:
        return LdapDirectory(connections, base_dn, cache)
    Keeper(host, LdapDirectory(connections, base_dn), settings.daemon.deadline_seconds / 2).start()
    return OfflineDirectory(connections, base_dn, host, cache)


def _post(settings: Config) -> Post | None:
    """Who sends codes by mail, in a thread of its own: a mail server that hangs holds up nothing but mails."""
    if not settings.mail.server:
        return None
    clock = SystemClock()
    return Post(
        send=submission_of(settings.mail, process.host_name(), clock),
        aside=Aside(clock, MAIL_SECONDS, "a code is not mailed"),
        valid_seconds=settings.mail.valid_minutes * 60,
    )


def _offline_host(settings: Config, keys: KeyRing) -> Host | None:
    clock, rule = SystemClock(), settings.offline.rule()
    if not rule.hours:
        return None
    try:
        return Host(rule, Memory(Path(settings.offline.file), keys, clock, rule.users), clock)
    except StoreError as error:
        LOG.error(  # noqa: TRY400 - its text says it all
            "[offline] is off, since its file cannot be used: %s. Mend it, or remove it, and restart otpd", error
        )
        return None


async def serve(settings: Config, keys: KeyRing, which: Sequence[str]) -> None:
    """Answer on the sockets ``which`` (of :data:`SOCKETS`) until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    service, server = compose(settings, keys, which), Server()
    held = systemd.listening_descriptors()
    if "auth" in which:
        server.listen(Path(settings.sockets.auth), _AUTH_MODE, service.auth, BUSY_DIALOGUE, held.get("auth"))
    if "control" in which:
        path = Path(settings.sockets.control)
        server.listen(path, _CONTROL_MODE, service.control, BUSY_MANAGEMENT, held.get("control"))
    watchdog = asyncio.create_task(_feed_watchdog())
    systemd.notify("READY=1")
    LOG.info("otpd %s answers on %s", __version__, " and ".join(f"{name}.sock" for name in which))
    server.broken.add_done_callback(lambda _: stop.set())
    await stop.wait()
    if server.broken.done():
        raise BrokenError(type(server.broken.exception()).__name__)
    systemd.notify("STOPPING=1")
    watchdog.cancel()
    await server.close(settings.daemon.deadline_seconds)


async def _feed_watchdog() -> None:
    seconds = systemd.watchdog_seconds()
    while seconds:
        systemd.notify("WATCHDOG=1")
        await asyncio.sleep(seconds / 3)


def read_settings(path: Path) -> tuple[Config, KeyRing]:
    """The configuration and the keys it names; raises :class:`ConfigError` with all their faults."""
    settings = config.load(path)
    given = systemd.credential(_CREDENTIAL)
    return settings, read_key_ring(given or Path(settings.keys.file), trusted=given is not None)


def main() -> None:
    """The command otpd."""
    parser = argparse.ArgumentParser(prog="otpd", description="Answer PAM modules and otpctl. See otpd(8).")
    parser.add_argument("--config", type=Path, default=config.DEFAULT_PATH, help="(default: %(default)s)")
    parser.add_argument(
        "--serve",
        choices=SOCKETS,
        help="one socket alone; what local users do to the process behind control.sock then never delays a login",
    )
    parser.add_argument("--check", action="store_true", help="check configuration and keys, and exit")
    parser.add_argument("--version", action="version", version=f"otpd {__version__}")
    arguments = parser.parse_args()
    process.keep_secrets_out_of_cores()
    process.limit_memory(_MEMORY_BYTES)
    try:
        settings, keys = read_settings(arguments.config)
    except ConfigError as error:
        print(*(f"otpd: {fault}" for fault in error.faults), sep="\n", file=sys.stderr)
        sys.exit(os.EX_CONFIG)
    if arguments.check:
        return
    systemd.log_to_journal(logging.getLevelName(settings.daemon.log_level.upper()), "otpd")
    try:
        asyncio.run(serve(settings, keys, [arguments.serve] if arguments.serve else SOCKETS))
    except ConfigError as error:
        LOG.critical("%s", error)
        _leave(os.EX_CONFIG)
    except ListenError as error:
        LOG.critical("%s", error)
        _leave(os.EX_OSERR)
    except BrokenError as error:
        LOG.critical("%s: otpd cannot go on, and leaves it to systemd to start it anew", error)
        _leave(os.EX_SOFTWARE)
    _leave(os.EX_OK)


def _leave(code: int) -> NoReturn:
    # Workers that hang on a directory must not keep the process; what was read has been answered.
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
