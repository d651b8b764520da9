"""The directory on LDAP servers."""
