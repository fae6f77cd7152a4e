# Who may read a mapping's file in another way than by its memory, and by what queue.
#
# Knows descriptors, and what the kernel allows. It must not know records.
#
# The reasons are in docs/design/queue.md.

cdef extern from "_queue/queue.h" nogil:
    unsigned QUEUE_DEPTH
    enum queue_kind:
        QUEUE_URING
        QUEUE_AIO
        QUEUE_HINTS
    struct queue_result:
        unsigned slot
        int bytes "bytes"
    struct queue_calls:
        pass
    struct queue:
        char *arena
        unsigned under_way
        queue_result done[1]    # QUEUE_DEPTH of them
    size_t QUEUE_ARENA
    int queue_open(queue_kind kind, queue **made)
    void queue_add(queue *q, unsigned slot, int fd, int64_t offset, void *buffer,
                   unsigned length)
    int queue_make_arena(queue *q)
    int queue_enter(queue *q, unsigned least)
    void queue_close(queue *q)
    void queue_forget(queue *q)


# Bytes of the arena for one request.
cdef int64_t ROOM = QUEUE_ARENA // QUEUE_DEPTH

# The best first. One that the kernel refuses is taken out.
KINDS = {"io_uring": QUEUE_URING, "aio": QUEUE_AIO, "hints": QUEUE_HINTS}

# Of each kind, those that nobody uses now. More than a few are closed: each pins memory.
idle_queues = {kind: [] for kind in KINDS}
cdef Py_ssize_t MOST_IDLE = 4


# A file, as it is read.
cdef struct Channel:
    int fd
    int64_t origin              # of the mapping in the file
    int64_t align               # 0: into the page cache
    int tracer_fd               # by which tracers come into it; or -1
    uint64_t salt               # tells its pages from those of other files


# A request under way.
cdef struct Place:
    Reading *reading
    int64_t record              # the first of
    int64_t count               # records in it
    int64_t start               # where in the first one it begins,
    int64_t length              # and how many bytes of that one it has
    bint in_arena               # there is
    int64_t offset              # the block of the file that begins here,
    int64_t lead                # and the first record this many bytes behind


@cython.final
@cython.auto_pickle(False)
cdef class Queue:
    """A queue, and the places in it that are free."""
    cdef str kind
    cdef queue *requests
    cdef Place *places
    cdef unsigned *free_places
    cdef unsigned free_count
    cdef int process            # which made it: a forked child has no part in it

    def __dealloc__(self):
        free(self.places)
        free(self.free_places)
        if self.requests == NULL:
            return
        if self.process == getpid():
            with nogil:
                queue_close(self.requests)
        else:
            queue_forget(self.requests)

    cdef int begin(self, str kind, queue_kind number) except -1:
        """Ask the kernel for a queue; returns an errno value where it refuses."""
        cdef unsigned i
        self.kind, self.process = kind, getpid()
        self.places = <Place *> calloc(QUEUE_DEPTH, sizeof(Place))
        self.free_places = <unsigned *> calloc(QUEUE_DEPTH, sizeof(unsigned))
        if self.places == NULL or self.free_places == NULL:
            raise MemoryError
        for i in range(QUEUE_DEPTH):
            self.free_places[i] = QUEUE_DEPTH - 1 - i
        self.free_count = QUEUE_DEPTH
        return -queue_open(number, &self.requests)


make_private(Queue)


cdef Queue take_queue(bint past_cache):
    """Return a queue of the best kind that the kernel allows; None if it allows none.

    A queue has one user at a time, who gives it back empty.
    """
    cdef Queue found
    for kind, number in KINDS.copy().items():   # others may take one out
        if kind != ("hints" if past_cache else "aio"):
            try:
                found = idle_queues[kind].pop()
            except IndexError:
                found = new_queue(kind, number)
            if found is not None and (not past_cache
                                      or queue_make_arena(found.requests) == 0):
                return found
    return None


cdef Queue new_queue(str kind, queue_kind number):
    cdef Queue made = Queue.__new__(Queue)
    cdef int code = made.begin(kind, number)
    if code == 0:
        return made
    if is_refused(code) or code == EINVAL:      # not only now, for lack of memory
        KINDS.pop(kind, None)
    return None


cdef int give_back(Queue queue) except -1:
    if queue.process == getpid() and len(idle_queues[queue.kind]) < MOST_IDLE:
        idle_queues[queue.kind].append(queue)
    return 0


def forget_queues():
    """In a forked child: what the parent has under way is not the child's."""
    for queues in idle_queues.values():
        queues.clear()


os.register_at_fork(after_in_child=forget_queues)
