/* What the golden messages do not cover: limits at their edges, and UTF-8. */
#include <string.h>

#include "check.h"
#include "protocol.h"

static const struct {
    const char *bytes;
    bool good;
} utf8_cases[] = {
    {"a", true},
    {"\x7f", true},
    {"\xc2\x80", true},
    {"\xdf\xbf", true},
    {"\xe0\xa0\x80", true},
    {"\xed\x9f\xbf", true},
    {"\xee\x80\x80", true},
    {"\xef\xbf\xbf", true},
    {"\xf0\x90\x80\x80", true},
    {"\xf4\x8f\xbf\xbf", true},
    {"a\xe2\x96\x80z", true},

    {"\x80", false}, /* a continuation alone */
    {"\xbf", false},
    {"\xc0\x80", false}, /* overlong */
    {"\xc1\xbf", false},
    {"\xe0\x9f\xbf", false},
    {"\xf0\x8f\xbf\xbf", false},
    {"\xed\xa0\x80", false}, /* surrogates */
    {"\xed\xbf\xbf", false},
    {"\xf4\x90\x80\x80", false}, /* beyond U+10FFFF */
    {"\xf5\x80\x80\x80", false},
    {"\xff", false},
    {"\xc2", false}, /* cut off */
    {"\xe2\x96", false},
    {"\xf0\x90\x80", false},
    {"\xe2\x96z", false}, /* broken off */
    {"\xc2\xc2", false},
    {"\xf0\x90\x80z", false},
};

static const char *encode_user(const char *user)
{
    static struct message message;
    struct begin begin = {.user = user, .service = "s"};

    message_wipe(&message);
    return protocol_encode_begin(&message, &begin);
}

static void test_utf8(void)
{
    for (size_t i = 0; i < sizeof(utf8_cases) / sizeof(utf8_cases[0]); i++)
        CHECK_CASE(utf8_cases[i].bytes, (encode_user(utf8_cases[i].bytes) == NULL) == utf8_cases[i].good);
}

static void test_field_that_does_not_fit_is_named(void)
{
    static struct message message;
    char longest[PROTOCOL_MAX_TEXT_BYTES + 2] = "";
    char ticket[] = "d";
    struct frame dialogue = {ticket, 1};
    struct begin begin = {.user = "u", .service = "s"};
    const char *unfit;

    memset(longest, 'x', PROTOCOL_MAX_TEXT_BYTES);
    begin.authtok = longest;
    CHECK(protocol_encode_begin(&message, &begin) == NULL);
    message_wipe(&message);
    CHECK(protocol_encode_answer(&message, &dialogue, longest) == NULL);
    longest[PROTOCOL_MAX_TEXT_BYTES] = 'x';
    message_wipe(&message);
    unfit = protocol_encode_begin(&message, &begin);
    CHECK(unfit != NULL && strcmp(unfit, "authtok") == 0);
    message_wipe(&message);
    unfit = protocol_encode_answer(&message, &dialogue, longest);
    CHECK(unfit != NULL && strcmp(unfit, "text") == 0);
    begin.authtok = NULL;
    begin.rhost = "\xff";
    message_wipe(&message);
    unfit = protocol_encode_begin(&message, &begin);
    CHECK(unfit != NULL && strcmp(unfit, "rhost") == 0);
}

static void test_empty_fields_are_absent(void)
{
    static struct message message;
    struct begin begin = {.user = "u", .service = "s", .rhost = "", .tty = "", .ruser = "", .authtok = ""};

    CHECK(protocol_encode_begin(&message, &begin) == NULL);
    CHECK(message.frame_count == 5);
    CHECK(strcmp(message.frames[4].data, "authtok=") == 0);
}

static void test_message_limits(void)
{
    static struct message message;

    for (int i = 0; i < PROTOCOL_MAX_FRAMES; i++)
        CHECK(message_add_frame(&message, 1024) != NULL);
    CHECK(message.byte_count == PROTOCOL_MAX_MESSAGE_BYTES);
    CHECK(message_add_frame(&message, 0) == NULL);
    message_wipe(&message);
    CHECK(message.frame_count == 0 && message.byte_count == 0);
    CHECK(message_add_frame(&message, PROTOCOL_MAX_FRAME_BYTES + 1) == NULL);
    for (int i = 0; i < 4; i++)
        CHECK(message_add_frame(&message, PROTOCOL_MAX_FRAME_BYTES) != NULL);
    CHECK(message_add_frame(&message, 1) == NULL);
    CHECK(message_add_frame(&message, 0) != NULL);
    CHECK(message_add_frame(&message, (size_t)-1) == NULL);
}

void test_protocol(void)
{
    test_utf8();
    test_field_that_does_not_fit_is_named();
    test_empty_fields_are_absent();
    test_message_limits();
}
