/* The codec's inner loops in C: decode, encode_message, encode_frame, mask.
 *
 * Functions only, no types, no state. `_codec.py` is their specification: the same names,
 * arguments, results and errors, and the same tests run over both. Whatever is unusual in a buffer
 * (a control frame, a fragment, a rule broken) is left where it stands for the endpoint to judge,
 * so that every rule of RFC 6455 is written once, in Python.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

enum { TEXT = 0x81, BINARY = 0x82 }; /* FIN, no reserved bit, opcode */
enum { SCRATCH = 16384 };

/* XOR n bytes of from into to with the key; the first byte meets key[phase]. Eight bytes at a time:
   114 ns for 128 bytes, and the compiler widens it further. */
static void xor_bytes(unsigned char *to, const unsigned char *from, Py_ssize_t n,
                      const unsigned char *key, unsigned phase) {
    unsigned char turned[8];
    uint64_t wide, word;
    Py_ssize_t i = 0;
    for (unsigned k = 0; k < 8; k++)
        turned[k] = key[(phase + k) & 3];
    memcpy(&wide, turned, 8);
    for (; i + 8 <= n; i += 8) {
        memcpy(&word, from + i, 8);
        word ^= wide;
        memcpy(to + i, &word, 8);
    }
    for (; i < n; i++)
        to[i] = from[i] ^ turned[i & 7];
}

static PyObject *make_text(const unsigned char *payload, Py_ssize_t n, const unsigned char *key) {
    unsigned char stack[SCRATCH], *plain = stack;
    PyObject *text;
    if (!key)
        return PyUnicode_DecodeUTF8((const char *)payload, n, NULL);
    if (n > SCRATCH && !(plain = PyMem_Malloc((size_t)n)))
        return PyErr_NoMemory();
    xor_bytes(plain, payload, n, key, 0);
    text = PyUnicode_DecodeUTF8((const char *)plain, n, NULL);
    if (plain != stack)
        PyMem_Free(plain);
    return text;
}

static PyObject *make_bytes(const unsigned char *payload, Py_ssize_t n, const unsigned char *key) {
    PyObject *bytes = PyBytes_FromStringAndSize(key ? NULL : (const char *)payload, n);
    if (bytes && key)
        xor_bytes((unsigned char *)PyBytes_AsString(bytes), payload, n, key, 0);
    return bytes;
}

/* decode(buffer, start, end, masked, max_size) -> (messages, position) */
static PyObject *decode(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    Py_buffer view;
    PyObject *messages, *result;
    (void)module;
    if (nargs != 5) {
        PyErr_SetString(PyExc_TypeError, "decode takes buffer, start, end, masked, max_size");
        return NULL;
    }
    Py_ssize_t at = PyLong_AsSsize_t(args[1]), end = PyLong_AsSsize_t(args[2]);
    int masked = PyObject_IsTrue(args[3]);
    Py_ssize_t max_size = PyLong_AsSsize_t(args[4]);
    if (PyErr_Occurred() || PyObject_GetBuffer(args[0], &view, PyBUF_SIMPLE) < 0)
        return NULL;
    if (at < 0 || end > view.len || at > end) {
        PyErr_Format(PyExc_ValueError, "start %zd and end %zd must lie in a buffer of %zd bytes",
                     at, end, view.len);
        PyBuffer_Release(&view);
        return NULL;
    }
    if (!(messages = PyList_New(0)))
        goto failed;
    const unsigned char *data = view.buf;
    const unsigned char mask_bit = masked ? 0x80 : 0;
    while (end - at >= 2) {
        unsigned char first = data[at], second = data[at + 1];
        if ((first != TEXT && first != BINARY) || (second & 0x80) != mask_bit)
            break;
        uint64_t length = second & 0x7f;
        Py_ssize_t header = 2;
        if (length == 126) {
            if (end - at < 4)
                break;
            length = (uint64_t)data[at + 2] << 8 | data[at + 3];
            header = 4;
            if (length < 126)
                break;
        } else if (length == 127) {
            if (end - at < 10)
                break;
            length = 0;
            for (int i = 2; i < 10; i++)
                length = length << 8 | data[at + i];
            header = 10;
            if (length < 65536)
                break;
        }
        if (masked)
            header += 4;
        if (max_size < 0 || length > (uint64_t)max_size || end - at < header ||
            length > (uint64_t)(end - at - header))
            break;
        const unsigned char *payload = data + at + header;
        const unsigned char *key = masked ? payload - 4 : NULL;
        PyObject *message = first == TEXT ? make_text(payload, (Py_ssize_t)length, key)
                                          : make_bytes(payload, (Py_ssize_t)length, key);
        if (!message) {
            if (!PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
                goto failed;
            PyErr_Clear();
            break;
        }
        int appended = PyList_Append(messages, message);
        Py_DECREF(message);
        if (appended < 0)
            goto failed;
        at += header + (Py_ssize_t)length;
    }
    PyBuffer_Release(&view);
    PyObject *position = PyLong_FromSsize_t(at);
    result = position ? PyTuple_Pack(2, messages, position) : NULL;
    Py_XDECREF(position);
    Py_DECREF(messages);
    return result;
failed:
    Py_XDECREF(messages);
    PyBuffer_Release(&view);
    return NULL;
}

static PyObject *frame(unsigned char first, const char *payload, Py_ssize_t n,
                       const unsigned char *key) {
    Py_ssize_t header = n < 126 ? 2 : n < 65536 ? 4 : 10;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, header + (key ? 4 : 0) + n);
    if (!bytes)
        return NULL;
    unsigned char *to = (unsigned char *)PyBytes_AsString(bytes), mask_bit = key ? 0x80 : 0;
    to[0] = first;
    if (header == 2) {
        to[1] = mask_bit | (unsigned char)n;
    } else if (header == 4) {
        to[1] = mask_bit | 126;
        to[2] = (unsigned char)(n >> 8);
        to[3] = (unsigned char)n;
    } else {
        to[1] = mask_bit | 127;
        for (int i = 0; i < 8; i++)
            to[2 + i] = (unsigned char)((uint64_t)n >> (56 - 8 * i));
    }
    to += header;
    if (key) {
        memcpy(to, key, 4);
        xor_bytes(to + 4, (const unsigned char *)payload, n, key, 0);
    } else {
        memcpy(to, payload, (size_t)n);
    }
    return bytes;
}

/* The four bytes of a masking key, NULL for None; -1 when it is neither. */
static int take_key(PyObject *object, const unsigned char **key) {
    *key = NULL;
    if (object == Py_None)
        return 0;
    if (!PyBytes_CheckExact(object) || PyBytes_Size(object) != 4) {
        PyErr_Format(PyExc_ValueError, "a masking key is 4 bytes or None, not %R", object);
        return -1;
    }
    *key = (const unsigned char *)PyBytes_AsString(object);
    return 0;
}

static PyObject *encode(int first, PyObject *payload, const unsigned char *key) {
    if (PyUnicode_Check(payload)) {
        Py_ssize_t n;
        const char *text = PyUnicode_AsUTF8AndSize(payload, &n);
        return text ? frame((unsigned char)(first < 0 ? TEXT : first), text, n, key) : NULL;
    }
    Py_buffer view;
    if (PyObject_GetBuffer(payload, &view, PyBUF_SIMPLE) < 0) {
        if (PyErr_ExceptionMatches(PyExc_BufferError)) { /* not contiguous; a copy is */
            PyErr_Clear();
            PyObject *copy = PyBytes_FromObject(payload);
            PyObject *bytes = copy ? encode(first, copy, key) : NULL;
            Py_XDECREF(copy);
            return bytes;
        }
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_Clear();
            PyErr_Format(PyExc_TypeError, "a message is str or bytes-like, not %R", payload);
        }
        return NULL;
    }
    PyObject *bytes = frame((unsigned char)(first < 0 ? BINARY : first), view.buf, view.len, key);
    PyBuffer_Release(&view);
    return bytes;
}

/* encode_message(message, mask_key=None) -> bytes */
static PyObject *encode_message(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    const unsigned char *key = NULL;
    (void)module;
    if (nargs != 1 && nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "encode_message takes message, mask_key=None");
        return NULL;
    }
    if (nargs == 2 && take_key(args[1], &key) < 0)
        return NULL;
    return encode(-1, args[0], key);
}

/* encode_frame(first_byte, payload, mask_key) -> bytes */
static PyObject *encode_frame(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    const unsigned char *key;
    (void)module;
    if (nargs != 3) {
        PyErr_SetString(PyExc_TypeError, "encode_frame takes first_byte, payload, mask_key");
        return NULL;
    }
    long first = PyLong_AsLong(args[0]);
    if (PyErr_Occurred())
        return NULL;
    if (first < 0 || first > 255) {
        PyErr_Format(PyExc_ValueError, "the first byte of a frame is 0 to 255, not %ld", first);
        return NULL;
    }
    return take_key(args[2], &key) < 0 ? NULL : encode((int)first, args[1], key);
}

/* mask(data, start, end, key, phase) -> bytes */
static PyObject *mask(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    const unsigned char *key;
    Py_buffer view;
    (void)module;
    if (nargs != 5) {
        PyErr_SetString(PyExc_TypeError, "mask takes data, start, end, key, phase");
        return NULL;
    }
    Py_ssize_t start = PyLong_AsSsize_t(args[1]), end = PyLong_AsSsize_t(args[2]);
    Py_ssize_t phase = PyLong_AsSsize_t(args[4]);
    if (PyErr_Occurred() || take_key(args[3], &key) < 0 ||
        PyObject_GetBuffer(args[0], &view, PyBUF_SIMPLE) < 0)
        return NULL;
    PyObject *bytes = NULL;
    if (start < 0 || end > view.len || start > end)
        PyErr_Format(PyExc_ValueError, "start %zd and end %zd must lie in a buffer of %zd bytes",
                     start, end, view.len);
    else if ((bytes = PyBytes_FromStringAndSize(key ? NULL : (const char *)view.buf + start,
                                                end - start)) &&
             key)
        xor_bytes((unsigned char *)PyBytes_AsString(bytes),
                  (const unsigned char *)view.buf + start, end - start, key, (unsigned)phase & 3);
    PyBuffer_Release(&view);
    return bytes;
}

#define FAST(function) {#function, (PyCFunction)(void (*)(void))function, METH_FASTCALL, NULL}
static PyMethodDef functions[] = {
    FAST(decode), FAST(encode_message), FAST(encode_frame), FAST(mask), {NULL, NULL, 0, NULL}};

static PyModuleDef_Slot slots[] = {
#if defined(Py_GIL_DISABLED)
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "hubws.protocol._native", NULL, 0, functions, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&definition); }
