"""A host that runs otpd for real, for the demonstration and for the tests. Only ever inside tests/sandbox."""
