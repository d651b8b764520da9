"""Two OpenLDAP servers that replicate to each other (slapd.conf(5): multi-provider), each on a host of its own."""

from pathlib import Path
from typing import Final

from directory.authority import Authority
from directory.servers import ADMIN_PASSWORD, SUFFIX, Slapd, sample
from rig.host import run
from rig.network import Network, enter, fqdn

_TLS_FOLDER: Final = Path("/srv/tls")
_TLS: Final = """\
olcTLSCACertificateFile: {authority}
olcTLSCertificateFile: {cert}
olcTLSCertificateKeyFile: {key}
"""
_SERVER_ID: Final = """\
dn: cn=config
changetype: modify
add: olcServerID
olcServerID: {number}
"""
_REPLICATION: Final = """\
dn: olcDatabase={{1}}mdb,cn=config
changetype: modify
add: olcSyncrepl
olcSyncrepl: rid=001 provider={peer} bindmethod=simple binddn="cn=admin,{suffix}" credentials="{password}"
  searchbase="{suffix}" type=refreshAndPersist retry="1 +" network-timeout=2 timeout=5 keepalive=1:1:1
  tls_cacert={authority} tls_reqcert=demand
-
add: olcMultiProvider
olcMultiProvider: TRUE
"""


class Provider(Slapd):
    """One of the two: it speaks ldaps on its own host, and plain LDAP on a socket that its host alone has."""

    def __init__(self, network: Network, authority: Authority, name: str, data_bytes: int) -> None:
        network.attach(name)
        self.address = network.address[name]
        self.pair = authority.issue(name, fqdn(name))
        tls = _TLS.format(authority=authority.file, cert=self.pair.cert, key=self.pair.key)
        super().__init__(Path("/"), name, tls=tls, address=self.address)
        self.enter = enter(name)
        self.data = Path("/srv", name, "data")
        self._authority = authority.file
        # A disk of its own, which can be full.
        run("mount", "-t", "tmpfs", "-o", f"size={data_bytes}", name, str(self.data))

    @property
    def ldaps(self) -> str:
        """Where hosts reach it."""
        return f"ldaps://{fqdn(self.name)}:{self.ports['ldaps']}"

    def begin(self, number: int) -> None:
        """Start it as server ``number``, before anything is written: the number is a part of each change's CSN."""
        self.start()
        self.apply(_SERVER_ID.format(number=number), config=True)

    def replicate(self, peer: "Provider") -> None:
        """Follow ``peer``, and let it follow."""
        given = {"suffix": SUFFIX, "password": ADMIN_PASSWORD, "authority": self._authority}
        self.apply(_REPLICATION.format(peer=peer.ldaps, **given), config=True)


def two_providers(network: Network, data_bytes: int) -> tuple[Provider, Provider]:
    """Both, started, with all that otpd needs."""
    _TLS_FOLDER.mkdir(parents=True)
    authority = Authority(_TLS_FOLDER, "fleet")
    first, second = (Provider(network, authority, name, data_bytes) for name in ("ldap1", "ldap2"))
    first.begin(1)
    first.grow()
    second.begin(2)
    for provider in (first, second):
        for name in ("openldap", "syncprov"):
            provider.apply(sample(name), config=True)
    first.replicate(second)
    second.replicate(first)
    return first, second
