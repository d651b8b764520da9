#include "exchange.h"

#include <errno.h>
#include <pwd.h>
#include <security/pam_ext.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "deadline.h"
#include "zmtp.h"

#define DAEMON_USER "otpd"

enum {
    PAUSE_MILLISECONDS = 50,
    CANCEL_MILLISECONDS = 100,
    PASSWD_BUFFER_BYTES = 4096,
};

/* A connected socket, or -1 and errno. */
static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -1;
    /* args_parse() has seen to it that it fits. */
    strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        int error = errno;

        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* As connect_to(); *path is the socket that was tried last. */
static int connect_to_daemon(const struct args *args, const char **path)
{
    int fd;

    *path = args->socket_path != NULL ? args->socket_path : EXCHANGE_AUTH_SOCKET;
    fd = connect_to(*path);
    if (fd >= 0 || errno != EACCES || args->socket_path != NULL || geteuid() == 0)
        return fd;
    /* A screen locker runs as its user, who may start dialogues on the other socket, about himself. */
    *path = EXCHANGE_CONTROL_SOCKET;
    return connect_to(*path);
}

static bool is_daemon_uid(uid_t uid)
{
    char buffer[PASSWD_BUFFER_BYTES];
    struct passwd entry;
    struct passwd *found = NULL;

    /* systemd, which may hold the listening socket, is root. */
    if (uid == 0)
        return true;
    return getpwnam_r(DAEMON_USER, &entry, buffer, sizeof(buffer), &found) == 0 && found != NULL &&
           found->pw_uid == uid;
}

/* Someone else who got hold of the path would be told passwords, and would let everyone in. */
static enum zmtp_status check_peer(struct zmtp *zmtp)
{
    struct ucred peer;
    socklen_t length = sizeof(peer);

    if (getsockopt(zmtp->fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && is_daemon_uid(peer.uid))
        return ZMTP_OK;
    zmtp->fault = "the socket belongs neither to root nor to the user " DAEMON_USER;
    return ZMTP_FAULT;
}

static enum zmtp_status talk(struct zmtp *zmtp, const struct message *request, struct message *reply)
{
    enum zmtp_status status = check_peer(zmtp);

    if (status == ZMTP_OK)
        status = zmtp_handshake(zmtp);
    if (status == ZMTP_OK)
        status = zmtp_send(zmtp, request);
    if (status == ZMTP_OK)
        status = zmtp_receive(zmtp, reply);
    return status;
}

/* EAGAIN is a full backlog: someone listens, and is busy. */
static bool may_come_back(int connect_error, enum exchange_kind kind)
{
    if (connect_error == EAGAIN || connect_error == EINTR)
        return kind != EXCHANGE_CANCEL;
    return kind == EXCHANGE_ANSWER && (connect_error == ENOENT || connect_error == ECONNREFUSED);
}

struct attempt {
    enum zmtp_status status; /* ZMTP_CLOSED: try again */
    const char *path;
    const char *reason;
};

static struct attempt try_once(const struct args *args, enum exchange_kind kind, deadline_t deadline,
                               const struct message *request, struct message *reply)
{
    struct attempt attempt = {.status = ZMTP_CLOSED};
    struct zmtp zmtp = {.deadline = deadline};

    zmtp.fd = connect_to_daemon(args, &attempt.path);
    if (zmtp.fd < 0) {
        attempt.reason = strerrordesc_np(errno);
        if (!may_come_back(errno, kind))
            attempt.status = ZMTP_FAULT;
        return attempt;
    }
    attempt.status = talk(&zmtp, request, reply);
    attempt.reason = zmtp.fault;
    if (zmtp.fault == NULL)
        attempt.reason = attempt.status == ZMTP_TIMEOUT ? "otpd is silent" : "otpd closed the connection";
    close(zmtp.fd);
    return attempt;
}

bool exchange(pam_handle_t *pamh, const struct args *args, enum exchange_kind kind,
              const struct message *request, struct message *reply)
{
    bool courtesy = kind == EXCHANGE_CANCEL;
    deadline_t deadline = deadline_after(courtesy ? CANCEL_MILLISECONDS : args->timeout_seconds * 1000);
    struct attempt attempt;

    for (;;) {
        message_wipe(reply);
        attempt = try_once(args, kind, deadline, request, reply);
        if (attempt.status == ZMTP_OK)
            return true;
        if (attempt.status != ZMTP_CLOSED || courtesy || !deadline_pause(deadline, PAUSE_MILLISECONDS))
            break;
        if (args->debug)
            pam_syslog(pamh, LOG_DEBUG, "%s: %s; trying again", attempt.path, attempt.reason);
    }
    if (courtesy)
        return false;
    if (attempt.status == ZMTP_FAULT)
        pam_syslog(pamh, LOG_ERR, "%s: %s", attempt.path, attempt.reason);
    else
        pam_syslog(pamh, LOG_ERR, "%s: no answer within %d seconds: %s", attempt.path, args->timeout_seconds,
                   attempt.reason);
    return false;
}
