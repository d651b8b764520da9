#include "dialogue.h"

#include <security/pam_ext.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "conversation.h"
#include "exchange.h"

enum {
    MAX_ASKS = 16, /* so that no daemon can keep a login going for ever */
    LOGGED_REASON_BYTES = 256,
};

/* Everything secret that the module holds, but for what was typed, is in here. */
struct dialogue {
    pam_handle_t *pamh;
    const struct args *args;
    bool silent;
    struct reply reply; /* points into received */
    struct message received;
    struct message request;
};

static int verdict_to_pam(enum verdict verdict)
{
    switch (verdict) {
    case VERDICT_ACCEPT:
        return PAM_SUCCESS;
    case VERDICT_REFUSE:
        return PAM_AUTH_ERR;
    case VERDICT_EXHAUSTED:
        return PAM_MAXTRIES;
    case VERDICT_UNAVAILABLE:
        return PAM_AUTHINFO_UNAVAIL;
    case VERDICT_IGNORE:
        return PAM_IGNORE;
    }
    return PAM_AUTH_ERR;
}

/* Nobody but the person and the daemon has to know that the dialogue is over, so failures do not matter. */
static void cancel(struct dialogue *dialogue)
{
    message_wipe(&dialogue->request);
    if (protocol_encode_cancel(&dialogue->request, &dialogue->reply.dialogue) == NULL)
        exchange(dialogue->pamh, dialogue->args, EXCHANGE_CANCEL, &dialogue->request, &dialogue->received);
}

/* What the log gets is one line of printable ASCII, whatever the daemon says. */
static int fail_with_reason(const struct dialogue *dialogue)
{
    char escaped[LOGGED_REASON_BYTES];
    size_t used = 0;

    for (const char *at = dialogue->reply.reason; *at != '\0' && used + sizeof("\\xff") < sizeof(escaped);
         at++) {
        if (*at >= ' ' && *at <= '~' && *at != '\\')
            escaped[used++] = *at;
        else
            used += (size_t)snprintf(escaped + used, sizeof("\\xff"), "\\x%02x", (unsigned char)*at);
    }
    escaped[used] = '\0';
    pam_syslog(dialogue->pamh, LOG_ERR, "otpd did not understand the request: %s", escaped);
    return PAM_AUTHINFO_UNAVAIL;
}

static int finish(const struct dialogue *dialogue)
{
    const struct reply *done = &dialogue->reply;

    if (done->authtok != NULL && !dialogue->args->forward_pass) {
        pam_syslog(dialogue->pamh, LOG_ERR, "malformed reply: an authtok that was not asked for");
        return PAM_AUTHINFO_UNAVAIL;
    }
    if (!dialogue->silent)
        conversation_show_infos(dialogue->pamh, done);
    if (done->authtok != NULL && pam_set_item(dialogue->pamh, PAM_AUTHTOK, done->authtok) != PAM_SUCCESS)
        return PAM_BUF_ERR;
    return verdict_to_pam(done->verdict);
}

/* Asks the person, and makes the next request of what was typed. */
static int ask(struct dialogue *dialogue)
{
    char *text;
    const char *unfit;

    if (dialogue->args->use_first_pass) {
        pam_syslog(dialogue->pamh, LOG_ERR, "otpd asks, in spite of use_first_pass");
        return PAM_AUTH_ERR;
    }
    if (conversation_ask(dialogue->pamh, &dialogue->reply, dialogue->silent, &text) != PAM_SUCCESS) {
        pam_syslog(dialogue->pamh, LOG_NOTICE, "the application gave no answer to the prompt");
        return PAM_AUTH_ERR;
    }
    message_wipe(&dialogue->request);
    unfit = protocol_encode_answer(&dialogue->request, &dialogue->reply.dialogue, text);
    conversation_forget(text);
    if (unfit != NULL) {
        pam_syslog(dialogue->pamh, LOG_NOTICE, "the answer to the prompt is too long");
        return PAM_AUTH_ERR;
    }
    return PAM_SUCCESS;
}

static int ask_or_cancel(struct dialogue *dialogue, int asked)
{
    int result;

    if (asked < MAX_ASKS) {
        if (dialogue->args->debug)
            pam_syslog(dialogue->pamh, LOG_DEBUG, "otpd asks, with %zu infos", dialogue->reply.info_count);
        result = ask(dialogue);
    } else {
        /* Not PAM_AUTHINFO_UNAVAIL, which some stacks let pass: whoever types may have led us here. */
        pam_syslog(dialogue->pamh, LOG_ERR, "otpd asks for the %dth time: giving up", asked + 1);
        result = PAM_MAXTRIES;
    }
    if (result != PAM_SUCCESS)
        cancel(dialogue);
    return result;
}

static int follow(struct dialogue *dialogue)
{
    for (int asked = 0;; asked++) {
        enum exchange_kind kind = asked == 0 ? EXCHANGE_BEGIN : EXCHANGE_ANSWER;
        const char *wrong;
        int result;

        if (!exchange(dialogue->pamh, dialogue->args, kind, &dialogue->request, &dialogue->received))
            return PAM_AUTHINFO_UNAVAIL;
        wrong = protocol_decode_reply(&dialogue->received, &dialogue->reply);
        if (wrong != NULL) {
            pam_syslog(dialogue->pamh, LOG_ERR, "malformed reply: %s", wrong);
            return PAM_AUTHINFO_UNAVAIL;
        }
        if (dialogue->reply.kind == REPLY_ERROR)
            return fail_with_reason(dialogue);
        if (dialogue->reply.kind == REPLY_DONE)
            return finish(dialogue);
        result = ask_or_cancel(dialogue, asked);
        if (result != PAM_SUCCESS)
            return result;
    }
}

int dialogue_run(pam_handle_t *pamh, const struct args *args, const struct begin *begin)
{
    struct dialogue *dialogue = calloc(1, sizeof(*dialogue));
    const char *unfit;
    int result;

    if (dialogue == NULL)
        return PAM_BUF_ERR;
    dialogue->pamh = pamh;
    dialogue->args = args;
    dialogue->silent = begin->silent;
    unfit = protocol_encode_begin(&dialogue->request, begin);
    if (unfit != NULL) {
        pam_syslog(pamh, LOG_ERR, "refused: %s is too long, or not UTF-8", unfit);
        result = PAM_AUTH_ERR;
    } else {
        result = follow(dialogue);
    }
    if (args->debug)
        pam_syslog(pamh, LOG_DEBUG, "result: %s", pam_strerror(pamh, result));
    explicit_bzero(dialogue, sizeof(*dialogue));
    free(dialogue);
    return result;
}
