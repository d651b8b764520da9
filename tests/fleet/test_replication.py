"""What hosts are answered while the two providers do not hear of each other."""

import json
import subprocess

from directory.servers import ADMIN_PASSWORD

from .clients import log_in, manage
from .fleet import Fleet


def check(fleet: Fleet, *options: str) -> list[dict[str, str]]:
    """What ``otpctl directory check`` finds on the first host, as its administrator types the password."""
    command = [*fleet.hosts[0].enter, "otpctl", "directory", "check", "--json", *options]
    done = subprocess.run(command, input=f"{ADMIN_PASSWORD}\n", text=True, stdout=subprocess.PIPE, check=False)
    found: list[dict[str, str]] = json.loads(done.stdout)["findings"]
    assert done.returncode == any(one["fault"] for one in found)
    return found


def test_directory_check_measures_replication(fleet: Fleet) -> None:
    found = check(fleet, "--admin-dn", "cn=admin,cn=config")
    assert [one for one in found if one["fault"]] == []
    [arrived] = [one for one in found if one["what"] == "replication"]
    assert arrived["server"] == fleet.second.ldaps
    assert arrived["note"].startswith("arrived within ")
    seen = {(one["server"], one["unseen"]) for one in found if one["what"] == "indexes"}
    assert seen == {(fleet.first.ldaps, ""), (fleet.second.ldaps, "")}


def test_directory_check_finds_a_pair_that_is_cut(fleet: Fleet) -> None:
    with fleet.network.without(fleet.first.name, fleet.second.name):
        found = check(fleet)
        assert all("--admin-dn" in one["unseen"] for one in found if one["what"] == "indexes")
        [fault] = [one for one in found if one["fault"]]
        assert (fault["server"], fault["what"]) == (fleet.second.ldaps, "replication")
        assert "olcSyncrepl" in fault["remedy"]
    assert fleet.replicated()
    assert not any(one["fault"] for one in check(fleet))


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
