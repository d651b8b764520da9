#include "deadline.h"

#include <limits.h>
#include <poll.h>
#include <time.h>

static int64_t now(void)
{
    struct timespec time = {0};

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

deadline_t deadline_after(int milliseconds)
{
    return now() + milliseconds;
}

int deadline_left(deadline_t deadline)
{
    int64_t left = deadline - now();

    if (left < 0)
        return 0;
    return left > INT_MAX ? INT_MAX : (int)left;
}

bool deadline_pause(deadline_t deadline, int milliseconds)
{
    int left = deadline_left(deadline);

    /* A signal may cut it short: the caller then merely tries again sooner. */
    poll(NULL, 0, left < milliseconds ? left : milliseconds);
    return deadline_left(deadline) > 0;
}
