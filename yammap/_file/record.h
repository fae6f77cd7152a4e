/* What the innermost loop over records needs, in a few instructions each: copy one, have the
 * processor fetch one, and look at the time. Calling memmove() or clock_gettime() would take
 * longer than the copy. */
#ifndef YAMMAP_RECORD_H
#define YAMMAP_RECORD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

struct yammap_pair {
    uint64_t words[2];
};

struct yammap_four {
    uint64_t words[4];
};

/* From both ends, so that every length between the two is the same two moves. All is loaded
 * before anything is stored: source and target may overlap. */
#define YAMMAP_COPY_ENDS(type, target, source, length)                                         \
    do {                                                                                       \
        type head, tail;                                                                       \
        memcpy(&head, source, sizeof(type));                                                   \
        memcpy(&tail, source + length - sizeof(type), sizeof(type));                           \
        memcpy(target, &head, sizeof(type));                                                   \
        memcpy(target + length - sizeof(type), &tail, sizeof(type));                           \
    } while (0)

static inline void copy_record(char *target, const char *source, size_t length)
{
    if (length > 64)
        memmove(target, source, length);
    else if (length >= 32)
        YAMMAP_COPY_ENDS(struct yammap_four, target, source, length);
    else if (length >= 16)
        YAMMAP_COPY_ENDS(struct yammap_pair, target, source, length);
    else if (length >= 8)
        YAMMAP_COPY_ENDS(uint64_t, target, source, length);
    else if (length >= 4)
        YAMMAP_COPY_ENDS(uint32_t, target, source, length);
    else if (length >= 2)
        YAMMAP_COPY_ENDS(uint16_t, target, source, length);
    else if (length == 1)
        *target = *source;
}

/* Its first and its last bytes; what is between them the processor sees coming by itself.
 * They may be anywhere: a prefetch of a missing page is no fault. So the address is
 * a number: a pointer could not be computed past the end of its memory. */
static inline void prefetch_record(uintptr_t address, size_t length)
{
    __builtin_prefetch((const void *)address);
    __builtin_prefetch((const void *)(address + length - 1));
}

/* Nanoseconds, but for a factor of two. clock_gettime() makes the processor wait for all
 * accesses under way, which once each 32 KiB took a twentieth of the time; the counter alone
 * does not, and counts two or three times in a nanosecond. */
static inline int64_t rough_nanoseconds(void)
{
#ifdef __x86_64__
    return (int64_t)(__builtin_ia32_rdtsc() / 2);
#else
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
#endif
}

#endif
