"""The embedded directory: a private slapd configuration and database under one state directory.

It is an ordinary slapd, run as ``slapd -F STATE/slapd.d -h ldapi://...``: ldapi only, no anonymous access, and an ACL
that admits the uid of otpd alone, by SASL EXTERNAL (SO_PEERCRED). The configuration is made beside its final place and
renamed as the last step, so a half-made one is never found.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from otpd.errors import DirectoryError
from otpd.texts import _

BASE_DN: Final = "ou=otpd"
_SLAPADD: Final = "/usr/sbin/slapadd"
_MODULES: Final = "/usr/lib/ldap"
_CORE_SCHEMA: Final = Path("/etc/ldap/schema/core.ldif")
_MAP_BYTES: Final = 64 * 2**30
"""An upper bound, not what it takes: the file is sparse. bench/README.md says what a million users take."""

_CONFIG: Final = """\
dn: cn=config
objectClass: olcGlobal
cn: config
olcDisallows: bind_anon
olcRequires: authc
olcThreads: 8
olcLogLevel: none

dn: cn=module{{0}},cn=config
objectClass: olcModuleList
cn: module{{0}}
olcModulePath: {modules}
olcModuleLoad: back_mdb
olcModuleLoad: otp
olcModuleLoad: syncprov

dn: cn=schema,cn=config
objectClass: olcSchemaConfig
cn: schema

include: file://{core_schema}

include: file://{otpd_schema}

dn: olcDatabase={{-1}}frontend,cn=config
objectClass: olcDatabaseConfig
objectClass: olcFrontendConfig
olcDatabase: {{-1}}frontend
olcAccess: to dn.base="" by users read by * none
olcAccess: to dn.base="cn=Subschema" by users read by * none
olcAccess: to * by * none

dn: olcDatabase={{0}}config,cn=config
objectClass: olcDatabaseConfig
olcDatabase: {{0}}config
olcAccess: to * by dn.exact="gidNumber=0+uidNumber=0,cn=peercred,cn=external,cn=auth" manage by * none

dn: olcDatabase={{1}}mdb,cn=config
objectClass: olcDatabaseConfig
objectClass: olcMdbConfig
olcDatabase: {{1}}mdb
olcSuffix: {base_dn}
olcDbDirectory: {data}
olcDbMaxSize: {map_bytes}
olcDbMode: 0600
olcDbIndex: objectClass eq
olcDbIndex: uid eq
olcDbIndex: otpdId eq
olcDbIndex: entryCSN eq
olcDbIndex: entryUUID eq
olcDbIndex: otpdSealedSeed subinitial
olcDbIndex: otpdSealedDigest subinitial
olcDbIndex: otpdSealedRecoveryCode subinitial
olcLimits: dn.exact="gidNumber={gid}+uidNumber={uid},cn=peercred,cn=external,cn=auth" size=unlimited time=unlimited
olcAccess: to * by dn.exact="gidNumber={gid}+uidNumber={uid},cn=peercred,cn=external,cn=auth" write by * none

dn: olcOverlay={{0}}syncprov,olcDatabase={{1}}mdb,cn=config
objectClass: olcOverlayConfig
objectClass: olcSyncProvConfig
olcOverlay: {{0}}syncprov
"""

_TREE: Final = """\
dn: {base_dn}
objectClass: organizationalUnit
ou: otpd
description: Tokens and app passwords of otpd. Every value that verifies a user is sealed.
"""


@dataclass(frozen=True)
class Account:
    """A local user, by number."""

    uid: int
    gid: int

    @classmethod
    def of(cls, name: str) -> "Account":
        """The user ``name``; raises :class:`DirectoryError` where NSS knows none."""
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            raise DirectoryError(
                _("there is no user {name}; systemd-sysusers, or adduser --system, makes one", name=name)
            ) from None
        return cls(entry.pw_uid, entry.pw_gid)


def initialise(state: Path, owner: Account, client: Account, schema: Path) -> None:
    """Make ``state/slapd.d`` and ``state/data``, owned by ``owner``, which slapd will run as; ``client`` may write.

    ``schema`` is otpd.ldif. Raises :class:`DirectoryError` where ``state`` already holds either, or where slapd's own
    tools fail; nothing is left of it then.
    """
    config, data = state / "slapd.d", state.absolute() / "data"
    for existing in (config, data):
        if existing.exists():
            raise DirectoryError(
                _("{existing} exists already; move it away if the directory is to be made anew", existing=existing)
            )
    for needed in (Path(_SLAPADD), _CORE_SCHEMA, schema):
        if not needed.exists():
            raise DirectoryError(_("{needed} is missing; install the package slapd", needed=needed))
    state.mkdir(mode=0o750, parents=True, exist_ok=True)
    data.mkdir(mode=0o700)
    try:
        with tempfile.TemporaryDirectory(prefix=".init-", dir=state) as work:
            made = Path(work, "slapd.d")
            made.mkdir(mode=0o700)
            _slapadd(made, 0, _config(schema, data, client))
            _slapadd(made, 1, _TREE.format(base_dn=BASE_DN))
            _give(data, owner)
            _give(made, owner)
            os.chown(state, owner.uid, -1)
            made.rename(config)
    except BaseException:
        shutil.rmtree(data, ignore_errors=True)
        raise


def _config(schema: Path, data: Path, client: Account) -> str:
    return _CONFIG.format(
        modules=_MODULES,
        core_schema=_CORE_SCHEMA,
        otpd_schema=schema.resolve(),
        base_dn=BASE_DN,
        data=data,
        map_bytes=_MAP_BYTES,
        uid=client.uid,
        gid=client.gid,
    )


def _slapadd(config: Path, database: int, ldif: str) -> None:
    done = subprocess.run(  # noqa: S603 - a fixed program and paths of our own
        [_SLAPADD, "-F", str(config), "-n", str(database)],
        input=ldif,
        text=True,
        capture_output=True,
        check=False,
        timeout=60,
        env={"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin"},
    )
    if done.returncode:
        raise DirectoryError(_("slapadd failed: {error}", error=done.stderr.strip()))


def _give(folder: Path, owner: Account) -> None:
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, owner.uid, owner.gid)
