#include "peer.h"

#include <err.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void stream_reset(struct stream *stream)
{
    stream->length = 0;
}

void stream_add(struct stream *stream, const void *bytes, size_t length)
{
    if (length > sizeof(stream->bytes) - stream->length)
        errx(2, "the stream is too long");
    memcpy(stream->bytes + stream->length, bytes, length);
    stream->length += length;
}

static void meet(struct zmtp *zmtp, struct outcome *outcome, struct message *reply)
{
    outcome->receive = ZMTP_FAULT;
    outcome->handshake = zmtp_handshake(zmtp);
    if (outcome->handshake == ZMTP_OK)
        outcome->receive = zmtp_receive(zmtp, reply);
    outcome->fault = zmtp->fault;
}

struct outcome peer_meet(const struct stream *stream, bool then_close, int timeout_milliseconds,
                         struct message *reply)
{
    struct outcome outcome = {0};
    struct zmtp zmtp = {.deadline = deadline_after(timeout_milliseconds)};
    int ends[2];
    ssize_t got;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
        err(2, "socketpair");
    if (send(ends[1], stream->bytes, stream->length, MSG_NOSIGNAL) != (ssize_t)stream->length)
        err(2, "send");
    if (then_close)
        shutdown(ends[1], SHUT_WR);
    zmtp.fd = ends[0];
    message_wipe(reply);
    meet(&zmtp, &outcome, reply);
    got = recv(ends[1], outcome.sent, sizeof(outcome.sent), 0);
    outcome.sent_length = got > 0 ? (size_t)got : 0;
    close(ends[0]);
    close(ends[1]);
    return outcome;
}
