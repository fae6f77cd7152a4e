/* What _sigbus/raise.h needs of it: the stress test runs without an interpreter. */
typedef struct object PyObject;
