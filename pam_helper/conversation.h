/* What the person sees and types, through the application's PAM conversation. */
#ifndef OTPD_CONVERSATION_H
#define OTPD_CONVERSATION_H

#include <security/pam_modules.h>
#include <stdbool.h>

#include "protocol.h"

/* Shows the infos of an ask (none if silent) and its prompt. PAM_SUCCESS, with *text to be given to
 * conversation_forget(); or PAM_AUTH_ERR, when the application cannot or will not ask. */
int conversation_ask(pam_handle_t *pamh, const struct reply *ask, bool silent, char **text);

void conversation_show_infos(pam_handle_t *pamh, const struct reply *reply);

/* Wipes and frees what was typed; NULL is allowed. */
void conversation_forget(char *text);

#endif
