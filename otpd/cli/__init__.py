"""otpctl: the command, one file a group of verbs."""
