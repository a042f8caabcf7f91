/*
 * The floor: the least that sending costs. One epoll loop; whatever Redis publishes on a channel is sent to each
 * websocket of that channel by one non-blocking send(), with TCP_NODELAY. What the kernel does not take waits.
 *
 * A websocket names its channels in its path: GET /broadcast:stress,user:mary:stress. It is told that it is connected
 * when Redis has confirmed all of them. What it says is not read, except that it leaves.
 *
 * Usage: floor PORT REDIS_PORT
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUCKETS = 1 << 16, EVENTS = 1 << 10, REQUEST_BYTES = 1 << 12 };

static const char GUID[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

struct member { int descriptor; int seat; };

struct channel {
    struct channel *next;
    char *name;
    size_t length;
    int confirmed;
    int count, room;
    struct member *members;
};

/* a websocket's place among the members of a channel */
struct seat { struct channel *channel; int place; };

struct client {
    int open, connected, unconfirmed, seats;
    struct seat *seat;
    char *request;              /* until the handshake is done */
    size_t request_bytes;
    char *waiting;              /* what the kernel has not taken */
    size_t waiting_bytes;
    char answer[29];
};

static struct channel *channels[BUCKETS];
static struct client *clients;
static int epoll, listener, redis;

static char *from_redis;
static size_t from_redis_bytes, from_redis_room;

static void die(const char *what) { perror(what); exit(1); }

static void *grown(void *old, size_t bytes)
{
    void *block = realloc(old, bytes);
    if (block == NULL)
        die("realloc");
    return block;
}

/* -- SHA-1 and base64, for Sec-WebSocket-Accept -- */

static uint32_t rotated(uint32_t word, int bits) { return word << bits | word >> (32 - bits); }

/* of what fits into two blocks, which a key with its GUID does */
static void sha1(const unsigned char *text, size_t length, unsigned char digest[20])
{
    uint32_t hash[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    unsigned char block[128] = {0};
    size_t bytes = length + 9 > 64 ? 128 : 64;
    memcpy(block, text, length);
    block[length] = 0x80;
    for (int i = 0; i < 4; i++)
        block[bytes - 1 - i] = (unsigned char)(length * 8 >> (8 * i));
    for (size_t start = 0; start < bytes; start += 64) {
        uint32_t word[80], a = hash[0], b = hash[1], c = hash[2], d = hash[3], e = hash[4];
        for (int i = 0; i < 16; i++) {
            const unsigned char *at = block + start + 4 * i;
            word[i] = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
        }
        for (int i = 16; i < 80; i++)
            word[i] = rotated(word[i - 3] ^ word[i - 8] ^ word[i - 14] ^ word[i - 16], 1);
        for (int i = 0; i < 80; i++) {
            uint32_t f, k;
            if (i < 20) { f = (b & c) | (~b & d); k = 0x5A827999; }
            else if (i < 40) { f = b ^ c ^ d; k = 0x6ED9EBA1; }
            else if (i < 60) { f = (b & c) | (b & d) | (c & d); k = 0x8F1BBCDC; }
            else { f = b ^ c ^ d; k = 0xCA62C1D6; }
            uint32_t sum = rotated(a, 5) + f + e + k + word[i];
            e = d; d = c; c = rotated(b, 30); b = a; a = sum;
        }
        hash[0] += a; hash[1] += b; hash[2] += c; hash[3] += d; hash[4] += e;
    }
    for (int i = 0; i < 20; i++)
        digest[i] = (unsigned char)(hash[i / 4] >> (24 - 8 * (i % 4)));
}

static void base64(const unsigned char *data, int length, char *text)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int i = 0; i < length; i += 3) {
        uint32_t three = (uint32_t)data[i] << 16 | (i + 1 < length ? (uint32_t)data[i + 1] << 8 : 0)
                         | (i + 2 < length ? data[i + 2] : 0);
        *text++ = letters[three >> 18];
        *text++ = letters[three >> 12 & 63];
        *text++ = i + 1 < length ? letters[three >> 6 & 63] : '=';
        *text++ = i + 2 < length ? letters[three & 63] : '=';
    }
    *text = 0;
}

/* -- sending -- */

static void watch(int descriptor, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = descriptor};
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, descriptor, &event) < 0)
        die("epoll_ctl");
}

static void send_to(int descriptor, const char *data, size_t bytes)
{
    struct client *client = &clients[descriptor];
    if (client->waiting_bytes == 0) {
        ssize_t sent = send(descriptor, data, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent == (ssize_t)bytes)
            return;
        if (sent < 0) {
            if (errno != EAGAIN)
                return;         /* it has left; its end is read soon */
            sent = 0;
        }
        data += sent;
        bytes -= (size_t)sent;
        watch(descriptor, EPOLLIN | EPOLLOUT);
    }
    client->waiting = grown(client->waiting, client->waiting_bytes + bytes);
    memcpy(client->waiting + client->waiting_bytes, data, bytes);
    client->waiting_bytes += bytes;
}

static void send_waiting(int descriptor)
{
    struct client *client = &clients[descriptor];
    ssize_t sent = send(descriptor, client->waiting, client->waiting_bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0)
        return;
    client->waiting_bytes -= (size_t)sent;
    memmove(client->waiting, client->waiting + sent, client->waiting_bytes);
    if (client->waiting_bytes == 0)
        watch(descriptor, EPOLLIN);
}

static void connected(int descriptor)
{
    char answer[256];
    int bytes = snprintf(answer, sizeof answer,
                         "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         "Sec-WebSocket-Accept: %s\r\n\r\n",
                         clients[descriptor].answer);
    clients[descriptor].connected = 1;
    send_to(descriptor, answer, (size_t)bytes);
}

/* -- Redis -- */

static void tell_redis(const char *command, const struct channel *channel)
{
    char *text;
    int bytes = asprintf(&text, "*2\r\n$%zu\r\n%s\r\n$%zu\r\n%.*s\r\n", strlen(command), command, channel->length,
                         (int)channel->length, channel->name);
    for (int sent = 0; sent < bytes;) {
        ssize_t taken = send(redis, text + sent, (size_t)(bytes - sent), MSG_NOSIGNAL);
        if (taken < 0)
            die("to Redis");
        sent += (int)taken;
    }
    free(text);
}

static struct channel *channel_named(const char *name, size_t length, int make)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)name[i]) * 16777619u;
    struct channel **place = &channels[hash % BUCKETS], *channel;
    for (channel = *place; channel != NULL; channel = channel->next)
        if (channel->length == length && memcmp(channel->name, name, length) == 0)
            return channel;
    if (!make)
        return NULL;
    channel = calloc(1, sizeof *channel);
    channel->name = strndup(name, length);
    channel->length = length;
    channel->next = *place;
    return *place = channel;
}

static void confirmed(struct channel *channel)
{
    channel->confirmed = 1;
    for (int i = 0; i < channel->count; i++) {
        int descriptor = channel->members[i].descriptor;
        if (!clients[descriptor].connected && --clients[descriptor].unconfirmed == 0)
            connected(descriptor);
    }
}

static void fan_out(const struct channel *channel, const char *payload, size_t length)
{
    static char frame[1 << 16];
    size_t head = length < 126 ? 2 : 4;
    if (head + length > sizeof frame)
        return;
    frame[0] = (char)0x81;
    frame[1] = (char)(length < 126 ? length : 126);
    if (head == 4) {
        frame[2] = (char)(length >> 8);
        frame[3] = (char)length;
    }
    memcpy(frame + head, payload, length);
    for (int i = 0; i < channel->count; i++)
        send_to(channel->members[i].descriptor, frame, head + length);
}

/* Where the reply at `at` ends, and its strings; NULL while bytes are missing. All replies here are arrays of three. */
static const char *reply_of_three(const char *at, const char *end, const char *strings[3], size_t lengths[3])
{
    const char *line = memchr(at, '\n', (size_t)(end - at));
    if (line == NULL)
        return NULL;
    if (at[0] != '*' || at[1] != '3') {
        fprintf(stderr, "floor: Redis says %.*s\n", (int)(line - at), at);
        exit(1);
    }
    at = line + 1;
    for (int i = 0; i < 3; i++) {
        line = memchr(at, '\n', (size_t)(end - at));
        if (line == NULL)
            return NULL;
        strings[i] = line + 1;
        if (*at == '$') {
            lengths[i] = (size_t)atol(at + 1);
            if ((size_t)(end - strings[i]) < lengths[i] + 2)
                return NULL;
            at = strings[i] + lengths[i] + 2;
        } else {                /* the number of channels */
            lengths[i] = 0;
            at = line + 1;
        }
    }
    return at;
}

static void read_redis(void)
{
    if (from_redis_room - from_redis_bytes < 1 << 16) {
        from_redis_room = from_redis_room * 2 + (1 << 17);
        from_redis = grown(from_redis, from_redis_room);
    }
    ssize_t received = recv(redis, from_redis + from_redis_bytes, from_redis_room - from_redis_bytes, 0);
    if (received <= 0)
        die("Redis has gone");
    from_redis_bytes += (size_t)received;
    const char *at = from_redis, *end = from_redis + from_redis_bytes, *next, *strings[3];
    size_t lengths[3];
    while (at < end && (next = reply_of_three(at, end, strings, lengths)) != NULL) {
        struct channel *channel = channel_named(strings[1], lengths[1], 0);
        if (channel != NULL && strings[0][0] == 'm')
            fan_out(channel, strings[2], lengths[2]);
        else if (channel != NULL && strings[0][0] == 's')
            confirmed(channel);
        at = next;
    }
    from_redis_bytes = (size_t)(end - at);
    memmove(from_redis, at, from_redis_bytes);
}

/* -- browsers -- */

static void join(int descriptor, const char *name, size_t length)
{
    struct client *client = &clients[descriptor];
    struct channel *channel = channel_named(name, length, 1);
    if (channel->count == channel->room) {
        channel->room = channel->room * 2 + 1;
        channel->members = grown(channel->members, (size_t)channel->room * sizeof *channel->members);
    }
    client->seat = grown(client->seat, (size_t)(client->seats + 1) * sizeof *client->seat);
    client->seat[client->seats] = (struct seat){channel, channel->count};
    channel->members[channel->count++] = (struct member){descriptor, client->seats++};
    if (!channel->confirmed)
        client->unconfirmed++;
    if (channel->count == 1)
        tell_redis("SUBSCRIBE", channel);
}

static void leave(int descriptor)
{
    struct client *client = &clients[descriptor];
    for (int i = 0; i < client->seats; i++) {
        struct channel *channel = client->seat[i].channel;
        struct member last = channel->members[--channel->count];
        channel->members[client->seat[i].place] = last;
        clients[last.descriptor].seat[last.seat].place = client->seat[i].place;
        if (channel->count == 0) {
            channel->confirmed = 0;
            tell_redis("UNSUBSCRIBE", channel);
        }
    }
    free(client->seat);
    free(client->request);
    free(client->waiting);
    *client = (struct client){0};
    close(descriptor);
}

static void shake_hands(int descriptor, const char *request)
{
    struct client *client = &clients[descriptor];
    const char *path = strchr(request, '/'), *key = strcasestr(request, "\r\nSec-WebSocket-Key:");
    unsigned char text[64], digest[20];
    if (key != NULL) {
        key += strlen("\r\nSec-WebSocket-Key:");
        key += strspn(key, " ");
    }
    if (path == NULL || key == NULL || strlen(key) < 24) {
        leave(descriptor);
        return;
    }
    memcpy(text, key, 24);
    memcpy(text + 24, GUID, 36);
    sha1(text, 60, digest);
    base64(digest, 20, client->answer);
    for (path++; *path != ' ' && *path != 0;) {
        size_t length = strcspn(path, ", ");
        join(descriptor, path, length);
        path += length + (path[length] == ',');
    }
    if (client->unconfirmed == 0)
        connected(descriptor);
}

static void read_browser(int descriptor)
{
    struct client *client = &clients[descriptor];
    char data[REQUEST_BYTES];
    ssize_t received = recv(descriptor, data, sizeof data - 1, 0);
    if (received < 0 && errno == EAGAIN)
        return;
    if (received <= 0) {
        leave(descriptor);
        return;
    }
    if (client->seats > 0)
        return;
    client->request = grown(client->request, client->request_bytes + (size_t)received + 1);
    memcpy(client->request + client->request_bytes, data, (size_t)received);
    client->request_bytes += (size_t)received;
    client->request[client->request_bytes] = 0;
    if (client->request_bytes > REQUEST_BYTES) {
        leave(descriptor);
    } else if (strstr(client->request, "\r\n\r\n") != NULL) {
        char *request = client->request;
        client->request = NULL;
        shake_hands(descriptor, request);
        free(request);
    }
}

static void add(int descriptor)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = descriptor};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) < 0)
        die("epoll_ctl");
}

static void welcome(void)
{
    int descriptor, on = 1;
    while ((descriptor = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        clients[descriptor].open = 1;
        add(descriptor);
    }
}

static struct sockaddr_in local(const char *port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)atoi(port)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
}

int main(int count, char **arguments)
{
    struct rlimit limit;
    struct epoll_event events[EVENTS];
    int on = 1;
    if (count != 3) {
        fprintf(stderr, "usage: floor PORT REDIS_PORT\n");
        return 2;
    }
    getrlimit(RLIMIT_NOFILE, &limit);
    clients = calloc(limit.rlim_cur, sizeof *clients);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    struct sockaddr_in address = local(arguments[2]);
    redis = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(redis, (struct sockaddr *)&address, sizeof address) < 0)
        die("connect to Redis");
    setsockopt(redis, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    address = local(arguments[1]);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 4096) < 0)
        die("listen");
    add(redis);
    add(listener);
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            int descriptor = events[i].data.fd;
            if (descriptor == redis)
                read_redis();
            else if (descriptor == listener)
                welcome();
            else if (clients[descriptor].open) {
                if (events[i].events & EPOLLOUT)
                    send_waiting(descriptor);
                if (events[i].events & ~(uint32_t)EPOLLOUT)
                    read_browser(descriptor);
            }
        }
    }
}
