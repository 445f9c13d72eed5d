/* One function for each resource that C code can lose: NAME(leak, fail).

   It acquires the resource, releases it unless leak is true, and then returns None, or raises
   ValueError if fail is true. So NAME(True, ...) loses it on the success or on the error path, and
   NAME(False, ...) is the correct twin that takes the same path. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static PyObject *
ending(int fail)
{
    if (fail) {
        PyErr_SetString(PyExc_ValueError, "failed as asked");
        return NULL;
    }
    Py_RETURN_NONE;
}

#define SUBJECT(NAME, ACQUIRE, ACQUIRED, RELEASE)                   \
    static PyObject *lose_##NAME(PyObject *module, PyObject *args)  \
    {                                                               \
        int leak, fail;                                             \
        if (!PyArg_ParseTuple(args, "pp", &leak, &fail)) {          \
            return NULL;                                            \
        }                                                           \
        ACQUIRE;                                                    \
        if (!(ACQUIRED)) {                                          \
            return PyErr_NoMemory();                                \
        }                                                           \
        if (!leak) {                                                \
            RELEASE;                                                \
        }                                                           \
        return ending(fail);                                        \
    }

/* The compiler may drop memory that nobody writes to: this stops it. */
static void *volatile last;

static void *
used(void *memory)
{
    last = memory;
    return memory;
}

SUBJECT(malloc, void *p = used(malloc(64)), p, free(p))
SUBJECT(small_malloc, void *p = used(malloc(24)), p, free(p))
SUBJECT(big_malloc, void *p = used(malloc(1 << 20)), p, free(p))
SUBJECT(calloc, void *p = used(calloc(4, 50)), p, free(p))
SUBJECT(realloc, void *p = used(realloc(used(malloc(40)), 600)), p, free(p))
SUBJECT(raw_malloc, void *p = used(PyMem_RawMalloc(64)), p, PyMem_RawFree(p))
SUBJECT(pymem, void *p = PyMem_Malloc(64), p, PyMem_Free(p))
SUBJECT(pyobject_malloc, void *p = PyObject_Malloc(64), p, PyObject_Free(p))
SUBJECT(object, PyObject *o = PyList_New(0), o, Py_DECREF(o))
SUBJECT(descriptor, int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), fd >= 0, close(fd))

#define MAPPED 16384

static void *
map(void)
{
    void *p = mmap(NULL, MAPPED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

SUBJECT(mmap, void *p = map(), p, munmap(p, MAPPED))

/* A thread that waits for good, until it is cancelled. */

static void *
wait_for_good(void *unused)
{
    for (;;) {
        pause();
    }
    return unused;
}

static int
start(pthread_t *thread)
{
    return pthread_create(thread, NULL, wait_for_good, NULL) == 0;
}

SUBJECT(thread, pthread_t t; int started = start(&t), started,
        (pthread_cancel(t), pthread_join(t, NULL)))

/* A thread that has ended: its stack stays mapped until somebody joins it. */

static void *
end_at_once(void *unused)
{
    return unused;
}

static int
start_short(pthread_t *thread)
{
    return pthread_create(thread, NULL, end_at_once, NULL) == 0;
}

SUBJECT(thread_not_joined, pthread_t t; int started = start_short(&t), started,
        pthread_join(t, NULL))

#define METHOD(NAME) {#NAME, lose_##NAME, METH_VARARGS, NULL}

static PyMethodDef methods[] = {
    METHOD(malloc),
    METHOD(small_malloc),
    METHOD(big_malloc),
    METHOD(calloc),
    METHOD(realloc),
    METHOD(raw_malloc),
    METHOD(pymem),
    METHOD(pyobject_malloc),
    METHOD(object),
    METHOD(descriptor),
    METHOD(mmap),
    METHOD(thread),
    METHOD(thread_not_joined),
    {NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "leaks",
    .m_doc = "Functions that lose a resource when asked to: NAME(leak, fail).",
    .m_size = 0,
    .m_methods = methods,
};

PyMODINIT_FUNC
PyInit_leaks(void)
{
    return PyModuleDef_Init(&definition);
}
