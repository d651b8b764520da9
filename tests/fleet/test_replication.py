"""What hosts are answered while the two providers do not hear of each other."""

from .clients import log_in, manage
from .fleet import Fleet


def test_what_was_just_made_can_be_revoked(fleet: Fleet) -> None:
    """On a host that reads from the other provider, which has not heard of it yet."""
    [user] = fleet.people(1)
    fleet.enroll(user)
    host = fleet.hosts[-1]
    with fleet.network.without(fleet.first.name, fleet.second.name):
        password, app_id = fleet.app_password(user, host)
        status, listed = manage(host.control, "app-password-list", user=user)
        assert (status, [item["id"] for item in listed["app_passwords"]]) == ("ok", [app_id])
        assert manage(host.control, "app-password-revoke", user=user, id=app_id)[0] == "ok"
    assert fleet.replicated()
    assert log_in(host.auth, user, "imap", password) == "refuse"
