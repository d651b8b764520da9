/* From begin to done: the daemon leads, the module obeys. */
#ifndef OTPD_DIALOGUE_H
#define OTPD_DIALOGUE_H

#include <security/pam_modules.h>

#include "args.h"
#include "protocol.h"

/* Returns what pam_sm_authenticate() is to return. */
int dialogue_run(pam_handle_t *pamh, const struct args *args, const struct begin *begin);

#endif
