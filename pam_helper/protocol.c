#include "protocol.h"

#include <string.h>

enum field {
    FIELD_USER,
    FIELD_SERVICE,
    FIELD_RHOST,
    FIELD_TTY,
    FIELD_RUSER,
    FIELD_AUTHTOK,
    FIELD_FLAG,
    FIELD_TEXT,
    FIELD_DIALOGUE,
    FIELD_STYLE,
    FIELD_PROMPT,
    FIELD_INFO,
    FIELD_VERDICT,
    FIELD_REASON,
    FIELD_COUNT,
};

enum content { CONTENT_UTF8, CONTENT_BYTES, CONTENT_OPAQUE };

static const struct rule {
    const char *name;
    size_t limit;
    enum content content;
} rules[FIELD_COUNT] = {
    [FIELD_USER] = {"user", PROTOCOL_MAX_NAME_BYTES, CONTENT_UTF8},
    [FIELD_SERVICE] = {"service", PROTOCOL_MAX_NAME_BYTES, CONTENT_UTF8},
    [FIELD_RHOST] = {"rhost", PROTOCOL_MAX_NAME_BYTES, CONTENT_UTF8},
    [FIELD_TTY] = {"tty", PROTOCOL_MAX_NAME_BYTES, CONTENT_UTF8},
    [FIELD_RUSER] = {"ruser", PROTOCOL_MAX_NAME_BYTES, CONTENT_UTF8},
    [FIELD_AUTHTOK] = {"authtok", PROTOCOL_MAX_TEXT_BYTES, CONTENT_BYTES},
    [FIELD_FLAG] = {"flag", PROTOCOL_MAX_NAME_BYTES, CONTENT_UTF8},
    [FIELD_TEXT] = {"text", PROTOCOL_MAX_TEXT_BYTES, CONTENT_BYTES},
    [FIELD_DIALOGUE] = {"dialogue", PROTOCOL_MAX_DIALOGUE_BYTES, CONTENT_OPAQUE},
    [FIELD_STYLE] = {"style", PROTOCOL_MAX_NAME_BYTES, CONTENT_UTF8},
    [FIELD_PROMPT] = {"prompt", PROTOCOL_MAX_FRAME_BYTES, CONTENT_UTF8},
    [FIELD_INFO] = {"info", PROTOCOL_MAX_FRAME_BYTES, CONTENT_UTF8},
    [FIELD_VERDICT] = {"verdict", PROTOCOL_MAX_NAME_BYTES, CONTENT_UTF8},
    [FIELD_REASON] = {"reason", PROTOCOL_MAX_FRAME_BYTES, CONTENT_UTF8},
};

#define SET(field) (1U << (field))

/* Which fields a reply must and may have. */
static const struct shape {
    const char *verb;
    enum reply_kind kind;
    unsigned int required;
    unsigned int optional;
} shapes[] = {
    {"ask", REPLY_ASK, SET(FIELD_DIALOGUE) | SET(FIELD_STYLE) | SET(FIELD_PROMPT), SET(FIELD_INFO)},
    {"done", REPLY_DONE, SET(FIELD_VERDICT), SET(FIELD_INFO) | SET(FIELD_AUTHTOK)},
    {"error", REPLY_ERROR, SET(FIELD_REASON), 0},
};

static const char *const verdict_names[] = {
    [VERDICT_ACCEPT] = "accept",           [VERDICT_REFUSE] = "refuse", [VERDICT_EXHAUSTED] = "exhausted",
    [VERDICT_UNAVAILABLE] = "unavailable", [VERDICT_IGNORE] = "ignore",
};

void message_wipe(struct message *message)
{
    explicit_bzero(message, sizeof(*message));
}

char *message_add_frame(struct message *message, size_t length)
{
    struct frame *frame;

    if (message->frame_count == PROTOCOL_MAX_FRAMES || length > PROTOCOL_MAX_FRAME_BYTES ||
        length > PROTOCOL_MAX_MESSAGE_BYTES - message->byte_count)
        return NULL;
    frame = &message->frames[message->frame_count];
    frame->data = message->bytes + message->byte_count + message->frame_count;
    frame->data[length] = '\0';
    frame->length = length;
    message->frame_count++;
    message->byte_count += length;
    return frame->data;
}

/* The length of the UTF-8 sequence at the start, or 0 where there is none (RFC 3629: no surrogates, nothing
 * overlong, nothing beyond U+10FFFF). */
static size_t utf8_sequence(const unsigned char *bytes, size_t left)
{
    unsigned char lead = bytes[0];
    unsigned char lowest = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    unsigned char highest = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    size_t length;

    if (lead < 0x80)
        return 1;
    if (lead < 0xc2 || lead > 0xf4)
        return 0;
    length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (left < length || bytes[1] < lowest || bytes[1] > highest)
        return 0;
    for (size_t i = 2; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
    }
    return length;
}

static bool is_utf8(const char *data, size_t length)
{
    while (length > 0) {
        size_t sequence = utf8_sequence((const unsigned char *)data, length);

        if (sequence == 0)
            return false;
        data += sequence;
        length -= sequence;
    }
    return true;
}

static const char *check_value(const struct rule *rule, const struct frame *value)
{
    if (value->length > rule->limit)
        return "a field is too long";
    if (rule->content != CONTENT_OPAQUE && memchr(value->data, '\0', value->length) != NULL)
        return "a field holds a NUL";
    if (rule->content == CONTENT_UTF8 && !is_utf8(value->data, value->length))
        return "a field is not UTF-8";
    return NULL;
}

static bool frame_is(const struct frame *frame, const char *text)
{
    return frame->length == strlen(text) && memcmp(frame->data, text, frame->length) == 0;
}

/* ---- requests ---- */

static void add_envelope(struct message *message, const char *verb)
{
    memcpy(message_add_frame(message, strlen(PROTOCOL_VERSION)), PROTOCOL_VERSION, strlen(PROTOCOL_VERSION));
    memcpy(message_add_frame(message, strlen(verb)), verb, strlen(verb));
}

/* NULL, or the field's name. */
static const char *add_field(struct message *message, enum field field, const char *data, size_t length)
{
    const struct rule *rule = &rules[field];
    size_t name_length = strlen(rule->name);
    struct frame value = {.data = (char *)(size_t)data, .length = length};
    char *room;

    if (check_value(rule, &value) != NULL)
        return rule->name;
    room = message_add_frame(message, name_length + 1 + length);
    if (room == NULL)
        return rule->name;
    memcpy(room, rule->name, name_length);
    room[name_length] = '=';
    memcpy(room + name_length + 1, data, length);
    return NULL;
}

static const char *add_text(struct message *message, enum field field, const char *text)
{
    return text == NULL || text[0] == '\0' ? NULL : add_field(message, field, text, strlen(text));
}

const char *protocol_encode_begin(struct message *message, const struct begin *begin)
{
    const char *unfit = NULL;

    add_envelope(message, "begin");
    if ((unfit = add_field(message, FIELD_USER, begin->user, strlen(begin->user))) != NULL ||
        (unfit = add_field(message, FIELD_SERVICE, begin->service, strlen(begin->service))) != NULL ||
        (unfit = add_text(message, FIELD_RHOST, begin->rhost)) != NULL ||
        (unfit = add_text(message, FIELD_TTY, begin->tty)) != NULL ||
        (unfit = add_text(message, FIELD_RUSER, begin->ruser)) != NULL)
        return unfit;
    if (begin->authtok != NULL)
        unfit = add_field(message, FIELD_AUTHTOK, begin->authtok, strlen(begin->authtok));
    if (unfit == NULL && begin->use_first_pass)
        unfit = add_text(message, FIELD_FLAG, "use-first-pass");
    if (unfit == NULL && begin->forward_pass)
        unfit = add_text(message, FIELD_FLAG, "forward-pass");
    if (unfit == NULL && begin->silent)
        unfit = add_text(message, FIELD_FLAG, "silent");
    return unfit;
}

const char *protocol_encode_answer(struct message *message, const struct frame *dialogue, const char *text)
{
    const char *unfit;

    add_envelope(message, "answer");
    unfit = add_field(message, FIELD_DIALOGUE, dialogue->data, dialogue->length);
    return unfit != NULL ? unfit : add_field(message, FIELD_TEXT, text, strlen(text));
}

const char *protocol_encode_cancel(struct message *message, const struct frame *dialogue)
{
    add_envelope(message, "cancel");
    return add_field(message, FIELD_DIALOGUE, dialogue->data, dialogue->length);
}

/* ---- replies ---- */

static const struct shape *find_shape(const struct frame *verb)
{
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        if (frame_is(verb, shapes[i].verb))
            return &shapes[i];
    }
    return NULL;
}

/* FIELD_COUNT when the frame is not name=value, or the name is none that exists. */
static enum field split_field(const struct frame *frame, struct frame *value)
{
    for (unsigned int field = 0; field < FIELD_COUNT; field++) {
        size_t length = strlen(rules[field].name);

        if (frame->length > length && frame->data[length] == '=' &&
            memcmp(frame->data, rules[field].name, length) == 0) {
            value->data = frame->data + length + 1;
            value->length = frame->length - length - 1;
            return (enum field)field;
        }
    }
    return FIELD_COUNT;
}

/* The fields of a reply, each once; infos go where they belong right away. */
static const char *collect_fields(const struct message *message, const struct shape *shape,
                                  struct frame values[FIELD_COUNT], struct reply *reply)
{
    unsigned int seen = 0;

    for (size_t i = 2; i < message->frame_count; i++) {
        struct frame value;
        enum field field = split_field(&message->frames[i], &value);
        const char *wrong;

        if (field == FIELD_COUNT || !((shape->required | shape->optional) & SET(field)))
            return "an unknown field";
        if ((wrong = check_value(&rules[field], &value)) != NULL)
            return wrong;
        if (field == FIELD_INFO) {
            reply->infos[reply->info_count++] = value.data;
            continue;
        }
        if (seen & SET(field))
            return "a field appears twice";
        seen |= SET(field);
        values[field] = value;
    }
    return (seen & shape->required) == shape->required ? NULL : "a field is missing";
}

static const char *decode_ask(const struct frame values[FIELD_COUNT], struct reply *reply)
{
    reply->dialogue = values[FIELD_DIALOGUE];
    reply->prompt = values[FIELD_PROMPT].data;
    reply->echo = frame_is(&values[FIELD_STYLE], "echo-on");
    return reply->echo || frame_is(&values[FIELD_STYLE], "echo-off") ? NULL : "an unknown style";
}

static const char *decode_done(const struct frame values[FIELD_COUNT], struct reply *reply)
{
    for (unsigned int verdict = 0; verdict < sizeof(verdict_names) / sizeof(verdict_names[0]); verdict++) {
        if (!frame_is(&values[FIELD_VERDICT], verdict_names[verdict]))
            continue;
        reply->verdict = (enum verdict)verdict;
        reply->authtok = values[FIELD_AUTHTOK].data;
        return reply->authtok == NULL || verdict == VERDICT_ACCEPT ? NULL : "an authtok without accept";
    }
    return "an unknown verdict";
}

const char *protocol_decode_reply(const struct message *message, struct reply *reply)
{
    struct frame values[FIELD_COUNT] = {{NULL, 0}};
    const struct shape *shape;
    const char *wrong;

    *reply = (struct reply){0};
    if (message->frame_count < 2)
        return "no verb";
    if (!frame_is(&message->frames[0], PROTOCOL_VERSION))
        return "another protocol version";
    shape = find_shape(&message->frames[1]);
    if (shape == NULL)
        return "an unknown verb";
    if ((wrong = collect_fields(message, shape, values, reply)) != NULL)
        return wrong;
    reply->kind = shape->kind;
    switch (shape->kind) {
    case REPLY_ASK:
        return decode_ask(values, reply);
    case REPLY_DONE:
        return decode_done(values, reply);
    case REPLY_ERROR:
        reply->reason = values[FIELD_REASON].data;
        return NULL;
    }
    return "an unknown verb";
}
