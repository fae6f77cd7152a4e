/* Which region each thread is reading without a reference to it, where Python has no GIL.
 *
 * A count of references is one word, and a lock is another, which the processors of all threads
 * that read one mapping would take from each other for every read. A pin is a word that only
 * its own thread writes. Who frees a region waits until it is in no pin.
 *
 * Contract
 * - A thread holds one pin at a time, for as long as a small copy takes: it does not wait for
 *   another thread meanwhile, and runs no Python code.
 * - `place` holds a reference to the region for as long as it points to it.
 * - pin_wait() is called when `place` points elsewhere, and before the region is unmapped.
 *
 * The reasons are in docs/design/memory.md.
 */
#ifndef YAMMAP_PINS_H
#define YAMMAP_PINS_H

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

struct pin {
    const void *region;
    int has_thread;
    struct pin *next;
} __attribute__((aligned(128)));    /* two lines, which processors fetch together */

static struct pin *pins;            /* of all threads; none is ever freed */
static _Thread_local struct pin *own_pin;
static pthread_key_t pin_key;
static pthread_once_t pin_once = PTHREAD_ONCE_INIT;

static void pin_give_back(void *pin)
{
    __atomic_store_n(&((struct pin *)pin)->has_thread, 0, __ATOMIC_RELEASE);
}

static void pin_begin(void)
{
    pthread_key_create(&pin_key, pin_give_back);
}

/* A pin whose thread has ended, or a new one; NULL where there is no memory for it. */
static struct pin *pin_find(void)
{
    struct pin *pin = __atomic_load_n(&pins, __ATOMIC_ACQUIRE);

    for (; pin != NULL; pin = pin->next)
        if (!__atomic_exchange_n(&pin->has_thread, 1, __ATOMIC_ACQUIRE))
            return pin;
    if (posix_memalign((void **)&pin, sizeof(*pin), sizeof(*pin)))
        return NULL;
    *pin = (struct pin){.has_thread = 1, .next = __atomic_load_n(&pins, __ATOMIC_RELAXED)};
    while (!__atomic_compare_exchange_n(&pins, &pin->next, pin, 0, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED))
        ;
    return pin;
}

static __attribute__((noinline)) struct pin *pin_make(void)
{
    pthread_once(&pin_once, pin_begin);
    own_pin = pin_find();
    pthread_setspecific(pin_key, own_pin);
    return own_pin;
}

static inline void pin_drop(void)
{
    __atomic_store_n(&own_pin->region, NULL, __ATOMIC_RELEASE);
}

/* Hold the region that `place` points to, and return it; NULL where that is not possible. */
static inline const void *pin_hold(const void *const *place)
{
    struct pin *pin = own_pin != NULL ? own_pin : pin_make();
    const void *region = __atomic_load_n(place, __ATOMIC_ACQUIRE);

    if (pin == NULL)
        return NULL;
    /* Either the freeing thread sees the pin, or this one sees that `place` has changed. */
    __atomic_store_n(&pin->region, region, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(place, __ATOMIC_SEQ_CST) == region)
        return region;
    pin_drop();
    return NULL;
}

static inline void pin_wait(const void *region)
{
    struct pin *pin;

    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (pin = __atomic_load_n(&pins, __ATOMIC_ACQUIRE); pin != NULL; pin = pin->next)
        while (__atomic_load_n(&pin->region, __ATOMIC_ACQUIRE) == region)
            sched_yield();
}

/* In a forked child, which has no other thread. */
static inline void pin_forget_others(void)
{
    for (struct pin *pin = pins; pin != NULL; pin = pin->next)
        pin->region = NULL;
}

#endif
