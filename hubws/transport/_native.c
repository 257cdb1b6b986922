/* The system calls of the plain socket path, without what a socket object adds to them.
 *
 * They never block (the descriptors are non-blocking), so they keep the interpreter lock: giving it
 * up and taking it again costs more than the call. `_syscalls.py` is their specification.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { EVENTS = 512, COPIED = 32768, SMALL = 2048, PARTS = 128 };

/* Take a descriptor, which the system call then judges; -1 when it is no int of C's. Nothing but an
   int will do: the __index__ of another object could change the lists that are being gone through. */
static int take_fd(PyObject *object, int *fd) {
    if (!PyLong_Check(object)) {
        PyErr_Format(PyExc_TypeError, "a descriptor is an int, not %R", object);
        return -1;
    }
    long number = PyLong_AsLong(object);
    if (number == -1 && PyErr_Occurred())
        return -1;
    if (number < INT_MIN || number > INT_MAX) {
        PyErr_Format(PyExc_OverflowError, "a descriptor fits into an int; %ld does not", number);
        return -1;
    }
    *fd = (int)number;
    return 0;
}

/* receive_into(fd, buffer) -> bytes read, 0 at the end of the stream, -1 when it would block */
static PyObject *receive_into(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    Py_buffer view;
    ssize_t n;
    (void)module;
    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "receive_into takes fd, buffer");
        return NULL;
    }
    int fd;
    if (take_fd(args[0], &fd) < 0 || PyObject_GetBuffer(args[1], &view, PyBUF_WRITABLE) < 0)
        return NULL;
    do
        n = recv(fd, view.buf, (size_t)view.len, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    PyBuffer_Release(&view);
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        return PyErr_SetFromErrno(PyExc_OSError);
    return PyLong_FromSsize_t(n);
}

/* Write a list of bytes in order; returns the bytes taken, fewer than all when it would block, or
   -errno. Small neighbours are copied together, large ones go into the vector as they are. */
static ssize_t write_list(int fd, PyObject *list) {
    char copies[COPIED];
    struct iovec vector[PARTS];
    Py_ssize_t count = PyList_Size(list), at = 0, total = 0;
    while (at < count) {
        size_t parts = 0, used = 0, offered = 0;
        ssize_t n;
        for (; at < count; at++) {
            PyObject *part = PyList_GetItem(list, at);
            char *bytes = PyBytes_AsString(part);
            size_t size = (size_t)PyBytes_Size(part);
            if (count > 1 && size <= SMALL) {
                if (used + size > COPIED)
                    break;
                bytes = memcpy(copies + used, bytes, size);
                used += size;
            }
            if (parts && (char *)vector[parts - 1].iov_base + vector[parts - 1].iov_len == bytes) {
                vector[parts - 1].iov_len += size;
            } else if (parts < PARTS) {
                vector[parts].iov_base = bytes;
                vector[parts++].iov_len = size;
            } else {
                break;
            }
            offered += size;
        }
        struct msghdr message = {.msg_iov = vector, .msg_iovlen = parts};
        do
            n = parts == 1 ? send(fd, vector->iov_base, offered, MSG_NOSIGNAL | MSG_DONTWAIT)
                           : sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
        if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
            return -errno;
        total += n < 0 ? 0 : n;
        if (n < (ssize_t)offered)
            break;
    }
    return total;
}

/* Whether it is a list of bytes; else sets TypeError. */
static int is_list_of_bytes(PyObject *list) {
    if (!PyList_Check(list)) {
        PyErr_Format(PyExc_TypeError, "the parts are a list of bytes, not %R", list);
        return 0;
    }
    for (Py_ssize_t i = 0, count = PyList_Size(list); i < count; i++) {
        PyObject *part = PyList_GetItem(list, i);
        if (!PyBytes_Check(part)) {
            PyErr_Format(PyExc_TypeError, "every part is bytes, not %R", part);
            return 0;
        }
    }
    return 1;
}

/* send(fd, parts) -> bytes taken by the socket, fewer than all when it would block */
static PyObject *send_parts(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    int fd;
    (void)module;
    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "send takes fd, list of bytes");
        return NULL;
    }
    if (take_fd(args[0], &fd) < 0 || !is_list_of_bytes(args[1]))
        return NULL;
    ssize_t n = write_list(fd, args[1]);
    if (n < 0) {
        errno = (int)-n;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return PyLong_FromSsize_t(n);
}

/* send_many(fds, lists of parts) -> for each: bytes taken (0 for a negative fd), or -errno. Going from one system call to
   the next without the interpreter in between keeps both in the processor's caches. */
static PyObject *send_many(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    (void)module;
    if (nargs != 2 || !PyList_Check(args[0]) || !PyList_Check(args[1]) ||
        PyList_Size(args[0]) != PyList_Size(args[1])) {
        PyErr_SetString(PyExc_TypeError, "send_many takes a list of fds and one of as many parts");
        return NULL;
    }
    Py_ssize_t count = PyList_Size(args[0]);
    int fd;
    for (Py_ssize_t i = 0; i < count; i++)
        if (take_fd(PyList_GetItem(args[0], i), &fd) < 0 ||
            !is_list_of_bytes(PyList_GetItem(args[1], i)))
            return NULL;
    PyObject *results = PyList_New(count);
    for (Py_ssize_t i = 0; results && i < count; i++) {
        PyObject *parts = PyList_GetItem(args[1], i), *number;
        take_fd(PyList_GetItem(args[0], i), &fd);
        number = PyLong_FromSsize_t(fd >= 0 && PyList_Size(parts) ? write_list(fd, parts) : 0);
        if (!number || PyList_SetItem(results, i, number) < 0)
            Py_CLEAR(results);
    }
    return results;
}

/* ready(epoll) -> the descriptors that can be read now, without waiting */
static PyObject *ready(PyObject *module, PyObject *epoll) {
    struct epoll_event events[EVENTS];
    int n, fd = PyObject_AsFileDescriptor(epoll);
    (void)module;
    if (fd < 0)
        return NULL;
    do
        n = epoll_wait(fd, events, EVENTS, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    PyObject *list = PyList_New(n);
    for (int i = 0; list && i < n; i++) {
        PyObject *number = PyLong_FromLong(events[i].data.fd);
        if (!number || PyList_SetItem(list, i, number) < 0)
            Py_CLEAR(list);
    }
    return list;
}

#define FAST(name, function) {name, (PyCFunction)(void (*)(void))function, METH_FASTCALL, NULL}
static PyMethodDef functions[] = {FAST("receive_into", receive_into),
                                  FAST("send", send_parts),
                                  FAST("send_many", send_many),
                                  {"ready", ready, METH_O, NULL},
                                  {NULL, NULL, 0, NULL}};

static PyModuleDef_Slot slots[] = {
#if defined(Py_GIL_DISABLED)
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "hubws.transport._native", NULL, 0, functions, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&definition); }
