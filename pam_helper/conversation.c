#include "conversation.h"

#include <assert.h>
#include <security/pam_ext.h>
#include <stdlib.h>
#include <string.h>

static_assert((int)PROTOCOL_MAX_FRAMES <= (int)PAM_MAX_NUM_MSG, "an ask may hold more than PAM can show");

void conversation_forget(char *text)
{
    if (text == NULL)
        return;
    explicit_bzero(text, strlen(text));
    free(text);
}

/* The infos go into the same call as the prompt: sshd holds an info back until the next prompt anyway, and
 * an application that draws a window draws one. */
static size_t compose(const struct reply *ask, bool silent, struct pam_message *messages)
{
    size_t count = 0;

    for (size_t i = 0; i < ask->info_count && !silent; i++)
        messages[count++] = (struct pam_message){.msg_style = PAM_TEXT_INFO, .msg = ask->infos[i]};
    messages[count++] = (struct pam_message){
        .msg_style = ask->echo ? PAM_PROMPT_ECHO_ON : PAM_PROMPT_ECHO_OFF,
        .msg = ask->prompt,
    };
    return count;
}

/* The last response is the one to the prompt; returns its text, and frees all the rest. */
static char *take_text(struct pam_response *responses, size_t count)
{
    char *text = responses[count - 1].resp;

    for (size_t i = 0; i < count - 1; i++)
        conversation_forget(responses[i].resp);
    free(responses);
    return text;
}

int conversation_ask(pam_handle_t *pamh, const struct reply *ask, bool silent, char **text)
{
    struct pam_message messages[PROTOCOL_MAX_FRAMES];
    const struct pam_message *pointers[PROTOCOL_MAX_FRAMES];
    struct pam_response *responses = NULL;
    const void *item = NULL;
    const struct pam_conv *conversation;
    size_t count = compose(ask, silent, messages);

    *text = NULL;
    for (size_t i = 0; i < count; i++)
        pointers[i] = &messages[i];
    if (pam_get_item(pamh, PAM_CONV, &item) != PAM_SUCCESS || item == NULL)
        return PAM_AUTH_ERR;
    conversation = item;
    /* After a failure the responses mean nothing: to free them could free twice. PAM_CONV_AGAIN is a failure
     * too, for the module could not come back to where it was. */
    if (conversation->conv == NULL ||
        conversation->conv((int)count, pointers, &responses, conversation->appdata_ptr) != PAM_SUCCESS)
        return PAM_AUTH_ERR;
    if (responses != NULL)
        *text = take_text(responses, count);
    return *text != NULL ? PAM_SUCCESS : PAM_AUTH_ERR;
}

void conversation_show_infos(pam_handle_t *pamh, const struct reply *reply)
{
    for (size_t i = 0; i < reply->info_count; i++)
        pam_info(pamh, "%s", reply->infos[i]); /* nothing hangs on its being seen */
}
