"""What a service asks for. Pure data, read from ``otpd.toml`` (``otpd/adapters/config.py``)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NewType

from otpd.values import ServiceName

ProofName = NewType("ProofName", str)
"""A word of a service's ``accept``; each factor of ``otpd/factors/`` has one."""

Unenrolled = Literal["refuse", "enrol-at-login", "allow"]
QrStyle = Literal["utf8", "ascii", "off"]

CODE: Final = ProofName("code")
PASSWORD_AND_CODE: Final = ProofName("password+code")
APP_PASSWORD: Final = ProofName("app-password")
MAIL: Final = ProofName("mail")
BYPASS: Final = ProofName("bypass")
"""No word of ``accept``: a bypass opens whatever a code of a device or by mail does."""


@dataclass(frozen=True)
class ServicePolicy:
    """The rules of one PAM service.

    ``accept`` names the proofs that open the door, any one of them; the first gives the prompt. ``unenrolled`` says
    what becomes of a user who has no token: ``allow`` makes the module answer PAM_IGNORE, so the rest of the stack
    decides; ``enrol-at-login`` leads through an enrolment, in which ``qr`` says how the QR code is drawn. ``language``
    is what people read. ``tries`` is how many answers one dialogue takes. For ``remember_hours`` (0: never) a user who
    gave a code is not asked again from the same address, by any service of the same ``remember_group`` (without one: by
    this service).
    """

    accept: tuple[ProofName, ...] = (CODE,)
    unenrolled: Unenrolled = "refuse"
    tries: int = 3
    qr: QrStyle = "utf8"
    language: str = "en"
    remember_hours: int = 0
    remember_group: str = ""

    @property
    def judged(self) -> tuple[ProofName, ...]:
        """All that opens the door at a login."""
        return (*self.accept, BYPASS) if CODE in self.accept or MAIL in self.accept else self.accept


@dataclass(frozen=True)
class Policy:
    """The rules of every service: its own, or the default's."""

    default: ServicePolicy = ServicePolicy()
    services: Mapping[ServiceName, ServicePolicy] = field(default_factory=dict)

    def of(self, service: ServiceName) -> ServicePolicy:
        """The rules of ``service``."""
        return self.services.get(service, self.default)

    def accepts(self, service: ServiceName, proof: ProofName) -> bool:
        """Whether ``service`` accepts ``proof``."""
        return proof in self.of(service).accept

    def named(self, proof: ProofName) -> list[ServiceName]:
        """The services that have rules of their own and accept ``proof``, for a list to choose from."""
        return sorted(name for name in self.services if self.accepts(name, proof))
