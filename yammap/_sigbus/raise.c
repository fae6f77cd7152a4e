#include "_sigbus/raise.h"
#include "_sigbus/handler_local.h"
#include "_sigbus/patch.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

static PyObject *exception;
static sem_t posted;
static atomic_int has_helper;

/* The threads to tell. A full table drops one; the mapping's methods still raise for it. */
static atomic_ulong waiting[64];
static atomic_uint next;

/* A thread waits this long to be told: other threads may have the GIL some times before. */
static const struct timespec step = {.tv_nsec = 50000};
enum { MOST_STEPS = 2000 };

/* The thread was told and has not raised the exception yet: it need not wait again. */
static HANDLER_LOCAL int is_told;

void raise_done(void)
{
    is_told = 0;
}

void raise_cancel(void)
{
    is_told = 0;
    if (PyThreadState_Get()->async_exc == exception)    /* not another library's */
        PyThreadState_SetAsyncExc((unsigned long)pthread_self(), NULL);
}

/* Once there is a subinterpreter, PyGILState_Check() says yes in every thread. Before 3.12
 * the current thread state is that of the thread that has the GIL. */
static int has_gil(void)
{
#if PY_VERSION_HEX >= 0x030D0000
    return PyThreadState_GetUnchecked() != NULL;
#elif PY_VERSION_HEX >= 0x030C0000
    return _PyThreadState_UncheckedGet() != NULL;
#else
    PyThreadState *current = _PyThreadState_UncheckedGet();

    return current != NULL && current == PyGILState_GetThisThreadState();
#endif
}

static void tell(unsigned long thread)
{
    struct patch patch;
    PyObject *error;

    if (!patch_of_thread(thread, 0, &patch, NULL))
        return;     /* a method has raised the error meanwhile */
    if (PyThreadState_SetAsyncExc(thread, exception) > 0)
        return;
    error = PyObject_CallFunction(exception, "k", thread);
    if (error != NULL)
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_XDECREF(error);
    PyErr_WriteUnraisable(NULL);
}

static void tell_all(void)
{
    unsigned long thread;

    for (size_t i = 0; i < sizeof(waiting) / sizeof(waiting[0]); i++) {
        thread = atomic_load(&waiting[i]);
        if (thread != 0) {
            tell(thread);
            atomic_compare_exchange_strong(&waiting[i], &thread, 0);
        }
    }
}

static void *help(void *unused)
{
    PyGILState_STATE state;

    for (;;) {
        while (sem_wait(&posted) == -1)
            ;
        if (!Py_IsInitialized())
            continue;
        state = PyGILState_Ensure();
        tell_all();
        PyGILState_Release(state);
    }
    return unused;
}

/* Start it with all signals blocked: other threads handle those of the process. */
static void start_helper(void)
{
    sigset_t all, saved;
    pthread_t thread;

    if (atomic_exchange(&has_helper, 1))
        return;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &saved);
    if (pthread_create(&thread, NULL, help, NULL) == 0)
        pthread_detach(thread);
    else
        atomic_store(&has_helper, 0);
    pthread_sigmask(SIG_SETMASK, &saved, NULL);
}

void raise_here(void)
{
    unsigned long thread = (unsigned long)pthread_self();
    atomic_ulong *place = &waiting[atomic_fetch_add(&next, 1) % 64];

    if (has_gil()) {
        PyThreadState_SetAsyncExc(thread, exception);
        return;
    }
    atomic_store(place, thread);
    start_helper();
    sem_post(&posted);
    for (int i = 0; !is_told && i < MOST_STEPS && atomic_load(place) == thread; i++)
        nanosleep(&step, NULL);
    is_told = 1;
}

static void after_fork_in_child(void)
{
    for (size_t i = 0; i < sizeof(waiting) / sizeof(waiting[0]); i++)
        atomic_store(&waiting[i], 0);
    atomic_store(&has_helper, 0);
    sem_init(&posted, 0, 0);
}

int raise_install(PyObject *class)
{
    if (sem_init(&posted, 0, 0) == -1)
        return -1;
    errno = pthread_atfork(NULL, NULL, after_fork_in_child);
    if (errno != 0)
        return -1;
    exception = Py_NewRef(class);
    return 0;
}
