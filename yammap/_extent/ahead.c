#define _GNU_SOURCE
#include "_extent/ahead.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

static const char NAME[] = "user.yammap.ahead";
static const struct ahead_trailer NONE;

enum { CHUNK = 4096, MOST_GONE = 1000 };

static int code_of(long result)
{
    return result == -1 ? errno : 0;
}

/* No file has bytes there, so other programs can still lock the bytes of a file, but not a
 * range without an end. A mapping that appends locks one byte, and one that trims the file
 * after a crash locks two: a trimming lock is short, and the length tells which it is. */
static const off_t LOCKED = INT64_MAX - 2;
enum { APPENDING = 1, TRIMMING = 2 };

static struct flock range_of(short type, off_t length)
{
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = LOCKED,
                          .l_len = length};
}

/* Whether the lock that is in the way is one for trimming, or `gone`, which is counted. */
static int is_passing(int fd, off_t length, int *gone)
{
    struct flock range = range_of(F_WRLCK, length);

    if (fcntl(fd, F_OFD_GETLK, &range))
        return 0;
    if (range.l_type == F_UNLCK)
        return ++*gone < MOST_GONE;
    return range.l_start == LOCKED && range.l_len == TRIMMING;
}

/* F_OFD_SETLKW would wait for an appender, too, and for a lock of the whole file. NFS does not
 * tell of that one when it is flock(2) of this machine. */
static int set_lock(int fd, off_t length)
{
    static const struct timespec millisecond = {.tv_nsec = 1000000};
    struct flock range = range_of(F_WRLCK, length);
    int code, gone = 0;

    while ((code = code_of(fcntl(fd, F_OFD_SETLK, &range))) == EAGAIN || code == EACCES) {
        if (!is_passing(fd, length, &gone))
            return gone == MOST_GONE ? ENOLCK : EBUSY;
        nanosleep(&millisecond, NULL);
    }
    return code;
}

static int lock_anew(int fd, off_t length, int *lock)
{
    char path[32];
    int code;

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    *lock = open(path, O_RDWR | O_CLOEXEC);
    if (*lock == -1)
        return errno;
    code = set_lock(*lock, length);
    if (code) {
        close(*lock);
        *lock = -1;
    }
    return code;
}

int ahead_lock(int fd, int *lock)
{
    return lock_anew(fd, APPENDING, lock);
}

void ahead_unlock(int lock)
{
    struct flock range = range_of(F_UNLCK, TRIMMING);

    if (lock == -1)
        return;
    fcntl(lock, F_OFD_SETLK, &range);
    close(lock);
}

static int get_marker(int fd, struct ahead_marker *marker)
{
    return fgetxattr(fd, NAME, marker, sizeof *marker) == sizeof *marker;
}

static int set_marker(int fd, const struct ahead_marker *marker)
{
    return code_of(fsetxattr(fd, NAME, marker, sizeof *marker, 0));
}

static int get_trailer(int fd, int64_t size, struct ahead_trailer *trailer)
{
    int64_t at = size - (int64_t)sizeof *trailer;

    return size % sysconf(_SC_PAGESIZE) == 0 && at >= 0
           && pread(fd, trailer, sizeof *trailer, at) == sizeof *trailer;
}

/* The caller has the lock and has trimmed the file, so there is no marker, and XATTR_REPLACE
 * changes nothing. */
int ahead_probe(int fd)
{
    int code;

    if (fgetxattr(fd, NAME, NULL, 0) != -1)
        return 0;
    if (errno == ENODATA)
        fsetxattr(fd, NAME, &NONE, sizeof NONE, XATTR_REPLACE);
    code = errno;
    return code == ENODATA ? 0 : code;
}

static int put_trailer(int fd, int64_t size, const struct ahead_trailer *trailer)
{
    int64_t at = size - (int64_t)sizeof *trailer;
    ssize_t count = pwrite(fd, trailer, sizeof *trailer, at);

    if (count == sizeof *trailer)
        return 0;
    return count == -1 ? errno : EFBIG; /* a part, up to RLIMIT_FSIZE */
}

static int belongs(const struct ahead_trailer *trailer, const struct ahead_marker *marker,
                   int64_t size)
{
    return memcmp(trailer->id, marker->id, sizeof marker->id) == 0
           && marker->base <= trailer->end
           && trailer->end <= size - (int64_t)sizeof *trailer;
}

/* Another process may take a step or cut between two calls. Then marker and trailer belong to
 * different sizes, and this reads them again. */
int ahead_end(int fd, int64_t *size, int unmarked)
{
    struct ahead_marker marker;
    struct ahead_trailer trailer;
    struct stat status;
    int64_t before;

    do {
        before = *size;
        if (before == 0 || before % sysconf(_SC_PAGESIZE))
            return 0;
        if (!unmarked && get_marker(fd, &marker) && get_trailer(fd, before, &trailer)
            && belongs(&trailer, &marker, before)) {
            *size = trailer.end;
            return 0;
        }
        if (fstat(fd, &status) == -1)
            return errno;
        *size = status.st_size;
        unmarked = 0;
    } while (*size != before);
    return 0;
}

/* Where the zeros at the end of the file begin, but not before `base`. */
static int64_t start_of_zeros(int fd, int64_t base, int64_t size)
{
    char bytes[CHUNK];
    int64_t start;
    ssize_t count;

    while (size > base) {
        start = size - base > CHUNK ? size - CHUNK : base;
        count = pread(fd, bytes, size - start, start);
        if (count != size - start)
            return -1;
        while (count > 0 && bytes[count - 1] == 0)
            count--;
        size = start + count;
        if (count > 0)
            break;
    }
    return size;
}

/* Where the data ends in a file that a crash left with a marker; -1 if the marker does not
 * tell. A trailer of zeros is one that a power cut lost. */
static int64_t end_left(int fd, const struct ahead_marker *marker, int64_t size)
{
    struct ahead_trailer trailer;

    if (!get_trailer(fd, size, &trailer))
        return -1;
    if (belongs(&trailer, marker, size))
        return trailer.end;
    if (memcmp(&trailer, &NONE, sizeof NONE) == 0 && marker->size == size)
        return start_of_zeros(fd, marker->base, size);
    return -1;
}

/* In this order no crash leaves a marker that could cut the file once more: the marker first
 * loses its size, after which only a trailer counts, and later goes. */
static int cut(int fd, struct ahead_marker *marker, int64_t end)
{
    int code;

    marker->size = 0;
    set_marker(fd, marker);
    do
        code = code_of(ftruncate(fd, end));
    while (code == EINTR);
    return code;
}

/* Under the lock. */
static int recover(int fd)
{
    struct ahead_marker marker;
    struct stat status;
    int64_t end;
    int code = 0;

    if (!get_marker(fd, &marker))
        return 0;
    if (fstat(fd, &status) == -1)
        return errno;
    end = end_left(fd, &marker, status.st_size);
    if (end != -1)
        code = cut(fd, &marker, end);
    if (code == 0)
        fremovexattr(fd, NAME);
    return code;
}

int ahead_is_marked(int fd)
{
    struct ahead_marker marker;

    return get_marker(fd, &marker);
}

int ahead_recover(int fd, int locked)
{
    int code, lock = -1;

    code = locked ? 0 : lock_anew(fd, TRIMMING, &lock);
    if (code == 0)
        code = recover(fd);
    ahead_unlock(lock);
    return code;
}

static int begin(struct ahead_marker *marker, int64_t end)
{
    marker->base = end;
    return code_of(syscall(SYS_getrandom, marker->id, sizeof marker->id, 0)); /* so few come whole */
}

/* Blocks first: a full disk then fails while the file is as it was. */
static int lengthen(int fd, int64_t from, const struct ahead_marker *next, int64_t end)
{
    struct ahead_trailer trailer = {.end = end};
    int code = code_of(fallocate(fd, FALLOC_FL_KEEP_SIZE, from, next->size - from));

    memcpy(trailer.id, next->id, sizeof next->id);
    return code ? code : put_trailer(fd, next->size, &trailer);
}

/* A trailer that was written in part has made the file longer all the same. */
static void undo(int fd, const struct ahead_marker *before, int64_t from, int64_t size)
{
    struct stat status;

    if (fstat(fd, &status) == 0 && size - (int64_t)sizeof NONE < status.st_size
        && status.st_size < size && ftruncate(fd, from) == -1)
        return;
    if (before->size)
        set_marker(fd, before);
    else
        fremovexattr(fd, NAME);
}

int ahead_step(int fd, struct ahead_marker *marker, int64_t end, int64_t size)
{
    struct ahead_marker next = *marker;
    int64_t from = marker->size ? marker->size : end;
    int code = marker->size ? 0 : begin(&next, end);

    next.size = size;
    if (code == 0)
        code = set_marker(fd, &next);
    if (code)
        return code;
    code = lengthen(fd, from, &next, end);
    if (code) {
        undo(fd, marker, from, size);
        return code;
    }
    if (marker->size)
        put_trailer(fd, marker->size, &NONE);
    *marker = next;
    return 0;
}

int ahead_settle(int fd, struct ahead_marker *marker, int64_t end)
{
    struct ahead_marker gone = *marker;
    struct stat status;
    int code = 0;

    if (fstat(fd, &status) == -1)
        return errno;
    if (status.st_size == marker->size)
        code = cut(fd, &gone, end);
    else if (status.st_size > marker->size)
        put_trailer(fd, marker->size, &NONE);
    if (code)
        return code;
    fremovexattr(fd, NAME);
    memset(marker, 0, sizeof *marker);
    return 0;
}

void ahead_store(void *argument)
{
    const struct ahead_record *record = argument;

    /* memmove: the source may be a view of the file from before it was cut, and overlap. */
    memmove(record->target, record->source, record->length);
    __atomic_store_n(record->end_of_data, record->end, __ATOMIC_RELEASE);
}
