/* load: a WebSocket load generator (RFC 6455, plain TCP, Linux epoll, one thread).
 *
 * Modes
 *   echo       keeps --in-flight messages in flight on each connection; checks every reply's order,
 *              length and content; measures latency
 *   send       sends as fast as the sockets take it; whatever comes back is read and ignored
 *   receive    counts the data messages that arrive and checks their length when --size is given;
 *              with --subscribe, first sends one message on each connection; measures from when
 *              every connection has received something
 *   handshake  opens, checks the opening handshake, closes TCP, opens again
 *   idle       opens the connections, prints "ready", holds them for --seconds
 *
 * Pings are answered in every mode. Prints one line of JSON; exits with 1 after any error.
 *
 * What a connection sends is periodic: a block of frames, each with its own payload and masking key,
 * repeated for ever. The block is made once and sent from where it lies, so that sending costs one
 * system call and no copy, however many frames it carries, and a torn frame is only a position in
 * the block. Replies are compared with the same payloads as they arrive, piece by piece, so that no
 * frame is ever assembled. Each connection begins at its own place in the block: replies that went
 * to another connection, or out of order, don't match. */
#define _GNU_SOURCE
#include "websocket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    RECEIVE_BUFFER = 256 * 1024,
    EVENTS = 1024,
    OPENING_AT_ONCE = 128,         /* stays below the smallest usual listen backlog */
    CONNECTIONS_PER_SOURCE = 2000, /* far below the 28,000 local ports of one address */
    SOURCES = 200,
    LONGEST_HEAD = 8192,
    ERRORS_SHOWN = 5,
};

static const double STALL_LIMIT = 10.0; /* seconds without progress, while opening and until all are reached */
static const double DRAIN_LIMIT = 5.0;  /* seconds for the last replies of echo */
static const double CLOSE_LIMIT = 0.5;  /* seconds for the peer's part of the closing handshake */

enum mode { ECHO, SEND, RECEIVE, HANDSHAKE, IDLE };
static const char *const mode_names[] = {"echo", "send", "receive", "handshake", "idle"};

enum phase { OPENING, WARMING_UP, MEASURING, DRAINING, CLOSING };

enum state { CONNECTING, AWAITING_RESPONSE, OPEN, CLOSED };

struct connection {
    int fd;
    uint32_t number;
    uint8_t state;
    bool awaiting_room; /* registered for EPOLLOUT */

    uint64_t sent;     /* bytes of the periodic stream given to the socket */
    uint64_t allowed;  /* bytes of it that may be sent by now */
    uint64_t received; /* messages */
    uint64_t *sent_at; /* echo: when each message in flight was sent, a ring of --in-flight */
    uint64_t started_at;

    uint8_t *pong; /* a pong that waits for a frame's end, or its unsent rest */
    size_t pong_length, pong_sent;

    /* The frame that is being read. */
    uint8_t head[14];
    uint8_t head_length;
    bool in_payload, in_message;
    uint64_t payload_left;
    uint64_t message_length; /* bytes of the message read so far, over all its fragments */
    uint8_t *control;        /* payload of a control frame, allocated when the first one comes */
    uint8_t control_length;

    char *response; /* the beginning of the response head, while it isn't whole */
    size_t response_length;
};

/* Options. */
static enum mode mode = ECHO;
static const char *host = "127.0.0.1", *path = "/";
static int port, connection_count = 100;
static uint64_t in_flight = 1;
static size_t size = 32;
static bool size_given, subscribe;
static double seconds = 2, warm_up = 0.3;
static uint8_t data_opcode = OPCODE_TEXT;

/* The block of frames. */
static uint8_t *payloads;   /* `variants` payloads of `size` bytes, unmasked: what replies carry */
static uint8_t *block;      /* the masked frames twice over, so that any period is contiguous */
static size_t variants, frame_length, period;

/* State of the run. */
static enum phase phase = OPENING;
static int epoll_fd;
static struct sockaddr_in server;
static struct connection *connections;
static int to_open, opening, open_count, closed_count, reached_count;
static uint8_t *input;
static char request[1024], expected_accept[ACCEPT_LENGTH + 1];
static size_t request_length;

/* What was counted while measuring. */
static uint64_t errors, messages, payload_bytes, handshakes;

/* Latencies in nanoseconds: exact below 64, then 64 buckets for each power of two (1.6 %). */
static uint64_t histogram[64 * 60], histogram_total;

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void *allocate(size_t count, size_t length)
{
    void *memory = calloc(count, length);

    if (memory == NULL)
        die("calloc");
    return memory;
}

static void record_latency(uint64_t ns)
{
    size_t bucket = ns;

    if (ns >= 64) {
        int shift = 57 - __builtin_clzll(ns); /* leaves the 7 leading bits, 64 to 127 */
        bucket = 64 * (size_t)shift + (ns >> shift);
    }
    histogram[bucket]++;
    histogram_total++;
}

/* The latency, in microseconds, that the given part of all samples doesn't exceed. */
static double latency_quantile(double part)
{
    uint64_t rank = (uint64_t)(part * (double)histogram_total), seen = 0;

    for (size_t i = 0; i < sizeof histogram / sizeof *histogram; i++) {
        seen += histogram[i];
        if (seen > rank) {
            size_t shift = i < 128 ? 0 : i / 64 - 1;
            uint64_t low = (i - 64 * shift) << shift;
            return ((double)low + (double)((1ull << shift) - 1) / 2) / 1000;
        }
    }
    return 0;
}

/* ---- Registering and closing ---- */

static void watch(struct connection *c, int operation, bool for_room)
{
    struct epoll_event event = {
        .events = for_room ? EPOLLIN | EPOLLOUT : EPOLLIN,
        .data.ptr = c,
    };

    c->awaiting_room = for_room;
    if (epoll_ctl(epoll_fd, operation, c->fd, &event) < 0)
        die("epoll_ctl");
}

static void close_connection(struct connection *c)
{
    if (c->state == CLOSED)
        return;
    if (c->state == OPEN)
        open_count--;
    else
        opening--;
    close(c->fd);
    c->state = CLOSED;
    closed_count++;
}

/* Counts an error, says the first few, and closes the connection. */
__attribute__((format(printf, 2, 3))) static void fail(struct connection *c, const char *format, ...)
{
    if (c->state == CLOSED)
        return;
    if (phase == CLOSING) { /* the figures are out: how the end looks is the server's affair */
        close_connection(c);
        return;
    }
    if (errors++ < ERRORS_SHOWN) {
        va_list arguments;
        va_start(arguments, format);
        fprintf(stderr, "connection %u: ", c->number);
        vfprintf(stderr, format, arguments);
        fputc('\n', stderr);
        va_end(arguments);
    }
    close_connection(c);
}

/* ---- Sending ---- */

/* Makes the block: payloads of printable ASCII, all different, each frame with its own key. */
static void make_block(void)
{
    uint8_t key[4];

    frame_length = size + 4 + (size < 126 ? 2 : size < 65536 ? 4 : 10);
    variants = 256 * 1024 / frame_length;
    if (variants < 2)
        variants = 2;
    if (variants > 61) /* a prime, so that no usual --in-flight divides it */
        variants = 61;
    period = variants * frame_length;
    payloads = allocate(variants, size + 1);
    block = allocate(2, period);
    for (size_t v = 0; v < variants; v++) {
        uint8_t *payload = payloads + v * size, *frame = block + v * frame_length;
        for (size_t i = 0; i < size; i++)
            payload[i] = (uint8_t)('!' + (v * 37 + i * 7 + i / 64) % 94);
        do {
            if (getrandom(key, sizeof key, 0) != sizeof key)
                die("getrandom");
        } while (key[0] == 0 || key[1] == 0 || key[2] == 0 || key[3] == 0);
        size_t head = write_frame_head(frame, FIN | data_opcode, size, MASKED);
        memcpy(frame + head, key, sizeof key);
        mask(frame + head + sizeof key, payload, size, key);
    }
    memcpy(block + period, block, period);
}

static size_t variant_of(const struct connection *c, uint64_t message)
{
    return (size_t)((message + c->number) % variants);
}

/* Sends the waiting pong; returns whether it left. */
static bool flush_pong(struct connection *c)
{
    ssize_t n = send(c->fd, c->pong + c->pong_sent, c->pong_length - c->pong_sent, MSG_NOSIGNAL);

    if (n < 0 && errno != EAGAIN) {
        fail(c, "send: %s", strerror(errno));
        return false;
    }
    if (n > 0)
        c->pong_sent += (size_t)n;
    if (c->pong_sent < c->pong_length)
        return false;
    free(c->pong);
    c->pong = NULL;
    return true;
}

/* Sends what may be sent: the rest of a frame, a pong between frames, then messages. */
static void flush(struct connection *c)
{
    bool blocked = false;

    while (!blocked && c->state == OPEN) {
        uint64_t torn = c->sent % frame_length, left = c->allowed - c->sent;
        if (c->pong != NULL && torn == 0) {
            blocked = !flush_pong(c);
            continue;
        }
        if (mode == SEND && (phase == WARMING_UP || phase == MEASURING))
            left = period;
        else if (c->pong != NULL)
            left = frame_length - torn;
        if (left == 0)
            break;
        if (left > period)
            left = period;
        size_t at = (size_t)((c->sent + c->number * frame_length) % period);
        ssize_t n = send(c->fd, block + at, (size_t)left, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) {
            fail(c, "send: %s", strerror(errno));
            return;
        }
        if (n > 0) {
            c->sent += (uint64_t)n;
            if (mode == SEND) { /* what may still be sent is the rest of a frame once begun */
                c->allowed = (c->sent + frame_length - 1) / frame_length * frame_length;
                if (phase == MEASURING)
                    payload_bytes += (uint64_t)n;
            }
        }
        blocked = n < (ssize_t)left;
        if (mode == SEND) /* one piece for each wake, so that every connection has its turn */
            blocked = true;
    }
    if (c->state == OPEN && blocked != c->awaiting_room)
        watch(c, EPOLL_CTL_MOD, blocked);
}

static void queue_pong(struct connection *c)
{
    static const uint8_t key[4] = {0x5A, 0xC3, 0x17, 0xE8};

    if (c->pong != NULL && c->pong_sent > 0)
        return; /* its rest must leave first; the next ping will be answered */
    if (c->pong == NULL)
        c->pong = allocate(1, 2 + sizeof key + 125);
    write_frame_head(c->pong, FIN | OPCODE_PONG, c->control_length, MASKED);
    memcpy(c->pong + 2, key, sizeof key);
    mask(c->pong + 6, c->control, c->control_length, key);
    c->pong_length = 6u + c->control_length;
    c->pong_sent = 0;
}

/* ---- Receiving ---- */

/* Counts a whole message; in echo, this lets the next one go. */
static void on_message(struct connection *c, uint64_t now)
{
    if (mode == ECHO) {
        if (c->message_length != size) {
            fail(c, "message of %llu bytes, expected %zu", (unsigned long long)c->message_length,
                 size);
            return;
        }
        if ((c->received + 1) * frame_length > c->sent) {
            fail(c, "a reply to a message that wasn't sent");
            return;
        }
        uint64_t *sent_at = &c->sent_at[c->received % in_flight];
        if (phase == MEASURING)
            record_latency(now - *sent_at);
        *sent_at = now;
        if (phase <= MEASURING)
            c->allowed += frame_length;
    } else if (mode == RECEIVE && size_given && c->message_length != size) {
        fail(c, "message of %llu bytes, expected %zu", (unsigned long long)c->message_length, size);
        return;
    }
    if (c->received++ == 0)
        reached_count++;
    if (phase == MEASURING && mode != SEND) {
        messages++;
        payload_bytes += c->message_length;
    }
    c->message_length = 0;
    c->in_message = false;
}

static void on_control(struct connection *c)
{
    if ((c->head[0] & 0x0F) == OPCODE_PING) {
        queue_pong(c);
    } else if ((c->head[0] & 0x0F) == OPCODE_CLOSE) {
        if (phase == CLOSING) {
            close_connection(c);
            return;
        }
        int code = c->control_length >= 2 ? c->control[0] << 8 | c->control[1] : 1005;
        fail(c, "closed by the server, code %d: %.*s", code,
             c->control_length > 2 ? c->control_length - 2 : 0, (char *)c->control + 2);
    }
}

/* Takes bytes of the head; returns how many. When the head is whole, begins the payload. */
static size_t read_head(struct connection *c, const uint8_t *data, size_t length)
{
    size_t taken = 0, needed;

    for (;;) {
        needed = 2;
        if (c->head_length >= 2) {
            uint8_t short_length = c->head[1] & 0x7F;
            needed = short_length < 126 ? 2 : short_length == 126 ? 4 : 10;
            if (c->head_length == needed)
                break;
        }
        if (taken == length)
            return taken;
        c->head[c->head_length++] = data[taken++];
    }
    c->head_length = 0;
    c->in_payload = true;
    c->payload_left = c->head[1] & 0x7F;
    if (needed > 2) {
        c->payload_left = 0;
        for (size_t i = 2; i < needed; i++)
            c->payload_left = c->payload_left << 8 | c->head[i];
    }
    uint8_t opcode = c->head[0] & 0x0F;
    if (c->head[0] & 0x70) {
        fail(c, "reserved bits set in 0x%02x without an extension", c->head[0]);
    } else if (c->head[1] & MASKED) {
        fail(c, "masked frame from the server");
    } else if (opcode >= OPCODE_CLOSE) {
        if (c->control == NULL)
            c->control = allocate(1, 126);
        c->control_length = 0;
        if (c->payload_left > 125 || !(c->head[0] & FIN) || opcode > OPCODE_PONG)
            fail(c, "bad control frame, opcode %u", opcode);
    } else if (opcode > OPCODE_BINARY || (opcode == OPCODE_CONTINUATION) != c->in_message) {
        fail(c, "opcode %u %s a fragmented message", opcode, c->in_message ? "inside" : "outside");
    } else if (opcode != OPCODE_CONTINUATION && mode == ECHO && opcode != data_opcode) {
        fail(c, "opcode %u, expected %u", opcode, data_opcode);
    } else {
        c->in_message = true;
    }
    return taken;
}

/* Takes bytes of the payload, comparing them in echo; returns how many. */
static size_t read_payload(struct connection *c, const uint8_t *data, size_t length, uint64_t now)
{
    bool is_control = (c->head[0] & 0x0F) >= OPCODE_CLOSE;

    if (length > c->payload_left)
        length = (size_t)c->payload_left;
    if (is_control) {
        memcpy(c->control + c->control_length, data, length);
        c->control_length += (uint8_t)length;
    } else {
        if (mode == ECHO) {
            const uint8_t *expected = payloads + variant_of(c, c->received) * size;
            if (c->message_length + length > size
                || memcmp(data, expected + c->message_length, length) != 0) {
                fail(c, "the content of reply %llu is wrong", (unsigned long long)c->received);
                return length;
            }
        }
        c->message_length += length;
    }
    c->payload_left -= length;
    if (c->payload_left == 0) {
        c->in_payload = false;
        if (is_control)
            on_control(c);
        else if (c->head[0] & FIN)
            on_message(c, now);
    }
    return length;
}

static void read_frames(struct connection *c, const uint8_t *data, size_t length)
{
    uint64_t now = now_ns();
    const uint8_t *end = data + length;

    /* An empty payload ends without further bytes: hence the second condition. */
    while (c->state == OPEN && (data < end || (c->in_payload && c->payload_left == 0))) {
        if (c->in_payload)
            data += read_payload(c, data, (size_t)(end - data), now);
        else
            data += read_head(c, data, (size_t)(end - data));
    }
}

/* ---- Opening ---- */

static void open_next(struct connection *c);

/* The value of a header in the response's head, or NULL. */
static const char *header(const char *head, const char *name)
{
    size_t length = strlen(name);

    for (const char *p = strstr(head, "\r\n"); p != NULL; p = strstr(p + 2, "\r\n")) {
        if (strncasecmp(p + 2, name, length) == 0 && p[2 + length] == ':') {
            p += 3 + length;
            return p + strspn(p, " \t");
        }
    }
    return NULL;
}

/* Checks the response to the opening handshake (RFC 6455 section 4.1); NULL when it is right. */
static const char *check_response(const char *head)
{
    const char *accept = header(head, "Sec-WebSocket-Accept"), *upgrade = header(head, "Upgrade"),
               *connection = header(head, "Connection");

    if (strncmp(head, "HTTP/1.1 101", 12) != 0)
        return "status isn't 101";
    if (upgrade == NULL || strncasecmp(upgrade, "websocket\r", 10) != 0)
        return "no Upgrade: websocket";
    if (connection == NULL || strncasecmp(connection, "upgrade", 7) != 0)
        return "no Connection: Upgrade";
    if (accept == NULL || strncmp(accept, expected_accept, ACCEPT_LENGTH) != 0
        || strchr("\r \t", accept[ACCEPT_LENGTH]) == NULL)
        return "Sec-WebSocket-Accept is wrong";
    if (header(head, "Sec-WebSocket-Extensions") != NULL)
        return "an extension that wasn't offered";
    return NULL;
}

static void start_sending(struct connection *c)
{
    uint64_t now = now_ns();

    if (mode == ECHO && phase <= MEASURING) {
        c->allowed = in_flight * frame_length;
        for (uint64_t i = 0; i < in_flight; i++)
            c->sent_at[i] = now;
    } else if (mode == RECEIVE && subscribe) {
        c->allowed = frame_length;
    }
    flush(c);
}

static void on_open(struct connection *c, const uint8_t *rest, size_t length)
{
    c->state = OPEN;
    opening--;
    open_count++;
    if (mode == HANDSHAKE) {
        if (phase == MEASURING) {
            handshakes++;
            record_latency(now_ns() - c->started_at);
        }
        close_connection(c);
        closed_count--; /* not an end: the slot is used again */
        if (phase <= MEASURING)
            open_next(c);
        return;
    }
    /* Messages go only when all connections are open, see begin(). */
    if (length > 0)
        read_frames(c, rest, length);
    if (c->state == OPEN)
        flush(c);
}

static void read_response(struct connection *c, const uint8_t *data, size_t length)
{
    c->response = realloc(c->response, c->response_length + length + 1);
    if (c->response == NULL)
        die("realloc");
    memcpy(c->response + c->response_length, data, length);
    c->response_length += length;
    c->response[c->response_length] = 0;
    char *end = strstr(c->response, "\r\n\r\n");
    if (end == NULL) {
        if (c->response_length > LONGEST_HEAD)
            fail(c, "the response's head is longer than %d bytes", LONGEST_HEAD);
        return;
    }
    end[2] = 0;
    const char *wrong = check_response(c->response);
    if (wrong != NULL) {
        fail(c, "opening handshake: %s: %.*s", wrong, (int)strcspn(c->response, "\r"), c->response);
        return;
    }
    char *response = c->response;
    size_t head = (size_t)(end + 4 - response), rest = c->response_length - head;
    c->response = NULL;
    c->response_length = 0;
    on_open(c, (uint8_t *)response + head, rest);
    free(response);
}

/* Begins to open a connection, from its own source address. */
static void open_next(struct connection *c)
{
    static uint32_t opened;
    int on = 1;
    uint32_t source = mode == HANDSHAKE ? opened++ % SOURCES
                                        : c->number / CONNECTIONS_PER_SOURCE % SOURCES;
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + source),
    };

    c->started_at = now_ns();
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    /* Leaves the choice of the port to connect(), which may then take one that is free for this
     * destination only; only loopback has other addresses to come from. */
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (ntohl(server.sin_addr.s_addr) >> 24 == 127
        && bind(c->fd, (struct sockaddr *)&address, sizeof address) < 0)
        die("bind");
    opening++;
    c->state = CONNECTING;
    if (connect(c->fd, (struct sockaddr *)&server, sizeof server) < 0 && errno != EINPROGRESS)
        fail(c, "connect: %s", strerror(errno));
    else
        watch(c, EPOLL_CTL_ADD, true);
}

static void on_connected(struct connection *c)
{
    int error = 0;
    socklen_t length = sizeof error;

    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) {
        fail(c, "connect: %s", strerror(error));
        return;
    }
    if (send(c->fd, request, request_length, MSG_NOSIGNAL) != (ssize_t)request_length) {
        fail(c, "the request wasn't taken: %s", strerror(errno));
        return;
    }
    c->state = AWAITING_RESPONSE;
    watch(c, EPOLL_CTL_MOD, false);
}

static void open_more(void)
{
    int at_once = mode == HANDSHAKE ? connection_count : OPENING_AT_ONCE;

    while (to_open > 0 && opening < at_once)
        open_next(&connections[connection_count - to_open--]);
}

/* ---- The run ---- */

static void on_readable(struct connection *c)
{
    ssize_t received = recv(c->fd, input, RECEIVE_BUFFER, 0);

    if (received < 0 && errno == EAGAIN)
        return;
    if (received <= 0) {
        if (phase == CLOSING)
            close_connection(c);
        else
            fail(c, "the server ended the connection: %s",
                 received == 0 ? "end of stream" : strerror(errno));
        return;
    }
    if (c->state == AWAITING_RESPONSE) {
        read_response(c, input, (size_t)received);
        return;
    }
    read_frames(c, input, (size_t)received);
    if (c->state == OPEN && (c->pong != NULL || c->sent < c->allowed) && !c->awaiting_room)
        flush(c);
}

/* Handles what is ready, waiting for at most so many milliseconds. */
static void poll_once(int timeout)
{
    static struct epoll_event events[EVENTS];
    int count = epoll_wait(epoll_fd, events, EVENTS, timeout);

    for (int i = 0; i < count; i++) {
        struct connection *c = events[i].data.ptr;
        if (c->state == CONNECTING) {
            on_connected(c);
            continue;
        }
        if (c->state != CLOSED && events[i].events & ~(uint32_t)EPOLLOUT)
            on_readable(c);
        if (c->state == OPEN && events[i].events & EPOLLOUT)
            flush(c);
    }
}

static double since(uint64_t start)
{
    return (double)(now_ns() - start) / 1e9;
}

/* Opens all connections; returns whether any error stands in the way. */
static bool open_all(void)
{
    uint64_t last_progress = now_ns();
    int seen = 0;

    to_open = connection_count;
    while (open_count < connection_count && errors == 0) {
        open_more();
        poll_once(100);
        if (open_count != seen) {
            seen = open_count;
            last_progress = now_ns();
        } else if (since(last_progress) > STALL_LIMIT) {
            fprintf(stderr, "opening stalled with %d of %d connections open\n", open_count,
                    connection_count);
            errors++;
        }
    }
    return errors == 0;
}

static void run_for(double duration)
{
    uint64_t start = now_ns();

    while (since(start) < duration && closed_count < connection_count)
        poll_once(5);
}

/* Receive: waits until every connection has received a message. */
static void await_all(void)
{
    uint64_t start = now_ns();

    while (reached_count < connection_count && errors == 0 && since(start) < STALL_LIMIT)
        poll_once(5);
    if (reached_count < connection_count) {
        fprintf(stderr, "%d of %d connections received nothing in %.0f s\n",
                connection_count - reached_count, connection_count, STALL_LIMIT);
        errors++;
    }
}

/* Echo: no new messages, until every reply is there or the time is over. */
static void drain(void)
{
    uint64_t start = now_ns(), missing;

    do {
        poll_once(5);
        missing = 0;
        for (int i = 0; i < connection_count; i++)
            if (connections[i].state == OPEN)
                missing += connections[i].allowed / frame_length - connections[i].received;
    } while (missing > 0 && since(start) < DRAIN_LIMIT);
    if (missing > 0) {
        fprintf(stderr, "%llu replies never came\n", (unsigned long long)missing);
        errors++;
    }
}

/* Sends a close frame (1000) everywhere and gives the server a moment to answer. */
static void close_all(void)
{
    static const uint8_t frame[] = {0x88, 0x82, 0x11, 0x22, 0x33, 0x44, 0x11 ^ 0x03, 0x22 ^ 0xE8};
    uint64_t start = now_ns();

    phase = CLOSING;
    for (int i = 0; i < connection_count; i++) {
        struct connection *c = &connections[i];
        if (c->state == OPEN && c->sent % frame_length == 0 && c->pong == NULL
            && send(c->fd, frame, sizeof frame, MSG_NOSIGNAL) != sizeof frame)
            close_connection(c);
    }
    while (open_count > 0 && since(start) < CLOSE_LIMIT)
        poll_once(5);
}

static void report(double measured)
{
    bool timed = mode == ECHO || mode == HANDSHAKE;

    if (mode == SEND) {
        messages = payload_bytes / frame_length;
        payload_bytes = messages * size;
    }
    printf("{\"mode\": \"%s\", \"connections\": %d, \"in_flight\": %llu, \"size\": %zu, "
           "\"seconds\": %.3f, \"messages\": %llu, \"messages_per_second\": %.0f, "
           "\"megabytes_per_second\": %.2f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
           "\"handshakes_per_second\": %.0f, \"errors\": %llu}\n",
           mode_names[mode], connection_count, (unsigned long long)in_flight, size, measured,
           (unsigned long long)messages, (double)messages / measured,
           (double)payload_bytes / 1e6 / measured, timed ? latency_quantile(0.5) : 0,
           timed ? latency_quantile(0.99) : 0, (double)handshakes / measured,
           (unsigned long long)errors);
}

static void run(void)
{
    double measured = seconds;

    if (mode == HANDSHAKE) {
        to_open = connection_count;
        open_more();
    } else if (!open_all()) {
        report(seconds);
        return;
    }
    if (mode == IDLE) {
        puts("ready");
        fflush(stdout);
        run_for(seconds);
    } else {
        phase = WARMING_UP;
        for (int i = 0; mode != HANDSHAKE && i < connection_count; i++)
            start_sending(&connections[i]);
        if (mode == RECEIVE)
            await_all();
        run_for(warm_up);
        phase = MEASURING;
        uint64_t start = now_ns();
        run_for(seconds);
        measured = since(start);
        phase = DRAINING;
        if (mode == ECHO)
            drain();
    }
    if (mode == HANDSHAKE && handshakes == 0) {
        fprintf(stderr, "no handshake was completed\n");
        errors++;
    }
    if (mode == ECHO && messages == 0) {
        fprintf(stderr, "no message came back\n");
        errors++;
    }
    report(measured);
    fflush(stdout);
    if (mode != HANDSHAKE)
        close_all();
}

static void usage(void)
{
    fputs("usage: load --port PORT [options]\n"
          "  --mode echo|send|receive|handshake|idle   (echo)\n"
          "  --host ADDRESS        IPv4 address (127.0.0.1)\n"
          "  --path PATH           request target (/)\n"
          "  --connections N       (100)\n"
          "  --in-flight N         messages in flight on each connection (1)\n"
          "  --size BYTES          of each message's payload (32)\n"
          "  --seconds S           measured time (2)\n"
          "  --warm-up S           time before it, not measured (0.3)\n"
          "  --binary              binary messages instead of text\n"
          "  --subscribe           receive: send one message on each connection first\n",
          stderr);
    exit(2);
}

static void parse_options(int argc, char **argv)
{
    static const struct option options[] = {
        {"mode", required_argument, NULL, 'm'},      {"host", required_argument, NULL, 'h'},
        {"port", required_argument, NULL, 'p'},      {"path", required_argument, NULL, 'u'},
        {"connections", required_argument, NULL, 'c'}, {"in-flight", required_argument, NULL, 'n'},
        {"size", required_argument, NULL, 's'},      {"seconds", required_argument, NULL, 't'},
        {"warm-up", required_argument, NULL, 'w'},   {"binary", no_argument, NULL, 'b'},
        {"subscribe", no_argument, NULL, 'r'},
        {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'm':
            for (mode = ECHO; strcmp(optarg, mode_names[mode]) != 0; mode++)
                if (mode == IDLE)
                    usage();
            break;
        case 'h': host = optarg; break;
        case 'p': port = atoi(optarg); break;
        case 'u': path = optarg; break;
        case 'c': connection_count = atoi(optarg); break;
        case 'n': in_flight = strtoull(optarg, NULL, 10); break;
        case 's': size = strtoull(optarg, NULL, 10); size_given = true; break;
        case 't': seconds = atof(optarg); break;
        case 'w': warm_up = atof(optarg); break;
        case 'b': data_opcode = OPCODE_BINARY; break;
        case 'r': subscribe = true; break;
        default: usage();
        }
    }
    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (optind < argc || port < 1 || port > 65535 || connection_count < 1 || in_flight < 1
        || in_flight > 1000000 || size > (64u << 20) || seconds <= 0
        || inet_pton(AF_INET, host, &server.sin_addr) != 1)
        usage();
}

static void make_request(void)
{
    uint8_t nonce[16];
    char key[KEY_LENGTH + 1];

    if (getrandom(nonce, sizeof nonce, 0) != sizeof nonce)
        die("getrandom");
    base64(nonce, sizeof nonce, key);
    accept_of_key(key, expected_accept);
    int length = snprintf(request, sizeof request,
                          "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\n"
                          "Connection: Upgrade\r\nSec-WebSocket-Key: %s\r\n"
                          "Sec-WebSocket-Version: 13\r\n\r\n",
                          path, host, port, key);
    if (length >= (int)sizeof request)
        usage();
    request_length = (size_t)length;
}

int main(int argc, char **argv)
{
    struct rlimit files;

    parse_options(argc, argv);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    make_request();
    make_block();
    input = allocate(1, RECEIVE_BUFFER);
    connections = allocate((size_t)connection_count, sizeof *connections);
    for (int i = 0; i < connection_count; i++) {
        connections[i].number = (uint32_t)i;
        connections[i].state = CLOSED;
        if (mode == ECHO)
            connections[i].sent_at = allocate(in_flight, sizeof(uint64_t));
    }
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        die("epoll_create1");
    run();
    return errors > 0;
}
