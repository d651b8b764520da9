/* The golden messages, which the Python tests read too. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "peer.h"
#include "vectors.h"

/* The value, if the frame is the named field and a C string; NULL otherwise. */
static const char *text_of(const struct vector_frame *frame, const char *name)
{
    size_t length = strlen(name);

    if (frame->length <= length || memcmp(frame->data, name, length) != 0 || frame->data[length] != '=' ||
        strlen((const char *)frame->data) != frame->length)
        return NULL;
    return (const char *)frame->data + length + 1;
}

static bool take(const struct vector_frame *frame, const char *name, const char **into)
{
    const char *text = text_of(frame, name);

    if (text == NULL || *into != NULL)
        return false;
    *into = text;
    return true;
}

static bool take_flag(const struct vector_frame *frame, const char *flag, bool *into)
{
    const char *text = text_of(frame, "flag");

    if (text == NULL || strcmp(text, flag) != 0 || *into)
        return false;
    *into = true;
    return true;
}

enum encoding { ENCODED, REFUSED, NOT_EXPRESSIBLE };

static enum encoding encode_begin(const struct vector *vector, struct message *message)
{
    struct begin begin = {0};

    for (size_t i = 2; i < vector->frame_count; i++) {
        const struct vector_frame *frame = &vector->frames[i];

        if (!take(frame, "user", &begin.user) && !take(frame, "service", &begin.service) &&
            !take(frame, "rhost", &begin.rhost) && !take(frame, "tty", &begin.tty) &&
            !take(frame, "ruser", &begin.ruser) && !take(frame, "authtok", &begin.authtok) &&
            !take_flag(frame, "use-first-pass", &begin.use_first_pass) &&
            !take_flag(frame, "forward-pass", &begin.forward_pass) &&
            !take_flag(frame, "silent", &begin.silent))
            return NOT_EXPRESSIBLE;
    }
    if (begin.user == NULL || begin.service == NULL)
        return NOT_EXPRESSIBLE;
    return protocol_encode_begin(message, &begin) == NULL ? ENCODED : REFUSED;
}

static enum encoding encode_with_dialogue(const struct vector *vector, struct message *message,
                                          bool is_answer)
{
    struct frame dialogue;
    const char *text = NULL;

    if (vector->frame_count != (is_answer ? 4 : 3) ||
        strncmp((char *)vector->frames[2].data, "dialogue=", 9) != 0)
        return NOT_EXPRESSIBLE;
    dialogue.data = (char *)vector->frames[2].data + 9;
    dialogue.length = vector->frames[2].length - 9;
    if (!is_answer)
        return protocol_encode_cancel(message, &dialogue) == NULL ? ENCODED : REFUSED;
    if (!take(&vector->frames[3], "text", &text))
        return NOT_EXPRESSIBLE;
    return protocol_encode_answer(message, &dialogue, text) == NULL ? ENCODED : REFUSED;
}

static enum encoding encode(const struct vector *vector, struct message *message)
{
    const char *verb = vector->frame_count > 1 ? (const char *)vector->frames[1].data : "";

    message_wipe(message);
    if (strcmp((const char *)vector->frames[0].data, PROTOCOL_VERSION) != 0)
        return NOT_EXPRESSIBLE;
    if (strcmp(verb, "begin") == 0)
        return encode_begin(vector, message);
    if (strcmp(verb, "answer") == 0)
        return encode_with_dialogue(vector, message, true);
    return strcmp(verb, "cancel") == 0 ? encode_with_dialogue(vector, message, false) : NOT_EXPRESSIBLE;
}

/* What zmtp_send() puts on the wire is the vector, byte for byte. */
static void check_wire(const struct vector *vector, const struct message *message)
{
    static unsigned char got[PEER_MAX_BYTES];
    struct zmtp zmtp = {.deadline = deadline_after(1000)};
    size_t expected_length;
    unsigned char *expected = vector_to_wire(vector, &expected_length);
    ssize_t got_length;
    int ends[2];

    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    zmtp.fd = ends[0];
    CHECK_CASE(vector->name, zmtp_send(&zmtp, message) == ZMTP_OK);
    got_length = recv(ends[1], got, sizeof(got), 0);
    CHECK_CASE(vector->name,
               got_length == (ssize_t)expected_length && memcmp(got, expected, expected_length) == 0);
    close(ends[0]);
    close(ends[1]);
    free(expected);
}

static enum encoding test_client_vector(const struct vector *vector)
{
    static struct message message;
    enum encoding encoding = encode(vector, &message);

    CHECK_CASE(vector->name, (encoding == ENCODED) == vector->expect_ok);
    if (encoding == ENCODED)
        check_wire(vector, &message);
    return encoding;
}

static bool has_field(const struct vector *vector, const char *name, const char *value, size_t length)
{
    size_t name_length = strlen(name);

    for (size_t i = 2; i < vector->frame_count; i++) {
        const struct vector_frame *frame = &vector->frames[i];

        if (frame->length == name_length + 1 + length && memcmp(frame->data, name, name_length) == 0 &&
            frame->data[name_length] == '=' && memcmp(frame->data + name_length + 1, value, length) == 0)
            return true;
    }
    return false;
}

static bool has_text(const struct vector *vector, const char *name, const char *value)
{
    return value != NULL && has_field(vector, name, value, strlen(value));
}

static void check_reply(const struct vector *vector, const struct reply *reply)
{
    static const char *const verdicts[] = {"accept", "refuse", "exhausted", "unavailable", "ignore"};
    size_t fields = reply->info_count;

    for (size_t i = 0; i < reply->info_count; i++)
        CHECK_CASE(vector->name, has_text(vector, "info", reply->infos[i]));
    if (reply->kind == REPLY_ASK) {
        fields += 3;
        CHECK_CASE(vector->name, has_text(vector, "prompt", reply->prompt));
        CHECK_CASE(vector->name, has_text(vector, "style", reply->echo ? "echo-on" : "echo-off"));
        CHECK_CASE(vector->name, has_field(vector, "dialogue", reply->dialogue.data, reply->dialogue.length));
    } else if (reply->kind == REPLY_DONE) {
        fields += reply->authtok != NULL ? 2 : 1;
        CHECK_CASE(vector->name, has_text(vector, "verdict", verdicts[reply->verdict]));
        CHECK_CASE(vector->name, reply->authtok == NULL || has_text(vector, "authtok", reply->authtok));
    } else {
        fields += 1;
        CHECK_CASE(vector->name, has_text(vector, "reason", reply->reason));
    }
    CHECK_CASE(vector->name, fields == vector->frame_count - 2);
}

static void test_daemon_vector(const struct vector *vector)
{
    static struct stream stream;
    static struct message message;
    struct reply reply;
    size_t length;
    unsigned char *wire = vector_to_wire(vector, &length);
    struct outcome outcome;
    bool decoded;

    stream_reset(&stream);
    stream_add_literal(&stream, PEER_GREETING PEER_READY);
    stream_add(&stream, wire, length);
    free(wire);
    outcome = peer_meet(&stream, false, 1000, &message);
    CHECK_CASE(vector->name, outcome.handshake == ZMTP_OK);
    decoded = outcome.receive == ZMTP_OK && protocol_decode_reply(&message, &reply) == NULL;
    CHECK_CASE(vector->name, decoded == vector->expect_ok);
    if (decoded)
        check_reply(vector, &reply);
}

void test_vectors(const char *path)
{
    size_t count;
    struct vector *vectors = vectors_read(path, &count);
    size_t by_encoding[3] = {0, 0, 0};
    size_t from_daemon = 0;

    for (size_t i = 0; i < count; i++) {
        if (vectors[i].from_daemon) {
            from_daemon++;
            test_daemon_vector(&vectors[i]);
        } else {
            by_encoding[test_client_vector(&vectors[i])]++;
        }
    }
    /* So that a file which was not read, or an encoder which expresses nothing, does not pass. */
    CHECK(from_daemon >= 20 && by_encoding[ENCODED] >= 7 && by_encoding[REFUSED] >= 4);
    vectors_free(vectors, count);
}
