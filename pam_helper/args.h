/* The arguments on the module's line in /etc/pam.d. */
#ifndef OTPD_ARGS_H
#define OTPD_ARGS_H

#include <stdbool.h>

enum {
    ARGS_DEFAULT_TIMEOUT_SECONDS = 10,
    ARGS_MAX_TIMEOUT_SECONDS = 60,
};

struct args {
    const char *socket_path; /* NULL: the default socket, and its fallback */
    int timeout_seconds;     /* for one request and its reply */
    bool try_first_pass;
    bool use_first_pass;
    bool forward_pass;
    bool debug;
};

struct args_fault {
    const char *argument;
    const char *reason;
};

/* False, with *fault filled in, for anything that is not wholly understood: a second factor must not run on
 * half of its configuration. Keeps pointers into argv. */
bool args_parse(int argc, const char **argv, struct args *args, struct args_fault *fault);

#endif
