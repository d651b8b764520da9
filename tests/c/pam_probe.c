/* A PAM module for tests: what other modules of a stack do to PAM_AUTHTOK, and see of it.
 *
 *   set=PASSWORD   sets PAM_AUTHTOK, as pam_unix does
 *   show           shows it, as an info
 *   fail           refuses
 */
#include <security/pam_ext.h>
#include <security/pam_modules.h>
#include <string.h>

static int show(pam_handle_t *pamh)
{
    const void *authtok = NULL;

    if (pam_get_item(pamh, PAM_AUTHTOK, &authtok) != PAM_SUCCESS)
        return PAM_SERVICE_ERR;
    if (authtok == NULL)
        return pam_info(pamh, "no PAM_AUTHTOK");
    return pam_info(pamh, "PAM_AUTHTOK=%s", (const char *)authtok);
}

int pam_sm_authenticate(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    (void)flags;
    if (argc == 1 && strncmp(argv[0], "set=", 4) == 0)
        return pam_set_item(pamh, PAM_AUTHTOK, argv[0] + 4);
    if (argc == 1 && strcmp(argv[0], "show") == 0)
        return show(pamh);
    return argc == 1 && strcmp(argv[0], "fail") == 0 ? PAM_PERM_DENIED : PAM_SERVICE_ERR;
}

int pam_sm_setcred(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    (void)pamh;
    (void)flags;
    (void)argc;
    (void)argv;
    return PAM_SUCCESS;
}
