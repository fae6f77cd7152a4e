# What compiled methods are called on. `Mapping.size(3)` reaches the method with 3 in the
# place of a mapping, and Cython's functions do not look.
#
# Knows how Python calls a compiled method. It must not know what the method does.
#
# The reasons are in docs/design/mapping.md.

cdef extern from *:
    """
    typedef struct {
        PyTypeObject *kind;         /* the class of a method */
        PyTypeObject *type;         /* that of what it is called on */
    } receiver;

    /* Types that have been found to be subclasses, as a hint without a lock. A word has
       the version of a type, which no other type ever gets and which changes with its
       bases, and half the address of the class, which no other of this module has. */
    static uint64_t subclasses[256];

    static inline uint64_t *entry_of(receiver r)
    {
        return &subclasses[(((uintptr_t)r.type ^ (uintptr_t)r.kind) >> 4) % 256];
    }

    static inline uint64_t word_of(receiver r)
    {
        return (uint64_t)r.type->tp_version_tag << 32 | (uint32_t)(uintptr_t)r.kind;
    }

    static inline int is_known(PyObject *method, PyObject *first)
    {
        receiver r = {((PyCMethodObject *)method)->mm_class, Py_TYPE(first)};
        return r.type->tp_version_tag != 0 && *entry_of(r) == word_of(r);
    }

    /* What Cython does with a call, by how the method takes arguments. */
    static vectorcallfunc cython_noargs, cython_o, cython_fast;

    /* The calls that are not of a known type, or not with as many arguments as they should.
       Apart, since the others have no need to save a register. */
    static __attribute__((noinline)) PyObject *call_strange(
        PyObject *method, PyObject *const *given, size_t flags, PyObject *keywords)
    {
        PyMethodDef *definition = ((PyCFunctionObject *)method)->m_ml;
        receiver r = {((PyCMethodObject *)method)->mm_class, NULL};
        if (PyVectorcall_NARGS(flags) == 0)
            return PyErr_Format(PyExc_TypeError, "%s() of %s is called without an object",
                                definition->ml_name, r.kind->tp_name);
        r.type = Py_TYPE(given[0]);
        if (!PyType_IsSubtype(r.type, r.kind))
            return PyErr_Format(PyExc_TypeError, "%s() is for objects of %s, not of %s",
                                definition->ml_name, r.kind->tp_name, r.type->tp_name);
        if (r.type->tp_flags & Py_TPFLAGS_VALID_VERSION_TAG)
            *entry_of(r) = word_of(r);
        return (definition->ml_flags & METH_NOARGS ? cython_noargs
                : definition->ml_flags & METH_O ? cython_o
                : cython_fast)(method, given, flags, keywords);
    }

    static PyObject *call_noargs(PyObject *method, PyObject *const *given, size_t flags,
                                 PyObject *keywords)
    {
        if (PyVectorcall_NARGS(flags) != 1 || keywords != NULL || !is_known(method, *given))
            return call_strange(method, given, flags, keywords);
        return ((PyCFunctionObject *)method)->m_ml->ml_meth(given[0], NULL);
    }

    static PyObject *call_o(PyObject *method, PyObject *const *given, size_t flags,
                            PyObject *keywords)
    {
        if (PyVectorcall_NARGS(flags) != 2 || keywords != NULL || !is_known(method, *given))
            return call_strange(method, given, flags, keywords);
        return ((PyCFunctionObject *)method)->m_ml->ml_meth(given[0], given[1]);
    }

    static PyObject *call_fast(PyObject *method, PyObject *const *given, size_t flags,
                               PyObject *keywords)
    {
        Py_ssize_t count = PyVectorcall_NARGS(flags);
        if (count == 0 || !is_known(method, *given))
            return call_strange(method, given, flags, keywords);
        PyCFunction call = ((PyCFunctionObject *)method)->m_ml->ml_meth;
        return ((_PyCFunctionFastWithKeywords)(void (*)(void))call)(
            given[0], given + 1, count - 1, keywords);
    }

    static int check_receiver(PyObject *method, PyTypeObject *kind)
    {
        PyCFunctionObject *function = (PyCFunctionObject *)method;
        vectorcallfunc *call = &function->vectorcall;
        switch (function->m_ml->ml_flags) {
        case METH_NOARGS:
            cython_noargs = *call, *call = call_noargs;
            break;
        case METH_O:
            cython_o = *call, *call = call_o;
            break;
        case METH_FASTCALL | METH_KEYWORDS:
            cython_fast = *call, *call = call_fast;
            break;
        default:
            PyErr_Format(PyExc_SystemError, "%s() takes its arguments in another way",
                         function->m_ml->ml_name);
            return -1;
        }
        Py_INCREF(kind);
        Py_XSETREF(((PyCMethodObject *)method)->mm_class, kind);
        return 0;
    }
    """
    int check_receiver(object method, PyTypeObject *kind) except -1


cdef int check_receivers(object kind) except -1:
    """Let the compiled methods of a class raise TypeError for objects of others.

    Python's own method descriptors would do so as well. They take 100 instructions more:
    the interpreter is fast where the object is exactly of the class, and a mapping is of a
    subclass.
    """
    for method in vars(kind).values():
        if type(method) is type(birth):
            check_receiver(method, <PyTypeObject *> kind)
    return 0


# Classes in Python's way are none of these: their methods look by themselves at what they
# are called on, and take it in another place.
cdef unsigned long IN_PYTHON = 1 << 9       # Py_TPFLAGS_HEAPTYPE

for kind in tuple(globals().values()):
    if isinstance(kind, type) and not kind.__flags__ & IN_PYTHON:
        check_receivers(kind)
del kind
