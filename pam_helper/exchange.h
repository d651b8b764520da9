/* One request and its one reply, on a connection of their own. */
#ifndef OTPD_EXCHANGE_H
#define OTPD_EXCHANGE_H

#include <security/pam_modules.h>
#include <stdbool.h>

#include "args.h"
#include "protocol.h"

#define EXCHANGE_AUTH_SOCKET "/run/otpd/auth.sock"
#define EXCHANGE_CONTROL_SOCKET "/run/otpd/control.sock"

enum exchange_kind {
    EXCHANGE_BEGIN,  /* without a daemon it ends at once */
    EXCHANGE_ANSWER, /* outlasts a restart of the daemon: the dialogue does, too */
    EXCHANGE_CANCEL, /* a courtesy: a tenth of a second, no second try, no log */
};

/* True with *reply received (but not decoded) before the deadline; false, with the reason logged. The
 * deadline is one for everything: connecting, as often as need be, the handshake, the request and the reply.
 */
bool exchange(pam_handle_t *pamh, const struct args *args, enum exchange_kind kind,
              const struct message *request, struct message *reply);

#endif
