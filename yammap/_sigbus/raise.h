/* Raise an exception in the Python thread that touched a bad page.
 *
 * The thread is in the middle of an instruction, so the exception is an asynchronous one
 * (PyThreadState_SetAsyncExc): the interpreter raises it when it looks next, as it does
 * with KeyboardInterrupt.
 *
 * A thread that holds the GIL sets the exception for itself, and raises it at its next call
 * or loop. A thread without the GIL cannot take it here, since the thread that holds it may
 * be waiting for this very thread; so a helper thread takes the GIL and sets the exception.
 * This thread waits for the helper, so that it has the exception before the operation that
 * touched the page returns. It does not wait long, since the thread with the GIL may be
 * waiting for it. The first fault that needs the helper starts it: a process without faults
 * has no additional thread.
 *
 * Contract
 * - The SIGBUS handler calls raise_here(), for a fault that has a patch. A fault interrupts
 *   only code that touches file memory, which is not inside malloc(), pthread_create() or
 *   the interpreter's own locked parts. So raise_here() may call those.
 * - Where the thread is none of Python's but a library's own, the exception goes to
 *   sys.unraisablehook.
 *
 * The reasons are in docs/design/sigbus.md.
 */
#ifndef YAMMAP_RAISE_H
#define YAMMAP_RAISE_H

#include <Python.h>

/* Set the exception class. The interpreter calls it without arguments in the thread that
 * raises it; another thread calls it with the number of that thread. Needs the GIL. Returns
 * 0, or -1 with errno set. */
int raise_install(PyObject *exception);

void raise_here(void);

/* Take the exception back: a method raises the error in this thread. Needs the GIL. */
void raise_cancel(void);

/* Note that the exception is being raised in this thread. */
void raise_done(void);

#endif
