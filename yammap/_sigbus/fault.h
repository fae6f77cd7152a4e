/* The bus-error guard: run code that touches file memory, and live.
 *
 * Touching a mapped page that the kernel cannot supply (the file was cut short,
 * the disk is full or bad) raises SIGBUS, which kills the process. Here is its handler.
 * The two calls below run a copy, or any short C function, under a guard that turns such
 * a fault into a return value. For a fault in a view, the handler puts a page in place
 * (_sigbus/patch.h), and the thread gets an exception (_sigbus/raise.h).
 *
 * Contract
 * - fault_install() must have succeeded once before any guarded call. It is
 *   thread-safe, idempotent, process-wide and never undone: taking the handler away
 *   while another thread copies would kill the process.
 * - A guarded call returns NULL when it ran to its end, else the address that
 *   faulted, which is inside one of the given ranges. How much it had copied by then is
 *   unspecified: memmove() copies in any order. The floating-point environment is as it
 *   was.
 * - Another handler that has taken our place may answer a fault by putting us back and
 *   raising the signal again, as faulthandler does. So when a thread sends SIGBUS to itself
 *   inside a guarded call, the function runs once more, and its fault then comes to us. If
 *   it does not fault, the signal goes on to the handler that it would have gone to.
 * - Guarded calls do not nest, and the guarded function must hold no lock, own
 *   no memory and call nothing that does: a fault abandons it where it stands. It may run a
 *   second time, with its argument as the first run left it.
 * - Only faults the kernel raised (si_code > 0), in a thread inside a guarded
 *   call at an address inside its ranges, or in a watched range, are ours. All other
 *   SIGBUS go to the handler that was there before, with its own mask, or to the default
 *   action, as if this guard did not exist.
 * - The guard is in force in a thread when SIGBUS has our handler and the thread does not
 *   block SIGBUS. When another library installs a handler in our place, we put ours back
 *   once, and call the other one for faults that are not ours; the second time the other
 *   one stays. Where the guard is not in force, use fault_carry() and not fault_call().
 * - No call here needs the GIL.
 *
 * The reasons are in docs/design/sigbus.md.
 */
#ifndef YAMMAP_FAULT_H
#define YAMMAP_FAULT_H

#include "_sigbus/handler_local.h"

#include <stddef.h>

/* Install the SIGBUS handler. Returns 0, or -1 with errno set. */
int fault_install(void);

/* Find out by system calls whether the guard is in force in this thread, and put our handler
 * back if it was displaced once. Remembers a yes until `tick` changes, for fault_in_force(). */
int fault_look(unsigned tick);

extern HANDLER_LOCAL unsigned fault_looked;

static inline int fault_in_force(unsigned tick)
{
    return fault_looked == tick || fault_look(tick);
}

/* memmove(target, source, length), guarded on both sides. */
const void *fault_copy(void *target, const void *source, size_t length);

/* Copy between `memory` and `buffer` by system call (_sigbus/carry.h), which fails where memory
 * would fault. Returns NULL, or the address in `memory` where it failed. Then errno is EFAULT
 * if the page cannot be touched, else it says why the kernel could not look. */
const void *fault_carry(void *memory, void *buffer, size_t length, int writing);

struct fault_range {
    const void *start;
    size_t length;
};

/* function(argument), guarded while it touches the two ranges. */
const void *fault_call(void (*function)(void *), void *argument,
                       const struct fault_range ranges[2]);

#endif
