"""The enums and constants that `flags.py` builds from the C headers' values."""

import enum
from typing import Literal

__all__ = [
    "MADV_COLD",
    "MADV_COLLAPSE",
    "MADV_DODUMP",
    "MADV_DOFORK",
    "MADV_DONTDUMP",
    "MADV_DONTFORK",
    "MADV_DONTNEED",
    "MADV_DONTNEED_LOCKED",
    "MADV_FREE",
    "MADV_HUGEPAGE",
    "MADV_HWPOISON",
    "MADV_KEEPONFORK",
    "MADV_MERGEABLE",
    "MADV_NOHUGEPAGE",
    "MADV_NORMAL",
    "MADV_PAGEOUT",
    "MADV_POPULATE_READ",
    "MADV_POPULATE_WRITE",
    "MADV_RANDOM",
    "MADV_REMOVE",
    "MADV_SEQUENTIAL",
    "MADV_SOFT_OFFLINE",
    "MADV_UNMERGEABLE",
    "MADV_WILLNEED",
    "MADV_WIPEONFORK",
    "MAP_ANON",
    "MAP_ANONYMOUS",
    "MAP_DENYWRITE",
    "MAP_EXECUTABLE",
    "MAP_FILE",
    "MAP_FIXED",
    "MAP_FIXED_NOREPLACE",
    "MAP_GROWSDOWN",
    "MAP_HUGETLB",
    "MAP_LOCKED",
    "MAP_NONBLOCK",
    "MAP_NORESERVE",
    "MAP_POPULATE",
    "MAP_PRIVATE",
    "MAP_SHARED",
    "MAP_SHARED_VALIDATE",
    "MAP_STACK",
    "MAP_SYNC",
    "MREMAP_DONTUNMAP",
    "MREMAP_FIXED",
    "MREMAP_MAYMOVE",
    "MS_ASYNC",
    "MS_INVALIDATE",
    "MS_SYNC",
    "PROT_EXEC",
    "PROT_GROWSDOWN",
    "PROT_GROWSUP",
    "PROT_NONE",
    "PROT_READ",
    "PROT_WRITE",
    "SEEK_CUR",
    "SEEK_DATA",
    "SEEK_END",
    "SEEK_HOLE",
    "SEEK_SET",
    "SYS_FALLOCATE",
    "SYS_FTRUNCATE",
    "SYS_MADVISE",
    "SYS_MINCORE",
    "SYS_MLOCK",
    "SYS_MMAP",
    "SYS_MPROTECT",
    "SYS_MREMAP",
    "SYS_MSYNC",
    "SYS_MUNLOCK",
    "SYS_MUNMAP",
    "Advice",
    "MapFlag",
    "Prot",
    "Remap",
    "Sync",
    "Syscall",
    "Whence",
]

class Prot(enum.IntFlag):
    NONE = ...
    READ = ...
    WRITE = ...
    EXEC = ...
    GROWSDOWN = ...
    GROWSUP = ...

class MapFlag(enum.IntFlag):
    SHARED = ...
    PRIVATE = ...
    SHARED_VALIDATE = ...
    FIXED = ...
    FIXED_NOREPLACE = ...
    ANONYMOUS = ...
    ANON = ...
    FILE = ...
    GROWSDOWN = ...
    DENYWRITE = ...
    EXECUTABLE = ...
    LOCKED = ...
    NORESERVE = ...
    POPULATE = ...
    NONBLOCK = ...
    STACK = ...
    HUGETLB = ...
    SYNC = ...

class Remap(enum.IntFlag):
    MAYMOVE = ...
    FIXED = ...
    DONTUNMAP = ...

# Advice that madvise(2) may get, by its name.
AdviceName = Literal[
    "normal",
    "random",
    "sequential",
    "willneed",
    "dontneed",
    "cold",
    "pageout",
    "populate_read",
    "populate_write",
    "collapse",
    "hugepage",
    "nohugepage",
    "mergeable",
    "unmergeable",
    "dontfork",
    "dofork",
    "wipeonfork",
    "keeponfork",
    "dontdump",
    "dodump",
]

class Advice(enum.IntEnum):
    NORMAL = ...
    RANDOM = ...
    SEQUENTIAL = ...
    WILLNEED = ...
    DONTNEED = ...
    FREE = ...
    REMOVE = ...
    DONTFORK = ...
    DOFORK = ...
    MERGEABLE = ...
    UNMERGEABLE = ...
    HUGEPAGE = ...
    NOHUGEPAGE = ...
    DONTDUMP = ...
    DODUMP = ...
    HWPOISON = ...
    SOFT_OFFLINE = ...
    WIPEONFORK = ...
    KEEPONFORK = ...
    COLD = ...
    DONTNEED_LOCKED = ...
    PAGEOUT = ...
    POPULATE_READ = ...
    POPULATE_WRITE = ...
    COLLAPSE = ...

class Whence(enum.IntEnum):
    SET = ...
    CUR = ...
    END = ...
    DATA = ...
    HOLE = ...

class Sync(enum.IntFlag):
    ASYNC = ...
    INVALIDATE = ...
    SYNC = ...

class Syscall(enum.IntEnum):
    MMAP = ...
    MUNMAP = ...
    MREMAP = ...
    MSYNC = ...
    MADVISE = ...
    MPROTECT = ...
    MINCORE = ...
    MLOCK = ...
    MUNLOCK = ...
    FTRUNCATE = ...
    FALLOCATE = ...

PROT_NONE = Prot.NONE
PROT_READ = Prot.READ
PROT_WRITE = Prot.WRITE
PROT_EXEC = Prot.EXEC
PROT_GROWSDOWN = Prot.GROWSDOWN
PROT_GROWSUP = Prot.GROWSUP
MAP_SHARED = MapFlag.SHARED
MAP_PRIVATE = MapFlag.PRIVATE
MAP_SHARED_VALIDATE = MapFlag.SHARED_VALIDATE
MAP_FIXED = MapFlag.FIXED
MAP_FIXED_NOREPLACE = MapFlag.FIXED_NOREPLACE
MAP_ANONYMOUS = MapFlag.ANONYMOUS
MAP_ANON = MapFlag.ANON
MAP_FILE = MapFlag.FILE
MAP_GROWSDOWN = MapFlag.GROWSDOWN
MAP_DENYWRITE = MapFlag.DENYWRITE
MAP_EXECUTABLE = MapFlag.EXECUTABLE
MAP_LOCKED = MapFlag.LOCKED
MAP_NORESERVE = MapFlag.NORESERVE
MAP_POPULATE = MapFlag.POPULATE
MAP_NONBLOCK = MapFlag.NONBLOCK
MAP_STACK = MapFlag.STACK
MAP_HUGETLB = MapFlag.HUGETLB
MAP_SYNC = MapFlag.SYNC
MREMAP_MAYMOVE = Remap.MAYMOVE
MREMAP_FIXED = Remap.FIXED
MREMAP_DONTUNMAP = Remap.DONTUNMAP
MADV_NORMAL = Advice.NORMAL
MADV_RANDOM = Advice.RANDOM
MADV_SEQUENTIAL = Advice.SEQUENTIAL
MADV_WILLNEED = Advice.WILLNEED
MADV_DONTNEED = Advice.DONTNEED
MADV_FREE = Advice.FREE
MADV_REMOVE = Advice.REMOVE
MADV_DONTFORK = Advice.DONTFORK
MADV_DOFORK = Advice.DOFORK
MADV_MERGEABLE = Advice.MERGEABLE
MADV_UNMERGEABLE = Advice.UNMERGEABLE
MADV_HUGEPAGE = Advice.HUGEPAGE
MADV_NOHUGEPAGE = Advice.NOHUGEPAGE
MADV_DONTDUMP = Advice.DONTDUMP
MADV_DODUMP = Advice.DODUMP
MADV_HWPOISON = Advice.HWPOISON
MADV_SOFT_OFFLINE = Advice.SOFT_OFFLINE
MADV_WIPEONFORK = Advice.WIPEONFORK
MADV_KEEPONFORK = Advice.KEEPONFORK
MADV_COLD = Advice.COLD
MADV_DONTNEED_LOCKED = Advice.DONTNEED_LOCKED
MADV_PAGEOUT = Advice.PAGEOUT
MADV_POPULATE_READ = Advice.POPULATE_READ
MADV_POPULATE_WRITE = Advice.POPULATE_WRITE
MADV_COLLAPSE = Advice.COLLAPSE
SEEK_SET = Whence.SET
SEEK_CUR = Whence.CUR
SEEK_END = Whence.END
SEEK_DATA = Whence.DATA
SEEK_HOLE = Whence.HOLE
MS_ASYNC = Sync.ASYNC
MS_INVALIDATE = Sync.INVALIDATE
MS_SYNC = Sync.SYNC
SYS_MMAP = Syscall.MMAP
SYS_MUNMAP = Syscall.MUNMAP
SYS_MREMAP = Syscall.MREMAP
SYS_MSYNC = Syscall.MSYNC
SYS_MADVISE = Syscall.MADVISE
SYS_MPROTECT = Syscall.MPROTECT
SYS_MINCORE = Syscall.MINCORE
SYS_MLOCK = Syscall.MLOCK
SYS_MUNLOCK = Syscall.MUNLOCK
SYS_FTRUNCATE = Syscall.FTRUNCATE
SYS_FALLOCATE = Syscall.FALLOCATE
