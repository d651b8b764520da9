"""The dialogue: from ``begin`` to ``done``.

Each step takes a request and what its ticket holds, and gives a question with a new ticket, or a verdict. Nothing is
kept between two steps. Steps block on the directory and run on a worker.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from otpd import audit, remembered
from otpd.clock import Deadline
from otpd.enrol_at_login import EnrolAtLogin, Question, Stage
from otpd.errors import DirectoryError, HelperError, SealError, TicketError
from otpd.factor import Attempt, Outcome, Parts, Reason
from otpd.factors import judge, offers, prompt_of
from otpd.identity import Accounts, Peer
from otpd.policy import BYPASS, Policy, ProofName, ServicePolicy
from otpd.protocol import DIALOGUE_SECONDS, Answer, Ask, Begin, Cancel, Done, Reply, Request
from otpd.secret import Secret
from otpd.texts import _, mark, speaking
from otpd.ticket import Tickets
from otpd.values import ServiceName, UserName

_PURPOSE: Final = "dialogue"
_HOUR_SECONDS: Final = 3600.0
_NOBODY: Final = UserName("\N{BLACK SQUARE}")
"""A name that no entry has: it is looked up for users that NSS does not know, to take the same time."""

_MOST_DELIVERIES: Final = 3
"""How often one dialogue may ask for a delivery; from then on, it is a try."""

_HINTS: Final = {
    Reason.USED_CODE: mark("This code was already used. Wait for the next one."),
    Reason.TYPO: mark("There is a typo in it."),
}


@dataclass(frozen=True)
class State:
    """What travels in the ticket; ``enrolment`` is a :class:`~otpd.enrol_at_login.Stage`, while one goes on.

    ``deliveries`` is how often something was asked for that has to be delivered. ``peer`` is whose word all this is,
    for the log, where it is not root's: anybody may begin a dialogue of their own in the name of any service.
    """

    user: str
    known: bool
    service: str
    rhost: str
    forward_pass: bool
    tries: int
    deliveries: int = 0
    peer: str = ""
    enrolment: dict[str, Any] | None = None


@dataclass(frozen=True)
class Dialogue:
    """Answers logins."""

    policy: Policy
    accounts: Accounts
    parts: Parts
    tickets: Tickets
    enrolling: EnrolAtLogin

    def step(self, peer: Peer, request: Request, deadline: Deadline) -> Reply:
        """The reply to ``request`` of ``peer``; whatever is broken becomes the verdict ``unavailable``."""
        try:
            state, expires = self._state(peer, request)
        except TicketError as error:
            audit.record("refused", peer=peer, reason=error)
            return Done(verdict="refuse")
        with speaking(self._rules(state).language):
            try:
                match request:
                    case Begin():
                        return self._begin(peer, request, state, expires, deadline)
                    case Answer():
                        return self._answer(peer, request, state, expires, deadline)
                    case Cancel():
                        audit.record("cancelled", user=state.user, service=state.service, rhost=state.rhost)
                        return Done(verdict="refuse")
            except (DirectoryError, HelperError, SealError) as error:
                audit.broken(user=state.user, service=state.service, rhost=state.rhost, reason=error)
                return Done(verdict="unavailable")

    def _state(self, peer: Peer, request: Request) -> tuple[State, float]:
        """Where the dialogue stands, and the moment on the monotonic clock at which it expires."""
        if not isinstance(request, Begin):
            raw, expires = self.tickets.redeem(_PURPOSE, peer.uid, request.dialogue)
            return State(**raw), expires
        name = self.accounts.canonical_name(request.user)
        state = State(
            user=name or request.user,
            known=name is not None,
            service=request.service,
            rhost=request.rhost,
            forward_pass=request.forward_pass,
            tries=0,
            peer="" if peer.is_root else str(peer),
        )
        return state, self.parts.clock.monotonic() + DIALOGUE_SECONDS

    def _begin(self, peer: Peer, request: Begin, state: State, expires: float, deadline: Deadline) -> Reply:
        rules = self._rules(state)
        if rules.unenrolled != "refuse" and state.known:
            user = self.parts.directory.attempt("code").user(UserName(state.user), deadline)
            if user is None or not user.enrolled:
                if rules.unenrolled == "allow":
                    _record("allowed", state, Outcome(Reason.NOT_ENROLLED))
                    return Done(verdict="ignore")
                # Who sees nothing cannot scan.
                if not (request.silent or request.use_first_pass):
                    return self._begin_enrolment(peer, request, state, expires, deadline)
        device = self._remembered(state, rules, deadline)
        if device:
            return _accept(state, Outcome(Reason.ACCEPTED, detail=f"remembered device {device}"))
        said = offers(rules.accept)
        if request.authtok is not None:
            outcome = self._judge(state, request.authtok, rules.judged, deadline)
            if outcome.accepted:
                return self._let_in(state, outcome)
            if request.use_first_pass:
                return _refuse(state, outcome, "refuse")
            _record("asking", state, outcome)
            said = (outcome.delivery,) if outcome.delivery else said
        elif request.use_first_pass:
            return _refuse(state, Outcome(Reason.NO_PROOF), "refuse")
        return self._ask(peer, state, rules, expires, *said)

    def _begin_enrolment(self, peer: Peer, request: Begin, state: State, expires: float, deadline: Deadline) -> Reply:
        rules, user, service = self._rules(state), UserName(state.user), ServiceName(state.service)
        question = self.enrolling.begin(user, service, rules, request.authtok, deadline)
        return self._ask_to_enrol(peer, state, expires, question)

    def _go_on_enrolling(
        self, peer: Peer, typed: Secret, state: State, stage: Stage, expires: float, deadline: Deadline
    ) -> Reply:
        rules, user, service = self._rules(state), UserName(state.user), ServiceName(state.service)
        if stage.name == "prove":
            # For who has no phone to enrol at the moment.
            outcome = self._judge(state, typed, (BYPASS,), deadline)
            if outcome.accepted:
                return self._let_in(state, outcome)
            if outcome.reason is Reason.OTHER_HOST:
                _record("asking", state, outcome)
        step = self.enrolling.answer(user, service, rules, stage, typed, deadline)
        if isinstance(step, Question):
            return self._ask_to_enrol(peer, state, expires, step)
        if step.verdict == "ask for a code":
            _record("asking", state, Outcome(step.reason, detail="another enrolment was faster"))
            return self._ask(peer, replace(state, enrolment=None), rules, expires, *step.infos)
        _record("accepted" if step.verdict == "accept" else "refused", state, Outcome(step.reason, detail=step.detail))
        return Done(verdict=step.verdict, infos=step.infos)

    def _ask_to_enrol(self, peer: Peer, state: State, expires: float, question: Question) -> Ask:
        state = replace(state, enrolment=question.stage.to_ticket())
        ticket = self.tickets.reissue(_PURPOSE, peer.uid, asdict(state), expires)
        return Ask(dialogue=ticket, prompt=question.prompt, infos=question.infos, echo=question.echo)

    def _answer(self, peer: Peer, request: Answer, state: State, expires: float, deadline: Deadline) -> Reply:
        rules = self._rules(state)
        if state.enrolment is not None:
            stage = Stage.from_ticket(state.enrolment)
            return self._go_on_enrolling(peer, request.text, state, stage, expires, deadline)
        outcome = self._judge(state, request.text, rules.judged, deadline)
        if outcome.accepted:
            return self._let_in(state, outcome)
        if outcome.delivery and state.deliveries < _MOST_DELIVERIES:
            _record("asking again", state, outcome)
            asked = replace(state, deliveries=state.deliveries + 1)
            return self._ask(peer, asked, rules, expires, outcome.delivery)
        again = replace(state, tries=state.tries + 1)
        if again.tries >= rules.tries:
            return _refuse(state, outcome, "refuse" if rules.tries == 1 else "exhausted")
        _record("asking again", state, outcome)
        return self._ask(peer, again, rules, expires, _(_HINTS.get(outcome.reason, mark("This was not accepted."))))

    def _ask(self, peer: Peer, state: State, rules: ServicePolicy, expires: float, *infos: str) -> Ask:
        ticket = self.tickets.reissue(_PURPOSE, peer.uid, asdict(state), expires)
        return Ask(dialogue=ticket, prompt=prompt_of(rules.accept[0]), infos=infos)

    def _judge(self, state: State, typed: Secret, accept: tuple[ProofName, ...], deadline: Deadline) -> Outcome:
        attempt = Attempt(
            user=UserName(state.user) if state.known else _NOBODY,
            service=ServiceName(state.service),
            typed=typed,
            deadline=deadline,
            rhost=state.rhost,
            known=state.known,
        )
        outcome = judge(accept, attempt, self.parts)
        # A typo is told before anybody is looked up: it must be told of names that nobody has, too.
        if state.known or outcome.reason is Reason.TYPO:
            return outcome
        return Outcome(Reason.UNKNOWN_USER, delivery=outcome.delivery)

    def _remembered(self, state: State, rules: ServicePolicy, deadline: Deadline) -> str | None:
        """The device for which nothing is asked; none while the directory is away, since it may have been forgotten."""
        address = remembered.address_of(state.rhost) if rules.remember_hours and state.known else ""
        if not address:
            return None
        # Who must give a code is told so in time, though the directory hangs.
        half = Deadline.after(self.parts.clock, deadline.remaining_seconds() / 2)
        try:
            user = self.parts.directory.user(UserName(state.user), half)
            group, seconds = _group(state, rules), rules.remember_hours * _HOUR_SECONDS
            return remembered.knows(self.parts, user, group, address, seconds, half) if user else None
        except (DirectoryError, SealError):
            return None  # then a code is asked for, and whoever judges it says what is wrong

    def _let_in(self, state: State, outcome: Outcome) -> Done:
        rules, address = self._rules(state), remembered.address_of(state.rhost)
        token = outcome.token
        if token and rules.remember_hours and address:
            name, seconds = UserName(state.user), rules.remember_hours * _HOUR_SECONDS
            self.parts.aside(
                lambda deadline: remembered.remember(
                    self.parts, name, token, _group(state, rules), address, seconds, deadline
                )
            )
        return _accept(state, outcome)

    def _rules(self, state: State) -> ServicePolicy:
        return self.policy.of(ServiceName(state.service))


def _group(state: State, rules: ServicePolicy) -> str:
    return rules.remember_group or state.service


def _accept(state: State, outcome: Outcome) -> Done:
    _record("accepted", state, outcome)
    infos = (outcome.info,) if outcome.info else ()
    return Done(verdict="accept", infos=infos, authtok=outcome.authtok if state.forward_pass else None)


def _refuse(state: State, outcome: Outcome, verdict: str) -> Done:
    _record("refused", state, outcome)
    return Done(verdict=verdict)


def _record(event: str, state: State, outcome: Outcome) -> None:
    audit.record(
        event,
        user=state.user,
        service=state.service,
        rhost=state.rhost,
        peer=state.peer,
        reason=outcome.reason,
        detail=outcome.detail,
        offline="yes" if outcome.offline else None,
    )
