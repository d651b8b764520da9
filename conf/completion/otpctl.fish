# otpctl's own words for fish: what is installed is what answers.
_OTPCTL_COMPLETE=fish_source otpctl | source
