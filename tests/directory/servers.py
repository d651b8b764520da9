"""Real directory servers, each in the Debian that ships it, set up from ``conf/`` as their administrators would.

What they write is in memory. They listen on sockets below their root, and on loopback where a test asks for it.
"""

import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from rig.host import REPOSITORY, free_port, run

from otpd.adapters.ldap.connections import Connections, Servers
from otpd.adapters.ldap.directory import LdapDirectory
from otpd.clock import SystemClock
from otpd.secret import Secret
from otpd.values import UserName

from .authority import Authority

SUFFIX: Final = "dc=example,dc=org"
BASE: Final = f"ou=otpd,{SUFFIX}"
ACCOUNT: Final = f"cn=otpd,ou=services,{SUFFIX}"
ALICE: Final = UserName("alice")
PASSWORD: Final = "otpd's own password"
CONF: Final = REPOSITORY / "conf"
ADMIN_PASSWORD: Final = "the directory manager"
_SECONDS: Final = 30

SLAPD_CONFIG: Final = """\
dn: cn=config
objectClass: olcGlobal
cn: config
olcThreads: 8
{tls}
dn: cn=module{{0}},cn=config
objectClass: olcModuleList
cn: module{{0}}
olcModulePath: /usr/lib/ldap
olcModuleLoad: back_mdb
{otp}
dn: cn=schema,cn=config
objectClass: olcSchemaConfig
cn: schema

include: file:///etc/ldap/schema/core.ldif

{schema}
dn: olcDatabase={{0}}config,cn=config
objectClass: olcDatabaseConfig
olcDatabase: {{0}}config
olcRootDN: cn=admin,cn=config
olcRootPW: {password}

dn: olcDatabase={{1}}mdb,cn=config
objectClass: olcDatabaseConfig
objectClass: olcMdbConfig
olcDatabase: {{1}}mdb
olcSuffix: {suffix}
olcRootDN: cn=admin,{suffix}
olcRootPW: {password}
olcDbDirectory: {folder}/data
olcDbMaxSize: 268435456
olcDbIndex: objectClass eq
olcDbIndex: cn,uid eq
olcAccess: to attrs=userPassword by self write by anonymous auth by * none
olcAccess: to * by users read by * none
"""
_FOLDERS_389: Final = (
    "/run/dirsrv",
    *(f"/run/lock/dirsrv/slapd-otpd/{name}" for name in ("exports", "imports", "server")),
)
_TLS_389: Final = """\
dn: cn=config
changetype: modify
replace: nsslapd-listenhost
nsslapd-listenhost: 127.0.0.1
-
replace: nsslapd-securelistenhost
nsslapd-securelistenhost: 127.0.0.1
-
replace: nsslapd-port
nsslapd-port: {port}
-
replace: nsslapd-secureport
nsslapd-secureport: {secure_port}
-
replace: nsslapd-security
nsslapd-security: on
"""
SUFFIX_ENTRY: Final = f"dn: {SUFFIX}\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: Example\n"


@dataclass
class Server:
    """One server: a program in the root of a Debian, and what its administrator knows."""

    root: Path
    name: str
    command: list[str] = field(default_factory=list)
    path: Path = Path("/")
    admin: str = ""
    config_admin: str = ""
    process: subprocess.Popen[bytes] | None = None
    enter: tuple[str, ...] = ()
    """A command that runs another in the server's own network."""

    @property
    def uri(self) -> str:
        """Its socket."""
        return f"ldapi://{quote(str(self.path), safe='')}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.path.unlink(missing_ok=True)
        log = self.root / f"var/log/{self.name}.log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [*self.enter, "chroot", self.root, *self.command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        until = time.monotonic() + _SECONDS
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{self.name} did not start:\n{log.read_text()}")
            time.sleep(0.02)

    def answers(self) -> bool:
        """Whether a client gets an answer."""
        search = ["ldapsearch", "-x", "-LLL", "-H", self.uri, "-b", "", "-s", "base", "1.1"]
        return subprocess.run(search, capture_output=True, check=False).returncode in (0, 48, 50)

    def send(self, number: int) -> None:
        """Send a signal to it."""
        assert self.process
        self.process.send_signal(number)

    def stop(self, how: int = signal.SIGTERM) -> None:
        """End it."""
        if self.process:
            self.process.send_signal(how)
            self.process.wait(_SECONDS)
            self.process = None

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """It neither answers nor goes away."""
        assert self.process
        self.send(signal.SIGSTOP)
        while Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            time.sleep(0.001)
        try:
            yield
        finally:
            self.send(signal.SIGCONT)

    def apply(self, ldif: str, *, config: bool = False) -> None:
        """Let the administrator add and change what ``ldif`` says."""
        self.apply_as(self.config_admin if config else self.admin, ADMIN_PASSWORD, ldif)

    def apply_as(self, who: str, password: str, ldif: str) -> None:
        """Let somebody else try it; raises RuntimeError where the server refuses."""
        run("ldapmodify", "-x", "-a", "-H", self.uri, "-D", who, "-w", password, stdin=ldif)

    def search_as(self, who: str, password: str, base: str) -> str:
        """What somebody else finds below ``base``, with all that the tool says."""
        command = ["ldapsearch", "-x", "-LLL", "-H", self.uri, "-D", who, "-w", password, "-b", base]
        done = subprocess.run(command, text=True, capture_output=True, check=False)
        return done.stdout + done.stderr

    def search(self, base: str, *arguments: str) -> str:
        """What the administrator finds, as LDIF."""
        who = ["-x", "-LLL", "-o", "ldif-wrap=no", "-H", self.uri, "-D", self.admin, "-w", ADMIN_PASSWORD]
        return run("ldapsearch", *who, "-b", base, *arguments)

    def grow(self) -> None:
        """The tree and the account that otpd needs: the sample, word for word."""
        self.apply(SUFFIX_ENTRY)
        self.apply(sample("tree"))
        change = ["ldappasswd", "-x", "-H", self.uri, "-D", self.admin, "-w", ADMIN_PASSWORD, "-s", PASSWORD, ACCOUNT]
        run(*change)

    def servers(self, **other: Any) -> Servers:
        """How otpd reaches it."""
        given = {
            "uris": (self.uri,),
            "provider": self.uri,
            "bind_dn": ACCOUNT,
            "bind_password": Secret(PASSWORD.encode()),
        }
        return Servers(**(given | other))

    def directory(self, **other: Any) -> LdapDirectory:
        """otpd's own view of it, by a connection of its own."""
        return LdapDirectory(Connections(self.servers(**other), SystemClock()), BASE)


class Slapd(Server):
    """OpenLDAP, with files of conf/ as its schema; ``otp`` loads the module that has OATH-LDAP's attribute types."""

    def __init__(
        self,
        root: Path,
        name: str,
        *,
        schema: Sequence[str] = ("otpd",),
        otp: bool = True,
        tls: str = "",
        address: str = "127.0.0.1",
    ) -> None:
        folder = f"/srv/{name}"
        super().__init__(root, name, path=root / folder[1:] / "ldapi", admin=f"cn=admin,{SUFFIX}")
        self.config_admin = "cn=admin,cn=config"
        self.ports = {"ldap": free_port(), "ldaps": free_port()} if tls else {}
        inside = [f"ldapi://{quote(folder + '/ldapi', safe='')}"]
        inside += [f"{scheme}://{address}:{port}" for scheme, port in self.ports.items()]
        self.command = ["slapd", "-d", "0", "-F", f"{folder}/slapd.d", "-h", " ".join(inside)]
        (root / folder[1:] / "data").mkdir(parents=True)
        (root / folder[1:] / "slapd.d").mkdir()
        for which in schema:
            (root / f"srv/{which}.ldif").write_text((CONF / f"{which}.ldif").read_text())
        config = SLAPD_CONFIG.format(
            tls=tls,
            otp="olcModuleLoad: otp\n" if otp else "",
            schema="".join(f"include: file:///srv/{which}.ldif\n\n" for which in schema),
            password=ADMIN_PASSWORD,
            suffix=SUFFIX,
            folder=folder,
        )
        run("chroot", str(root), "slapadd", "-F", f"{folder}/slapd.d", "-n", "0", stdin=config)

    def set_up(self) -> None:
        """Start it, with all that otpd needs."""
        self.start()
        self.grow()
        self.apply(sample("openldap"), config=True)
        self.apply(sample("syncprov"), config=True)


class DirectoryServer389(Server):
    """389 Directory Server: the instance that was made with the root."""

    def __init__(self, root: Path, name: str) -> None:
        super().__init__(root, name, path=root / "run/slapd-otpd.socket", admin="cn=Directory Manager")
        self.config_admin = self.admin
        self.command = ["ns-slapd", "-D", "/etc/dirsrv/slapd-otpd", "-i", "/run/dirsrv/slapd-otpd.pid", "-d", "0"]
        folder = root / "etc/dirsrv/slapd-otpd"
        (folder / "schema/99otpd.ldif").write_text((CONF / "99otpd.ldif").read_text())
        settings = (folder / "dse.ldif").read_text().replace("nsslapd-port: 389\n", "nsslapd-port: 0\n")
        # The plugin refuses an uid that is not ASCII; docs/directory.md says how to turn it off.
        before, plugin, after = settings.partition("dn: cn=7-bit check,cn=plugins,cn=config\n")
        assert plugin
        after = after.replace("nsslapd-pluginEnabled: on", "nsslapd-pluginEnabled: off", 1)
        (folder / "dse.ldif").write_text(before + plugin + after)
        run("chroot", str(root), "mkdir", "-p", *_FOLDERS_389)
        run("chroot", str(root), "chown", "-R", "dirsrv:dirsrv", "/run/dirsrv", "/run/lock/dirsrv")

        self.port = 0

    def set_up(self) -> None:
        """Start it, with all that otpd needs."""
        self.start()
        self.grow()
        self.apply(sample("389ds"), config=True)

    def speak_tls(self, authority: Authority, host: str) -> int:
        """Let it speak TLS; the port of ldaps."""
        pair, folder, secure_port = authority.issue("389ds", host), self.root / "etc/dirsrv/slapd-otpd", free_port()
        self.port = free_port()
        files = [str(file) for file in (pair.cert, pair.key, authority.file)]
        bundle = ["-name", "Server-Cert", "-certfile", files[2], "-passout", "pass:", "-out", f"{folder}/server.p12"]
        run("openssl", "pkcs12", "-export", "-in", files[0], "-inkey", files[1], *bundle)
        inside = ["chroot", str(self.root)]
        database = ["-d", "/etc/dirsrv/slapd-otpd"]
        run(
            *inside,
            "pk12util",
            *database,
            "-i",
            f"{database[1]}/server.p12",
            "-k",
            f"{database[1]}/pwdfile.txt",
            "-W",
            "",
        )
        self.apply(_TLS_389.format(port=self.port, secure_port=secure_port), config=True)
        self.stop()
        self.start()
        return secure_port


@contextmanager
def debian(lower: str, where: Path) -> Iterator[Path]:
    """A Debian to run a server in, from the folders of an overlay."""
    if not Path("/run/otpd-sandbox").exists():
        raise RuntimeError("this is no sandbox: run it through tests/sandbox")
    where.mkdir(parents=True)
    run("mount", "-t", "tmpfs", "-o", "mode=0755", "otpd-directory", str(where))
    for name in ("upper", "work", "root"):
        (where / name).mkdir(mode=0o755)
    options = f"lowerdir={lower},upperdir={where}/upper,workdir={where}/work"
    root = where / "root"
    run("mount", "-t", "overlay", "-o", options, "otpd-directory", str(root))
    run("mount", "--rbind", "/dev", str(root / "dev"))
    # 389 Directory Server keeps parts of its database there, by the instance's name: two must not share them.
    run("mount", "-t", "tmpfs", "-o", "mode=1777", "otpd-directory", str(root / "dev/shm"))
    run("mount", "-t", "proc", "proc", str(root / "proc"))
    try:
        yield root
    finally:
        run("umount", "--lazy", "--recursive", str(where))


def folders(script: str, *arguments: str) -> str:
    """Make a root, or find it: the script's answer, the folders that it is made of."""
    command = [str(REPOSITORY / "tests" / script), *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def sample(name: str) -> str:
    """A file of conf/directory, word for word."""
    return (CONF / "directory" / f"{name}.ldif.example").read_text()
