# The list of all mappings, and what a fork does with each.
#
# The reasons are in docs/design/mapping.md.

# Linked by addresses. A weak dictionary would need memory and run Python code in the child
# of a fork: a failure there would leave locks as they are.
cdef void *mappings = NULL
cdef cython.pymutex mappings_mutex


cdef void enlist(Mapping m) noexcept:
    """Add a mapping to the list; the head changes last, so no fork meets half a list."""
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
    """In a forked child: release the mutex if a thread held it that the child lacks."""
    if m.mutex.locked():
        m.mutex.release()
    m.extent.leave_ahead_to_parent()
    m.memory.stop_appends()


def after_fork_in_child():
    """Renew all locks: a thread that held one at the fork cannot release it in the child.

    Renewing the locks cannot fail, so it comes first. What can fail comes after that, and
    for every mapping, whatever happens to the others; the first exception is raised last.
    """
    cdef void *next_one = mappings
    cdef Mapping mapping
    pin_forget_others()
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
    """All mappings but those that are being freed: a reference would free them twice.

    Each has a weak reference to itself: another thread may drop the last one after we saw
    a count. Without a GIL it gives a reference to what this thread is freeing, after a
    `__del__`; then the count is 0.
    """
    cdef list found = []    # made before the mutex is held: the collector may run here
    cdef void *next_one
    with mappings_mutex:
        next_one = mappings
        while next_one != NULL:
            if Py_REFCNT(<PyObject *> next_one) > 0:
                mapping = (<Mapping> next_one).reference()
                if mapping is not None:
                    found.append(mapping)
            next_one = (<Mapping> next_one).next_mapping
    return found


cdef void watch_errors(Mapping m) noexcept:
    with m.mutex:           # a thread may be closing the descriptor
        m.extent.watch_errors()


def watch_before_fork():
    """Let the parent keep its errors: a child that syncs takes those of the shared file.

    The mutex of the list is not held while this waits for that of a mapping. A thread that
    frees another one would wait for it, half-way, at the fork; or hold the first, for good.
    """
    cdef Mapping mapping
    for mapping in live_mappings():
        watch_errors(mapping)


# No hook holds the mutex across a fork: a hook of another module may run after it, and free
# a mapping. A child can follow the list from its head, whatever a thread was doing to it.
os.register_at_fork(before=watch_before_fork, after_in_child=after_fork_in_child)
