# Whole pages around ranges of bytes. Knows addresses. It must not know whose they are.
#
# The reasons are in docs/design/memory.md.

# The kernel's default readahead (VM_READAHEAD_PAGES): at least this much of a hint is read.
cdef size_t READAHEAD = 1 << 17


cdef struct PageRange:
    char *start
    size_t length


cdef inline PageRange pages_of(char *data, int64_t offset, int64_t length) noexcept nogil:
    """The whole pages around `length` bytes, at least one, at `data + offset`."""
    cdef PageRange pages
    cdef int64_t lead = <uintptr_t> (data + offset) % PAGE
    pages.start = data + offset - lead
    pages.length = round_up(lead + length)
    return pages


cdef int sync_pages(PageRange pages) noexcept nogil:
    cdef int code = EINTR
    while code == EINTR:
        code = code_of(msync(pages.start, pages.length, MS_SYNC))
    return code


cdef int hint_pages(PageRange pages) noexcept nogil:
    cdef size_t done = 0
    cdef int code = 0
    while code == 0 and done < pages.length:
        code = code_of(madvise(pages.start + done, min(pages.length - done, READAHEAD),
                               MADV_WILLNEED))
        done += READAHEAD
    return code


cdef void drop_page_tables(char *start, int64_t length, int advice) noexcept nogil:
    """Take page table entries away, around locked pages, at which madvise(2) would stop."""
    cdef int64_t half = length // PAGE // 2 * PAGE
    if madvise(start, length, advice) == 0:
        return
    if errno == EINVAL and half:
        drop_page_tables(start, half, advice)
        drop_page_tables(start + half, length - half, advice)


cdef void touch_pages(void *argument) noexcept nogil:
    """Mark pages as changed, without undoing a store of another thread."""
    cdef fault_range *pages = <fault_range *> argument
    cdef size_t i
    for i in range(pages.length // PAGE):
        touch(<char *> pages.start + i * PAGE)


cdef void look_at_pages(void *argument) noexcept nogil:
    cdef fault_range *pages = <fault_range *> argument
    cdef size_t i
    for i in range(pages.length // PAGE):
        look(<char *> pages.start + i * PAGE, memory_order_acquire)
