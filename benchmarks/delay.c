/* delay PORT CONNECTIONS INTERVAL_MS SECONDS PATH: how long an echo takes, at a steady pace.
 *
 * Each connection sends its clock (CLOCK_MONOTONIC in nanoseconds, as text) every INTERVAL_MS, all of
 * them at even distances from one another, whatever comes back; what comes back is compared with the
 * clock. Prints "open" when all are, and at the end one line of JSON, times in microseconds; exits
 * with 1 after any error, or when an echo is missing at the end. */
#define _GNU_SOURCE
#include "websocket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { DIGITS = 19, HEAD = 2, FRAME = HEAD + DIGITS, EVENTS = 256, WARM_UP = 5 /* rounds */ };

struct connection {
    int fd;
    size_t length; /* of what has come of a frame */
    char frame[4096];
};

static uint64_t *delays;
static size_t received;

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

static void fail(const char *what)
{
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static void open_connection(struct connection *c, int port, const char *path)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    char head[1024], answer[4096];
    int one = 1;
    size_t length = 0;

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0)
        die("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    int size = snprintf(head, sizeof head,
                        "GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                        "Sec-WebSocket-Version: 13\r\n\r\n",
                        path);
    if (send(c->fd, head, (size_t)size, 0) != size)
        die("send");
    do {
        ssize_t n = recv(c->fd, answer + length, sizeof answer - 1 - length, 0);
        if (n <= 0)
            fail("the connection ended in the opening handshake");
        length += (size_t)n;
        answer[length] = 0;
    } while (strstr(answer, "\r\n\r\n") == NULL);
    if (strncmp(answer, "HTTP/1.1 101", 12) != 0)
        fail("the answer is no 101");
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
}

static void send_clock(struct connection *c)
{
    uint8_t frame[HEAD + 4 + DIGITS + 1], key[4];
    char text[DIGITS + 1];

    if (getrandom(key, sizeof key, 0) != sizeof key)
        die("getrandom");
    write_frame_head(frame, FIN | OPCODE_TEXT, DIGITS, MASKED);
    memcpy(frame + HEAD, key, 4);
    snprintf(text, sizeof text, "%019" PRIu64, now_ns());
    mask(frame + HEAD + 4, (uint8_t *)text, DIGITS, key);
    if (send(c->fd, frame, HEAD + 4 + DIGITS, MSG_NOSIGNAL) != HEAD + 4 + DIGITS)
        die("send");
}

static void receive(struct connection *c, size_t limit)
{
    ssize_t n = recv(c->fd, c->frame + c->length, sizeof c->frame - c->length, 0);
    uint64_t now = now_ns();
    size_t at = 0;

    if (n <= 0)
        fail("a connection ended");
    c->length += (size_t)n;
    for (; c->length - at >= FRAME; at += FRAME) {
        char *frame = c->frame + at, text[DIGITS + 1] = {0};
        if ((uint8_t)frame[0] != (FIN | OPCODE_TEXT) || frame[1] != DIGITS || received == limit)
            fail("this is no echo");
        memcpy(text, frame + HEAD, DIGITS);
        delays[received++] = now - strtoull(text, NULL, 10);
    }
    memmove(c->frame, c->frame + at, c->length - at);
    c->length -= at;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static double at(double share)
{
    return (double)delays[(size_t)((double)(received - 1) * share)] / 1000;
}

int main(int argc, char **argv)
{
    if (argc != 6)
        fail("usage: delay PORT CONNECTIONS INTERVAL_MS SECONDS PATH");
    int count = atoi(argv[2]);
    uint64_t interval = (uint64_t)(atof(argv[3]) * 1e6);
    size_t rounds = (size_t)(atof(argv[4]) * 1e9 / (double)interval) + WARM_UP;
    size_t total = rounds * (size_t)count, sent = 0, skipped = WARM_UP * (size_t)count;
    struct connection *connections = calloc((size_t)count, sizeof *connections);
    int epoll = epoll_create1(0), timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN}, events[EVENTS];
    double sum = 0;

    delays = calloc(total, sizeof *delays);
    if (connections == NULL || delays == NULL || epoll < 0 || timer < 0)
        die("setting up");
    for (int i = 0; i < count; i++) {
        open_connection(&connections[i], atoi(argv[1]), argv[5]);
        event.data.ptr = &connections[i];
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, connections[i].fd, &event) < 0)
            die("epoll_ctl");
    }
    puts("open");
    fflush(stdout);
    event.data.ptr = NULL;
    epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &event);
    uint64_t start = now_ns() + 10000000, step = interval / (uint64_t)count;
    while (received < total) {
        uint64_t due = start + step * sent;
        if (sent < total) {
            struct itimerspec when = {.it_value = {(time_t)(due / 1000000000), (long)(due % 1000000000)}};
            timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
        }
        int n = epoll_wait(epoll, events, EVENTS, 2000);
        if (n < 0 && errno != EINTR)
            die("epoll_wait");
        if (n == 0)
            fail("an echo did not come within 2 s");
        for (int i = 0; i < n; i++)
            if (events[i].data.ptr != NULL)
                receive(events[i].data.ptr, total);
        for (; sent < total && now_ns() >= start + step * sent; sent++) {
            uint64_t expirations;
            if (read(timer, &expirations, sizeof expirations) < 0 && errno != EAGAIN)
                die("read");
            send_clock(&connections[sent % (size_t)count]);
        }
    }
    memmove(delays, delays + skipped, (received - skipped) * sizeof *delays);
    received -= skipped;
    for (size_t i = 0; i < received; i++)
        sum += (double)delays[i] / 1000;
    qsort(delays, received, sizeof *delays, compare);
    printf("{\"echoes\": %zu, \"mean\": %.1f, \"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, \"max\": %.1f}\n",
           received, sum / (double)received, at(0.5), at(0.9), at(0.99), at(1));
    return 0;
}
