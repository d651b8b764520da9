"""What :class:`otpd.directory.Directory` promises, on every kind of server."""

import itertools
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest

from otpd.clock import Deadline
from otpd.directory import Directory, Summary, Use
from otpd.errors import DirectoryError, DirectoryUnavailable, EntryError
from otpd.otp import OtpParameters
from otpd.values import EntryId, ServiceName, TimeStep, UserName

from .racing import winners
from .samples import CLOCK, app_password, grant, soon, token
from .servers import BASE, Server

# What is lost costs 389 Directory Server 15 ms: with 1,000 rounds it takes minutes, and the result is the same.
ROUNDS = {"openldap-2.5": 1000, "openldap-2.6": 1000, "389ds": 200}
SPECIAL = [
    "with space",
    "two  spaces",
    " leading space",
    "trailing space ",
    "#hash",
    "com,ma",
    'quote"quote',
    "back\\slash",
    "\\2c",
    "plus+uid=other",
    "semi;colon",
    "<angle>",
    "equals=sign",
    "(paren)*",
    "a\tb",
    "MixedCase",
    "gr\u00fc\u00df",
    "\u65e5\u672c",
    "\U0001f511",
    "x" * 240,
    "\u00fc" * 120,
]
SSHD = ServiceName("sshd")
_numbers = itertools.count(1)


@pytest.fixture
def directory(server: Server) -> Directory:
    return server.directory()


@pytest.fixture
def name(directory: Directory) -> UserName:
    """A new user."""
    user = UserName(f"user{next(_numbers)}")
    directory.ensure_user(user, soon())
    return user


def change(server: Server, user: UserName, rdn: str, lines: str) -> None:
    """As somebody else who may write: the administrator."""
    dn = f"{rdn}uid={user},{BASE}"
    server.apply(f"dn: {dn}\nchangetype: modify\n{lines}\n")


class TestUsers:
    def test_none(self, directory: Directory) -> None:
        assert directory.user(UserName("nobody"), soon()) is None
        assert directory.app_password(UserName("nobody"), EntryId("x"), soon()) == (None, None)
        assert directory.app_passwords(UserName("nobody"), soon()) == ()

    def test_made_once(self, directory: Directory, name: UserName) -> None:
        made = directory.user(name, soon())
        assert made
        assert (made.name, made.state, made.failures, made.last_failure, made.tokens) == (name, "active", 0, None, ())
        assert directory.set_failures(name, 0, 3, 1_700_000_000, soon())
        directory.ensure_user(name, soon())
        again = directory.user(name, soon())
        assert again
        assert (again.failures, again.last_failure) == (3, 1_700_000_000)

    def test_what_needs_a_user(self, directory: Directory) -> None:
        nobody = UserName("nobody")
        assert not directory.set_failures(nobody, 0, 1, 0, soon())
        assert not directory.spend_step(nobody, token(), TimeStep(8), soon())
        assert not directory.remove_app_password(nobody, EntryId("x"), soon())
        with pytest.raises(DirectoryError):
            directory.add_token(nobody, token(), soon())
        with pytest.raises(DirectoryError):
            directory.add_app_password(nobody, app_password(), soon())
        with pytest.raises(DirectoryError):
            directory.set_state(nobody, "disabled", soon())

    @pytest.mark.parametrize("special", SPECIAL, ids=lambda text: ascii(text)[1:20])
    def test_every_name_and_label(self, directory: Directory, special: str) -> None:
        user, mine = UserName(special), token(label=special)
        directory.ensure_user(user, soon())
        assert directory.add_token(user, mine, soon())
        assert directory.add_app_password(user, app_password(label=special), soon())
        found = directory.user(user, soon())
        assert found
        assert (found.name, found.tokens) == (user, (mine,))
        assert directory.spend_step(user, mine, TimeStep(8), soon())
        assert directory.set_failures(user, 0, 1, 0, soon())
        assert directory.app_passwords(user, soon()) == (app_password(label=special),)
        assert directory.app_password(user, EntryId("app00001"), soon())[1] == app_password(label=special)
        assert directory.remove_app_password(user, EntryId("app00001"), soon())

    def test_a_name_in_other_case_is_another(self, directory: Directory) -> None:
        directory.ensure_user(UserName("carol"), soon())
        for ask in (directory.user, directory.ensure_user):
            with pytest.raises(EntryError, match="spells the name differently"):
                ask(UserName("CAROL"), soon())
        with pytest.raises(EntryError):
            directory.app_password(UserName("CAROL"), EntryId("x"), soon())

    @pytest.mark.parametrize("other", ["dave ", " dave"])
    def test_a_name_with_spaces_around_it_is_another(self, directory: Directory, other: str) -> None:
        """OpenLDAP takes it for the same, 389 Directory Server does not."""
        directory.ensure_user(UserName("dave"), soon())
        with suppress(EntryError):
            assert directory.user(UserName(other), soon()) is None

    @pytest.mark.parametrize("bad", ["", "a\0b", "\0", "\udc80"])
    def test_what_is_no_name(self, directory: Directory, bad: str) -> None:
        user = UserName(bad)
        for ask in (directory.user, directory.ensure_user, directory.app_passwords):
            with pytest.raises(DirectoryError):
                ask(user, soon())
        with pytest.raises(DirectoryError):
            directory.set_failures(user, 0, 1, 0, soon())


class TestTokens:
    def test_round_trip(self, directory: Directory, name: UserName) -> None:
        second = token(2, label="", created=1_700_000_001.0, state="disabled", last_step=TimeStep(0))
        assert directory.add_token(name, second, soon())
        assert directory.add_token(name, token(), soon())
        found = directory.user(name, soon())
        assert found
        assert found.tokens == (token(), second), "oldest first"
        assert found.usable_tokens == (token(),)

    def test_a_counter_is_spent_like_a_step(self, directory: Directory, name: UserName) -> None:
        counting = token(parameters=OtpParameters(6, "sha1", None), last_step=TimeStep(0))
        assert directory.add_token(name, counting, soon())
        assert directory.spend_step(name, counting, TimeStep(8), soon(), Use(1_700_000_040.0, "web1", SSHD))
        assert not directory.spend_step(name, counting, TimeStep(9), soon())
        found = directory.user(name, soon())
        assert found
        assert found.tokens == (replace(counting, last_step=8, last_use=Use(1_700_000_040.0, "web1", SSHD)),)
        assert directory.remove_token(name, counting.id, soon())

    def test_a_use_is_noted_with_what_it_spends(self, directory: Directory, name: UserName) -> None:
        first, second = (Use(1_700_000_099.0 + n, "web1", SSHD, drift) for n, drift in ((0, -3), (60, 0)))
        directory.add_token(name, token(), soon())
        assert directory.spend_step(name, token(), TimeStep(8), soon(), first)
        noted = replace(token(), last_step=8, last_use=replace(first, at=1_700_000_040.0))
        assert not directory.spend_step(name, token(), TimeStep(9), soon(), second), "all of the Modify or nothing"
        found = directory.user(name, soon())
        assert found
        assert (found.tokens, found.tokens[0].drift) == ((noted,), -3)
        assert directory.spend_step(name, noted, TimeStep(9), soon())
        noted = replace(noted, last_step=9)
        assert directory.spend_step(name, noted, TimeStep(10), soon(), second)
        found = directory.user(name, soon())
        assert found
        assert found.tokens[0].last_use == replace(second, at=1_700_000_100.0)

    def test_an_id_is_taken_once(self, directory: Directory, name: UserName) -> None:
        assert directory.add_token(name, token(), soon())
        assert not directory.add_token(name, token(sealed_seed=b"k1.b3RoZXI"), soon())
        found = directory.user(name, soon())
        assert found
        assert found.tokens == (token(),)

    def test_a_step_is_spent_once(self, directory: Directory, name: UserName) -> None:
        directory.add_token(name, token(), soon())
        assert directory.spend_step(name, token(), TimeStep(8), soon())
        assert not directory.spend_step(name, token(), TimeStep(8), soon()), "7, which is expected, has been replaced"
        assert not directory.spend_step(name, token(), TimeStep(9), soon())
        found = directory.user(name, soon())
        assert found
        assert found.tokens[0].last_step == 8
        assert not directory.spend_step(name, found.tokens[0], TimeStep(8), soon()), "the last step never stands still"
        assert not directory.spend_step(name, found.tokens[0], TimeStep(7), soon()), "nor goes back"
        assert directory.spend_step(name, found.tokens[0], TimeStep(2**40), soon())

    def test_a_disabled_token_spends_nothing(self, directory: Directory, name: UserName) -> None:
        directory.add_token(name, token(1), soon())
        directory.add_token(name, token(2), soon())
        directory.set_state(name, "disabled", soon())
        assert not directory.spend_step(name, token(1), TimeStep(8), soon())
        assert not directory.spend_step(name, token(2), TimeStep(8), soon())
        found = directory.user(name, soon())
        assert found
        assert (found.state, found.usable_tokens, found.enrolled) == ("disabled", (), True)
        assert [one.last_step for one in found.tokens] == [7, 7], "all of the Modify or nothing"
        directory.set_state(name, "active", soon())
        assert directory.spend_step(name, token(1), TimeStep(8), soon())

    def test_disabling_the_user_suspends_what_is_active(self, directory: Directory, name: UserName) -> None:
        directory.add_token(name, token(1), soon())
        directory.add_token(name, token(2, state="disabled"), soon())
        directory.set_state(name, "disabled", soon())
        assert states(directory, name) == ["suspended", "disabled"]
        directory.set_state(name, "active", soon())
        assert states(directory, name) == ["active", "disabled"]

    def test_one_token_is_disabled_renamed_and_removed(self, directory: Directory, name: UserName) -> None:
        directory.add_token(name, token(1), soon())
        directory.add_token(name, token(2), soon())
        assert directory.set_token_state(name, token(1), "disabled", soon())
        assert not directory.set_token_state(name, token(1), "disabled", soon()), "it is not active any more"
        assert not directory.spend_step(name, token(1), TimeStep(8), soon())
        assert states(directory, name) == ["disabled", "active"]
        for label in ("other", ""):
            assert directory.rename_token(name, token(2).id, label, soon())
            found = directory.user(name, soon())
            assert found
            assert found.tokens[1] == token(2, label=label)
        assert directory.remove_token(name, token(2).id, soon())
        assert not directory.remove_token(name, token(2).id, soon())
        assert not directory.rename_token(name, token(2).id, "x", soon())
        assert states(directory, name) == ["disabled"]

    def test_another_token_than_asked_for(self, directory: Directory, name: UserName) -> None:
        directory.add_token(name, token(), soon())
        assert not directory.spend_step(name, token(9), TimeStep(8), soon())


def states(directory: Directory, name: UserName) -> list[str]:
    found = directory.user(name, soon())
    assert found
    return [one.state for one in found.tokens]


class TestRecoveryCodes:
    CODES = (b"k1.b25l", b"k1.dHdv", b"k1.dGhyZWU")

    def test_each_is_spent_once(self, directory: Directory, name: UserName) -> None:
        directory.set_recovery_codes(name, self.CODES, 1_700_000_000, soon())
        assert left(directory, name) == set(self.CODES)
        assert directory.spend_recovery_code(name, self.CODES[1], soon())
        assert not directory.spend_recovery_code(name, self.CODES[1], soon())
        assert not directory.spend_recovery_code(name, b"k1.bm9uZQ", soon())
        assert left(directory, name) == {self.CODES[0], self.CODES[2]}

    def test_the_last_one(self, directory: Directory, name: UserName) -> None:
        directory.set_recovery_codes(name, self.CODES[:1], 1_700_000_000, soon())
        assert directory.spend_recovery_code(name, self.CODES[0], soon())
        assert left(directory, name) == set()

    def test_a_new_set_takes_the_place_of_the_old(self, directory: Directory, name: UserName) -> None:
        directory.set_recovery_codes(name, self.CODES[:2], 1_700_000_000, soon())
        directory.set_recovery_codes(name, self.CODES[2:], 1_700_000_000, soon())
        assert not directory.spend_recovery_code(name, self.CODES[0], soon())
        assert left(directory, name) == set(self.CODES[2:])

    def test_a_disabled_user_has_none(self, directory: Directory, name: UserName) -> None:
        directory.set_recovery_codes(name, self.CODES, 1_700_000_000, soon())
        directory.set_state(name, "disabled", soon())
        assert not directory.spend_recovery_code(name, self.CODES[0], soon())
        directory.set_state(name, "active", soon())
        assert directory.spend_recovery_code(name, self.CODES[0], soon())

    def test_who_has_none(self, directory: Directory, name: UserName) -> None:
        assert not directory.spend_recovery_code(name, self.CODES[0], soon())
        with pytest.raises(DirectoryError):
            directory.set_recovery_codes(UserName("nobody"), self.CODES, 1_700_000_000, soon())


def left(directory: Directory, name: UserName) -> set[bytes]:
    found = directory.user(name, soon())
    assert found
    return set(found.sealed_recovery_codes)


class TestRemoving:
    def test_a_user_goes_with_all_that_is_below(self, server: Server, directory: Directory, name: UserName) -> None:
        directory.add_token(name, token(), soon())
        directory.add_app_password(name, app_password(), soon())
        directory.set_recovery_codes(name, (b"k1.b25l",), 1_700_000_000, soon())
        assert directory.remove_user(name, soon())
        assert not directory.remove_user(name, soon())
        assert directory.user(name, soon()) is None
        assert f"uid={name}," not in server.search(BASE, "1.1")


class TestFailures:
    def test_a_count_that_moved_on(self, directory: Directory, name: UserName) -> None:
        assert directory.set_failures(name, 0, 1, 1_700_000_000, soon())
        assert not directory.set_failures(name, 0, 1, 1_800_000_000, soon())
        found = directory.user(name, soon())
        assert found
        assert (found.failures, found.last_failure) == (1, 1_700_000_000)


class TestAppPasswords:
    def test_oldest_first(self, directory: Directory, name: UserName) -> None:
        for number in (2, 1, 3):
            assert directory.add_app_password(name, app_password(number), soon())
        assert directory.app_passwords(name, soon()) == tuple(app_password(number) for number in (1, 2, 3))

    def test_found_with_its_user(self, directory: Directory, name: UserName) -> None:
        directory.add_token(name, token(), soon())
        directory.add_app_password(name, app_password(1), soon())
        directory.add_app_password(name, app_password(2), soon())
        user, found = directory.app_password(name, EntryId("app00002"), soon())
        assert user
        assert (user.name, found) == (name, app_password(2))
        assert directory.app_password(name, EntryId("app00003"), soon())[1] is None

    def test_an_id_is_taken_once(self, directory: Directory, name: UserName) -> None:
        assert directory.add_app_password(name, app_password(), soon())
        assert not directory.add_app_password(name, app_password(label="other"), soon())

    def test_remove(self, directory: Directory, name: UserName) -> None:
        directory.add_app_password(name, app_password(1), soon())
        directory.add_app_password(name, app_password(2), soon())
        assert directory.remove_app_password(name, EntryId("app00001"), soon())
        assert not directory.remove_app_password(name, EntryId("app00001"), soon())
        assert directory.app_passwords(name, soon()) == (app_password(2),)

    def test_a_token_is_none(self, directory: Directory, name: UserName) -> None:
        directory.add_token(name, token(), soon())
        assert not directory.remove_app_password(name, token().id, soon())
        assert directory.app_password(name, token().id, soon())[1] is None

    def test_case_counts(self, directory: Directory, name: UserName) -> None:
        directory.add_app_password(name, app_password(), soon())
        assert directory.app_password(name, EntryId("APP00001"), soon())[1] is None

    @pytest.mark.parametrize(
        "trick", ["*", "app0*", "x)(objectClass=*", "app00001)(|(uid=*", "\\2a", "", "a\0b", "\u00fc"]
    )
    def test_an_id_is_no_filter(self, directory: Directory, name: UserName, trick: str) -> None:
        directory.add_app_password(name, app_password(), soon())
        assert directory.app_password(name, EntryId(trick), soon())[1] is None
        assert not directory.remove_app_password(name, EntryId(trick), soon())
        assert directory.app_passwords(name, soon()) == (app_password(),)


class TestEntriesThatMakeNoSense:
    @pytest.mark.parametrize(
        ("attribute", "value"),
        [
            ("otpdState", "maybe"),
            ("oathOTPLength", "5"),
            ("oathOTPLength", "9"),
            ("oathTOTPTimeStepPeriod", "0"),
            ("oathTOTPLastTimeStep", "-1"),
            ("oathHMACAlgorithm", "1.2.3"),
            ("otpdCreated", "20240101000000+0100"),
        ],
    )
    def test_token(self, server: Server, directory: Directory, name: UserName, attribute: str, value: str) -> None:
        directory.add_token(name, token(), soon())
        change(server, name, f"otpdId={token().id},", f"replace: {attribute}\n{attribute}: {value}")
        with pytest.raises(EntryError, match=f"^otpdId={token().id},uid={name},{BASE}: {attribute} does not parse$"):
            directory.user(name, soon())

    @pytest.mark.parametrize(("attribute", "value"), [("oathFailureCount", "-1"), ("otpdState", "maybe")])
    def test_user(self, server: Server, directory: Directory, name: UserName, attribute: str, value: str) -> None:
        change(server, name, "", f"replace: {attribute}\n{attribute}: {value}")
        with pytest.raises(EntryError, match=f"{attribute} does not parse"):
            directory.user(name, soon())
        with pytest.raises(EntryError, match=f"{attribute} does not parse"):
            directory.app_password(name, EntryId("x"), soon())


class TestRaces:
    """Each racer is a process of its own, as each host is."""

    def test_a_step_has_one_winner(self, server: Server, directory: Directory, name: UserName) -> None:
        directory.add_token(name, token(last_step=TimeStep(0)), soon())
        rounds = ROUNDS[server.name]

        def spend(mine: Directory, number: int) -> bool:
            return mine.spend_step(name, token(last_step=TimeStep(number)), TimeStep(number + 1), soon())

        assert Counter(winners(server, rounds, spend)) == {1: rounds}

    def test_a_count_moves_once(self, server: Server, name: UserName) -> None:
        rounds = ROUNDS[server.name]

        def count(mine: Directory, number: int) -> bool:
            return mine.set_failures(name, number, number + 1, CLOCK.wall(), soon())

        assert Counter(winners(server, rounds, count)) == {1: rounds}

    def test_what_is_known_of_a_mailed_code_moves_once(
        self, server: Server, directory: Directory, name: UserName
    ) -> None:
        rounds = ROUNDS[server.name] // 10
        assert directory.set_mailed_code(name, None, b"k1.0000", soon())

        def move(mine: Directory, number: int) -> bool:
            return mine.set_mailed_code(name, f"k1.{number:04}".encode(), f"k1.{number + 1:04}".encode(), soon())

        assert Counter(winners(server, rounds, move)) == {1: rounds}

    def test_a_recovery_code_has_one_winner(self, server: Server, directory: Directory, name: UserName) -> None:
        rounds = ROUNDS[server.name] // 10
        codes = [f"k1.{number:04}".encode() for number in range(rounds)]
        directory.set_recovery_codes(name, codes, 1_700_000_000, soon())

        def spend(mine: Directory, number: int) -> bool:
            return mine.spend_recovery_code(name, codes[number], soon())

        assert Counter(winners(server, rounds, spend)) == {1: rounds}

    def test_a_token_is_added_once(self, server: Server, name: UserName) -> None:
        def add(mine: Directory, number: int) -> bool:
            return mine.add_token(name, token(number), soon())

        rounds = ROUNDS[server.name] // 10
        assert Counter(winners(server, rounds, add)) == {1: rounds}

    def test_an_app_password_is_removed_once(self, server: Server, directory: Directory, name: UserName) -> None:
        rounds = ROUNDS[server.name] // 10
        for number in range(rounds):
            directory.add_app_password(name, app_password(number), soon())

        def remove(mine: Directory, number: int) -> bool:
            return mine.remove_app_password(name, app_password(number).id, soon())

        assert Counter(winners(server, rounds, remove)) == {1: rounds}


class TestServers:
    @pytest.fixture(autouse=True)
    def _running(self, server: Server) -> Iterator[None]:
        yield
        if server.process is None:
            server.start()

    @pytest.mark.parametrize("kept", [False, True], ids=["new connection", "kept connection"])
    def test_hangs(self, server: Server, directory: Directory, name: UserName, kept: bool) -> None:
        mine = directory if kept else server.directory()
        with server.hanging():
            for ask in (mine.user, mine.ensure_user):
                started = time.monotonic()
                with pytest.raises(DirectoryUnavailable):
                    ask(name, soon(0.7))
                assert 0.65 < time.monotonic() - started < 1
        assert mine.user(name, soon())

    @pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
    def test_restarted_between_operations(
        self, server: Server, directory: Directory, name: UserName, how: signal.Signals
    ) -> None:
        directory.add_token(name, token(), soon())
        server.stop(how)
        server.start()
        assert directory.spend_step(name, token(), TimeStep(8), soon()), "a write, which is sent once"
        server.stop(how)
        server.start()
        found = directory.user(name, soon())
        assert found
        assert found.tokens[0].last_step == 8

    def test_gone(self, server: Server, directory: Directory, name: UserName) -> None:
        server.stop()
        for ask in (directory.user, directory.ensure_user, directory.app_passwords):
            started = time.monotonic()
            with pytest.raises(DirectoryUnavailable):
                ask(name, soon())
            assert time.monotonic() - started < 1, "at once"

    def test_no_time_left(self, directory: Directory, name: UserName) -> None:
        with pytest.raises(DirectoryUnavailable, match="no time left"):
            directory.user(name, Deadline(CLOCK, CLOCK.monotonic()))


def test_grants_come_back_and_are_taken_once(directory: Directory, name: UserName) -> None:
    first, second = grant(1), grant(2, purpose="enrolment", hosts=frozenset())
    assert directory.grants(name, soon()) == ()
    assert directory.add_grant(name, second, soon())
    assert directory.add_grant(name, first, soon())
    assert not directory.add_grant(name, first, soon())
    assert directory.grants(name, soon()) == (first, second)
    assert directory.take_grant(name, first.id, soon())
    assert not directory.take_grant(name, first.id, soon())
    assert not directory.take_grant(UserName("nobody"), first.id, soon())
    assert directory.grants(name, soon()) == (second,)


def test_what_is_known_of_a_mailed_code_changes_hands_once(directory: Directory, name: UserName) -> None:
    def known() -> bytes | None:
        user = directory.user(name, soon())
        return user.sealed_mailed_code if user else None

    assert known() is None
    assert not directory.set_mailed_code(name, b"k1.AAAA", b"k1.AAAB", soon()), "there is none yet"
    assert directory.set_mailed_code(name, None, b"k1.AAAA", soon())
    assert not directory.set_mailed_code(name, None, b"k1.AAAB", soon()), "there is one"
    assert known() == b"k1.AAAA"
    assert directory.set_mailed_code(name, b"k1.AAAA", b"k1.AAAB", soon())
    assert not directory.set_mailed_code(name, b"k1.AAAA", b"k1.AAAC", soon())
    assert known() == b"k1.AAAB"
    directory.set_state(name, "disabled", soon())
    assert not directory.set_mailed_code(name, b"k1.AAAB", b"k1.AAAC", soon())
    assert known() is None
    directory.set_state(name, "active", soon())
    assert directory.set_mailed_code(name, b"k1.AAAB", b"k1.AAAC", soon())
    user = directory.user(name, soon())
    assert user
    assert not user.enrolled
    assert directory.remove_user(name, soon())


def test_clearing_leaves_the_moment_alone(directory: Directory, name: UserName) -> None:
    directory.add_token(name, token(), soon())
    directory.add_app_password(name, app_password(), soon())
    directory.add_grant(name, grant(), soon())
    directory.set_recovery_codes(name, [b"k1.AAAA"], 1_700_000_000.0, soon())
    directory.set_failures(name, 0, 3, 1_700_000_000.0, soon())
    directory.set_state(name, "disabled", soon())
    directory.clear_user(name, 1_700_000_001.0, soon())
    user = directory.user(name, soon())
    assert user
    assert (user.failures, user.last_failure, user.reset) == (0, None, 1_700_000_001.0)
    assert user.state == "disabled", "who was shut out stays so"
    assert (user.tokens, user.sealed_recovery_codes) == ((), ())
    assert directory.app_passwords(name, soon()) == ()
    assert directory.grants(name, soon()) == ()


def test_summaries_count_what_is_there(directory: Directory, name: UserName) -> None:
    directory.add_token(name, token(1), soon())
    directory.add_token(name, token(2, state="disabled"), soon())
    directory.add_app_password(name, app_password(), soon())
    directory.set_recovery_codes(name, [b"k1.AAAA", b"k1.AAAB"], 1_700_000_000.0, soon())
    directory.set_failures(name, 0, 2, 1_700_000_000.0, soon())

    def of(user: UserName) -> Summary:
        return next(one for one in directory.summaries(soon(30)) if one.name == user)

    assert of(name) == Summary(name, False, 2, 2, 1, True, 1)
    directory.set_state(name, "disabled", soon())
    assert of(name) == Summary(name, True, 2, 2, 0, True, 1)
    special = UserName("sum,m=a\\ry")
    directory.ensure_user(special, soon())
    assert of(special) == Summary(special)
