#define _GNU_SOURCE
#include "_fault.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

struct range {
    uintptr_t start, length;
};

struct guard {
    sigjmp_buf escape;
    struct range ranges[2];
    const void *volatile address;
};

/* initial-exec: the handler may not call __tls_get_addr(), which can allocate. */
static _Thread_local struct guard *volatile active
    __attribute__((tls_model("initial-exec")));

static struct sigaction previous;
static uintptr_t page_mask;

/* Some architectures report the page and not the byte, so a range begins at its page. */
static struct range range_of(const void *start, size_t length)
{
    uintptr_t first = (uintptr_t)start & page_mask;
    return (struct range){first, (uintptr_t)start + length - first};
}

static int covers(const struct guard *guard, const void *address)
{
    for (int i = 0; i < 2; i++)
        if ((uintptr_t)address - guard->ranges[i].start < guard->ranges[i].length)
            return 1;
    return 0;
}

/* A fault is raised again by returning to it; a signal that was sent is not, nor the
 * notice of a bad page that nobody touched. */
static void die(int signo, const siginfo_t *info)
{
    signal(signo, SIG_DFL);
    if (info->si_code <= 0 || info->si_code == BUS_MCEERR_AO)
        raise(signo);
}

/* The kernel starts a handler with default rounding and denormals, and only returning
 * from it, which we do not, would bring back the thread's own. */
static void restore_float_environment(const ucontext_t *context)
{
#ifdef __x86_64__
    const struct _libc_fpstate *state = context->uc_mcontext.fpregs;

    if (state != NULL) {
        __asm__ volatile("ldmxcsr %0" : : "m"(state->mxcsr));
        __asm__ volatile("fldcw %0" : : "m"(state->cwd));
    }
#else
    (void)context;
#endif
}

/* Call the handler we displaced the way the kernel would have called it. */
static void chain(int signo, siginfo_t *info, void *context)
{
    sigset_t mask = previous.sa_mask, saved;

    if (!(previous.sa_flags & SA_NODEFER))
        sigaddset(&mask, signo);
    pthread_sigmask(SIG_BLOCK, &mask, &saved);
    if (previous.sa_flags & SA_SIGINFO)
        previous.sa_sigaction(signo, info, context);
    else
        previous.sa_handler(signo);
    pthread_sigmask(SIG_SETMASK, &saved, NULL);
}

static void on_sigbus(int signo, siginfo_t *info, void *context)
{
    struct guard *guard = active;
    int saved_errno = errno;

    if (guard != NULL && info->si_code > 0 && covers(guard, info->si_addr)) {
        active = NULL;
        guard->address = info->si_addr;
        restore_float_environment(context);
        siglongjmp(guard->escape, 1);
    }
    if (previous.sa_handler == SIG_DFL || (previous.sa_handler == SIG_IGN && info->si_code > 0))
        die(signo, info);
    else if (previous.sa_handler != SIG_IGN)
        chain(signo, info, context);
    errno = saved_errno;
}

/* SA_NODEFER: we leave by siglongjmp() without restoring the mask, which would cost a
 * system call for every copy, so the kernel must not have blocked SIGBUS. SA_ONSTACK: the fault may come on a nearly full stack. */
static int install(void)
{
    struct sigaction action = {.sa_sigaction = on_sigbus,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};

    page_mask = ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);
    sigemptyset(&action.sa_mask);
    /* Read first: a fault between the two calls must not find `previous` empty. */
    if (sigaction(SIGBUS, NULL, &previous) == -1)
        return -1;
    return sigaction(SIGBUS, &action, NULL);
}

int fault_install(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static int installed;
    int result = 0;

    pthread_mutex_lock(&lock);
    if (!installed) {
        result = install();
        installed = result == 0;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

/* The fences keep the compiler from moving the guarded accesses out of the guard. */
static void enter(struct guard *guard)
{
    active = guard;
    atomic_signal_fence(memory_order_seq_cst);
}

static void leave(void)
{
    atomic_signal_fence(memory_order_seq_cst);
    active = NULL;
}

/* memmove, not memcpy: source and target may both be views of one mapping. */
const void *fault_copy(void *target, const void *source, size_t length)
{
    struct guard guard;

    guard.ranges[0] = range_of(target, length);
    guard.ranges[1] = range_of(source, length);
    if (sigsetjmp(guard.escape, 0))
        return guard.address;
    enter(&guard);
    memmove(target, source, length);
    leave();
    return NULL;
}

const void *fault_call(void (*function)(void *), void *argument,
                       const struct fault_range ranges[2])
{
    struct guard guard;

    guard.ranges[0] = range_of(ranges[0].start, ranges[0].length);
    guard.ranges[1] = range_of(ranges[1].start, ranges[1].length);
    if (sigsetjmp(guard.escape, 0))
        return guard.address;
    enter(&guard);
    function(argument);
    leave();
    return NULL;
}
