/* The client's half of ZMTP 3.0 (https://rfc.zeromq.org/spec/23/), as a DEALER with the NULL mechanism. */
#ifndef OTPD_ZMTP_H
#define OTPD_ZMTP_H

#include <stdbool.h>

#include "deadline.h"
#include "protocol.h"

enum zmtp_status {
    ZMTP_OK,
    ZMTP_CLOSED,  /* the peer went away before its reply began: asking again makes sense */
    ZMTP_TIMEOUT, /* the deadline has passed */
    ZMTP_FAULT,   /* the peer broke a rule, or the system failed: .fault says how */
};

struct zmtp {
    int fd; /* a connected stream socket, non-blocking */
    deadline_t deadline;
    int command_count;
    bool in_reply; /* a part of the reply has arrived */
    const char *fault;
};

/* Greetings and READY, both ways. Nothing else may be sent before: libzmq 4.3.5 closes most connections on
 * which a message arrives together with the greeting. */
enum zmtp_status zmtp_handshake(struct zmtp *zmtp);

enum zmtp_status zmtp_send(struct zmtp *zmtp, const struct message *message);

/* Fills an empty message. */
enum zmtp_status zmtp_receive(struct zmtp *zmtp, struct message *message);

#endif
