/*
 * The limit: what read + send at one end and recv + write at the other cost, with
 * the digest that fileshare makes of all content at both ends (or without).
 *
 *     bare serve PORT FOLDER
 *     bare put PORT PATH NAME          bare get PORT NAME PATH
 *     bare putmany PORT FOLDER         bare getmany PORT NAMES FOLDER
 *     bare list PORT
 *
 * One TCP stream. It keeps no promise: nothing is synced (but with
 * BARE_SYNC=1 each file, before it is answered), a name is a path, a server
 * serves one client at a time. BARE_DIGEST=0 at both ends leaves the digest out;
 * BARE_BUFFER is the size of the buffer in KiB, BARE_HOST another address than
 * 127.0.0.1.
 */
#include "base/digest.h"
#include "base/scoped.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum { NAME_MAX_SIZE = 512, AHEAD = 64, SMALL = 64 << 10, LIST_MAX = 64 << 20 };

/* What goes before a name and what belongs to it. */
struct header {
    uint32_t what; /* 'P'ut, 'G'et, 'L'ist */
    uint32_t name_size;
    uint64_t size;
};

static size_t buffer_size;
static char *buffer;
static struct digest *digest; /* NULL: none is made */
static bool sync_each;

/* ---- the stream ---- */

static void send_all(int peer, const void *bytes, size_t count, int flags)
{
    for (const char *at = bytes; count > 0;) {
        ssize_t sent = send(peer, at, count, MSG_NOSIGNAL | flags);
        if (sent <= 0)
            err(1, "send");
        at += sent;
        count -= (size_t)sent;
    }
}

static bool receive_all(int peer, void *bytes, size_t count)
{
    for (char *at = bytes; count > 0;) {
        ssize_t got = recv(peer, at, count, 0);
        if (got <= 0)
            return false;
        at += got;
        count -= (size_t)got;
    }
    return true;
}

static void send_header(int peer, uint32_t what, const char *name, uint64_t size, int flags)
{
    char message[sizeof(struct header) + NAME_MAX_SIZE];
    struct header header = {.what = what, .name_size = (uint32_t)strlen(name), .size = size};
    memcpy(message, &header, sizeof header);
    memcpy(message + sizeof header, name, header.name_size);
    send_all(peer, message, sizeof header + header.name_size, flags);
}

/* Content, and its digest after it. */
static void send_content(int peer, int file, uint64_t size)
{
    if (digest != NULL)
        digest_reset(digest);
    while (size > 0) {
        size_t wanted = size < buffer_size ? (size_t)size : buffer_size;
        ssize_t got = read(file, buffer, wanted);
        if (got <= 0)
            err(1, "read");
        if (digest != NULL)
            digest_add(digest, buffer, (size_t)got);
        size -= (uint64_t)got;
        send_all(peer, buffer, (size_t)got, size > 0 || digest == NULL ? 0 : MSG_MORE);
    }
    if (digest != NULL) {
        struct digest_value value = digest_value(digest);
        send_all(peer, &value, sizeof value, 0);
    }
}

static bool receive_content(int peer, int file, uint64_t size)
{
    if (digest != NULL)
        digest_reset(digest);
    while (size > 0) {
        ssize_t got = recv(peer, buffer, size < buffer_size ? (size_t)size : buffer_size, 0);
        if (got <= 0)
            return false;
        if (digest != NULL)
            digest_add(digest, buffer, (size_t)got);
        for (ssize_t done = 0; done < got;) {
            ssize_t written = write(file, buffer + done, (size_t)(got - done));
            if (written <= 0)
                return false;
            done += written;
        }
        size -= (uint64_t)got;
    }
    struct digest_value theirs;
    if (digest == NULL)
        return true;
    struct digest_value ours = digest_value(digest);
    return receive_all(peer, &theirs, sizeof theirs) && memcmp(&ours, &theirs, sizeof ours) == 0;
}

/* ---- the server ---- */

static bool serve_put(int peer, int folder, const char *name, uint64_t size)
{
    scoped_fd int file = openat(folder, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file < 0 || !receive_content(peer, file, size) ||
        (sync_each && (fsync(file) != 0 || fsync(folder) != 0)))
        return false;
    send_all(peer, "k", 1, 0);
    return true;
}

static bool serve_get(int peer, int folder, const char *name)
{
    struct stat facts;
    scoped_fd int file = openat(folder, name, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &facts) != 0)
        return false;
    uint64_t size = (uint64_t)facts.st_size;
    send_all(peer, &size, sizeof size, MSG_MORE);
    send_content(peer, file, size);
    return true;
}

static bool serve_list(int peer, int folder)
{
    scoped_free char *names = malloc(LIST_MAX);
    int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = copy < 0 ? NULL : fdopendir(copy);
    uint64_t size = 0;
    if (entries == NULL || names == NULL)
        return false;
    for (struct dirent *entry; (entry = readdir(entries)) != NULL && size < LIST_MAX - NAME_MAX_SIZE;)
        if (entry->d_name[0] != '.')
            size += (uint64_t)sprintf(names + size, "%s\n", entry->d_name);
    closedir(entries);
    send_all(peer, &size, sizeof size, MSG_MORE);
    send_all(peer, names, size, 0);
    return true;
}

static void serve_client(int peer, int folder)
{
    struct header header;
    char name[NAME_MAX_SIZE];
    bool well = true;
    while (well && receive_all(peer, &header, sizeof header)) {
        if (header.name_size >= sizeof name || !receive_all(peer, name, header.name_size))
            return;
        name[header.name_size] = 0;
        well = header.what == 'P'   ? serve_put(peer, folder, name, header.size)
               : header.what == 'G' ? serve_get(peer, folder, name)
                                    : serve_list(peer, folder);
    }
}

static const char *setting(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value != NULL ? value : otherwise;
}

static int tcp_socket(const char *port, struct sockaddr_in *address)
{
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    if (inet_pton(AF_INET, setting("BARE_HOST", "127.0.0.1"), &address->sin_addr) != 1)
        errx(2, "BARE_HOST is no IPv4 address");
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0)
        err(1, "socket");
    return fd;
}

static int serve(const char *port, const char *path)
{
    struct sockaddr_in address;
    scoped_fd int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    scoped_fd int door = tcp_socket(port, &address);
    if (folder < 0 || bind(door, (struct sockaddr *)&address, sizeof address) != 0 || listen(door, 64) != 0)
        err(1, "serve");
    for (;;) {
        scoped_fd int peer = accept(door, NULL, NULL);
        if (peer >= 0)
            serve_client(peer, folder);
    }
}

/* ---- the client ---- */

static void put(int peer, const char *path, const char *name)
{
    struct stat facts;
    scoped_fd int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &facts) != 0)
        err(1, "%s", path);
    send_header(peer, 'P', name, (uint64_t)facts.st_size, MSG_MORE);
    send_content(peer, file, (uint64_t)facts.st_size);
}

static void take(int peer, const char *path)
{
    uint64_t size;
    scoped_fd int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file < 0 || !receive_all(peer, &size, sizeof size) || !receive_content(peer, file, size))
        err(1, "%s", path);
}

static void await_answers(int peer, size_t count)
{
    while (count > 0) {
        ssize_t got = recv(peer, buffer, count < buffer_size ? count : buffer_size, 0);
        if (got <= 0)
            errx(1, "the server gave up");
        count -= (size_t)got;
    }
}

static void put_folder(int peer, const char *folder)
{
    char path[4096];
    size_t count = 0;
    DIR *entries = opendir(folder);
    if (entries == NULL)
        err(1, "%s", folder);
    for (struct dirent *entry; (entry = readdir(entries)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        put(peer, path, entry->d_name);
        count++;
    }
    closedir(entries);
    await_answers(peer, count);
}

/* Asks AHEAD files ahead. */
static void get_names(int peer, const char *list, const char *folder)
{
    char asked[AHEAD][NAME_MAX_SIZE];
    char path[4096];
    unsigned first = 0;
    unsigned next = 0;
    FILE *names = fopen(list, "re");
    if (names == NULL)
        err(1, "%s", list);
    for (bool more = true; more || first != next;) {
        while (more && next - first < AHEAD) {
            more = fscanf(names, "%500s", asked[next % AHEAD]) == 1;
            if (more)
                send_header(peer, 'G', asked[next++ % AHEAD], 0, 0);
        }
        if (first != next) {
            snprintf(path, sizeof path, "%s/%s", folder, asked[first++ % AHEAD]);
            take(peer, path);
        }
    }
    fclose(names);
}

static void list(int peer)
{
    uint64_t size;
    send_header(peer, 'L', "", 0, 0);
    if (!receive_all(peer, &size, sizeof size))
        errx(1, "list");
    while (size > 0) {
        ssize_t got = recv(peer, buffer, size < buffer_size ? (size_t)size : buffer_size, 0);
        if (got <= 0 || write(STDOUT_FILENO, buffer, (size_t)got) != got)
            errx(1, "list");
        size -= (uint64_t)got;
    }
}

static bool ask(int peer, int count, char **words)
{
    if (strcmp(words[1], "put") == 0 && count == 5) {
        put(peer, words[3], words[4]);
        await_answers(peer, 1);
    } else if (strcmp(words[1], "get") == 0 && count == 5) {
        send_header(peer, 'G', words[3], 0, 0);
        take(peer, words[4]);
    } else if (strcmp(words[1], "putmany") == 0 && count == 4) {
        put_folder(peer, words[3]);
    } else if (strcmp(words[1], "getmany") == 0 && count == 5) {
        get_names(peer, words[3], words[4]);
    } else if (strcmp(words[1], "list") == 0) {
        list(peer);
    } else {
        return false;
    }
    return true;
}

int main(int count, char **words)
{
    buffer_size = (size_t)atoi(setting("BARE_BUFFER", "256")) << 10;
    buffer = aligned_alloc(4096, buffer_size);
    digest = atoi(setting("BARE_DIGEST", "1")) ? digest_new() : NULL;
    sync_each = atoi(setting("BARE_SYNC", "0")) != 0;
    if (buffer == NULL || count < 3) {
        fprintf(stderr, "usage: bare serve|put|get|putmany|getmany|list PORT ...\n");
        return 2;
    }
    if (strcmp(words[1], "serve") == 0 && count == 4)
        return serve(words[2], words[3]);
    struct sockaddr_in address;
    scoped_fd int peer = tcp_socket(words[2], &address);
    if (connect(peer, (struct sockaddr *)&address, sizeof address) != 0)
        err(1, "connect");
    return ask(peer, count, words) ? 0 : 2;
}
