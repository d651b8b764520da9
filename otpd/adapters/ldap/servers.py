"""The directory's servers, as otpd.toml names them."""

from pathlib import Path
from typing import Final

from otpd.adapters import systemd
from otpd.adapters.config import DirectoryTable
from otpd.adapters.key_file import read_secret
from otpd.adapters.ldap.connections import Servers

_BIND_CREDENTIAL: Final = "bind-password"


def servers_of(table: DirectoryTable, owner: int | None = None) -> Servers:
    """The servers, with the password that it takes to bind; raises :class:`ConfigError` as ``read_secret`` does.

    ``owner`` is the uid that may own the password's file, beside root and whoever reads it.
    """
    password = None
    if table.bind_password_file:
        given = systemd.credential(_BIND_CREDENTIAL)
        password = read_secret(given or Path(table.bind_password_file), trusted=given is not None, owner=owner)
    return Servers(
        uris=table.uris,
        provider=table.provider or table.uris[0],
        bind_dn=table.bind_dn,
        bind_password=password,
        ca_file=table.ca_file or None,
        cert_file=table.cert_file or None,
        key_file=table.key_file or None,
    )
