"""What a person reads at a login, sentence by sentence. Pure; in one place, so that it can be translated."""

from typing import Final

# A client of ssh writes "(user@host) " before the first line, so that one stays empty.
ENROL_NOW: Final = (
    "",
    "You have no second factor yet, and logging in here takes one. Set it up now:",
    "you need a phone with an authenticator app.",
)
PROVE_PROMPT: Final = "Account password or enrolment ticket: "
NOT_ACCEPTED: Final = "This was not accepted."
TICKET_NOT_GOOD: Final = "This ticket has expired, or was used. Ask your administrator for another."

SCAN: Final = ("", "Set up your second factor: scan this with the authenticator app on your phone.")
OR_TYPE: Final = "Or type this secret into it: {secret}"
SECRET_ALONE: Final = (
    "",
    "Set up your second factor: type this secret into the authenticator app on your phone.",
    "  {secret}",
)
CODE_PROMPT: Final = "Code that the app shows now: "
WRONG_FIRST_CODE: Final = "Wrong code. Check that the clock of your phone is right, and try the next one."
WRONG_HOTP_CODE: Final = "Wrong code. Try the next one, and the one after it, if the key was used before."
CLOCK_IS_OFF: Final = "The clock of your device is {off}. Set it, and try the next code."

ACTIVATED: Final = ("", "Activated. From now on, logging in here takes a code of the app.")
RECOVERY_CODES: Final = ("If the phone is gone, each of these recovery codes works once instead of a code:",)
KEEP_THEM: Final = (
    "Write them down and keep them away from the phone. They are not shown again.",
    "New ones: otpctl recovery-codes",
)
NO_RECOVERY_CODES: Final = ("Recovery codes could not be made. Make them later: otpctl recovery-codes",)
ENTER_PROMPT: Final = "Press Enter to go on: "

DISABLED: Final = "The second factor is disabled. Ask your administrator."
OVERTAKEN: Final = "Another enrolment, or a reset, came between, so this one was not activated."
REMOVE_IT: Final = "Remove it from the app. If you enrolled elsewhere just now, type a code of that."
TICKET_USED: Final = "The enrolment ticket was used meanwhile. Ask your administrator for another."

BYPASSED: Final = (
    "You were let in by a bypass code, which is used up. If you did not ask for one, tell your administrator."
)
