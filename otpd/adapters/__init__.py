"""Everything that touches the world: directory, sockets, NSS, systemd, files. One file a thing."""
