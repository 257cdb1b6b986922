/* What the load generator and the bare echo server both need of RFC 6455:
 * the Sec-WebSocket-Accept value, masking, and the head of a frame. */
#ifndef BENCHMARKS_WEBSOCKET_H
#define BENCHMARKS_WEBSOCKET_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum opcode {
    OPCODE_CONTINUATION = 0x0,
    OPCODE_TEXT = 0x1,
    OPCODE_BINARY = 0x2,
    OPCODE_CLOSE = 0x8,
    OPCODE_PING = 0x9,
    OPCODE_PONG = 0xA,
};

enum { FIN = 0x80, MASKED = 0x80, KEY_LENGTH = 24, ACCEPT_LENGTH = 28 };

/* SHA-1 (RFC 3174) of at most 119 bytes, which is two blocks: all that a handshake needs. */
static inline void sha1_short(const uint8_t *data, size_t length, uint8_t digest[20])
{
    uint8_t blocks[128] = {0};
    uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    size_t total = length + 9 <= 64 ? 64 : 128;

    memcpy(blocks, data, length);
    blocks[length] = 0x80;
    blocks[total - 2] = (uint8_t)(length * 8 >> 8);
    blocks[total - 1] = (uint8_t)(length * 8);
    for (size_t start = 0; start < total; start += 64) {
        uint32_t w[80];
        for (int i = 0; i < 16; i++) {
            const uint8_t *p = blocks + start + 4 * i;
            w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
        }
        for (int i = 16; i < 80; i++) {
            uint32_t x = w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16];
            w[i] = x << 1 | x >> 31;
        }
        uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
        for (int i = 0; i < 80; i++) {
            uint32_t f, k;
            if (i < 20) {
                f = (b & c) | (~b & d);
                k = 0x5A827999;
            } else if (i < 40) {
                f = b ^ c ^ d;
                k = 0x6ED9EBA1;
            } else if (i < 60) {
                f = (b & c) | (b & d) | (c & d);
                k = 0x8F1BBCDC;
            } else {
                f = b ^ c ^ d;
                k = 0xCA62C1D6;
            }
            uint32_t t = (a << 5 | a >> 27) + f + e + k + w[i];
            e = d;
            d = c;
            c = b << 30 | b >> 2;
            b = a;
            a = t;
        }
        h[0] += a;
        h[1] += b;
        h[2] += c;
        h[3] += d;
        h[4] += e;
    }
    for (int i = 0; i < 20; i++)
        digest[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

/* Base64 (RFC 4648) with padding and a closing zero. */
static inline void base64(const uint8_t *data, size_t length, char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < length; i += 3) {
        uint32_t group = (uint32_t)data[i] << 16;
        if (i + 1 < length)
            group |= (uint32_t)data[i + 1] << 8;
        if (i + 2 < length)
            group |= data[i + 2];
        *text++ = digits[group >> 18 & 63];
        *text++ = digits[group >> 12 & 63];
        *text++ = i + 1 < length ? digits[group >> 6 & 63] : '=';
        *text++ = i + 2 < length ? digits[group & 63] : '=';
    }
    *text = 0;
}

/* The Sec-WebSocket-Accept value that answers a Sec-WebSocket-Key (RFC 6455 section 4.2.2). */
static inline void accept_of_key(const char key[KEY_LENGTH], char accept[ACCEPT_LENGTH + 1])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    uint8_t text[KEY_LENGTH + sizeof guid - 1], digest[20];

    memcpy(text, key, KEY_LENGTH);
    memcpy(text + KEY_LENGTH, guid, sizeof guid - 1);
    sha1_short(text, sizeof text, digest);
    base64(digest, sizeof digest, accept);
}

/* Writes the head of a frame, without a masking key; returns its length, 2, 4 or 10. */
static inline size_t write_frame_head(uint8_t *out, uint8_t first, size_t length, uint8_t masked)
{
    out[0] = first;
    if (length < 126) {
        out[1] = masked | (uint8_t)length;
        return 2;
    }
    if (length < 65536) {
        out[1] = masked | 126;
        out[2] = (uint8_t)(length >> 8);
        out[3] = (uint8_t)length;
        return 4;
    }
    out[1] = masked | 127;
    for (int i = 0; i < 8; i++)
        out[2 + i] = (uint8_t)((uint64_t)length >> (56 - 8 * i));
    return 10;
}

/* Masks or unmasks by 8-byte words. `out` may lie before `in` in the same buffer, by 4 bytes or more:
 * a word is then read before any write reaches it. */
static inline void mask(uint8_t *out, const uint8_t *in, size_t length, const uint8_t key[4])
{
    uint64_t key8, word;
    size_t i = 0;

    memcpy(&key8, key, 4);
    memcpy((uint8_t *)&key8 + 4, key, 4);
    for (; i + 8 <= length; i += 8) {
        memcpy(&word, in + i, 8);
        word ^= key8;
        memcpy(out + i, &word, 8);
    }
    for (; i < length; i++)
        out[i] = in[i] ^ key[i & 3];
}

#endif
