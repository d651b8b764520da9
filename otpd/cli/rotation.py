"""Sealing anew what other keys sealed, batch by batch, until none is left."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from otpd.cli.progress import progress
from otpd.cli.session import Exit, Session
from otpd.texts import _

_FRUITLESS_PASSES: Final = 5
Fault = tuple[str, str, str]
"""Kind, user and id of an entry whose value does not open."""


@dataclass
class Rotation:
    """One run: what ``keys`` but ``current`` sealed is sealed with ``current``.

    The directory alone knows what is left, so there is nothing to remember between two runs.
    """

    session: Session
    current: str
    keys: Sequence[str]
    resealed: int = 0
    failed: int = 0
    left: int = 0
    faults: dict[Fault, None] = field(default_factory=dict)

    def run(self) -> None:
        """Do it, tell the result, and end with an exit code that says whether all is well."""
        for key_id in self.keys:
            if key_id != self.current:
                self._all_of(key_id)
        strays = self.session.call("key-strays")
        self.failed += strays["values"]
        self._note(strays["faults"])
        self._tell()

    def _all_of(self, key_id: str) -> None:
        usage = self.session.call("key-usage", key=key_id)
        failed = fruitless = 0
        total = None if usage["more"] else usage["values"]
        with progress(_("sealed with {key}", key=key_id), total, quiet=self.session.as_json) as advance:
            while fruitless < _FRUITLESS_PASSES:
                # Those that do not open may come first in every answer, so as many more are asked for.
                reply = self.session.call("key-reseal", key=key_id, skip=str(failed))
                self.resealed += reply["resealed"]
                advance(reply["resealed"])
                self._note(reply["faults"])
                if not _goes_on(reply, failed):
                    break
                failed = reply["failed"]
                fruitless = 0 if reply["resealed"] else fruitless + 1
        self.failed += reply["failed"]
        self.left += max(0, self.session.call("key-usage", key=key_id)["values"] - reply["failed"])

    def _note(self, faults: list[dict[str, Any]]) -> None:
        self.faults.update(dict.fromkeys((fault["kind"], fault["user"], fault["id"]) for fault in faults))

    def _tell(self) -> None:
        faults = [{"kind": kind, "user": user, "id": entry} for kind, user, entry in self.faults]
        result = {
            "current": self.current,
            "resealed": self.resealed,
            "failed": self.failed,
            "left": self.left,
            "faults": faults,
        }
        if not self.failed and not self.left:
            self.session.show(
                result,
                _(
                    "Sealed anew: {resealed}. Everything is sealed with {current} now.",
                    resealed=self.resealed,
                    current=self.current,
                ),
            )
            return
        self.session.show(result, _("Sealed anew: {resealed}.", resealed=self.resealed))
        for fault in faults:
            what, user = f"{fault['kind']} {fault['id']}", fault["user"] or _("no user")
            self.session.warn(_("does not open: {what} of {user}", what=what, user=user))
        if self.failed:
            self.session.warn(
                _("{failed} do not open, and were left as they are; otpd's log names them", failed=self.failed)
            )
            raise SystemExit(Exit.DOES_NOT_OPEN)
        self.session.warn(_("{left} are left, since others write at the same time; run this again", left=self.left))
        raise SystemExit(Exit.RESTART)


def _goes_on(reply: dict[str, Any], failed: int) -> bool:
    """Whether another pass can find what this one did not, of which ``failed`` were known not to open before."""
    return bool(reply["resealed"] or reply["overtaken"] or (reply["more"] and reply["failed"] > failed))
