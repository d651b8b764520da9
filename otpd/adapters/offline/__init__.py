"""What a host accepts by itself while the directory is away, and what it keeps for that."""
