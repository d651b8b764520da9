#include <security/pam_ext.h>
#include <security/pam_modules.h>
#include <stddef.h>
#include <syslog.h>

#include "args.h"
#include "dialogue.h"

#define EXPORTED __attribute__((visibility("default")))

static const char *get_text(pam_handle_t *pamh, int item)
{
    const void *value = NULL;

    return pam_get_item(pamh, item, &value) == PAM_SUCCESS ? value : NULL;
}

/* False where there is no login to speak of. */
static bool describe_login(pam_handle_t *pamh, const struct args *args, bool silent, struct begin *begin)
{
    if (pam_get_user(pamh, &begin->user, NULL) != PAM_SUCCESS || begin->user == NULL ||
        begin->user[0] == '\0') {
        pam_syslog(pamh, LOG_NOTICE, "no user name");
        return false;
    }
    begin->service = get_text(pamh, PAM_SERVICE);
    begin->rhost = get_text(pamh, PAM_RHOST);
    begin->tty = get_text(pamh, PAM_TTY);
    begin->ruser = get_text(pamh, PAM_RUSER);
    begin->use_first_pass = args->use_first_pass;
    begin->forward_pass = args->forward_pass;
    begin->silent = silent;
    /* Without one of these words the password of the stack does not leave this process. */
    if (args->use_first_pass || args->try_first_pass)
        begin->authtok = get_text(pamh, PAM_AUTHTOK);
    if (args->use_first_pass && begin->authtok == NULL) {
        pam_syslog(pamh, LOG_NOTICE,
                   "use_first_pass, but no module before this one has asked for a password");
        return false;
    }
    return begin->service != NULL;
}

EXPORTED int pam_sm_authenticate(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    struct args args;
    struct args_fault fault;
    struct begin begin = {0};
    bool silent = ((unsigned int)flags & PAM_SILENT) != 0;

    if (!args_parse(argc, argv, &args, &fault)) {
        pam_syslog(pamh, LOG_ERR, "argument \"%s\": %s", fault.argument, fault.reason);
        return PAM_SERVICE_ERR;
    }
    if (!describe_login(pamh, &args, silent, &begin))
        return PAM_AUTH_ERR;
    return dialogue_run(pamh, &args, &begin);
}

/* There is nothing to set, and vsftpd, like others, takes anything but success for a refused login. */
EXPORTED int pam_sm_setcred(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    (void)pamh;
    (void)flags;
    (void)argc;
    (void)argv;
    return PAM_SUCCESS;
}
