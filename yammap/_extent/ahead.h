/* The end of a file whose size runs ahead of its data.
 *
 * An append by system call costs several times as much as a copy. So the mapping makes the
 * file longer in steps, and copies records into memory that the file has already. Then every
 * other process must be able to find the end of the data, even after the first one was
 * killed, and a record must not cost a system call:
 *
 *     data ... | zeros ... | trailer         the last bytes of the file: id, end of the data
 *
 * Each append stores the record into the mapping, and then the trailer: the page cache
 * outlives the process. Data that merely looks like a trailer must not get a file cut. So a
 * trailer counts only while the file has the extended attribute "user.yammap.ahead" with the
 * same random id, which no record can contain except by chance. A copy of the file has no
 * such attribute; a copy with its attributes is cut where the data ended at that time.
 *
 * Contract
 * - One mapping at a time runs a file ahead: it holds a lock (F_OFD_SETLK) on bytes that no
 *   file has, and the kernel releases it when the process dies. Only the holder cuts.
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

/* Take the lock by a descriptor of its own, `lock`; EBUSY when another mapping holds it. The
 * lock is not taken by `fd`: a forked child inherits the mapping, which keeps the open file
 * of `fd`, and would keep the lock after the parent has died. The child closes `lock`. */
int ahead_lock(int fd, int *lock);

/* `lock` may be -1 for none. */
void ahead_unlock(int lock);

/* Whether another mapping runs the file ahead, or a crash has left it so. */
int ahead_is_marked(int fd);

/* After a crash, cut off what is not data. Takes the lock meanwhile, unless the caller has it
 * (`locked`); EBUSY when another mapping holds it. */
int ahead_recover(int fd, int locked);

/* Return why the file cannot have the extended attribute, or 0. The caller has the lock, and
 * has recovered the file. */
int ahead_probe(int fd);

/* Replace `size`, which is fstat(2)'s, by the end of the data. `unmarked`: the caller has
 * found no marker since it asked for that size. */
int ahead_end(int fd, int64_t *size, int unmarked);

/* Make the file `size` bytes long: a multiple of the page, with room for a trailer behind the
 * `end` bytes of data. `marker` is all zeros if the file does not run ahead yet. A failure
 * leaves the file as it was. */
int ahead_step(int fd, struct ahead_marker *marker, int64_t end, int64_t size);

/* Cut the file at `end`, unless another process has changed its size; clear the marker. */
int ahead_settle(int fd, struct ahead_marker *marker, int64_t end);

/* Argument of ahead_store(), for fault_call(): a record, and the end of the data with it. */
struct ahead_record {
    void *target;
    const void *source;
    size_t length;
    int64_t *end_of_data;
    int64_t end;
};

void ahead_store(void *record);

#endif
