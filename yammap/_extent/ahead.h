/* The end of a file whose size runs ahead of its data.
 *
 * Appending by system call costs several times the copy. So a file may be made longer in
 * steps, and records be stored into memory that it has already. Where its data ends must
 * then be known when the process was killed, to every other opener, and without a system
 * call for each record:
 *
 *     data ... | zeros ... | trailer         the last bytes of the file: id, end of the data
 *
 * The trailer is stored into the mapping with each record, after it: pages outlive the
 * process. That data merely looks like a trailer must cut no file: so it counts only while
 * the file has the extended attribute "user.yammap.ahead" with the same random id, which
 * who appends a record does not know. A copy of the file has no such attribute; one made
 * with its attributes is cut where the data ended when it was made.
 *
 * Contract
 * - One mapping at a time runs a file ahead: it holds a lock (F_OFD_SETLK) on bytes that no
 *   file has, and the kernel takes it away when the process dies. Only the holder cuts.
 * - At every moment the file has either the size of its data, or ends with a trailer: a step
 *   is one pwrite(2) of the next trailer. Killing the process loses no record.
 * - A power cut may lose the trailer, but never a synced byte: what was synced lies before
 *   `base`, and the next opener takes away no more than zeros behind that.
 * - Functions that can fail return an errno value. None needs the GIL.
 *
 * The reasons are in docs/design/extent.md.
 */
#ifndef YAMMAP_AHEAD_H
#define YAMMAP_AHEAD_H

#include <stddef.h>
#include <stdint.h>

/* In the extended attribute. */
struct ahead_marker {
    unsigned char id[16];
    int64_t base; /* the end of the data when the file began to run ahead */
    int64_t size; /* of the file, with its trailer */
};

struct ahead_trailer {
    unsigned char id[16];
    int64_t end;
};

/* Take the lock by a descriptor of its own, `lock`; EBUSY when another holds it. Not by `fd`,
 * since a child forked off inherits the mapping, which would hold what `fd` stands for, and
 * the lock with it, after our death. The child closes `lock`. */
int ahead_lock(int fd, int *lock);

/* -1 is no lock. */
void ahead_unlock(int lock);

/* What a crash has left: cut off what is not data. EBUSY when another holds the lock, which
 * is taken meanwhile unless the caller has it. */
int ahead_recover(int fd, int locked);

/* Why the file cannot have the extended attribute, or 0. The caller has the lock, and nothing
 * is left to recover. */
int ahead_probe(int fd);

/* Put the end of the data into `size`, which is fstat(2)'s, where it is another. */
int ahead_end(int fd, int64_t *size);

/* Make the file `size` bytes, a multiple of the page, from which its data, of `end` bytes,
 * leaves room for a trailer. `marker` is all zeros where the file does not run ahead yet.
 * When this fails the file is as it was. */
int ahead_step(int fd, struct ahead_marker *marker, int64_t end, int64_t size);

/* Cut the file at `end`, unless others have changed its size, and forget the marker. */
int ahead_settle(int fd, struct ahead_marker *marker, int64_t end);

/* Argument of ahead_store(), for fault_call(): a record, and the end it makes. */
struct ahead_record {
    void *target;
    const void *source;
    size_t length;
    int64_t *end_of_data;
    int64_t end;
};

void ahead_store(void *record);

#endif
