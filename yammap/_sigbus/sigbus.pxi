# Surviving a bus error, as Cython sees it. The headers are the contracts.
#
# Knows faults, patches, and the threads to tell. It must not know what a mapping is, nor
# which file a page belongs to.
#
# The reasons are in docs/design/sigbus.md.

cdef extern from "<stdatomic.h>" nogil:
    ctypedef long atomic_count "atomic_long"
    long atomic_fetch_add(atomic_count *object, long operand)
    long atomic_fetch_sub(atomic_count *object, long operand)
    long atomic_load(atomic_count *object)
    ctypedef unsigned long atomic_total "atomic_ulong"
    unsigned long load_total "atomic_load"(atomic_total *object)
    unsigned char look "__atomic_load_n"(char *object, int order)
    int memory_order_acquire, memory_order_release
    void atomic_thread_fence(int order)


cdef extern from *:
    """
    /* volatile: of an `or` with nothing, clang else leaves no access to the byte at all. */
    static inline void touch(volatile char *byte)
    {
        __atomic_fetch_or(byte, 0, __ATOMIC_ACQUIRE);
    }
    """
    void touch(char *byte) noexcept nogil


cdef extern from "_sigbus/fault.h" nogil:
    int fault_install()
    bint fault_in_force(unsigned tick)
    bint fault_look(unsigned tick)
    const void *fault_copy(void *target, const void *source, size_t length)
    const void *fault_carry(void *memory, void *buffer, size_t length, bint writing)
    const void *fault_call(void (*function)(void *) noexcept nogil, void *argument,
                           const fault_range *ranges)


cdef extern from "_sigbus/patch.h" nogil:
    struct patch:
        char *start
        size_t length
        const char *touched
        int64_t size
        int code
        bint writing, kept
        unsigned long thread, serial
    struct patch_range:
        char *start
        size_t length, lead, count
        int64_t offset
        int fd, prot, flags
        bint raises, dontfork
        void *name
        unsigned long heals
    atomic_total patch_total
    void patch_watch(patch_range *range)
    void patch_forget(patch_range *range)
    void patch_resize(patch_range *range, size_t length)
    void patch_expose(patch_range *range, size_t length)
    void patch_let_go(patch_range *range)
    int patch_cause(const patch_range *range, const void *address)
    bint patch_get(patch_range *range, size_t index, patch *copy)
    struct patch_owner:
        void (*hold)(void *) noexcept
        char *data
        void *name
    bint patch_of_thread(unsigned long thread, bint claim, patch *copy, patch_owner *owner)
    bint patch_told(patch_range *range, unsigned long thread)
    bint patch_map_anew(patch_range *range)
    int patch_heal(patch_range *range, size_t length, bint discard, size_t *written)


cdef extern from "_sigbus/raise.h":
    int raise_install(object exception)
    void raise_cancel()
    void raise_done()


cdef inline uint64_t tick() noexcept nogil:
    """Time in steps of 2**26 ns (15 a second), modulo 2**16, and never 0."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now)
    return (<uint64_t> now.tv_sec * 15 + (<uint64_t> now.tv_nsec >> 26)) & 0xffff | 1 << 16


cdef bint warn_unless_guarded() except -1:
    """Warn when this thread blocks SIGBUS, or another library took it twice."""
    if fault_look(tick()):
        return True
    warnings.warn("SIGBUS goes elsewhere, by a handler that was installed again or because "
                  "this thread blocks it: copies use system calls now, and a bus error in "
                  "a view is not survived", RuntimeWarning, stacklevel=2)
    return False
