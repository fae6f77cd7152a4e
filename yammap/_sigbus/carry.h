/* Copies between two places of this process's memory, made by the kernel.
 *
 * Contract
 * - Where touching the memory would raise SIGBUS or SIGSEGV, the kernel answers EFAULT. So
 *   this works in a thread that blocks SIGBUS, and inside the handler of SIGBUS.
 * - carry() returns how many bytes it copied, at least 1, or -1 with errno set. Only EFAULT
 *   says that `memory` or `buffer` cannot be touched. Any other value says that the kernel
 *   did not look: a sandbox refuses process_vm_readv(2), and no pipe could be made instead.
 * - By a pipe it copies at most CARRY_MOST bytes: call it again for the rest.
 */
#ifndef YAMMAP_CARRY_H
#define YAMMAP_CARRY_H

#include <sys/types.h>

enum { CARRY_MOST = 4096 };

/* From `buffer` to `memory` when `writing`, else from `memory` to `buffer`. */
ssize_t carry(void *memory, void *buffer, size_t length, int writing);

#endif
