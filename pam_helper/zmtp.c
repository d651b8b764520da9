#include "zmtp.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum {
    FLAG_MORE = 0x01,
    FLAG_LONG = 0x02,
    FLAG_COMMAND = 0x04,
    FLAGS_KNOWN = FLAG_MORE | FLAG_LONG | FLAG_COMMAND,

    GREETING_BYTES = 64,
    MECHANISM_BYTES = 20,
    MAX_HEADER_BYTES = 9,
    MAX_SHORT_BYTES = 255,
    MAX_COMMAND_BYTES = 512, /* libzmq's READY has about 50 */
    MAX_COMMANDS = 64,       /* READY, and a PING now and then */
    MAX_PING_CONTEXT_BYTES = 16,
};

static const unsigned char greeting[GREETING_BYTES] = {
    0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0, 'N', 'U', 'L', 'L',
};

static const char ready_command[] = "\5READY\13Socket-Type\0\0\0\6DEALER";

static enum zmtp_status fault(struct zmtp *zmtp, const char *reason)
{
    zmtp->fault = reason;
    return ZMTP_FAULT;
}

static enum zmtp_status closed(struct zmtp *zmtp)
{
    return zmtp->in_reply ? fault(zmtp, "a truncated reply") : ZMTP_CLOSED;
}

/* ---- bytes ---- */

static enum zmtp_status wait_for(struct zmtp *zmtp, short events)
{
    for (;;) {
        struct pollfd pollfd = {.fd = zmtp->fd, .events = events};
        int left = deadline_left(zmtp->deadline);
        int ready;

        if (left == 0)
            return ZMTP_TIMEOUT;
        ready = poll(&pollfd, 1, left);
        if (ready > 0)
            return ZMTP_OK;
        if (ready < 0 && errno != EINTR && errno != EAGAIN)
            return fault(zmtp, "poll failed");
    }
}

/* After a recv or send that failed: ZMTP_OK when it is to be tried again. */
static enum zmtp_status recover(struct zmtp *zmtp, int error, short events)
{
    switch (error) {
    case EINTR:
        return ZMTP_OK;
    case EAGAIN:
        return wait_for(zmtp, events);
    case ECONNRESET:
    case EPIPE:
        return closed(zmtp);
    default:
        return fault(zmtp, "the socket failed");
    }
}

/* Never reads ahead, so that no byte of a reply is left in a buffer of ours. */
static enum zmtp_status read_exactly(struct zmtp *zmtp, void *buffer, size_t length)
{
    char *at = buffer;

    while (length > 0) {
        ssize_t got = recv(zmtp->fd, at, length, 0);

        if (got > 0) {
            at += got;
            length -= (size_t)got;
        } else if (got == 0) {
            return closed(zmtp);
        } else {
            enum zmtp_status status = recover(zmtp, errno, POLLIN);

            if (status != ZMTP_OK)
                return status;
        }
    }
    return ZMTP_OK;
}

static void advance(struct msghdr *parts, size_t sent)
{
    while (parts->msg_iovlen > 0 && sent >= parts->msg_iov->iov_len) {
        sent -= parts->msg_iov->iov_len;
        parts->msg_iov++;
        parts->msg_iovlen--;
    }
    if (sent > 0) {
        parts->msg_iov->iov_base = (char *)parts->msg_iov->iov_base + sent;
        parts->msg_iov->iov_len -= sent;
    }
}

static enum zmtp_status write_all(struct zmtp *zmtp, struct iovec *iov, size_t count)
{
    struct msghdr parts = {.msg_iov = iov, .msg_iovlen = count};

    while (parts.msg_iovlen > 0) {
        /* MSG_NOSIGNAL: a SIGPIPE would end the program that we are a guest of. */
        ssize_t sent = sendmsg(zmtp->fd, &parts, MSG_NOSIGNAL);

        if (sent >= 0) {
            advance(&parts, (size_t)sent);
        } else {
            enum zmtp_status status = recover(zmtp, errno, POLLOUT);

            if (status != ZMTP_OK)
                return status;
        }
    }
    return ZMTP_OK;
}

/* ---- frames ---- */

struct header {
    unsigned char flags;
    uint64_t length;
};

static size_t put_header(unsigned char room[MAX_HEADER_BYTES], unsigned char flags, size_t length)
{
    if (length <= MAX_SHORT_BYTES) {
        room[0] = flags;
        room[1] = (unsigned char)length;
        return 2;
    }
    room[0] = flags | FLAG_LONG;
    for (size_t i = 0; i < 8; i++)
        room[1 + i] = (unsigned char)((uint64_t)length >> (8 * (7 - i)));
    return MAX_HEADER_BYTES;
}

static enum zmtp_status read_header(struct zmtp *zmtp, struct header *header)
{
    unsigned char length[8];
    size_t length_bytes;
    enum zmtp_status status = read_exactly(zmtp, &header->flags, 1);

    if (status != ZMTP_OK)
        return status;
    if (header->flags & ~FLAGS_KNOWN)
        return fault(zmtp, "unknown frame flags");
    if (!(header->flags & FLAG_COMMAND))
        zmtp->in_reply = true;
    length_bytes = header->flags & FLAG_LONG ? sizeof(length) : 1;
    status = read_exactly(zmtp, length, length_bytes);
    if (status != ZMTP_OK)
        return status;
    header->length = 0;
    for (size_t i = 0; i < length_bytes; i++)
        header->length = header->length << 8 | length[i];
    return ZMTP_OK;
}

/* ---- commands ---- */

struct command {
    size_t length;
    unsigned char body[MAX_COMMAND_BYTES];
};

static enum zmtp_status send_command(struct zmtp *zmtp, const void *body, size_t length)
{
    unsigned char room[MAX_HEADER_BYTES + MAX_SHORT_BYTES];
    size_t header_bytes = put_header(room, FLAG_COMMAND, length);
    struct iovec iov = {.iov_base = room, .iov_len = header_bytes + length};

    memcpy(room + header_bytes, body, length);
    return write_all(zmtp, &iov, 1);
}

static enum zmtp_status read_command(struct zmtp *zmtp, const struct header *header, struct command *command)
{
    if (header->flags & FLAG_MORE)
        return fault(zmtp, "a command in several frames");
    if (header->length > sizeof(command->body))
        return fault(zmtp, "a command that is too long");
    if (++zmtp->command_count > MAX_COMMANDS)
        return fault(zmtp, "too many commands");
    command->length = (size_t)header->length;
    return read_exactly(zmtp, command->body, command->length);
}

/* Names are length-prefixed: "\5READY". */
static bool command_is(const struct command *command, const char *name)
{
    size_t length = strlen(name);

    return command->length >= length && memcmp(command->body, name, length) == 0;
}

static enum zmtp_status answer_ping(struct zmtp *zmtp, const struct command *ping)
{
    enum { PING_HEAD_BYTES = 5 + 2, PONG_HEAD_BYTES = 5 }; /* a PING has a time to live, in two bytes */
    unsigned char pong[PONG_HEAD_BYTES + MAX_PING_CONTEXT_BYTES] = "\4PONG";
    size_t context_bytes;

    if (ping->length < PING_HEAD_BYTES || ping->length > PING_HEAD_BYTES + MAX_PING_CONTEXT_BYTES)
        return fault(zmtp, "a malformed PING");
    context_bytes = ping->length - PING_HEAD_BYTES;
    memcpy(pong + PONG_HEAD_BYTES, ping->body + PING_HEAD_BYTES, context_bytes);
    return send_command(zmtp, pong, PONG_HEAD_BYTES + context_bytes);
}

/* What may come at any time. */
static enum zmtp_status obey_command(struct zmtp *zmtp, const struct command *command)
{
    if (command_is(command, "\4PING"))
        return answer_ping(zmtp, command);
    if (command_is(command, "\5ERROR"))
        return fault(zmtp, "the connection was refused (ZMTP ERROR)");
    return fault(zmtp, "an unexpected command");
}

/* ---- handshake ---- */

/* Bytes 1 to 8 are padding in ZMTP 3, but libzmq puts a length for ZMTP 1 there. A minor version above ours
 * is to be answered with ours, which it was. */
static bool greeting_is_good(const unsigned char theirs[GREETING_BYTES])
{
    return theirs[0] == 0xff && theirs[9] == 0x7f && theirs[10] >= 3 &&
           memcmp(theirs + 12, greeting + 12, MECHANISM_BYTES) == 0;
}

/* One property of READY, its name and value both length-prefixed; returns its length, or 0 if it is broken.
 */
static size_t read_property(const unsigned char *at, size_t left, bool *is_router)
{
    static const char socket_type[] = "\13Socket-Type\0\0\0\6ROUTER";
    size_t name_bytes;
    size_t value_bytes;

    if (left < 1 || left < 1U + at[0] + 4U)
        return 0;
    name_bytes = 1U + at[0];
    value_bytes = (size_t)at[name_bytes] << 24 | (size_t)at[name_bytes + 1] << 16 |
                  (size_t)at[name_bytes + 2] << 8 | (size_t)at[name_bytes + 3];
    if (value_bytes > left - name_bytes - 4)
        return 0;
    if (name_bytes + 4 + value_bytes == sizeof(socket_type) - 1 &&
        memcmp(at, socket_type, sizeof(socket_type) - 1) == 0)
        *is_router = true;
    return name_bytes + 4 + value_bytes;
}

static enum zmtp_status check_ready(struct zmtp *zmtp, const struct command *command)
{
    bool is_router = false;

    for (size_t at = strlen("\5READY"); at < command->length;) {
        size_t property_bytes = read_property(command->body + at, command->length - at, &is_router);

        if (property_bytes == 0)
            return fault(zmtp, "a malformed READY");
        at += property_bytes;
    }
    return is_router ? ZMTP_OK : fault(zmtp, "the peer is not a ROUTER");
}

static enum zmtp_status exchange_greetings(struct zmtp *zmtp)
{
    unsigned char theirs[GREETING_BYTES];
    unsigned char ours[GREETING_BYTES];
    struct iovec iov = {.iov_base = ours, .iov_len = sizeof(ours)};
    enum zmtp_status status;

    memcpy(ours, greeting, sizeof(ours));
    status = write_all(zmtp, &iov, 1);
    if (status == ZMTP_OK)
        status = read_exactly(zmtp, theirs, sizeof(theirs));
    if (status == ZMTP_OK && !greeting_is_good(theirs))
        status = fault(zmtp, "the greeting is not ZMTP 3 with the NULL mechanism");
    return status;
}

enum zmtp_status zmtp_handshake(struct zmtp *zmtp)
{
    enum zmtp_status status = exchange_greetings(zmtp);

    if (status == ZMTP_OK)
        status = send_command(zmtp, ready_command, sizeof(ready_command) - 1);
    while (status == ZMTP_OK) {
        struct header header;
        struct command command;

        status = read_header(zmtp, &header);
        if (status == ZMTP_OK && !(header.flags & FLAG_COMMAND))
            status = fault(zmtp, "a message before READY");
        if (status == ZMTP_OK)
            status = read_command(zmtp, &header, &command);
        if (status != ZMTP_OK)
            break;
        if (command_is(&command, "\5READY"))
            return check_ready(zmtp, &command);
        status = obey_command(zmtp, &command);
    }
    return status;
}

/* ---- messages ---- */

enum zmtp_status zmtp_send(struct zmtp *zmtp, const struct message *message)
{
    unsigned char headers[PROTOCOL_MAX_FRAMES][MAX_HEADER_BYTES];
    struct iovec iov[2 * PROTOCOL_MAX_FRAMES];

    for (size_t i = 0; i < message->frame_count; i++) {
        const struct frame *frame = &message->frames[i];
        unsigned char flags = i + 1 < message->frame_count ? FLAG_MORE : 0;

        iov[2 * i].iov_base = headers[i];
        iov[2 * i].iov_len = put_header(headers[i], flags, frame->length);
        iov[2 * i + 1].iov_base = frame->data;
        iov[2 * i + 1].iov_len = frame->length;
    }
    return write_all(zmtp, iov, 2 * message->frame_count);
}

enum zmtp_status zmtp_receive(struct zmtp *zmtp, struct message *message)
{
    for (;;) {
        struct header header;
        enum zmtp_status status = read_header(zmtp, &header);

        if (status == ZMTP_OK && header.flags & FLAG_COMMAND) {
            struct command command;

            status = read_command(zmtp, &header, &command);
            if (status == ZMTP_OK)
                status = obey_command(zmtp, &command);
        } else if (status == ZMTP_OK) {
            char *room = header.length > PROTOCOL_MAX_FRAME_BYTES
                             ? NULL
                             : message_add_frame(message, (size_t)header.length);

            if (room == NULL)
                return fault(zmtp, "a reply beyond the protocol's limits");
            status = read_exactly(zmtp, room, (size_t)header.length);
            if (status == ZMTP_OK && !(header.flags & FLAG_MORE))
                return ZMTP_OK;
        }
        if (status != ZMTP_OK)
            return status;
    }
}
