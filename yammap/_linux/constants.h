/* The kernel's constants by name, with the values of this machine's headers.
 *
 * Values differ between architectures (SYS_*, some MAP_*), so they are read by the
 * C compiler and never written down. fallbacks.h has those that are younger than the
 * oldest headers we build with.
 *
 * flags.py makes the enums and names of the table, and flags.pyi declares them. calls.pxd
 * declares the few that the core itself passes to the kernel.
 */
#ifndef YAMMAP_CONSTANTS_H
#define YAMMAP_CONSTANTS_H

#include "_linux/fallbacks.h"

#include <fcntl.h>
#include <unistd.h>

struct constant {
    const char *name;
    long value;
};

#define CONSTANT(name) {#name, name}

static const struct constant constants[] = {
    CONSTANT(PROT_NONE),
    CONSTANT(PROT_READ),
    CONSTANT(PROT_WRITE),
    CONSTANT(PROT_EXEC),
    CONSTANT(PROT_GROWSDOWN),
    CONSTANT(PROT_GROWSUP),

    CONSTANT(MAP_SHARED),
    CONSTANT(MAP_PRIVATE),
    CONSTANT(MAP_SHARED_VALIDATE),
    CONSTANT(MAP_FIXED),
    CONSTANT(MAP_FIXED_NOREPLACE),
    CONSTANT(MAP_ANONYMOUS),
    CONSTANT(MAP_ANON),
    CONSTANT(MAP_FILE),
    CONSTANT(MAP_GROWSDOWN),
    CONSTANT(MAP_DENYWRITE),
    CONSTANT(MAP_EXECUTABLE),
    CONSTANT(MAP_LOCKED),
    CONSTANT(MAP_NORESERVE),
    CONSTANT(MAP_POPULATE),
    CONSTANT(MAP_NONBLOCK),
    CONSTANT(MAP_STACK),
    CONSTANT(MAP_HUGETLB),
    CONSTANT(MAP_SYNC),

    CONSTANT(MREMAP_MAYMOVE),
    CONSTANT(MREMAP_FIXED),
    CONSTANT(MREMAP_DONTUNMAP),

    CONSTANT(SEEK_SET),
    CONSTANT(SEEK_CUR),
    CONSTANT(SEEK_END),
    CONSTANT(SEEK_DATA),
    CONSTANT(SEEK_HOLE),

    CONSTANT(MADV_NORMAL),
    CONSTANT(MADV_RANDOM),
    CONSTANT(MADV_SEQUENTIAL),
    CONSTANT(MADV_WILLNEED),
    CONSTANT(MADV_DONTNEED),
    CONSTANT(MADV_FREE),
    CONSTANT(MADV_REMOVE),
    CONSTANT(MADV_DONTFORK),
    CONSTANT(MADV_DOFORK),
    CONSTANT(MADV_MERGEABLE),
    CONSTANT(MADV_UNMERGEABLE),
    CONSTANT(MADV_HUGEPAGE),
    CONSTANT(MADV_NOHUGEPAGE),
    CONSTANT(MADV_DONTDUMP),
    CONSTANT(MADV_DODUMP),
    CONSTANT(MADV_HWPOISON),
    CONSTANT(MADV_SOFT_OFFLINE),
    CONSTANT(MADV_WIPEONFORK),
    CONSTANT(MADV_KEEPONFORK),
    CONSTANT(MADV_COLD),
    CONSTANT(MADV_PAGEOUT),
    CONSTANT(MADV_POPULATE_READ),
    CONSTANT(MADV_POPULATE_WRITE),
    CONSTANT(MADV_DONTNEED_LOCKED),
    CONSTANT(MADV_COLLAPSE),

    CONSTANT(MS_ASYNC),
    CONSTANT(MS_INVALIDATE),
    CONSTANT(MS_SYNC),

    {"SYS_MMAP", SYS_mmap},
    {"SYS_MUNMAP", SYS_munmap},
    {"SYS_MREMAP", SYS_mremap},
    {"SYS_MSYNC", SYS_msync},
    {"SYS_MADVISE", SYS_madvise},
    {"SYS_MPROTECT", SYS_mprotect},
    {"SYS_MINCORE", SYS_mincore},
    {"SYS_MLOCK", SYS_mlock},
    {"SYS_MUNLOCK", SYS_munlock},
    {"SYS_FTRUNCATE", SYS_ftruncate},
    {"SYS_FALLOCATE", SYS_fallocate},
    {0, 0},
};

#endif
