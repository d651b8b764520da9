"""Ask a server for alice, with the Python that runs this: ask.py URI CA_FILE BIND_DN BASE_DN, the password to read."""

import sys

from otpd.adapters.ldap.connections import Connections, Servers
from otpd.adapters.ldap.directory import LdapDirectory
from otpd.clock import Deadline, SystemClock
from otpd.errors import DirectoryUnavailable
from otpd.secret import Secret
from otpd.values import UserName

uri, ca_file, bind_dn, base_dn = sys.argv[1:]
clock = SystemClock()
servers = Servers((uri,), uri, bind_dn, Secret(sys.stdin.read().encode()), ca_file)
print(*sys.version_info[:2])
try:
    directory = LdapDirectory(Connections(servers, clock), base_dn)
    print(directory.user(UserName("alice"), Deadline.after(clock, 5)))
except DirectoryUnavailable as error:
    print(error)
