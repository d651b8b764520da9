"""``otpd.toml``: read, checked as a whole, and turned into values.

The attrs classes are the schema: what they do not name is refused, and every fault of the file is reported at once,
with file and key. ``conf/otpd.toml`` explains each key; a test holds it against the classes.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, get_args, get_origin
from urllib.parse import urlsplit

import attrs
from cattrs import Converter
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError, IterableValidationError

from otpd.adapters.config_values import (
    AbsolutePath,
    DirectoryUri,
    LogLevel,
    MailAddress,
    OptionalPath,
    Text,
    accepted,
    between,
    list_of,
    matching,
    one_of,
    or_empty,
    spoken,
)
from otpd.adapters.link import is_loopback
from otpd.errors import ConfigError
from otpd.offline import OFFLINE_PROOFS, OfflineProof, OfflineRule
from otpd.otp import (
    MAX_DIGITS,
    MAX_PERIOD_SECONDS,
    MIN_DIGITS,
    MIN_PERIOD_SECONDS,
    Algorithm,
    OtpParameters,
)
from otpd.policy import CODE, MAIL, Policy, ProofName, QrStyle, ServicePolicy, Unenrolled
from otpd.texts import _, mark
from otpd.values import ServiceName

_FIRST_FREE_PORT: Final = 1024
DEFAULT_PATH: Final = Path("/etc/otpd/otpd.toml")


@attrs.frozen
class SocketsTable:
    """``[sockets]``: where otpd listens when systemd does not hand it its sockets."""

    auth: AbsolutePath = "/run/otpd/auth.sock"
    control: AbsolutePath = "/run/otpd/control.sock"


@attrs.frozen
class DirectoryTable:
    """``[directory]``: where tokens and app passwords are kept."""

    uris: Annotated[tuple[str, ...], list_of(get_args(DirectoryUri)[1])] = ("ldapi://%2Frun%2Fotpd-directory%2Fldapi",)
    provider: Annotated[str, or_empty(get_args(DirectoryUri)[1])] = ""
    base_dn: Text = "ou=otpd"
    bind_dn: Annotated[str, or_empty(get_args(Text)[1])] = ""
    bind_password_file: OptionalPath = ""
    ca_file: OptionalPath = ""
    cert_file: OptionalPath = ""
    key_file: OptionalPath = ""

    def __attrs_post_init__(self) -> None:
        """Refuse what cannot prove who otpd is."""
        if bool(self.bind_dn) != bool(self.bind_password_file):
            raise ValueError(_("bind_dn and bind_password_file go together; without them, SASL EXTERNAL is used"))
        if bool(self.cert_file) != bool(self.key_file):
            raise ValueError(_("cert_file and key_file go together"))


@attrs.frozen
class CacheTable:
    """``[cache]``: what is kept in memory of what was read from the directory."""

    megabytes: Annotated[int, between(0, 256)] = 64


@attrs.frozen
class KeysTable:
    """``[keys]``: what seals the secrets in the directory."""

    file: AbsolutePath = "/etc/otpd/keyring"


@attrs.frozen
class PasswordTable:
    """``[password]``: the helper that checks account passwords."""

    socket: AbsolutePath = "/run/otpd/password.sock"


@attrs.frozen
class TotpTable:
    """``[totp]``: how codes of authenticator apps are enrolled and judged."""

    window_steps: Annotated[int, between(0, 10)] = 1
    drift_steps: Annotated[int, between(0, 20)] = 3
    algorithm: Annotated[Algorithm, one_of(get_args(Algorithm))] = "sha1"
    digits: Annotated[int, between(MIN_DIGITS, MAX_DIGITS)] = 6
    period_seconds: Annotated[int, between(MIN_PERIOD_SECONDS, MAX_PERIOD_SECONDS)] = 30
    issuer: Annotated[str, matching(r"[^\0\n:]{1,64}", mark("a string of 1 to 64 characters without a colon"))] = "otpd"

    def parameters(self) -> OtpParameters:
        """What tokens are enrolled with unless something else is chosen."""
        return OtpParameters(self.digits, self.algorithm, self.period_seconds)


@attrs.frozen
class HotpTable:
    """``[hotp]``: how codes of hardware keys are judged."""

    look_ahead: Annotated[int, between(0, 100)] = 10


@attrs.frozen
class DaemonTable:
    """``[daemon]``: the process itself."""

    workers: Annotated[int, between(1, 64)] = 8
    deadline_seconds: Annotated[int, between(1, 60)] = 5
    log_level: LogLevel = "info"


@attrs.frozen
class AppPasswordTable:
    """``[app_password]``: how many a user may have, and after how many days without use one ends (0: never)."""

    limit: Annotated[int, between(1, 200)] = 30
    unused_days: Annotated[int, between(0, 3650)] = 0


@attrs.frozen
class MailTable:
    """``[mail]``: who sends codes by mail; nobody, where ``server`` is empty."""

    server: Annotated[
        str,
        or_empty(
            matching(r"smtps?://[A-Za-z0-9.\-\[\]:]+/?", mark("smtps:// or smtp:// with a host, and :PORT if need be"))
        ),
    ] = ""
    ca_file: OptionalPath = ""
    user: Annotated[str, or_empty(matching(r"[!-~]{1,256}", mark("up to 256 ASCII characters without spaces")))] = ""
    password_file: OptionalPath = ""
    sender: Annotated[str, or_empty(get_args(MailAddress)[1])] = ""
    to: Annotated[
        str,
        or_empty(
            matching(
                r"[A-Za-z0-9._+-]{0,64}\{user\}[A-Za-z0-9._+-]{0,64}(@[A-Za-z0-9.-]{1,180})?",
                mark('an address that the user has a part in: "{user}@example.org"'),
            )
        ),
    ] = ""
    valid_minutes: Annotated[int, between(1, 60)] = 10

    def __attrs_post_init__(self) -> None:
        """Refuse what cannot be sent, and what anybody on this host could receive."""
        if self.server and not (self.sender and self.to):
            raise ValueError(_('sender and to are needed: sender = "otpd@example.org", to = "{user}@example.org"'))
        if bool(self.user) != bool(self.password_file):
            raise ValueError(_("user and password_file go together"))
        parts = urlsplit(self.server)
        port = parts.port or 0  # raises ValueError for what is none
        if parts.scheme == "smtp" and is_loopback(parts.hostname or "") and port >= _FIRST_FREE_PORT:
            raise ValueError(
                _("server: mail to this host goes in the clear, and any user may listen on ports above 1023")
            )


@attrs.frozen
class OfflineTable:
    """``[offline]``: what this host decides by itself while the directory is away."""

    hours: Annotated[int, between(0, 168)] = 0
    accept: Annotated[tuple[OfflineProof, ...], list_of(one_of(OFFLINE_PROOFS))] = OFFLINE_PROOFS
    users: Annotated[int, between(1, 1_000_000)] = 10_000
    file: AbsolutePath = "/var/lib/otpd/offline.db"

    def rule(self) -> OfflineRule:
        """The rule that it describes."""
        return OfflineRule(self.hours, self.accept, self.users)


@attrs.frozen
class ServiceTable:
    """``[service.NAME]``: the rules of one PAM service; ``[service.default]`` those of all others."""

    accept: Annotated[tuple[ProofName, ...], accepted] = (CODE,)
    unenrolled: Annotated[Unenrolled, one_of(get_args(Unenrolled))] = "refuse"
    tries: Annotated[int, between(1, 5)] = 3
    qr: Annotated[QrStyle, one_of(get_args(QrStyle))] = "utf8"
    language: Annotated[str, spoken] = "en"
    remember_hours: Annotated[int, between(0, 24 * 90)] = 0
    remember_group: Annotated[str, matching(r"[A-Za-z0-9_.-]{0,64}", mark("up to 64 letters, digits, _, . and -"))] = ""

    def __attrs_post_init__(self) -> None:
        """Refuse what would let everybody in, and enrolments for codes that nothing would ask for."""
        if self.unenrolled == "allow" and self.accept != (CODE,):
            raise ValueError(
                _('unenrolled = "allow" goes with accept = ["code"] alone: elsewhere it would open the door')
            )
        if self.unenrolled == "enrol-at-login" and self.accept != (CODE,):
            raise ValueError(_('unenrolled = "enrol-at-login" goes with accept = ["code"] alone'))
        if self.remember_hours and self.accept != (CODE,):
            raise ValueError(
                _('remember_hours goes with accept = ["code"] alone: elsewhere otpd stands for the password')
            )


@attrs.frozen
class Config:
    """The whole file."""

    sockets: SocketsTable = SocketsTable()
    directory: DirectoryTable = DirectoryTable()
    cache: CacheTable = CacheTable()
    keys: KeysTable = KeysTable()
    password: PasswordTable = PasswordTable()
    totp: TotpTable = TotpTable()
    hotp: HotpTable = HotpTable()
    daemon: DaemonTable = DaemonTable()
    mail: MailTable = MailTable()
    offline: OfflineTable = OfflineTable()
    app_password: AppPasswordTable = AppPasswordTable()
    service: dict[str, ServiceTable] = attrs.Factory(dict)

    def __attrs_post_init__(self) -> None:
        """Refuse services that ask for what nobody sends."""
        asking = [name for name, table in self.service.items() if MAIL in table.accept]
        if asking and not self.mail.server:
            raise ValueError(
                _(
                    'service.{service}.accept: "mail" needs [mail] with server, sender and to; see otpd.toml(5)',
                    service=asking[0],
                )
            )

    def policy(self) -> Policy:
        """The rules of all services."""
        rules = {
            ServiceName(name): ServicePolicy(**attrs.asdict(table, recurse=False))
            for name, table in self.service.items()
        }
        return Policy(rules.pop(ServiceName("default"), ServicePolicy()), rules)


def load(path: Path) -> Config:
    """Read ``path``; raises :class:`ConfigError` with every fault."""
    try:
        return parse(path.read_text("utf-8"), str(path))
    except FileNotFoundError:
        raise ConfigError(
            [_("{path}: there is no such file; {usual} is the usual place", path=path, usual=DEFAULT_PATH)]
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([_("{path}: cannot be read: {error}", path=path, error=error)]) from None


def parse(text: str, where: str) -> Config:
    """Turn the text of a configuration into values; ``where`` names it in faults."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_("{where}: is not TOML: {error}", where=where, error=error)]) from None
    try:
        return _converter().structure(raw, Config)
    except Exception as error:  # noqa: BLE001 - cattrs raises what its hooks raise, grouped
        raise ConfigError([f"{where}: {fault}" for fault in _faults(error, ())]) from None


def _converter() -> Converter:
    converter = Converter(forbid_extra_keys=True, detailed_validation=True)
    converter.register_structure_hook_func(_is_annotated, lambda value, kind: get_args(kind)[1](value))
    return converter


def _is_annotated(kind: Any) -> bool:  # noqa: ANN401 - a type, or what typing makes of one
    return bool(get_origin(kind) == Annotated)


_PLACE: Final = re.compile(r"(?:@ attribute (\w+)|@ key '([^']*)')$")


def _faults(error: BaseException, key: tuple[str, ...]) -> Iterator[str]:
    """Every leaf of the tree that cattrs raised, as ``key: sentence``; notes say where each hangs."""
    places = [found for note in getattr(error, "__notes__", []) if (found := _PLACE.search(note))]
    here = key + tuple(found[1] or found[2] for found in places[:1])
    match error:
        case ForbiddenExtraKeysError():
            for name in sorted(error.extra_fields):
                yield _("{key}: there is no such key", key=".".join((*here, name)))
        case ClassValidationError() | IterableValidationError():
            for inner in error.exceptions:
                yield from _faults(inner, here)
        case ValueError():
            yield ": ".join(filter(None, (".".join(here), str(error))))
        case _:
            yield _("{key}: expected a table", key=".".join(here))
