# All mappings there are, for what a fork asks of each.
#
# The reasons are in docs/design/mapping.md.

# Linked by addresses. A weak dictionary would need memory, and run Python code, in the
# child of a fork: what fails there would leave locks as they are.
cdef void *mappings = NULL
cdef cython.pymutex mappings_mutex


cdef void enlist(Mapping m) noexcept:
    """Be found by a fork. The head changes last, and so is never half a list."""
    global mappings
    with mappings_mutex:
        m.next_mapping = mappings
        if mappings != NULL:
            (<Mapping> mappings).previous_mapping = <void *> m
        mappings = <void *> m
        m.listed = True


cdef void delist(Mapping m) noexcept:
    global mappings
    with mappings_mutex:
        if m.next_mapping != NULL:
            (<Mapping> m.next_mapping).previous_mapping = m.previous_mapping
        if m.previous_mapping != NULL:
            (<Mapping> m.previous_mapping).next_mapping = m.next_mapping
        else:
            mappings = m.next_mapping


cdef void renew_locks(Mapping m) noexcept:
    """In a forked child: free the mutex if a thread held it that is not here."""
    if m.mutex.locked():
        m.mutex.release()
    m.extent.leave_ahead_to_parent()
    m.memory.stop_appends()


def after_fork_in_child():
    """A thread that held a lock at the fork is not there to release it in the child.

    First all locks are renewed, which cannot fail. What can, comes after that, for every
    mapping whatever happens to the others; the first exception is raised at the end.
    """
    cdef void *next_one = mappings
    cdef Mapping mapping
    if mappings_mutex.locked():
        mappings_mutex.release()
    while next_one != NULL:
        renew_locks(<Mapping> next_one)
        next_one = (<Mapping> next_one).next_mapping
    failure = None
    for mapping in live_mappings():
        try:
            mapping._after_fork()
        except BaseException as error:
            failure = failure or error
    if failure is not None:
        raise failure


cdef list live_mappings():
    """All but those that are being freed: a reference to one would free it twice.

    (Without a GIL that would take PyUnstable_TryIncRef() of Python 3.14.)
    """
    cdef list found = []    # made before the mutex is held: the collector may run here
    cdef void *next_one
    with mappings_mutex:
        next_one = mappings
        while next_one != NULL:
            if Py_REFCNT(<PyObject *> next_one) > 0:
                found.append(<Mapping> next_one)
            next_one = (<Mapping> next_one).next_mapping
    return found


cdef int watch_errors(Mapping m) except -1:
    with m.mutex:           # a thread may be closing the descriptor
        m.extent.watch_errors()
    return 0


def watch_before_fork():
    """What the child syncs, it takes the errors of: by the descriptor that it shares."""
    cdef Mapping mapping
    for mapping in live_mappings():
        watch_errors(mapping)


# No hook holds the mutex across a fork: one of another module may run after it, and free a
# mapping. The list can be followed from its head whatever a thread was about to do to it.
os.register_at_fork(before=watch_before_fork, after_in_child=after_fork_in_child)
