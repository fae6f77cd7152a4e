# Each BusError and its text, and the thread that gets it for a fault in a view.
#
# Knows regions and their patches. It must not know how a copy is made, nor the file's size:
# callers pass the cause of an error in a copy as a text (`Extent.reason`).
#
# The reasons are in docs/design/memory.md.

# The faults of regions that were freed before the thread that touched the page was told:
# ``x = a[i]; del a`` ends before the interpreter raises. This is no Python container, since
# freeing a region must not make one.
cdef struct farewell:
    unsigned long thread
    patch fault
    int64_t offset
    void *name                  # owned

cdef farewell farewells[16]
cdef unsigned int next_farewell = 0
cdef object farewells_section = object()    # whose critical section guards them


cdef void remember_untold(Region region) noexcept:
    cdef size_t i = 0
    cdef patch found
    while patch_get(&region.watch, i, &found):
        i += 1
        if found.thread != 0 and region.watch.raises:
            say_farewell(&found, found.touched - region.data, <void *> region.name)


cdef void say_farewell(const patch *fault, int64_t offset, void *name) noexcept:
    global next_farewell
    cdef farewell *place
    cdef void *former
    Py_XINCREF(<PyObject *> name)
    with cython.critical_section(farewells_section):
        place = &farewells[next_farewell % 16]
        next_farewell += 1
        former = place.name
        place.thread, place.fault, place.offset = fault.thread, fault[0], offset
        place.name = name
    Py_XDECREF(<PyObject *> former)


cdef bint recall(unsigned long thread, patch *fault, int64_t *offset, void **name) noexcept:
    """Take the last farewell of a thread, and drop its others: one exception is enough.

    The caller gets a reference to the name.
    """
    cdef unsigned long last = 0
    with cython.critical_section(farewells_section):
        for i in range(16):
            if farewells[i].thread == thread:
                farewells[i].thread = 0
                if farewells[i].fault.serial > last:
                    last = farewells[i].fault.serial
                    fault[0] = farewells[i].fault
                    offset[0] = farewells[i].offset
                    name[0] = farewells[i].name
        if last:
            hold_name(name[0])
    return last != 0


cdef void hold_name(void *name) noexcept:
    Py_INCREF(<object> name)


cdef object taken(void *held):
    """The name, in place of the reference of hold_name()."""
    name = <object> held
    Py_DECREF(name)
    return name


def described(unsigned long thread):
    """The arguments of the BusError for the page that a thread touched, and its offset."""
    cdef patch found, gone
    cdef patch_owner owner
    cdef int64_t offset = 0
    cdef void *held
    cdef bint is_gone = recall(thread, &gone, &offset, &held)
    name = taken(held) if is_gone else None
    owner.hold = hold_name
    if patch_of_thread(thread, True, &found, &owner):
        name = taken(owner.name)
        offset = found.touched - owner.data
    elif is_gone:
        found = gone
    else:
        return (EFAULT, "bus error in a view that is gone"), 0, "read"
    text = text_of_patch(&found, offset)
    return (found.code, text, told(name)), offset, access_of(found.writing)


cdef str access_of(bint writing):
    return "write" if writing else "read"


cdef object bus_error(int code, str text, object name, int64_t offset, bint writing):
    error = BusError(code, text, told(name))
    error.offset = offset
    error.access = access_of(writing)
    return error


cdef str text_of_patch(patch *found, int64_t offset):
    cause = cause_of(found.code, "" if found.size == -1 else f" to {found.size} bytes")
    return (f"bus error in a view, {access_of(found.writing)} at offset {offset}: {cause}; "
            f"{'a copy of the page is' if found.kept else 'zeros are'} in its place until "
            f"heal()")


cdef int raise_patch(list regions) except -1:
    """Raise for the first patch, if any; then nothing else need tell this thread."""
    cdef Region region
    cdef patch found
    cdef int64_t offset
    for region in regions:
        if patch_get(&region.watch, 0, &found):
            cancel_raising(regions)
            offset = found.touched - region.data
            text = text_of_patch(&found, offset)
            raise bus_error(found.code, text, region.name, offset, found.writing)
    return 0


cdef int cancel_raising(list regions) except -1:
    cdef unsigned long thread = PyThread_get_thread_ident()
    cdef bint pending = False
    cdef Region region
    cdef patch other
    for region in regions:
        if patch_told(&region.watch, thread):
            pending = True
    if pending and not patch_of_thread(thread, False, &other, NULL):
        raise_cancel()
    return 0


class RaisedBusError(BusError):
    """The interpreter makes it, without arguments, in the thread that touched a page."""

    def __init__(self, thread=None):
        raise_done()
        arguments, self.offset, self.access = described(
            PyThread_get_thread_ident() if thread is None else thread)
        super().__init__(*arguments)

    def __reduce__(self):
        return BusError, *super().__reduce__()[1:]


RaisedBusError.__name__ = RaisedBusError.__qualname__ = BusError.__name__
RaisedBusError.__module__ = "yammap"

if raise_install(RaisedBusError) == -1:
    raise OSError(errno, strerror(errno).decode())


cdef list faults_in(list regions):
    cdef Region region
    cdef patch found
    cdef size_t i
    cdef int64_t start, end
    result = []
    for region in regions:
        i = 0
        while patch_get(&region.watch, i, &found):
            start = max(0, found.start - region.data)
            end = min(found.start + found.length - region.data, region.longest())
            if found.length:
                result.append(Fault(start, end - start, access_of(found.writing),
                                    found.code))
            i += 1
    return result


cdef int raise_bus_error(int code, object name, int64_t offset, int64_t count, bint writing,
                         str cause) except -1:
    """Raise the BusError of a copy that came `count` bytes far."""
    text = f"bus error, {access_of(writing)} at offset {offset}: {cause}"
    error = bus_error(code, text, name, offset, writing)
    error.count = count
    raise error
