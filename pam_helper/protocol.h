/* The otpd protocol, version 1: docs/protocol.md is the specification, otpd/protocol.py its Python twin. */
#ifndef OTPD_PROTOCOL_H
#define OTPD_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>

#define PROTOCOL_VERSION "otpd/1"

enum {
    PROTOCOL_MAX_FRAMES = 32,
    PROTOCOL_MAX_FRAME_BYTES = 8192,
    PROTOCOL_MAX_MESSAGE_BYTES = 32768,
    PROTOCOL_MAX_NAME_BYTES = 256,
    PROTOCOL_MAX_TEXT_BYTES = 512, /* PAM_MAX_RESP_SIZE */
    PROTOCOL_MAX_DIALOGUE_BYTES = 2048,
};

struct frame {
    char *data;
    size_t length;
};

/* A message owns its bytes, in one place that can be wiped. Every frame is followed by a NUL which does not
 * belong to it, so that a value without NULs is a C string where it stands. Not to be copied: the frames
 * point into it. */
struct message {
    size_t frame_count;
    size_t byte_count; /* of all frames, without the NULs between them */
    struct frame frames[PROTOCOL_MAX_FRAMES];
    char bytes[PROTOCOL_MAX_MESSAGE_BYTES + PROTOCOL_MAX_FRAMES];
};

void message_wipe(struct message *message);

/* Room for one more frame, to be filled by the caller; NULL when that would go beyond a limit. */
char *message_add_frame(struct message *message, size_t length);

/* Absent fields are NULL, or empty, which means the same. Only an authtok may be there and empty. */
struct begin {
    const char *user;
    const char *service;
    const char *rhost;
    const char *tty;
    const char *ruser;
    const char *authtok;
    bool use_first_pass;
    bool forward_pass;
    bool silent;
};

/* The encoders fill an empty message. They return NULL, or the name of the field that cannot be sent as it
 * is: too long, or not UTF-8. Nothing is ever truncated or left out, for a policy decides upon it. */
const char *protocol_encode_begin(struct message *message, const struct begin *begin);
const char *protocol_encode_answer(struct message *message, const struct frame *dialogue, const char *text);
const char *protocol_encode_cancel(struct message *message, const struct frame *dialogue);

enum reply_kind { REPLY_ASK, REPLY_DONE, REPLY_ERROR };

enum verdict { VERDICT_ACCEPT, VERDICT_REFUSE, VERDICT_EXHAUSTED, VERDICT_UNAVAILABLE, VERDICT_IGNORE };

/* Points into the message it was decoded from. Which members hold something depends on the kind. */
struct reply {
    enum reply_kind kind;
    struct frame dialogue;
    bool echo;
    const char *prompt;
    enum verdict verdict;
    const char *authtok; /* NULL: none */
    const char *reason;
    size_t info_count;
    const char *infos[PROTOCOL_MAX_FRAMES];
};

/* NULL, or what is wrong with the message; *reply then means nothing. */
const char *protocol_decode_reply(const struct message *message, struct reply *reply);

#endif
