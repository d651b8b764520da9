"""What a service asks for. Pure data, read from ``otpd.toml`` (``otpd/adapters/config.py``)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NewType

from otpd.values import ServiceName

ProofName = NewType("ProofName", str)
"""A word of a service's ``accept``; each factor of ``otpd/factors/`` has one."""

Unenrolled = Literal["refuse", "allow"]

CODE: Final = ProofName("code")
PASSWORD_AND_CODE: Final = ProofName("password+code")
APP_PASSWORD: Final = ProofName("app-password")


@dataclass(frozen=True)
class ServicePolicy:
    """The rules of one PAM service.

    ``accept`` names the proofs that open the door, any one of them; the first gives the prompt. ``unenrolled`` says
    what becomes of a user who has no token: ``allow`` makes the module answer PAM_IGNORE, so the rest of the stack
    decides. ``tries`` is how many answers one dialogue takes.
    """

    accept: tuple[ProofName, ...] = (CODE,)
    unenrolled: Unenrolled = "refuse"
    tries: int = 3


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
