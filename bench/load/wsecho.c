// wsecho: a WebSocket server on epoll with one thread, about as fast as one can be: the load generator's ceiling.
// It leaves out most rules of RFC 6455. It echoes; what a device with the header "IoT-IO-Type: pub" sends goes to all
// with "IoT-IO-Type: sub".
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
typedef struct {
    int fd, up, role, subi;
    uint8_t *left;
    uint32_t llen, lcap;
    uint8_t *out;
    uint32_t olen, ocap;
    int epout;
} conn;
static int ep;
static uint8_t G[1 << 18], O[1 << 18];
static conn **subs;
static int nsubs, csubs;
static uint32_t rol(uint32_t x, int n) {
    return x << n | x >> (32 - n);
}

static void sha1(const uint8_t *d, size_t n, uint8_t *out) {
    uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    uint8_t b[256] = {0};
    memcpy(b, d, n);
    b[n] = 0x80;
    size_t t = ((n + 8) / 64 + 1) * 64;
    for (int i = 0; i < 8; i++)
        b[t - 1 - i] = (uint64_t)n * 8 >> (8 * i);
    for (size_t o = 0; o < t; o += 64) {
        uint32_t w[80];
        for (int i = 0; i < 16; i++)
            w[i] = b[o + 4 * i] << 24 | b[o + 4 * i + 1] << 16 | b[o + 4 * i + 2] << 8 | b[o + 4 * i + 3];
        for (int i = 16; i < 80; i++)
            w[i] = rol(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        uint32_t a = h[0], c = h[1], e = h[2], f = h[3], g = h[4];
        for (int i = 0; i < 80; i++) {
            uint32_t k, q;
            if (i < 20)
                q = (c & e) | (~c & f), k = 0x5A827999;
            else if (i < 40)
                q = c ^ e ^ f, k = 0x6ED9EBA1;
            else if (i < 60)
                q = (c & e) | (c & f) | (e & f), k = 0x8F1BBCDC;
            else
                q = c ^ e ^ f, k = 0xCA62C1D6;
            uint32_t x = rol(a, 5) + q + g + k + w[i];
            g = f;
            f = e;
            e = rol(c, 30);
            c = a;
            a = x;
        }
        h[0] += a;
        h[1] += c;
        h[2] += e;
        h[3] += f;
        h[4] += g;
    }
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < 4; k++)
            out[4 * i + k] = h[i] >> (24 - 8 * k);
}

static void b64(const uint8_t *d, int n, char *o) {
    const char *T = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    int i;
    for (i = 0; i < n; i += 3) {
        uint32_t v = d[i] << 16 | (i + 1 < n ? d[i + 1] << 8 : 0) | (i + 2 < n ? d[i + 2] : 0);
        *o++ = T[v >> 18];
        *o++ = T[v >> 12 & 63];
        *o++ = i + 1 < n ? T[v >> 6 & 63] : '=';
        *o++ = i + 2 < n ? T[v & 63] : '=';
    }
    *o = 0;
}

static void dead(conn *c) {
    if (c->role == 1) {
        conn *l = subs[--nsubs];
        subs[c->subi] = l;
        l->subi = c->subi;
    }
    close(c->fd);
    free(c->left);
    free(c->out);
    free(c);
}

static void epo(conn *c, int o) {
    if (c->epout == o)
        return;
    c->epout = o;
    struct epoll_event e = {.events = EPOLLIN | (o ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
}

static void wr(conn *c, const uint8_t *p, uint32_t n) {
    if (!c->olen) {
        ssize_t r = send(c->fd, p, n, MSG_NOSIGNAL);
        if (r == (ssize_t)n)
            return;
        if (r < 0) {
            if (errno != EAGAIN)
                return;
            r = 0;
        }
        p += r;
        n -= r;
    }
    if (c->olen + n > c->ocap) {
        c->ocap = (c->olen + n) * 2;
        c->out = realloc(c->out, c->ocap);
    }
    memcpy(c->out + c->olen, p, n);
    c->olen += n;
    epo(c, 1);
}

static void onw(conn *c) {
    ssize_t r = send(c->fd, c->out, c->olen, MSG_NOSIGNAL);
    if (r > 0) {
        memmove(c->out, c->out + r, c->olen - r);
        c->olen -= r;
    }
    if (!c->olen)
        epo(c, 0);
}

static int onr(conn *c) {
    uint32_t l = c->llen;
    if (l)
        memcpy(G, c->left, l);
    c->llen = 0;
    ssize_t r = recv(c->fd, G + l, sizeof G - l - 1, 0);
    if (r <= 0) {
        if (r < 0 && errno == EAGAIN) {
            c->llen = l;
            return 0;
        }
        dead(c);
        return -1;
    }
    uint8_t *p = G, *e = G + l + r;
    *e = 0;
    if (!c->up) {
        char *q = memmem(p, e - p, "\r\n\r\n", 4);
        if (!q)
            goto keep;
        char *k = strcasestr((char *)p, "sec-websocket-key: ");
        if (!k) {
            dead(c);
            return -1;
        }
        k += 19;
        char kb[128];
        int kl = strcspn(k, "\r\n");
        memcpy(kb, k, kl);
        strcpy(kb + kl, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        uint8_t d[20];
        char a[40], rs[256];
        sha1((uint8_t *)kb, strlen(kb), d);
        b64(d, 20, a);
        int n = sprintf(rs,
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
                        "Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                        a);
        c->up = 1;
        char *t = strcasestr((char *)p, "iot-io-type: ");
        if (t) {
            if (!strncmp(t + 13, "sub", 3)) {
                c->role = 1;
                if (nsubs == csubs)
                    subs = realloc(subs, sizeof *subs * (csubs = csubs * 2 + 64));
                c->subi = nsubs;
                subs[nsubs++] = c;
            } else if (!strncmp(t + 13, "pub", 3))
                c->role = 2;
        }
        wr(c, (uint8_t *)rs, n);
        p = (uint8_t *)q + 4;
    }
    uint32_t on = 0;
    while (e - p >= 6) {
        uint64_t n = p[1] & 127;
        uint32_t h = 2;
        if (n == 126) {
            if (e - p < 8)
                break;
            n = p[2] << 8 | p[3];
            h = 4;
        } else if (n == 127) {
            if (e - p < 14)
                break;
            n = 0;
            for (int i = 0; i < 8; i++)
                n = n << 8 | p[2 + i];
            h = 10;
        }
        if ((uint64_t)(e - p) < h + 4 + n)
            break;
        uint8_t *m = p + h, *d = m + 4;
        int op = p[0] & 15;
        uint32_t mk;
        memcpy(&mk, m, 4);
        uint64_t mk8 = (uint64_t)mk << 32 | mk;
        if (op == 8) {
            dead(c);
            return -1;
        }
        if (on + n + 10 > sizeof O) {
            wr(c, O, on);
            on = 0;
        }
        uint8_t *o = O + on;
        o[0] = op == 9 ? 0x8A : 0x80 | op;
        uint32_t w = 2;
        if (n < 126)
            o[1] = n;
        else if (n < 65536) {
            o[1] = 126;
            o[2] = n >> 8;
            o[3] = n;
            w = 4;
        } else {
            o[1] = 127;
            for (int i = 0; i < 8; i++)
                o[2 + i] = n >> (56 - 8 * i);
            w = 10;
        }
        uint64_t i = 0;
        for (; i + 8 <= n; i += 8) {
            uint64_t v;
            memcpy(&v, d + i, 8);
            v ^= mk8;
            memcpy(o + w + i, &v, 8);
        }
        for (; i < n; i++)
            o[w + i] = d[i] ^ m[i & 3];
        if (c->role == 2) {
            for (int s = 0; s < nsubs; s++)
                wr(subs[s], o, w + n);
        } else
            on += w + n;
        p = d + n;
    }
    if (on)
        wr(c, O, on);
keep:
    if (p < e) {
        uint32_t n = e - p;
        if (n > c->lcap)
            c->left = realloc(c->left, c->lcap = n * 2);
        memcpy(c->left, p, n);
        c->llen = n;
    }
    return 0;
}

int main(int argc, char **argv) {
    int port = atoi(argv[1]);
    struct rlimit rl = {200000, 200000};
    if (setrlimit(RLIMIT_NOFILE, &rl)) {
        getrlimit(RLIMIT_NOFILE, &rl);
        rl.rlim_cur = rl.rlim_max;
        setrlimit(RLIMIT_NOFILE, &rl);
    }
    signal(SIGPIPE, SIG_IGN);
    int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(s, (void *)&a, sizeof a) || listen(s, 4096))
        return perror("bind"), 1;
    ep = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(ep, EPOLL_CTL_ADD, s, &e);
    for (;;) {
        struct epoll_event ev[512];
        int n = epoll_wait(ep, ev, 512, -1);
        for (int i = 0; i < n; i++) {
            conn *c = ev[i].data.ptr;
            if (!c) {
                for (;;) {
                    int f = accept4(s, NULL, NULL, SOCK_NONBLOCK);
                    if (f < 0)
                        break;
                    setsockopt(f, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    c = calloc(1, sizeof *c);
                    c->fd = f;
                    struct epoll_event e2 = {.events = EPOLLIN, .data.ptr = c};
                    epoll_ctl(ep, EPOLL_CTL_ADD, f, &e2);
                }
                continue;
            }
            if (ev[i].events & EPOLLOUT)
                onw(c);
            if (ev[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                onr(c);
        }
    }
}
