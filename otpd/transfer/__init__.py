"""Moving entries from one directory to another: by a backup, or by a migration."""
