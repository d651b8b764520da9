/* An absolute point in time, so that retries and signals cannot stretch a wait. */
#ifndef OTPD_DEADLINE_H
#define OTPD_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>

/* Milliseconds on CLOCK_MONOTONIC: the wall clock may be set while we wait. */
typedef int64_t deadline_t;

deadline_t deadline_after(int milliseconds);

/* Milliseconds that are left, as poll(2) takes them; 0 when it has passed. */
int deadline_left(deadline_t deadline);

/* Sleeps, but not beyond the deadline; false when it has passed. */
bool deadline_pause(deadline_t deadline, int milliseconds);

#endif
