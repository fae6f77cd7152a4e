/* How often in a second one thread comes back to the same fault: a handler may return to
 * it, but not for ever. */
#ifndef YAMMAP_ATTEMPTS_H
#define YAMMAP_ATTEMPTS_H

#include <time.h>

struct attempts {
    const void *address;
    time_t second;
    unsigned long round;
    int times;
};

/* Count one more at `address`. What came before in another `round` no longer counts. Safe
 * in a signal handler, where `attempts` is the thread's own. */
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
