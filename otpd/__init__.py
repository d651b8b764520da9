"""otpd: a second factor for every door of a Linux fleet."""

__version__ = "0.1.0"
