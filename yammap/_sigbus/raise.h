/* Raise an exception in the Python thread that touched a bad page.
 *
 * The thread is in the middle of an instruction, so the exception is an asynchronous one
 * (PyThreadState_SetAsyncExc): the interpreter raises it when it looks next, as it does
 * with KeyboardInterrupt.
 *
 * A thread that holds the GIL gives it to itself, and has it by its next call or loop. A
 * thread without it cannot take it here, since whoever holds it may be waiting for this
 * very thread; a helper thread takes it. This one waits until that is done, so that it has
 * the exception before the operation that touched the page returns, but not for long, for
 * the same reason. The helper is started by the first fault that needs it: a process
 * without faults has no thread more than before.
 *
 * Contract
 * - raise_here() is called in the SIGBUS handler, for a fault that has a patch. A fault
 *   interrupts only code that touches file memory: not malloc(), pthread_create() or the
 *   interpreter's own locked parts, so those are safe to call here.
 * - Where no Python thread can be told (a thread of a library's own), the exception goes
 *   to sys.unraisablehook.
 *
 * The reasons are in docs/design/sigbus.md.
 */
#ifndef YAMMAP_RAISE_H
#define YAMMAP_RAISE_H

#include <Python.h>

/* The exception class: called without arguments in the thread that it is raised in, or in
 * another with the number of that thread. Needs the GIL. Returns 0, or -1 with errno set. */
int raise_install(PyObject *exception);

void raise_here(void);

/* This thread has been told otherwise. Needs the GIL. */
void raise_cancel(void);

/* The exception is being raised in this thread. */
void raise_done(void);

#endif
