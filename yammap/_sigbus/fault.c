#define _GNU_SOURCE
#include "_sigbus/fault.h"
#include "_sigbus/attempts.h"
#include "_sigbus/carry.h"
#include "_sigbus/patch.h"
#include "_sigbus/raise.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

/* A handler may return this often in a second to a fault that is not ours. */
enum { MOST_RETURNS = 100 };

struct range {
    uintptr_t start, length;
};

struct guard {
    sigjmp_buf escape;
    struct range ranges[2];
    const void *volatile address;   /* NULL: a signal reported a fault without its address */
};

static HANDLER_LOCAL struct guard *volatile active;

/* Whether the guarded call runs for the second time, after such a signal. */
static HANDLER_LOCAL volatile int is_second;

HANDLER_LOCAL unsigned fault_looked;

/* The handler that SIGBUS had before ours, and the one that replaced ours until we put ours
 * back. */
static struct sigaction first, later;
static atomic_int was_displaced;

static pthread_mutex_t installing = PTHREAD_MUTEX_INITIALIZER;
static uintptr_t page_mask;

/* Some architectures report the page and not the byte, so a range begins where its page
 * does. */
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

/* Returning to a fault raises it again. A signal that was sent has to be raised here, and so
 * has the notice of a bad page that no thread touched. */
static void die(int signo, const siginfo_t *info)
{
    signal(signo, SIG_DFL);
    if (info->si_code <= 0 || info->si_code == BUS_MCEERR_AO)
        raise(signo);
}

/* The kernel starts a handler with default rounding and denormals. A handler that returns
 * gets the thread's own back, but ours jumps. */
static void restore_float_environment(const ucontext_t *context)
{
#ifdef __x86_64__
    const fpregset_t state = context->uc_mcontext.fpregs;

    if (state != NULL) {
        __asm__ volatile("ldmxcsr %0" : : "m"(state->mxcsr));
        __asm__ volatile("fldcw %0" : : "m"(state->cwd));
    }
#else
    (void)context;
#endif
}

/* Call a handler the way the kernel would have called it. */
static void call(const struct sigaction *handler, int signo, siginfo_t *info, void *context)
{
    sigset_t mask = handler->sa_mask, saved;

    if (handler->sa_flags & SA_RESETHAND)
        signal(signo, SIG_DFL);
    if (!(handler->sa_flags & SA_NODEFER))
        sigaddset(&mask, signo);
    pthread_sigmask(SIG_BLOCK, &mask, &saved);
    if (handler->sa_flags & SA_SIGINFO)
        handler->sa_sigaction(signo, info, context);
    else
        handler->sa_handler(signo);
    pthread_sigmask(SIG_SETMASK, &saved, NULL);
}

/* A handler that returns from a fault without mending it would be called for ever: Python's
 * own do, and faulthandler's does once it is disabled. */
static int is_vain(const siginfo_t *info)
{
    static HANDLER_LOCAL struct attempts passed;

    return info->si_code > 0 && count_attempt(&passed, info->si_addr, 0) > MOST_RETURNS;
}

static void pass(const struct sigaction *handler, int signo, siginfo_t *info, void *context)
{
    if (handler->sa_handler == SIG_DFL || is_vain(info)
        || (handler->sa_handler == SIG_IGN && info->si_code > 0))
        die(signo, info);
    else if (handler->sa_handler != SIG_IGN)
        call(handler, signo, info, context);
}

/* The later handler may chain back to ours: by a call, or by putting ours back and raising
 * the signal again, as faulthandler does. A signal that comes while it runs, deeper on the
 * stack, goes to the first handler. The later handler may also leave by a jump: then `frame`
 * is stale, and a fault at the same depth as the last one is a new fault. */
static void chain(int signo, siginfo_t *info, void *context, uintptr_t here)
{
    static HANDLER_LOCAL const siginfo_t *volatile chaining;
    static HANDLER_LOCAL volatile uintptr_t frame;
    int again = chaining != NULL && here < frame && (chaining == info || info->si_code <= 0);

    if (atomic_load(&was_displaced) && !again) {
        chaining = info;
        frame = here;
        pass(&later, signo, info, context);
        chaining = NULL;
    } else {
        pass(&first, signo, info, context);
    }
}

/* Where the processor does not tell, this assumes a write: then the content of the page is
 * kept if it can be read. */
static int is_write(const ucontext_t *context)
{
#if defined(__x86_64__)
    return (context->uc_mcontext.gregs[REG_ERR] & 2) != 0;
#elif defined(__aarch64__)
    const struct _aarch64_ctx *head = (const void *)context->uc_mcontext.__reserved;

    while (head->magic != 0 && head->magic != ESR_MAGIC)
        head = (const void *)((const char *)head + head->size);
    return head->magic == 0 || ((const struct esr_context *)head)->esr >> 6 & 1;
#else
    (void)context;
    return 1;
#endif
}

static void say(const char *text)
{
    if (write(STDERR_FILENO, text, strlen(text)) == -1)
        return;
}

static void say_why_it_dies(void)
{
    say("yammap: a page of a mapped file is missing, and none can be put in its place");
    if (errno == ENOMEM)
        say(": the process has as many mappings as vm.max_map_count allows, or no memory");
    say("\n");
}

/* Returns whether the thread may try the access again. */
static int is_patched(const siginfo_t *info, const ucontext_t *context)
{
    enum patch_result result;
    int cancelling;

    if (info->si_code <= 0 || info->si_code == BUS_MCEERR_AO || info->si_code == BUS_ADRALN)
        return 0;
    /* A thread may be cancelled in pread(2) and pwrite(2), but not while it has the lock. */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelling);
    result = patch_fault(info->si_addr, is_write(context));
    pthread_setcancelstate(cancelling, NULL);
    switch (result) {
    case PATCH_RAISE:
        raise_here();
        return 1;
    case PATCH_DONE:
        return 1;
    case PATCH_FAILED:
        say_why_it_dies();
        return 0;
    default:
        return 0;
    }
}

/* After faulthandler has printed, it puts the handler before it back and raises the signal
 * again: the thread sends the signal to itself. Nothing else in a copy does that. */
static int is_sent_by_itself(const siginfo_t *info)
{
    return info->si_code == SI_TKILL && info->si_pid == getpid();
}

static void escape(struct guard *guard, const void *address, const ucontext_t *context)
{
    active = NULL;
    guard->address = address;
    restore_float_environment(context);
    siglongjmp(guard->escape, 1);
}

static void on_sigbus(int signo, siginfo_t *info, void *context)
{
    struct guard *guard = active;
    int saved_errno = errno;

    if (guard != NULL && info->si_code > 0 && covers(guard, info->si_addr))
        escape(guard, info->si_addr, context);
    if (guard != NULL && !is_second && is_sent_by_itself(info))
        escape(guard, NULL, context);
    if (!is_patched(info, context))
        chain(signo, info, context, (uintptr_t)__builtin_frame_address(0));
    errno = saved_errno;
}

/* SA_NODEFER: siglongjmp() leaves the handler without restoring the mask, which would cost
 * each copy a system call, so the kernel must not block SIGBUS in the handler. SA_ONSTACK:
 * a thread may fault on a nearly full stack. */
static int take_signal(struct sigaction *before)
{
    struct sigaction action = {.sa_sigaction = on_sigbus,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};

    sigemptyset(&action.sa_mask);
    return sigaction(SIGBUS, &action, before);
}

static void lock(void)
{
    pthread_mutex_lock(&installing);
}

static void unlock(void)
{
    pthread_mutex_unlock(&installing);
}

static int install(void)
{
    page_mask = ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);
    /* Read first: a fault between the two calls must not find `first` empty. */
    if (patch_install() == -1 || sigaction(SIGBUS, NULL, &first) == -1)
        return -1;
    errno = pthread_atfork(lock, unlock, unlock);
    return errno ? -1 : take_signal(&first);
}

int fault_install(void)
{
    static int installed;
    int result = 0;

    lock();
    if (!installed) {
        result = install();
        installed = result == 0;
    }
    unlock();
    return result;
}

/* SIG_DFL is no handler: displacing it does not count. */
static int is_on_top(void)
{
    struct sigaction now;

    if (sigaction(SIGBUS, NULL, &now) == -1)
        return 0;
    if (now.sa_sigaction == on_sigbus)
        return 1;
    if (now.sa_handler != SIG_DFL) {
        if (atomic_load(&was_displaced))
            return 0;
        later = now;
        atomic_store(&was_displaced, 1);
    }
    return take_signal(NULL) == 0;
}

int fault_look(unsigned tick)
{
    sigset_t mask;
    int in_force;

    lock();
    in_force = is_on_top();
    unlock();
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    in_force = in_force && !sigismember(&mask, SIGBUS);
    fault_looked = in_force ? tick : tick - 1;
    return in_force;
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

/* After the second call: without a fault, the signal was meant for another handler. */
static const void *ended(const void *fault)
{
    is_second = 0;
    if (fault == NULL)
        raise(SIGBUS);
    return fault;
}

static const void *copy_again(void *target, const void *source, size_t length)
{
    is_second = 1;
    return ended(fault_copy(target, source, length));
}

static const void *call_again(void (*function)(void *), void *argument,
                              const struct fault_range ranges[2])
{
    is_second = 1;
    return ended(fault_call(function, argument, ranges));
}

/* memmove, not memcpy: source and target may both be views of one mapping. */
const void *fault_copy(void *target, const void *source, size_t length)
{
    struct guard guard;

    guard.ranges[0] = range_of(target, length);
    guard.ranges[1] = range_of(source, length);
    if (sigsetjmp(guard.escape, 0))
        return guard.address != NULL ? guard.address : copy_again(target, source, length);
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
        return guard.address != NULL ? guard.address
                                     : call_again(function, argument, ranges);
    enter(&guard);
    function(argument);
    leave();
    return NULL;
}

const void *fault_carry(void *memory, void *buffer, size_t length, int writing)
{
    size_t done = 0;
    ssize_t count;

    while (done < length) {
        count = carry((char *)memory + done, (char *)buffer + done, length - done, writing);
        if (count <= 0)
            return (char *)memory + done;
        done += (size_t)count;
    }
    return NULL;
}
