/* The other end of a socketpair: what a daemon says, written down beforehand. */
#ifndef OTPD_PEER_H
#define OTPD_PEER_H

#include <stdbool.h>
#include <stddef.h>

#include "zmtp.h"

enum { PEER_MAX_BYTES = 128 * 1024 };

/* What libzmq 4.3.5 sends before the first message. */
#define PEER_GREETING "\xff\0\0\0\0\0\0\0\1\x7f\3\1NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" PEER_ZEROS_32
#define PEER_ZEROS_32 "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define PEER_READY "\4\x29\5READY\13Socket-Type\0\0\0\6ROUTER\10Identity\0\0\0\0"

struct stream {
    size_t length;
    unsigned char bytes[PEER_MAX_BYTES];
};

void stream_reset(struct stream *stream);
void stream_add(struct stream *stream, const void *bytes, size_t length);
#define stream_add_literal(stream, literal) stream_add((stream), (literal), sizeof(literal) - 1)

struct outcome {
    enum zmtp_status handshake;
    enum zmtp_status receive;
    const char *fault;
    size_t sent_length; /* what the client wrote */
    unsigned char sent[512];
};

/* The whole of the client against what the peer says, after which the peer closes, or is silent for ever. */
struct outcome peer_meet(const struct stream *stream, bool then_close, int timeout_milliseconds,
                         struct message *reply);

#endif
