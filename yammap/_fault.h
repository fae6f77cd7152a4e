/* The bus-error guard: run code that touches file memory, and live.
 *
 * Touching a mapped page that the kernel cannot supply (the file was cut short,
 * the disk is full or bad) raises SIGBUS, which kills the process. The two calls
 * below run a copy, or any short C function, under a guard that turns such a
 * fault into a return value.
 *
 * Contract
 * - fault_install() must have succeeded once before any guarded call. It is
 *   thread-safe, idempotent, process-wide and never undone: a handler that is
 *   taken away while another thread copies would kill that copy.
 * - A guarded call returns NULL when it ran to its end, else the address that
 *   faulted, somewhere inside a range it was given. What it had done until then
 *   is unspecified: memmove() copies in any order. The floating-point environment
 *   is as it was.
 * - Guarded calls do not nest, and the guarded function must hold no lock, own
 *   no memory and call nothing that does: a fault abandons it where it stands.
 * - Only faults the kernel raised (si_code > 0), in a thread inside a guarded
 *   call, at an address inside its ranges, are ours. All other SIGBUS go to the
 *   handler that was there before, with its own mask, or to the default action,
 *   as if this guard did not exist.
 * - No call here needs the GIL.
 */
#ifndef YAMMAP_FAULT_H
#define YAMMAP_FAULT_H

#include <stddef.h>

/* Install the SIGBUS handler. Returns 0, or -1 with errno set. */
int fault_install(void);

/* memmove(target, source, length), guarded on both sides. */
const void *fault_copy(void *target, const void *source, size_t length);

struct fault_range {
    const void *start;
    size_t length;
};

/* function(argument), guarded while it touches the two ranges. */
const void *fault_call(void (*function)(void *), void *argument,
                       const struct fault_range ranges[2]);

#endif
