/* Framing and handshake against peers that libzmq would never be. */
#include <err.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "peer.h"
#include "vectors.h"

#define HELLO PEER_GREETING PEER_READY
#define DONE "\1\6otpd/1\1\4done\0\16verdict=accept"
#define PING "\4\11\4PING\0\12ab"
#define PONG "\4\7\4PONGab"
#define CLIENT_GREETING "\xff\0\0\0\0\0\0\0\0\x7f\3\0NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" PEER_ZEROS_32
#define CLIENT_READY "\4\34\5READY\13Socket-Type\0\0\0\6DEALER"

#define LITERAL(text) (text), sizeof(text) - 1

/* What the peer says, and how far the client gets. Of a fault, a part of what it is called. */
static const struct {
    const char *name;
    const char *bytes;
    size_t length;
    enum zmtp_status handshake;
    enum zmtp_status receive;
    const char *fault;
} cases[] = {
    {"good", LITERAL(HELLO DONE), ZMTP_OK, ZMTP_OK, NULL},
    {"minor version 0",
     LITERAL(
         "\xff\0\0\0\0\0\0\0\0\x7f\3\0NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" PEER_ZEROS_32 PEER_READY DONE),
     ZMTP_OK, ZMTP_OK, NULL},
    {"a long header for a short frame", LITERAL(HELLO "\3\0\0\0\0\0\0\0\6otpd/1\1\4done\0\16verdict=accept"),
     ZMTP_OK, ZMTP_OK, NULL},
    {"an empty frame", LITERAL(HELLO "\1\0\0\0"), ZMTP_OK, ZMTP_OK, NULL},
    {"a PING before READY", LITERAL(PEER_GREETING PING PEER_READY DONE), ZMTP_OK, ZMTP_OK, NULL},
    {"a PING before the reply", LITERAL(HELLO PING PING DONE), ZMTP_OK, ZMTP_OK, NULL},
    {"a PING in the reply", LITERAL(HELLO "\1\6otpd/1" PING "\1\4done" PING "\0\16verdict=accept"), ZMTP_OK,
     ZMTP_OK, NULL},
    {"a PING without context", LITERAL(HELLO "\4\7\4PING\0\1" DONE), ZMTP_OK, ZMTP_OK, NULL},
    {"a long command header",
     LITERAL(PEER_GREETING "\6\0\0\0\0\0\0\0\x29\5READY\13Socket-Type\0\0\0\6ROUTER"
                           "\10Identity\0\0\0\0" DONE),
     ZMTP_OK, ZMTP_OK, NULL},

    {"closed at once", LITERAL(""), ZMTP_CLOSED, ZMTP_FAULT, NULL},
    {"garbage", LITERAL("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n......"),
     ZMTP_FAULT, ZMTP_FAULT, "greeting"},
    {"zeros", LITERAL(PEER_ZEROS_32 PEER_ZEROS_32), ZMTP_FAULT, ZMTP_FAULT, "greeting"},
    {"ZMTP 2", LITERAL("\xff\0\0\0\0\0\0\0\1\x7f\2\0NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" PEER_ZEROS_32),
     ZMTP_FAULT, ZMTP_FAULT, "greeting"},
    {"PLAIN", LITERAL("\xff\0\0\0\0\0\0\0\1\x7f\3\1PLAIN\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" PEER_ZEROS_32),
     ZMTP_FAULT, ZMTP_FAULT, "greeting"},
    {"NULLX", LITERAL("\xff\0\0\0\0\0\0\0\1\x7f\3\1NULLX\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" PEER_ZEROS_32),
     ZMTP_FAULT, ZMTP_FAULT, "greeting"},
    {"no READY", LITERAL(PEER_GREETING DONE), ZMTP_FAULT, ZMTP_FAULT, "before READY"},
    {"READY of a DEALER", LITERAL(PEER_GREETING "\4\34\5READY\13Socket-Type\0\0\0\6DEALER" DONE), ZMTP_FAULT,
     ZMTP_FAULT, "not a ROUTER"},
    {"READY of nothing", LITERAL(PEER_GREETING "\4\6\5READY" DONE), ZMTP_FAULT, ZMTP_FAULT, "not a ROUTER"},
    {"READY with a value beyond its end", LITERAL(PEER_GREETING "\4\34\5READY\13Socket-Type\0\0\0\7ROUTER"),
     ZMTP_FAULT, ZMTP_FAULT, "malformed READY"},
    {"READY with a name beyond its end", LITERAL(PEER_GREETING "\4\14\5READY\377Socke"), ZMTP_FAULT,
     ZMTP_FAULT, "malformed READY"},
    {"READY with a huge value", LITERAL(PEER_GREETING "\4\34\5READY\13Socket-Type\377\377\377\377ROUTER"),
     ZMTP_FAULT, ZMTP_FAULT, "malformed READY"},
    {"READY with a rest", LITERAL(PEER_GREETING "\4\35\5READY\13Socket-Type\0\0\0\6ROUTERx"), ZMTP_FAULT,
     ZMTP_FAULT, "malformed READY"},
    {"READY twice", LITERAL(HELLO PEER_READY DONE), ZMTP_OK, ZMTP_FAULT, "unexpected command"},
    {"READY with more to come", LITERAL(PEER_GREETING "\5\34\5READY\13Socket-Type\0\0\0\6ROUTER"), ZMTP_FAULT,
     ZMTP_FAULT, "several frames"},
    {"ERROR for READY", LITERAL(PEER_GREETING "\4\12\5ERROR\003400"), ZMTP_FAULT, ZMTP_FAULT, "refused"},
    {"ERROR for a reply", LITERAL(HELLO "\4\12\5ERROR\003400"), ZMTP_OK, ZMTP_FAULT, "refused"},
    {"an unknown command", LITERAL(HELLO "\4\12\011SUBSCRIBE" DONE), ZMTP_OK, ZMTP_FAULT,
     "unexpected command"},
    {"an empty command", LITERAL(HELLO "\4\0" DONE), ZMTP_OK, ZMTP_FAULT, "unexpected command"},
    {"a command of 513 bytes", LITERAL(HELLO "\6\0\0\0\0\0\0\2\1"), ZMTP_OK, ZMTP_FAULT, "too long"},
    {"a command of 2^63 bytes", LITERAL(HELLO "\6\200\0\0\0\0\0\0\0"), ZMTP_OK, ZMTP_FAULT, "too long"},
    {"a PING without time to live", LITERAL(HELLO "\4\6\4PING\0"), ZMTP_OK, ZMTP_FAULT, "malformed PING"},
    {"a PING with 17 bytes", LITERAL(HELLO "\4\30\4PING\0\00112345678901234567"), ZMTP_OK, ZMTP_FAULT,
     "malformed PING"},
    {"unknown flags", LITERAL(HELLO "\11\6otpd/1"), ZMTP_OK, ZMTP_FAULT, "flags"},
    {"a frame of 8193 bytes", LITERAL(HELLO "\2\0\0\0\0\0\0\x20\1"), ZMTP_OK, ZMTP_FAULT, "limits"},
    {"a frame of 2^32 bytes", LITERAL(HELLO "\2\0\0\0\1\0\0\0\0"), ZMTP_OK, ZMTP_FAULT, "limits"},
    {"a frame of 2^63 bytes", LITERAL(HELLO "\2\200\0\0\0\0\0\0\0"), ZMTP_OK, ZMTP_FAULT, "limits"},
    {"a frame of 2^64-1 bytes", LITERAL(HELLO "\2\377\377\377\377\377\377\377\377"), ZMTP_OK, ZMTP_FAULT,
     "limits"},
    {"no reply", LITERAL(HELLO), ZMTP_OK, ZMTP_CLOSED, NULL},
};

static struct stream stream;
static struct message reply;

static void test_cases(void)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct outcome outcome;

        stream_reset(&stream);
        stream_add(&stream, cases[i].bytes, cases[i].length);
        outcome = peer_meet(&stream, true, 1000, &reply);
        CHECK_CASE(cases[i].name, outcome.handshake == cases[i].handshake);
        CHECK_CASE(cases[i].name, outcome.receive == cases[i].receive);
        CHECK_CASE(cases[i].name, (outcome.fault != NULL) == (cases[i].fault != NULL));
        CHECK_CASE(cases[i].name,
                   cases[i].fault == NULL || (outcome.fault && strstr(outcome.fault, cases[i].fault)));
    }
}

static bool client_sent(const struct outcome *outcome, const char *bytes, size_t length)
{
    return outcome->sent_length == length && memcmp(outcome->sent, bytes, length) == 0;
}

static void test_what_the_client_says(void)
{
    struct outcome outcome;

    stream_reset(&stream);
    stream_add_literal(&stream, HELLO PING DONE);
    outcome = peer_meet(&stream, true, 1000, &reply);
    CHECK(client_sent(&outcome, LITERAL(CLIENT_GREETING CLIENT_READY PONG)));
    stream_reset(&stream);
    outcome = peer_meet(&stream, false, 30, &reply);
    CHECK_CASE("waits for the greeting", client_sent(&outcome, LITERAL(CLIENT_GREETING)));
}

/* Wherever the peer goes away or falls silent, the client notices, and knows a cut-off reply from none. */
static void test_every_truncation(void)
{
    static struct stream whole;
    size_t hello_length = sizeof(HELLO) - 1;

    stream_reset(&whole);
    stream_add_literal(&whole,
                       HELLO PING "\1\6otpd/1\1\4done" PING "\1\16verdict=accept\2\0\0\0\0\0\0\0\10info=abc");
    for (size_t cut = 0; cut <= whole.length; cut++) {
        size_t reply_starts = hello_length + sizeof(PING) - 1;
        enum zmtp_status expected = cut == whole.length  ? ZMTP_OK
                                    : cut > reply_starts ? ZMTP_FAULT
                                                         : ZMTP_CLOSED;
        struct outcome outcome;
        char name[32];

        snprintf(name, sizeof(name), "cut at %zu", cut);
        stream_reset(&stream);
        stream_add(&stream, whole.bytes, cut);
        outcome = peer_meet(&stream, true, 1000, &reply);
        CHECK_CASE(name, outcome.handshake == (cut < hello_length ? ZMTP_CLOSED : ZMTP_OK));
        CHECK_CASE(name, cut < hello_length || outcome.receive == expected);
        outcome = peer_meet(&stream, false, 2, &reply);
        CHECK_CASE(name, outcome.handshake == (cut < hello_length ? ZMTP_TIMEOUT : ZMTP_OK));
        CHECK_CASE(name,
                   cut < hello_length || outcome.receive == (cut == whole.length ? ZMTP_OK : ZMTP_TIMEOUT));
    }
}

static void test_counts(void)
{
    struct outcome outcome;

    stream_reset(&stream);
    stream_add_literal(&stream, HELLO);
    for (int i = 0; i < PROTOCOL_MAX_FRAMES; i++)
        stream_add(&stream, i + 1 < PROTOCOL_MAX_FRAMES ? "\1\1x" : "\0\1x", 3);
    CHECK_CASE("32 frames", peer_meet(&stream, true, 1000, &reply).receive == ZMTP_OK);
    stream_reset(&stream);
    stream_add_literal(&stream, HELLO);
    for (int i = 0; i < PROTOCOL_MAX_FRAMES + 1; i++)
        stream_add(&stream, i < PROTOCOL_MAX_FRAMES ? "\1\1x" : "\0\1x", 3);
    CHECK_CASE("33 frames", peer_meet(&stream, true, 1000, &reply).receive == ZMTP_FAULT);
    stream_reset(&stream);
    stream_add_literal(&stream, HELLO);
    for (int i = 0; i < 100; i++)
        stream_add_literal(&stream, PING);
    outcome = peer_meet(&stream, true, 1000, &reply);
    CHECK_CASE("100 PINGs",
               outcome.receive == ZMTP_FAULT && outcome.fault && strstr(outcome.fault, "too many"));
}

static int64_t milliseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void test_silence_until_the_deadline(void)
{
    int64_t start = milliseconds();
    int64_t elapsed;

    stream_reset(&stream);
    stream_add_literal(&stream, HELLO);
    CHECK(peer_meet(&stream, false, 150, &reply).receive == ZMTP_TIMEOUT);
    elapsed = milliseconds() - start;
    CHECK(elapsed >= 149 && elapsed < 1000);
}

/* ---- peers that take their time ---- */

struct slow_peer {
    int fd;
    const struct stream *says;
    size_t read_length;
};

static void *drip(void *argument)
{
    const struct slow_peer *peer = argument;
    const struct timespec pause = {.tv_nsec = 100 * 1000};

    for (size_t i = 0; i < peer->says->length; i++) {
        send(peer->fd, peer->says->bytes + i, 1, MSG_NOSIGNAL);
        nanosleep(&pause, NULL);
    }
    return NULL;
}

static void *sip(void *argument)
{
    struct slow_peer *peer = argument;
    const struct timespec pause = {.tv_nsec = 200 * 1000};
    char bytes[512];
    ssize_t got;

    while ((got = read(peer->fd, bytes, sizeof(bytes))) > 0) {
        peer->read_length += (size_t)got;
        nanosleep(&pause, NULL);
    }
    return NULL;
}

static void make_ends(int ends[2])
{
    int small = 1;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        err(2, "socketpair");
    setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
}

static void test_byte_by_byte(void)
{
    struct slow_peer peer = {.says = &stream};
    struct zmtp zmtp = {.deadline = deadline_after(10000)};
    pthread_t thread;
    int ends[2];

    stream_reset(&stream);
    stream_add_literal(&stream, HELLO PING DONE);
    make_ends(ends);
    peer.fd = ends[1];
    zmtp.fd = ends[0];
    message_wipe(&reply);
    CHECK(pthread_create(&thread, NULL, drip, &peer) == 0);
    CHECK(zmtp_handshake(&zmtp) == ZMTP_OK);
    CHECK(zmtp_receive(&zmtp, &reply) == ZMTP_OK && reply.frame_count == 3);
    pthread_join(thread, NULL);
    close(ends[0]);
    close(ends[1]);
}

static void fill_largest(struct message *message)
{
    message_wipe(message);
    for (int i = 0; i < PROTOCOL_MAX_FRAMES; i++) {
        char *room = message_add_frame(message, 1024);

        if (room == NULL)
            errx(2, "no room");
        memset(room, 'x', 1024);
    }
}

/* The largest message through a small socket buffer: sent in parts, and never beyond the deadline. */
static void test_slow_reader(void)
{
    static struct message largest;
    struct slow_peer peer = {0};
    struct zmtp zmtp = {.deadline = deadline_after(10000)};
    pthread_t thread;
    int ends[2];

    fill_largest(&largest);
    make_ends(ends);
    zmtp.fd = ends[0];
    peer.fd = ends[1];
    CHECK(pthread_create(&thread, NULL, sip, &peer) == 0);
    CHECK(zmtp_send(&zmtp, &largest) == ZMTP_OK);
    shutdown(ends[0], SHUT_WR);
    pthread_join(thread, NULL);
    CHECK(peer.read_length == PROTOCOL_MAX_FRAMES * (1024 + 9));
    close(ends[0]);
    close(ends[1]);
}

static void test_reader_that_stops(void)
{
    static struct message largest;
    struct zmtp zmtp = {.deadline = deadline_after(50)};
    int ends[2];

    fill_largest(&largest);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
        err(2, "socketpair");
    setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &(int){1}, sizeof(int));
    zmtp.fd = ends[0];
    CHECK(zmtp_send(&zmtp, &largest) == ZMTP_TIMEOUT);
    close(ends[1]);
    zmtp.deadline = deadline_after(1000);
    CHECK_CASE("ECONNRESET", zmtp_send(&zmtp, &largest) == ZMTP_CLOSED);
    CHECK_CASE("EPIPE, and no SIGPIPE", zmtp_send(&zmtp, &largest) == ZMTP_CLOSED);
    close(ends[0]);
}

void test_zmtp(void)
{
    test_cases();
    test_what_the_client_says();
    test_every_truncation();
    test_counts();
    test_silence_until_the_deadline();
    test_byte_by_byte();
    test_slow_reader();
    test_reader_that_stops();
}

/* ---- mutations ---- */

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static void mutate(struct stream *bytes, uint32_t *state)
{
    size_t at = next_random(state) % bytes->length;

    switch (next_random(state) % 3) {
    case 0:
        bytes->bytes[at] ^= (unsigned char)(1U << next_random(state) % 8);
        break;
    case 1:
        bytes->bytes[at] = (unsigned char)next_random(state);
        break;
    default:
        memmove(bytes->bytes + at, bytes->bytes + at + 1, bytes->length - at - 1);
        bytes->length--;
    }
}

/* Broken golden messages: the sanitizers judge. */
void test_zmtp_mutations(const char *path)
{
    enum { ROUNDS = 100 };
    uint32_t state = 20070917;
    size_t count;
    struct vector *vectors = vectors_read(path, &count);

    for (size_t i = 0; i < count * ROUNDS; i++) {
        const struct vector *vector = &vectors[i % count];
        size_t length;
        unsigned char *wire = vector_to_wire(vector, &length);
        struct reply decoded;

        stream_reset(&stream);
        stream_add_literal(&stream, HELLO);
        stream_add(&stream, wire, length);
        free(wire);
        for (uint32_t mutations = 1 + next_random(&state) % 3; mutations > 0; mutations--)
            mutate(&stream, &state);
        if (peer_meet(&stream, true, 1000, &reply).receive == ZMTP_OK)
            protocol_decode_reply(&reply, &decoded);
    }
    vectors_free(vectors, count);
}
