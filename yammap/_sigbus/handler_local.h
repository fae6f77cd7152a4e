/* Variables of a thread that the handler of SIGBUS may use.
 *
 * The handler must not allocate. With glibc, the first use of such a variable in a thread can,
 * unless its model is initial-exec. musl allocates when a thread starts or a library is loaded,
 * and it loads no library of that model after the program has started.
 */
#ifndef YAMMAP_HANDLER_LOCAL_H
#define YAMMAP_HANDLER_LOCAL_H

#include <features.h>

#ifdef __GLIBC__
#define HANDLER_LOCAL _Thread_local __attribute__((tls_model("initial-exec")))
#else
#define HANDLER_LOCAL _Thread_local
#endif

#endif
