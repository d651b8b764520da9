"""A person who uses everything that otpd has, on any host, and remembers what otpd said.

Servers and daemons may die meanwhile, so there are three answers: yes, no, and none. What was answered with yes must
stay true; what was not answered may have happened or not. ``faults`` is what should never be.
"""

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from .clients import log_in, manage
from .fleet import Fleet, FleetHost
from .phone import WINDOW_STEPS, Phone, now

SECONDS: Final = 1.5
"""How long a person waits for an answer; hosts have a deadline of one second."""

MAX_TOKENS: Final = 5
_MAX_APP_PASSWORDS: Final = 10
_MAX_WRONG: Final = 3  # a used recovery code is a wrong one, and wrong ones make their owner wait
_LEAST_CODES: Final = 4
_SPENT: Final = 400


@dataclass
class Person:
    """One user, and what must be true of it."""

    fleet: Fleet
    user: str
    chance: random.Random
    done: Counter[str]
    faults: list[str]
    tokens: list[Phone] = field(default_factory=list)
    unanswered_tokens: list[Phone] = field(default_factory=list)
    spent: list[str] = field(default_factory=list)
    unanswered_codes: list[str] = field(default_factory=list)
    recovery_codes: list[str] = field(default_factory=list)
    spent_recovery_codes: list[str] = field(default_factory=list)
    app_passwords: dict[str, str] = field(default_factory=dict)
    unanswered_app_passwords: int = 0
    revoked: list[str] = field(default_factory=list)
    wrong: int = 0
    gone: bool = False

    @property
    def tired(self) -> bool:
        """Whether it is time for another person."""
        return self.gone or self.wrong >= _MAX_WRONG or len(self.spent) > _SPENT

    def act(self) -> None:
        """Do one thing."""
        if not self.tokens:
            self.enroll()
            return
        deeds = {
            self.log_in: 30,
            self.replay: 20,
            self.use_app_password: 20,
            self.recover: 12,
            self.make_app_password: 12,
            self.enroll: 8,
            self.look: 4,
            self.revoke: 3,
            self.start_over: 1,
        }
        self.chance.choices(list(deeds), list(deeds.values()))[0]()

    def enroll(self) -> None:
        """A device; the user's first or another."""
        if len(self.tokens) + len(self.unanswered_tokens) >= MAX_TOKENS:
            return
        host = self._host()
        status, begun = self._manage(host, "enrol-begin")
        if status != "ok":
            return
        phone = Phone(begun["secret"])
        code = phone.code()
        status, reply = self._manage(host, "enrol-confirm", ticket=begun["ticket"], code=code)
        if status == "ok":
            phone.token_id = reply["token"]
            self.tokens.append(phone)
            self._spend(phone, phone.last_step)
            self.done["enrolled"] += 1
        elif reply.get("reason", "unavailable") == "unavailable":
            self.unanswered_tokens.append(phone)

    def log_in(self) -> None:
        """With a fresh code, or with one that was not answered."""
        if self.unanswered_codes and self.chance.random() < 0.5:
            code = self.unanswered_codes.pop()
            if self._offer("door", code) == "accept":
                self.done["code accepted at the second try"] += 1
                self.spent.append(code)
            return
        phone = self.chance.choice(self.tokens)
        if phone.left() < _LEAST_CODES:
            return
        step = phone.next_step()
        match self._offer("door", code := phone.at(step)):
            case "accept":
                self._spend(phone, step)
                self.done["code accepted"] += 1
            case "refuse":
                self.done["code refused"] += 1  # where an unanswered code counted as a guess that must wait
            case _:
                self.unanswered_codes.append(code)

    def recover(self) -> None:
        """With a recovery code."""
        if not self.recovery_codes:
            status, made = self._manage(self._host(), "recovery-codes")
            self.recovery_codes = made["recovery_codes"] if status == "ok" else []
            return
        code = self.recovery_codes.pop()
        if self._offer("door", code) == "accept":
            self.spent_recovery_codes.append(code)
            self.done["recovery code accepted"] += 1

    def make_app_password(self) -> None:
        """For imap."""
        if len(self.app_passwords) + self.unanswered_app_passwords >= _MAX_APP_PASSWORDS:
            return
        status, made = self._manage(self._host(), "app-password-create", services="imap")
        if status == "ok":
            self.app_passwords[made["id"]] = made["password"]
            self.done["app password created"] += 1
        else:
            self.unanswered_app_passwords += 1

    def use_app_password(self) -> None:
        """At any host."""
        if self.app_passwords:
            password = self.chance.choice(list(self.app_passwords.values()))
            self.done[f"app password {self._offer('imap', password)}"] += 1

    def revoke(self) -> None:
        """Revoke an app password, until that is answered."""
        if self.app_passwords:
            app_id, password = self.app_passwords.popitem()
            self._insist("app-password-revoke", "no-such-app-password", id=app_id)
            self.revoked.append(password)
            self.done["app password revoked"] += 1

    def replay(self) -> None:
        """What worked once must not work again."""
        if self.spent_recovery_codes and self.chance.random() < 0.1:
            self.wrong += 1
            self.refuses(self.chance.choice(self.spent_recovery_codes))
        elif self.spent:
            self.refuses(self.chance.choice(self.spent[-20:]))

    def look(self) -> None:
        """Whatever is there, it can be read."""
        status, reply = self._manage(self._host(), "status")
        if status == "ok" and len(reply["tokens"]) < len(self.tokens):
            there = {token["id"] for token in reply["tokens"]}
            missing = [phone.token_id for phone in self.tokens if phone.token_id not in there]
            self.faults.append(f"{self.user}: devices are missing: {missing}; there are {sorted(there)}")

    def start_over(self) -> None:
        """A reset by the administrator, until that is answered."""
        self._insist("reset", "nothing-there")
        self.gone = True
        self.done["reset"] += 1

    def refuses(self, code: str) -> None:
        """A code that was spent."""
        if self._offer("door", code) == "accept" and not self._is_of_another(code):
            self.faults.append(f"{self.user}: {code} was accepted twice")
        self.done["replayed"] += 1

    def _spend(self, phone: Phone, step: int) -> None:
        phone.accepted_step = max(phone.accepted_step, step)
        self.spent.append(phone.at(step))

    def _is_of_another(self, code: str) -> bool:
        """Two devices may show the same code, one time in some thousands."""
        steps = range(now() - WINDOW_STEPS - 4, now() + WINDOW_STEPS + 4)
        phones = [*self.tokens, *self.unanswered_tokens]
        return [phone.at(step) for phone in phones for step in steps].count(code) > 1

    def _insist(self, verb: str, already: str, **body: str) -> None:
        status, reply = "", {}
        while status != "ok" and reply.get("reason") != already:
            status, reply = self._manage(self._host(), verb, **body)

    def _offer(self, service: str, typed: str) -> str:
        return log_in(self._host().auth, self.user, service, typed, SECONDS)

    def _manage(self, host: FleetHost, verb: str, **body: str) -> tuple[str, dict[str, Any]]:
        return manage(host.control, verb, SECONDS, user=self.user, **body)

    def _host(self) -> FleetHost:
        return self.chance.choice(self.fleet.hosts)
