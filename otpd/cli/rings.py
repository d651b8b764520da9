"""The key rings of this host: the file's, and those that otpd's processes read when they started."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from otpd.cli.session import Session, SocketName
from otpd.seal import KeyRing
from otpd.texts import _, mark

_PROCESSES: Final[Mapping[SocketName, str]] = {"auth": "otpd", "control": "otpd-control"}
"""What serves a socket, by the name of its unit."""


@dataclass(frozen=True)
class Ring:
    """What is known of a ring without its keys: the current one, and fingerprints by id."""

    current: str
    fingerprints: Mapping[str, str]

    @classmethod
    def of(cls, ring: KeyRing) -> "Ring":
        """Of keys that are at hand."""
        return cls(ring.current, {key_id: ring.fingerprint(key_id) for key_id in ring.ids})

    @classmethod
    def from_reply(cls, reply: dict[str, Any]) -> "Ring":
        """Of the reply to ``key-ring``."""
        return cls(reply["current"], {key["id"]: key["fingerprint"] for key in reply["keys"]})


@dataclass(frozen=True)
class Rings:
    """The file's ring beside that of each process."""

    file: Ring
    processes: Mapping[SocketName, Ring]

    @classmethod
    def ask(cls, session: Session, ring: KeyRing) -> "Rings":
        """Both processes are asked: what one seals, the other must open."""
        asked = {name: Ring.from_reply(session.call_at(name, "key-ring")) for name in get_args(SocketName)}
        return cls(Ring.of(ring), asked)

    def lacking(self, key_id: str) -> str:
        """The processes that do not have this key, or another of the same id; empty where all have it."""
        wanted = self.file.fingerprints[key_id]
        return self._named(lambda ring: ring.fingerprints.get(key_id) != wanted)

    def sealing_otherwise(self) -> str:
        """The processes that do not seal with the file's current key; empty where all do."""
        current = self.file.current
        wanted = (current, self.file.fingerprints[current])
        return self._named(lambda ring: (ring.current, ring.fingerprints.get(current)) != wanted)

    def described(self, session: Session) -> list[dict[str, Any]]:
        """Every key that anybody has, the file's first, and how many values it seals."""
        known = dict(self.file.fingerprints)
        for ring in self.processes.values():
            known = {**ring.fingerprints, **known}
        ordered = [*self.file.fingerprints, *(key_id for key_id in known if key_id not in self.file.fingerprints)]
        return [self._described(session, key_id, known[key_id]) for key_id in ordered]

    def _described(self, session: Session, key_id: str, fingerprint: str) -> dict[str, Any]:
        usage = session.call("key-usage", key=key_id)
        states = {_state(ring, key_id, fingerprint) for ring in self.processes.values()}
        return {
            "id": key_id,
            "fingerprint": fingerprint,
            "file": _state(self.file, key_id, fingerprint),
            "otpd": states.pop() if len(states) == 1 else mark("differs"),
            "values": usage["values"],
            "more": usage["more"],
        }

    def _named(self, wanted: Callable[[Ring], bool]) -> str:
        return _(" and ").join(_PROCESSES[name] for name, ring in self.processes.items() if wanted(ring))


def _state(ring: Ring, key_id: str, fingerprint: str) -> str:
    """How a ring has a key: ``current``, ``opens``, ``missing``, or ``other``, another key of this id."""
    if key_id not in ring.fingerprints:
        return mark("missing")
    if ring.fingerprints[key_id] != fingerprint:
        return mark("other")
    return mark("current") if key_id == ring.current else mark("opens")
