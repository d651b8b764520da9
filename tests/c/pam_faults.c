/* To be preloaded: system calls that now and then do what they may do but rarely do.
 *
 * PAM_FAULTS=transient: interrupted, short, or to be tried again; nobody should notice.
 * PAM_FAULTS=hard: they fail. A login may be lost then, but no more than that. */
#include <dlfcn.h>
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { ONE_IN = 20, LARGE_BYTES = 60000 };

void *__libc_calloc(size_t count, size_t size);

static uint32_t state = 20070917;

static uint32_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

static bool mode_is(const char *name)
{
    const char *mode = getenv("PAM_FAULTS");

    return mode != NULL && strcmp(mode, name) == 0;
}

static bool strikes(const char *mode)
{
    return mode_is(mode) && next_random() % ONE_IN == 0;
}

static int fail(int error)
{
    errno = error;
    return -1;
}

static void *next(const char *name)
{
    void *symbol = dlsym(RTLD_NEXT, name);

    if (symbol == NULL)
        errx(2, "no %s", name);
    return symbol;
}

int socket(int domain, int type, int protocol)
{
    int (*real)(int, int, int) = next("socket");

    return strikes("hard") ? fail(EMFILE) : real(domain, type, protocol);
}

int connect(int fd, const struct sockaddr *address, socklen_t length)
{
    int (*real)(int, const struct sockaddr *, socklen_t) = next("connect");

    if (strikes("transient"))
        return fail(EAGAIN);
    return strikes("hard") ? fail(ECONNREFUSED) : real(fd, address, length);
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *length)
{
    int (*real)(int, int, int, void *, socklen_t *) = next("getsockopt");

    return strikes("hard") ? fail(ENOTSOCK) : real(fd, level, name, value, length);
}

int poll(struct pollfd *fds, nfds_t count, int timeout)
{
    int (*real)(struct pollfd *, nfds_t, int) = next("poll");

    if (strikes("transient"))
        return fail(EINTR);
    return strikes("hard") ? fail(ENOMEM) : real(fds, count, timeout);
}

ssize_t recv(int fd, void *buffer, size_t length, int flags)
{
    ssize_t (*real)(int, void *, size_t, int) = next("recv");

    if (strikes("transient"))
        return fail(next_random() % 2 == 0 ? EINTR : EAGAIN);
    if (strikes("hard"))
        return fail(ENOMEM);
    return real(fd, buffer, mode_is("transient") && length > 1 ? 1 + next_random() % length : length, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *parts, int flags)
{
    ssize_t (*real)(int, const struct msghdr *, int) = next("sendmsg");
    struct msghdr part = *parts;

    if (strikes("transient"))
        return fail(next_random() % 2 == 0 ? EINTR : EAGAIN);
    if (strikes("hard"))
        return fail(ECONNRESET);
    if (mode_is("transient"))
        part.msg_iovlen = 1 + next_random() % part.msg_iovlen;
    return real(fd, &part, flags);
}

void *calloc(size_t count, size_t size)
{
    return count * size > LARGE_BYTES && strikes("hard") ? NULL : __libc_calloc(count, size);
}
