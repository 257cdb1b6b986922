/* c_echo PORT: the bare echo server, which shows what the machine and the kernel allow.
 *
 * One thread, level-triggered epoll; for each readable connection one recv, every whole frame in the
 * buffer unmasked in place, and one send of all the replies. No limits, no UTF-8 check, no
 * reassembly of fragments (each fragment is echoed as it came), no timeouts: a server for users must
 * do more, so nothing real is expected to reach these figures. */
#define _GNU_SOURCE
#include "../websocket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 256 * 1024, LARGEST_FRAME = 16 * 1024 * 1024, EVENTS = 1024, BACKLOG = 4096 };

/* A piece of memory that a connection holds only while it has something to keep. */
struct piece {
    uint8_t *data;
    size_t length;
};

struct connection {
    int fd;
    bool open;           /* the opening handshake is done */
    struct piece input;  /* the beginning of a frame whose rest hasn't come */
    struct piece output; /* replies that the socket didn't take */
};

static int epoll_fd;
static uint8_t *buffer; /* input, and then in place the replies */
static size_t buffer_size = BUFFER;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void keep(struct piece *piece, const uint8_t *data, size_t length)
{
    free(piece->data);
    piece->data = NULL;
    piece->length = length;
    if (length == 0)
        return;
    piece->data = malloc(length);
    if (piece->data == NULL)
        die("malloc");
    memcpy(piece->data, data, length);
}

static void drop(struct connection *connection)
{
    close(connection->fd);
    keep(&connection->input, NULL, 0);
    keep(&connection->output, NULL, 0);
    free(connection);
}

/* Registers for what comes next: the room to send while replies are kept, else input. */
static void watch(struct connection *connection, int operation)
{
    struct epoll_event event = {
        .events = connection->output.length > 0 ? EPOLLOUT : EPOLLIN,
        .data.ptr = connection,
    };
    if (epoll_ctl(epoll_fd, operation, connection->fd, &event) < 0)
        die("epoll_ctl");
}

/* Sends; what the socket doesn't take is kept. Returns whether the connection still stands. */
static bool send_all(struct connection *connection, const uint8_t *data, size_t length)
{
    ssize_t sent = send(connection->fd, data, length, MSG_NOSIGNAL);

    if (sent < 0 && errno != EAGAIN)
        return false;
    if (sent < 0)
        sent = 0;
    if ((size_t)sent < length) {
        keep(&connection->output, data + sent, length - (size_t)sent);
        watch(connection, EPOLL_CTL_MOD);
    }
    return true;
}

/* Answers the opening handshake when the request's head is whole. Returns the bytes consumed, 0 when
 * more are needed, -1 when this is no WebSocket request. */
static ssize_t handshake(struct connection *connection, size_t length)
{
    static const char name[] = "\r\nSec-WebSocket-Key:";
    char response[160], accept[ACCEPT_LENGTH + 1];
    uint8_t *end = memmem(buffer, length, "\r\n\r\n", 4);

    if (end == NULL)
        return 0;
    for (uint8_t *p = buffer; p + sizeof name + KEY_LENGTH < end + 2; p++) {
        if (strncasecmp((char *)p, name, sizeof name - 1) != 0)
            continue;
        p += sizeof name - 1;
        while (*p == ' ')
            p++;
        accept_of_key((char *)p, accept);
        int size = snprintf(response, sizeof response,
                            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                            "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                            accept);
        connection->open = true;
        return send_all(connection, (uint8_t *)response, (size_t)size) ? end + 4 - buffer : -1;
    }
    return -1;
}

/* Turns the whole frames in buffer[start:length] into replies at the buffer's beginning, in place: a
 * reply is 4 bytes shorter than its frame, so writing never overtakes reading. Sets how many bytes
 * were read and written. Returns whether the connection goes on. */
static bool echo_frames(size_t start, size_t length, size_t *read, size_t *written)
{
    size_t in = start, out = 0;
    bool going_on = true;

    while (going_on && length - in >= 2) {
        uint8_t first = buffer[in];
        size_t payload = buffer[in + 1] & 0x7F, head = 6;
        if (payload == 126) {
            head = 8;
            if (length - in < head)
                break;
            payload = (size_t)buffer[in + 2] << 8 | buffer[in + 3];
        } else if (payload == 127) {
            head = 14;
            if (length - in < head)
                break;
            payload = 0;
            for (int i = 0; i < 8; i++)
                payload = payload << 8 | buffer[in + 2 + i];
        }
        if (payload > LARGEST_FRAME || !(buffer[in + 1] & MASKED)) {
            going_on = false;
            break;
        }
        if (length - in < head + payload)
            break;
        uint8_t key[4];
        memcpy(key, buffer + in + head - 4, 4);
        if ((first & 0x0F) != OPCODE_PONG) {
            if ((first & 0x0F) == OPCODE_PING)
                first = FIN | OPCODE_PONG;
            going_on = (first & 0x0F) != OPCODE_CLOSE;
            out += write_frame_head(buffer + out, first, payload, 0);
            mask(buffer + out, buffer + in + head, payload, key);
            out += payload;
        }
        in += head + payload;
    }
    *read = in;
    *written = out;
    return going_on;
}

/* Serves one readable connection; returns whether it stands. */
static bool on_readable(struct connection *connection)
{
    size_t length = connection->input.length, start = 0, written;

    if (length > buffer_size / 2) { /* a frame larger than the buffer: make room for its rest */
        buffer_size *= 2;
        buffer = realloc(buffer, buffer_size);
        if (buffer == NULL)
            die("realloc");
    }
    if (length > 0)
        memcpy(buffer, connection->input.data, length);
    ssize_t received = recv(connection->fd, buffer + length, buffer_size - length, 0);
    if (received <= 0)
        return received < 0 && errno == EAGAIN;
    length += (size_t)received;
    if (!connection->open) {
        ssize_t consumed = handshake(connection, length);
        if (consumed < 0 || (consumed == 0 && length > 8192))
            return false;
        start = (size_t)consumed;
        if (consumed == 0 || start == length) {
            if (consumed == 0 || connection->input.length > 0)
                keep(&connection->input, buffer, consumed == 0 ? length : 0);
            return true;
        }
    }
    bool going_on = echo_frames(start, length, &start, &written);
    if (start < length || connection->input.length > 0)
        keep(&connection->input, buffer + start, length - start);
    if (written > 0 && !send_all(connection, buffer, written))
        return false;
    return going_on;
}

/* Sends what was kept; returns whether the connection stands. */
static bool on_writable(struct connection *connection)
{
    struct piece rest = connection->output;

    connection->output = (struct piece){0};
    bool stands = send_all(connection, rest.data, rest.length);
    free(rest.data);
    if (stands && connection->output.length == 0)
        watch(connection, EPOLL_CTL_MOD);
    return stands;
}

static void accept_all(int listener)
{
    int fd, on = 1;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct connection *connection = calloc(1, sizeof *connection);
        if (connection == NULL)
            die("calloc");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        connection->fd = fd;
        watch(connection, EPOLL_CTL_ADD);
    }
}

static int listen_on(const char *port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)atoi(port)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, BACKLOG) < 0)
        die("listen");
    return fd;
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS];
    struct rlimit files;

    if (argc != 2) {
        fprintf(stderr, "usage: c_echo PORT\n");
        return 2;
    }
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    buffer = malloc(buffer_size);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_on(argv[1]);
    struct epoll_event accepting = {.events = EPOLLIN}; /* data.ptr NULL: the listener */
    if (buffer == NULL || epoll_fd < 0
        || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &accepting) < 0)
        die("epoll");
    puts("ready");
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            if (connection == NULL)
                accept_all(listener);
            else if (!(connection->output.length > 0 ? on_writable : on_readable)(connection))
                drop(connection);
        }
    }
}
