"""The process limits that an errno value may stand for. Imports nothing of ours."""

from __future__ import annotations

import errno
import resource

__all__ = ["limit_behind"]


def limit_behind(code: int, *, locking: bool = False) -> str:
    """Return a text that names the limit behind an errno value, or an empty text.

    An errno value alone does not name the limit: the kernel answers "Cannot allocate
    memory" to a process with too many mappings. So this looks the limits up after the
    error, and names each one that is set or nearly reached, with its value and the remedy.
    Most processes have a limit of locked memory, so this looks at that one for `locking`
    only.
    """
    suspects = (_locked,) if locking else _SUSPECTS.get(code, ())
    reasons = (suspect() for suspect in suspects)
    return "".join(f"; {text}" for text in reasons if text)


def _mappings() -> str | None:
    try:
        with open("/proc/sys/vm/max_map_count") as setting:
            limit = int(setting.read())
        with open("/proc/self/maps") as maps:
            count = sum(1 for _ in maps)
    except OSError:  # a sandbox without /proc
        return None
    if count < limit - 16:
        return None
    return (
        f"the process has {count} mappings, and vm.max_map_count allows {limit}: "
        f"close some, or raise the limit (sysctl vm.max_map_count)"
    )


def _address_space() -> str | None:
    return _named(
        "RLIMIT_AS",
        "bytes of address space",
        "pass a smaller reserve or length, or raise the limit (ulimit -v)",
    )


def _locked() -> str | None:
    return _named(
        "RLIMIT_MEMLOCK", "locked bytes", "lock less, or raise the limit (ulimit -l)"
    )


def _file_size() -> str | None:
    return _named("RLIMIT_FSIZE", "bytes a file", "raise the limit (ulimit -f)")


def _descriptors() -> str | None:
    return _named(
        "RLIMIT_NOFILE",
        "open descriptors",
        "close some, map with keep_fd=False, or raise the limit (ulimit -n)",
    )


def _named(name: str, unit: str, advice: str) -> str | None:
    limit = resource.getrlimit(getattr(resource, name))[0]
    if limit == resource.RLIM_INFINITY:
        return None
    return f"{name} allows {limit} {unit}: {advice}"


_SUSPECTS = {
    errno.ENOMEM: (_mappings, _address_space),
    errno.EAGAIN: (_locked,),  # mmap(2) after mlockall(MCL_FUTURE)
    errno.EFBIG: (_file_size,),
    errno.EMFILE: (_descriptors,),
}
