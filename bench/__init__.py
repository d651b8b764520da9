"""How otpd does with many users: a loader for the embedded directory, and what is measured on it."""
