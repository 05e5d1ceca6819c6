// wsload: a single-threaded load generator on epoll for WebSocket, Socket.IO and MQTT servers on 127.0.0.1.
//
// echo     each device keeps DEPTH messages on the way and sends a new one for each answer.
// connect  opens connections as fast as the server takes them, holds them, and reads the server's memory.
// fanout   one more device, the publisher, keeps PUBLISHES messages on the way; each comes back to every device.
//
// Prints one line of JSON. Times are in microseconds there. `wsload` without arguments lists the options.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ECHO, CONNECT, FANOUT };
enum { PWS, PSIO, PMQTT };
enum { S_NEW, S_CONNECTING, S_HANDSHAKE, S_INIT1, S_INIT2, S_READY, S_DEAD };

typedef struct {
    int fd, id, state, is_pub, epout;
    uint8_t *left;
    uint32_t llen, lcap;
    uint8_t *ctl;
    uint32_t clen, ccap, coff;
    uint8_t *fbuf;
    uint32_t flen, fcap; // periodic stream of copies of one frame
    uint64_t pending;
    uint32_t off; // bytes still to send; offset inside fbuf
    uint64_t *ts;
    uint32_t th, tt; // ring of send times (size depth)
    uint64_t seq;
} conn;

static int mode, proto = PWS, devices = 64, depth = 1, dial_most = 64, publishes = 1;
static double measure_s = 4, warm_s = 0.5, hold_s = 1, connect_s = 60;
static int busy;          // never sleep
static uint64_t idle_ns;  // spent on looking in vain meanwhile
static const char *host = "127.0.0.1", *path = "/", *headers[32], *pub_headers[32], *pids, *hello, *pub_hello;
static int port, n_headers, n_pub_headers, opcode = 2, verify = 1, expect_len = -1;
static uint8_t *payload;
static uint32_t plen;
static uint8_t *ppayload;
static uint32_t pplen; // pub payload (fanout)
static int epfd;
static conn *conns;
static int total;
static uint8_t *frame, *pframe;
static uint32_t flen, fcap, pflen, pfcap;
static uint64_t n_ready, n_started, n_inflight, n_err_conn, n_err_close, n_err_proto, n_ctrl;
static int measuring, started_load, want_out;
static uint64_t n_msgs, n_all, n_bytes;
static uint8_t inbuf[1 << 20];
#define RING 4096
static uint64_t fo_sent[RING];
static uint32_t fo_cnt[RING];
static uint64_t fo_next;
static int closing_down;

// ---- log-linear histogram (ns), 128 sub-buckets per octave
#define SUB 128
static uint64_t hist[64 * SUB], hist_n;
static inline void h_add(uint64_t ns) {
    int i;
    if (ns < SUB)
        i = ns;
    else {
        int e = 63 - __builtin_clzll(ns);
        int s = (ns >> (e - 7)) & (SUB - 1);
        i = (e - 6) * SUB + s;
    }
    hist[i]++;
    hist_n++;
}

static double h_pct(double q) {
    if (!hist_n)
        return 0;
    uint64_t t = (uint64_t)(q * hist_n), a = 0;
    if (t >= hist_n)
        t = hist_n - 1;
    for (int i = 0; i < 64 * SUB; i++) {
        a += hist[i];
        if (a > t) {
            if (i < SUB)
                return i / 1e3;
            int e = i / SUB + 6;
            uint64_t v = ((uint64_t)(SUB + i % SUB)) << (e - 7);
            return (v + (1ull << (e - 7)) / 2.0) / 1e3;
        }
    }
    return 0;
}

static inline uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void die(const char *m) {
    fprintf(stderr, "wsload: %s (%s)\n", m, strerror(errno));
    exit(2);
}

static uint32_t ws_frame(uint8_t *o, int op, const uint8_t *p, uint32_t n) { // masked client frame
    static const uint8_t mk[4] = {0x37, 0xfa, 0x21, 0x3d};
    uint32_t i = 0;
    o[i++] = 0x80 | op;
    if (n < 126)
        o[i++] = 0x80 | n;
    else if (n < 65536) {
        o[i++] = 0x80 | 126;
        o[i++] = n >> 8;
        o[i++] = n;
    } else {
        o[i++] = 0x80 | 127;
        for (int k = 0; k < 4; k++)
            o[i++] = 0;
        o[i++] = n >> 24;
        o[i++] = n >> 16;
        o[i++] = n >> 8;
        o[i++] = n;
    }
    memcpy(o + i, mk, 4);
    i += 4;
    for (uint32_t k = 0; k < n; k++)
        o[i + k] = p[k] ^ mk[k & 3];
    return i + n;
}

static uint32_t mq_varlen(uint8_t *o, uint32_t n) {
    uint32_t i = 0;
    do {
        uint8_t b = n % 128;
        n /= 128;
        if (n)
            b |= 128;
        o[i++] = b;
    } while (n);
    return i;
}

static uint32_t mq_publish(uint8_t *o, const char *topic, const uint8_t *p, uint32_t n) {
    uint32_t tl = strlen(topic), i = 0;
    o[i++] = 0x30;
    i += mq_varlen(o + i, 2 + tl + n);
    o[i++] = tl >> 8;
    o[i++] = tl;
    memcpy(o + i, topic, tl);
    i += tl;
    memcpy(o + i, p, n);
    return i + n;
}

static uint8_t *replicate(uint8_t *f, uint32_t n, uint32_t *cap) {
    int c = depth > 1 ? depth : 1;
    if (publishes > c)
        c = publishes;
    if (c > 64)
        c = 64;
    uint8_t *b = malloc((size_t)n * c);
    for (int i = 0; i < c; i++)
        memcpy(b + (size_t)n * i, f, n);
    *cap = n * c;
    return b;
}

static char *subst(const char *s, int id, char *buf, size_t cap) { // replace first %d
    const char *q = strstr(s, "%d");
    if (!q) {
        snprintf(buf, cap, "%s", s);
        return buf;
    }
    snprintf(buf, cap, "%.*s%d%s", (int)(q - s), s, id, q + 2);
    return buf;
}

static void ep_mod(conn *c, int out) {
    if (c->epout == out)
        return;
    c->epout = out;
    struct epoll_event e = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(epfd, EPOLL_CTL_MOD, c->fd, &e);
}

static void kill_conn(conn *c) {
    if (c->state == S_DEAD)
        return;
    if (!closing_down) {
        if (c->state == S_READY)
            n_err_close++;
        else {
            n_err_conn++;
            n_inflight--;
        }
    }
    c->state = S_DEAD;
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

static void ctl_add(conn *c, const void *p, uint32_t n) {
    if (c->clen + n > c->ccap) {
        c->ccap = (c->clen + n) * 2;
        c->ctl = realloc(c->ctl, c->ccap);
    }
    memcpy(c->ctl + c->clen, p, n);
    c->clen += n;
}

static void flush(conn *c) {
    for (;;) {
        int mid = c->flen ? c->off % c->flen : 0;
        ssize_t r;
        if (c->clen && (c->coff || !mid)) {
            r = send(c->fd, c->ctl + c->coff, c->clen - c->coff, MSG_NOSIGNAL);
            if (r < 0) {
                if (errno == EAGAIN) {
                    ep_mod(c, 1);
                    return;
                }
                kill_conn(c);
                return;
            }
            c->coff += r;
            if (c->coff == c->clen) {
                c->coff = c->clen = 0;
            }
        } else if (c->pending) {
            uint64_t n = c->fcap - c->off;
            if (n > c->pending)
                n = c->pending;
            if (c->clen) {
                uint32_t b = c->flen - mid;
                if (n > b)
                    n = b;
            }
            r = send(c->fd, c->fbuf + c->off, n, MSG_NOSIGNAL);
            if (r < 0) {
                if (errno == EAGAIN) {
                    ep_mod(c, 1);
                    return;
                }
                kill_conn(c);
                return;
            }
            c->pending -= r;
            c->off += r;
            if (c->off == c->fcap)
                c->off = 0;
            if ((uint64_t)r < n) {
                ep_mod(c, 1);
                return;
            }
        } else
            break;
    }
    ep_mod(c, 0);
}

static void push(conn *c, int k, uint64_t t) { // queue k copies of the frame
    if (mode == ECHO)
        for (int i = 0; i < k; i++) {
            c->ts[c->th] = t;
            if (++c->th == (uint32_t)depth)
                c->th = 0;
        }
    c->pending += (uint64_t)k * c->flen;
    flush(c);
}

static void send_text(conn *c, const char *s) {
    uint8_t b[4096];
    uint32_t n = ws_frame(b, 1, (const uint8_t *)s, strlen(s));
    ctl_add(c, b, n);
    flush(c);
}

static void send_hello(conn *c, const char *json) { // iotio.v2: type 16, no flags, no event, a JSON value
    uint8_t p[2048] = {16}, b[4096];
    char t[2000];
    subst(json, c->id, t, sizeof t);
    uint32_t n = strlen(t);
    for (int i = 0; i < 4; i++)
        p[4 + i] = n >> (24 - 8 * i);
    memcpy(p + 8, t, n);
    ctl_add(c, b, ws_frame(b, 2, p, n + 8));
    flush(c);
}

static void start_conn(conn *c) {
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        die("socket");
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, host, &a.sin_addr);
    n_started++;
    n_inflight++;
    c->state = S_CONNECTING;
    int r = connect(c->fd, (void *)&a, sizeof a);
    if (r < 0 && errno != EINPROGRESS) {
        kill_conn(c);
        return;
    }
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
    c->epout = 1;
    epoll_ctl(epfd, EPOLL_CTL_ADD, c->fd, &e);
}

static void on_connected(conn *c) {
    int err = 0;
    socklen_t l = sizeof err;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &l);
    if (err) {
        kill_conn(c);
        return;
    }
    char b[8192], t[2048];
    int n;
    if (proto == PMQTT) {
        char id[32];
        snprintf(id, sizeof id, "c%d", c->id);
        int il = strlen(id);
        uint8_t m[128];
        int i = 0;
        m[i++] = 0x10;
        m[i++] = 10 + 2 + il;
        memcpy(m + i, "\0\4MQTT\4\2\2\x58", 10);
        i += 10;
        m[i++] = 0;
        m[i++] = il;
        memcpy(m + i, id, il);
        i += il;
        ctl_add(c, m, i);
        c->state = S_INIT1;
        flush(c);
        return;
    }
    n = snprintf(b, sizeof b,
                 "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: "
                 "dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
                 path, host, port);
    const char **h = c->is_pub && n_pub_headers ? pub_headers : headers;
    int k = c->is_pub && n_pub_headers ? n_pub_headers : n_headers;
    for (int i = 0; i < k; i++)
        n += snprintf(b + n, sizeof b - n, "%s\r\n", subst(h[i], c->id, t, sizeof t));
    n += snprintf(b + n, sizeof b - n, "\r\n");
    ctl_add(c, b, n);
    c->state = S_HANDSHAKE;
    flush(c);
}

static void on_ready(conn *c) {
    c->state = S_READY;
    n_ready++;
    n_inflight--;
    if (proto == PMQTT && mode == ECHO) {
        char topic[32];
        snprintf(topic, sizeof topic, "t%06d", c->id);
        uint8_t *b = malloc(plen + 64);
        uint32_t n = mq_publish(b, topic, payload, plen);
        c->flen = n;
        c->fbuf = replicate(b, n, &c->fcap);
        free(b);
    } else {
        c->fbuf = c->is_pub ? pframe : frame;
        c->flen = c->is_pub ? pflen : flen;
        c->fcap = c->is_pub ? pfcap : fcap;
    }
}

static void fo_publish(conn *pub, uint64_t t, int k) {
    for (int i = 0; i < k; i++) {
        uint64_t x = fo_next++ % RING;
        fo_sent[x] = t;
        fo_cnt[x] = 0;
    }
    push(pub, k, t);
}

// one application data message; returns 1 when it counts
static inline int on_msg(conn *c, const uint8_t *p, uint64_t n, uint64_t t, int *ndata) {
    if (c->state == S_INIT1 && proto == PSIO) {
        if (n && p[0] == '0') {
            c->state = S_INIT2;
            send_text(c, "40");
        } else
            n_err_proto++;
        return 0;
    }
    if (c->state == S_INIT2 && proto == PSIO) {
        if (n > 1 && p[0] == '4' && p[1] == '0')
            on_ready(c);
        else if (n == 1 && p[0] == '2')
            send_text(c, "3");
        else
            n_err_proto++;
        return 0;
    }
    if (c->state == S_INIT1) { // iotio.v2: WELCOME, or a refusal
        if (n && p[0] == 17)
            on_ready(c);
        else
            n_err_proto++;
        return 0;
    }
    if (proto == PSIO) {
        if (n == 1 && p[0] == '2') {
            n_ctrl++;
            send_text(c, "3");
            return 0;
        }
        if (n < 2 || p[0] != '4' || p[1] != '2') {
            n_ctrl++;
            return 0;
        }
    }
    if (mode == CONNECT)
        return 0;
    if (mode == ECHO) {
        if (!started_load) {
            n_ctrl++;
            return 0;
        }
        if (verify && ((expect_len >= 0 && (int64_t)n != expect_len) ||
                       (c->seq < 2 && expect_len == (int)plen && proto != PMQTT && memcmp(p, payload, plen))))
            n_err_proto++;
        c->seq++;
        uint64_t s = c->ts[c->tt];
        if (++c->tt == (uint32_t)depth)
            c->tt = 0;
        n_all++;
        n_bytes += n;
        if (measuring) {
            n_msgs++;
            h_add(t - s);
        }
        (*ndata)++;
        return 1;
    }
    // fanout
    if (c->is_pub || !started_load) {
        n_ctrl++;
        return 0;
    }
    if (verify && expect_len >= 0 && (int64_t)n != expect_len)
        n_err_proto++;
    uint64_t i = c->seq++;
    if (i >= fo_next) {
        n_err_proto++;
        return 0;
    }
    n_all++;
    if (measuring)
        n_msgs++;
    uint32_t x = i % RING;
    if (++fo_cnt[x] == (uint32_t)devices) {
        if (measuring) {
            h_add(t - fo_sent[x]);
        }
        want_out++;
    }
    return 1;
}

static void on_read(conn *c) {
    uint32_t l = c->llen;
    if (l)
        memcpy(inbuf, c->left, l);
    c->llen = 0;
    ssize_t r = recv(c->fd, inbuf + l, sizeof inbuf - l, 0);
    if (r <= 0) {
        if (r < 0 && errno == EAGAIN) {
            if (l) {
                memcpy(c->left, inbuf, l);
                c->llen = l;
            }
            return;
        }
        kill_conn(c);
        return;
    }
    uint8_t *p = inbuf, *e = inbuf + l + r;
    uint64_t t = now();
    int ndata = 0;
    if (c->state == S_HANDSHAKE) {
        uint8_t *q = memmem(p, e - p, "\r\n\r\n", 4);
        if (!q)
            goto keep;
        if (e - p < 12 || memcmp(p + 9, "101", 3)) {
            if (n_err_conn < 2)
                fprintf(stderr, "handshake refused: %.*s\n", (int)(q - p < 300 ? q - p : 300), p);
            kill_conn(c);
            return;
        }
        p = q + 4;
        if (proto == PSIO)
            c->state = S_INIT1;
        else if (hello) {
            c->state = S_INIT1;
            send_hello(c, c->is_pub && pub_hello ? pub_hello : hello);
        } else
            on_ready(c);
    }
    while (p < e && c->state != S_DEAD) {
        if (proto == PMQTT) {
            uint32_t n = 0, sh = 0;
            uint8_t *q = p + 1;
            int ok = 0;
            while (q < e) {
                n |= (uint32_t)(*q & 127) << sh;
                sh += 7;
                if (!(*q++ & 128)) {
                    ok = 1;
                    break;
                }
            }
            if (!ok || e - q < (ptrdiff_t)n)
                break;
            int ty = p[0] >> 4;
            if (ty == 2) { // CONNACK
                if (q[1]) {
                    n_err_proto++;
                }
                if (c->is_pub || mode == CONNECT)
                    on_ready(c);
                else {
                    char topic[32];
                    if (mode == ECHO)
                        snprintf(topic, sizeof topic, "t%06d", c->id);
                    else
                        strcpy(topic, "t");
                    int tl = strlen(topic);
                    uint8_t m[64];
                    int i = 0;
                    m[i++] = 0x82;
                    m[i++] = 2 + 2 + tl + 1;
                    m[i++] = 0;
                    m[i++] = 1;
                    m[i++] = 0;
                    m[i++] = tl;
                    memcpy(m + i, topic, tl);
                    i += tl;
                    m[i++] = 0;
                    ctl_add(c, m, i);
                    c->state = S_INIT2;
                    flush(c);
                }
            } else if (ty == 9)
                on_ready(c);
            else if (ty == 3) {
                uint32_t tl = q[0] << 8 | q[1];
                on_msg(c, q + 2 + tl, n - 2 - tl, t, &ndata);
            }
            p = q + n;
            continue;
        }
        if (e - p < 2)
            break;
        uint64_t n = p[1] & 127;
        uint32_t h = 2;
        if (n == 126) {
            if (e - p < 4)
                break;
            n = p[2] << 8 | p[3];
            h = 4;
        } else if (n == 127) {
            if (e - p < 10)
                break;
            n = 0;
            for (int i = 0; i < 8; i++)
                n = n << 8 | p[2 + i];
            h = 10;
        }
        if ((uint64_t)(e - p) < h + n)
            break;
        int op = p[0] & 15;
        if (op == 9) {
            uint8_t b[256];
            n_ctrl++;
            uint32_t m = ws_frame(b, 10, p + h, n);
            ctl_add(c, b, m);
            flush(c);
        } else if (op == 8) {
            if (n_err_close < 3 && !closing_down)
                fprintf(stderr, "conn %d got CLOSE code %d %.*s\n", c->id, n >= 2 ? p[h] << 8 | p[h + 1] : 0,
                        n > 2 ? (int)n - 2 : 0, p + h + 2);
            kill_conn(c);
            return;
        } else if (op < 3)
            on_msg(c, p + h, n, t, &ndata);
        p += h + n;
    }
    if (c->state == S_DEAD)
        return;
    if (ndata && !closing_down)
        push(c, ndata, t);
keep:
    if (p < e && c->state != S_DEAD) {
        uint32_t n = e - p;
        if (n > c->lcap) {
            c->lcap = n * 2;
            c->left = realloc(c->left, c->lcap);
        }
        memcpy(c->left, p, n);
        c->llen = n;
    }
}

static long rss_sum(const char *what) { // KiB over comma separated pids
    if (!pids)
        return 0;
    long sum = 0;
    char b[256];
    snprintf(b, sizeof b, "%s", pids);
    for (char *s = strtok(b, ","); s; s = strtok(NULL, ",")) {
        char f[64], ln[256];
        snprintf(f, sizeof f, "/proc/%s/status", s);
        FILE *fp = fopen(f, "r");
        if (!fp)
            continue;
        while (fgets(ln, sizeof ln, fp))
            if (!strncmp(ln, what, strlen(what)))
                sum += atol(ln + strlen(what) + 1);
        fclose(fp);
    }
    return sum;
}

static double cpu_sum(double *ut, double *st) {
    *ut = *st = 0;
    if (!pids)
        return 0;
    char b[256];
    snprintf(b, sizeof b, "%s", pids);
    long hz = sysconf(_SC_CLK_TCK);
    for (char *s = strtok(b, ","); s; s = strtok(NULL, ",")) {
        char f[64], ln[1024];
        snprintf(f, sizeof f, "/proc/%s/stat", s);
        FILE *fp = fopen(f, "r");
        if (!fp)
            continue;
        if (fgets(ln, sizeof ln, fp)) {
            char *q = strrchr(ln, ')');
            unsigned long u, k;
            if (q && sscanf(q + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &u, &k) == 2) {
                *ut += (double)u / hz;
                *st += (double)k / hz;
            }
        }
        fclose(fp);
    }
    return *ut + *st;
}

static int pump(int tmo) {
    struct epoll_event ev[1024];
    uint64_t t = busy ? now() : 0;
    int n = epoll_wait(epfd, ev, 1024, busy ? 0 : tmo);
    if (busy && n <= 0)
        idle_ns += now() - t;
    for (int i = 0; i < n; i++) {
        conn *c = ev[i].data.ptr;
        if (c->state == S_DEAD)
            continue;
        if (c->state == S_CONNECTING) {
            if (ev[i].events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
                on_connected(c);
            continue;
        }
        if (ev[i].events & EPOLLOUT)
            flush(c);
        if (c->state == S_DEAD)
            continue;
        if (ev[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP))
            on_read(c);
    }
    return n;
}

static uint8_t *unhex(const char *s, uint32_t *n) {
    *n = strlen(s) / 2;
    uint8_t *b = malloc(*n + 1);
    for (uint32_t i = 0; i < *n; i++) {
        unsigned v;
        sscanf(s + 2 * i, "%2x", &v);
        b[i] = v;
    }
    return b;
}

static double own_cpu(void) { // less what was spent on looking in vain
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return r.ru_utime.tv_sec + r.ru_stime.tv_sec + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6 - idle_ns / 1e9;
}

static void connect_all(void) {
    uint64_t dl = now() + (uint64_t)(connect_s * 1e9);
    int i = 0;
    while (n_ready + n_err_conn + n_err_close < (uint64_t)total) {
        while (i < total && n_inflight < (uint64_t)dial_most)
            start_conn(&conns[i++]);
        pump(100);
        if (now() > dl) {
            fprintf(stderr, "connect timeout: ready %lu of %d inflight %lu\n", n_ready, total, n_inflight);
            break;
        }
    }
}

static void finish(void) { // orderly end: close frame (or MQTT DISCONNECT) on every connection, then a short wait
    closing_down = 1;
    uint8_t b[16];
    uint32_t n = proto == PMQTT ? (memcpy(b, "\xe0\0", 2), 2) : ws_frame(b, 8, (const uint8_t *)"\x03\xe8", 2);
    for (int i = 0; i < total; i++) {
        conn *c = &conns[i];
        if (c->state != S_READY)
            continue;
        uint32_t mid = c->flen ? c->off % c->flen : 0;
        c->pending = mid ? c->flen - mid : 0;
        ctl_add(c, b, n);
        flush(c);
    }
    uint64_t q = now() + 700000000ull;
    for (;;) {
        pump(20);
        int live = 0;
        for (int i = 0; i < total; i++)
            live += conns[i].state == S_READY;
        if (!live || now() > q)
            break;
    }
}

static void usage(void) {
    fprintf(stderr, "usage: wsload echo|connect|fanout -p PORT [option...]\n"
                    "  -R ws|sio|mqtt  what the server speaks\n"
                    "  -u PATH         of the upgrade request\n"
                    "  -H HEADER       of the upgrade request; %%d is the device's number; repeatable\n"
                    "  -Q HEADER       the publisher's, instead of all -H\n"
                    "  -j JSON         ws: the HELLO of iotio.v2, %%d as above; -J: the publisher's\n"
                    "  -n DEVICES      connections\n"
                    "  -P DEPTH        echo: messages on the way for each device\n"
                    "  -K PUBLISHES    fanout: messages on the way\n"
                    "  -W CONNECTING   connections that are being made at once\n"
                    "  -x HEX|-t TEXT  the message; -X, -T: the publisher's\n"
                    "  -o OPCODE       1 text, 2 binary\n"
                    "  -e LENGTH       of the answer's payload, if not that of the message\n"
                    "  -w SECONDS      before the measurement\n"
                    "  -d SECONDS      of the measurement\n"
                    "  -l SECONDS      connect: to hold the connections\n"
                    "  -c SECONDS      to connect all, at most\n"
                    "  -b              look for answers all the time instead of sleeping until there are some\n"
                    "  -s PID          the server, for its memory and processor time\n");
    exit(1);
}

static void options(int argc, char **argv) {
    int o, expect_set = 0;
    if (argc < 2)
        usage();
    mode = !strcmp(argv[1], "echo") ? ECHO : !strcmp(argv[1], "connect") ? CONNECT : FANOUT;
    if (mode == FANOUT && strcmp(argv[1], "fanout"))
        usage();
    optind = 2;
    while ((o = getopt(argc, argv, "p:u:H:Q:j:J:n:P:W:K:d:w:x:t:X:T:o:e:R:s:l:c:b")) != -1)
        switch (o) {
        case 'p': port = atoi(optarg); break;
        case 'u': path = optarg; break;
        case 'H': if (n_headers < 32) headers[n_headers++] = optarg; break;
        case 'Q': if (n_pub_headers < 32) pub_headers[n_pub_headers++] = optarg; break;
        case 'j': hello = optarg; break;
        case 'J': pub_hello = optarg; break;
        case 'n': devices = atoi(optarg); break;
        case 'P': depth = atoi(optarg); break;
        case 'W': dial_most = atoi(optarg); break;
        case 'K': publishes = atoi(optarg); break;
        case 'd': measure_s = atof(optarg); break;
        case 'w': warm_s = atof(optarg); break;
        case 'x': payload = unhex(optarg, &plen); break;
        case 't': payload = (uint8_t *)optarg; plen = strlen(optarg); break;
        case 'X': ppayload = unhex(optarg, &pplen); break;
        case 'T': ppayload = (uint8_t *)optarg; pplen = strlen(optarg); break;
        case 'o': opcode = atoi(optarg); break;
        case 'e': expect_len = atoi(optarg); expect_set = 1; break;
        case 'R': proto = !strcmp(optarg, "sio") ? PSIO : !strcmp(optarg, "mqtt") ? PMQTT : PWS; break;
        case 's': pids = optarg; break;
        case 'l': hold_s = atof(optarg); break;
        case 'c': connect_s = atof(optarg); break;
        case 'b': busy = 1; break;
        default: usage();
        }
    if (port < 1 || devices < 1 || depth < 1 || publishes < 1 || publishes > RING || !payload)
        usage();
    if (!ppayload) {
        ppayload = payload;
        pplen = plen;
    }
    if (!expect_set)
        expect_len = plen;
}

static uint8_t *stream(const uint8_t *p, uint32_t n, uint32_t *len, uint32_t *cap) {
    uint8_t *b = malloc(n + 64);
    *len = proto == PMQTT ? mq_publish(b, "t", p, n) : ws_frame(b, opcode, p, n);
    uint8_t *copies = replicate(b, *len, cap);
    free(b);
    return copies;
}

static void prepare(void) {
    signal(SIGPIPE, SIG_IGN);
    alarm((unsigned)(connect_s + warm_s + measure_s + hold_s + 10)); // nobody waits for this for ever
    struct rlimit rl;
    getrlimit(RLIMIT_NOFILE, &rl);
    rl.rlim_cur = rl.rlim_max;
    setrlimit(RLIMIT_NOFILE, &rl);
    frame = stream(payload, plen, &flen, &fcap);
    pframe = stream(ppayload, pplen, &pflen, &pfcap);
    total = devices + (mode == FANOUT);
    conns = calloc(total, sizeof *conns);
    for (int i = 0; i < total; i++) {
        conns[i].id = i;
        conns[i].fd = -1;
        conns[i].ts = calloc(depth, 8);
    }
    if (mode == FANOUT)
        conns[devices].is_pub = 1;
    if ((epfd = epoll_create1(0)) < 0)
        die("epoll_create1");
}

static void pump_for(double seconds) {
    for (uint64_t end = now() + (uint64_t)(seconds * 1e9); now() < end;)
        pump(10);
}

static int hold(double dial_s, double server_cpu, double cpu0, long rss0) {
    uint64_t ready = n_ready;
    pump_for(hold_s);
    long rss1 = rss_sum("VmRSS:");
    double user, sys, used = cpu_sum(&user, &sys) - cpu0; // with what the server put off until all were connected
    printf("{\"connected\":%lu,\"connects_s\":%.0f,\"err_conn\":%lu,\"err_close\":%lu,\"err_proto\":%lu,"
           "\"rss_before_kib\":%ld,\"rss_kib\":%ld,\"kib_device\":%.2f,\"server_cpu\":%.2f,\"cpu_us_connect\":%.1f}\n",
           ready, ready / dial_s, n_err_conn, n_err_close, n_err_proto, rss0, rss1,
           ready ? (double)(rss1 - rss0) / ready : 0, server_cpu / dial_s, ready ? used * 1e6 / ready : 0);
    fflush(stdout);
    finish();
    return 0;
}

static int load(void) {
    double user0 = 0, sys0 = 0, user1, sys1, own0 = 0;
    pump_for(0.1); // what the server does after a connect is not part of the load
    started_load = 1;
    if (mode == ECHO)
        for (int i = 0; i < total; i++) {
            if (conns[i].state == S_READY)
                push(&conns[i], depth, now());
        }
    else
        fo_publish(&conns[devices], now(), publishes);
    uint64_t begin = now() + (uint64_t)(warm_s * 1e9), end = 0, t;
    for (;;) {
        pump(20);
        if (mode == FANOUT && want_out) {
            int k = want_out;
            want_out = 0;
            fo_publish(&conns[devices], now(), k);
        }
        t = now();
        if (!measuring && t >= begin) {
            measuring = 1;
            begin = t;
            end = begin + (uint64_t)(measure_s * 1e9);
            own0 = own_cpu();
            cpu_sum(&user0, &sys0);
            n_msgs = 0;
        }
        if ((measuring && t >= end) || n_err_close >= (uint64_t)total)
            break;
    }
    double seconds = (now() - begin) / 1e9, own = own_cpu() - own0;
    cpu_sum(&user1, &sys1);
    closing_down = 1;
    printf("{\"seconds\":%.3f,\"messages\":%lu,\"rate\":%.0f,\"p50\":%.1f,\"p99\":%.1f,\"max\":%.1f,"
           "\"err_conn\":%lu,\"err_close\":%lu,\"err_proto\":%lu,\"load_cpu\":%.2f,\"server_cpu\":%.2f}\n",
           seconds, n_msgs, n_msgs / seconds, h_pct(.5), h_pct(.99), h_pct(1.0), n_err_conn, n_err_close, n_err_proto,
           own / seconds, (user1 - user0 + sys1 - sys0) / seconds);
    fflush(stdout);
    finish();
    return 0;
}

int main(int argc, char **argv) {
    options(argc, argv);
    prepare();
    long rss0 = rss_sum("VmRSS:");
    double user, sys, cpu0 = cpu_sum(&user, &sys);
    uint64_t t0 = now();
    connect_all();
    double dial_s = (now() - t0) / 1e9, cpu = cpu_sum(&user, &sys) - cpu0;
    if (n_ready < (uint64_t)total) {
        printf("{\"fail\":\"only %lu of %d connected in %.1f s\"}\n", n_ready, total, dial_s);
        return 3;
    }
    return mode == CONNECT ? hold(dial_s, cpu, cpu0, rss0) : load();
}
