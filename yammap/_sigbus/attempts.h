/* How often a thread meets the same fault within a second: a handler may return to a fault,
 * but not for ever. */
#ifndef YAMMAP_ATTEMPTS_H
#define YAMMAP_ATTEMPTS_H

#include <time.h>

struct attempts {
    const void *address;
    time_t second;
    unsigned long round;
    int times;
};

/* Count one more attempt at `address`. Attempts of another `round` do not count any more.
 * A signal handler may call this, since `attempts` belongs to one thread. */
static inline int count_attempt(struct attempts *attempts, const void *address,
                                unsigned long round)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    if (attempts->address != address || attempts->second != now.tv_sec
        || attempts->round != round)
        attempts->times = 0;
    attempts->address = address;
    attempts->second = now.tv_sec;
    attempts->round = round;
    return ++attempts->times;
}

#endif
