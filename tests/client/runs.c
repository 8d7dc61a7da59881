#include "client/runs.h"

#include "client/lib/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- files ---- */

void runs_path(struct broken *broken, char path[256], const char *leaf)
{
    snprintf(path, 256, "%s/%s", broken->folder, leaf);
}

void runs_expect_got(struct broken *broken, const char *name, const void *bytes)
{
    char path[256];
    struct stat status;
    runs_path(broken, path, strrchr(name, '/') + 1);
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    expect_file(fd, bytes, SIZE);
    assert_int_equal(fstat(fd, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0644);
    close(fd);
    unlink(path);
}

/* The only file of the folder whose name has these two parts; how many there are. */
static unsigned find(const char *folder, const char *start, const char *tail, char found[600])
{
    unsigned count = 0;
    DIR *walk = opendir(folder);
    for (struct dirent *at = walk ? readdir(walk) : NULL; at; at = readdir(walk)) {
        size_t size = strlen(at->d_name), end_size = strlen(tail);
        if (strcmp(at->d_name, ".") == 0 || strcmp(at->d_name, "..") == 0 ||
            strncmp(at->d_name, start, strlen(start)) != 0 || size < end_size ||
            strcmp(at->d_name + size - end_size, tail) != 0)
            continue;
        count++;
        snprintf(found, 600, "%s/%s", folder, at->d_name);
    }
    if (walk)
        closedir(walk);
    return count;
}

unsigned runs_note(struct broken *broken, char found[600])
{
    char folder[256];
    snprintf(folder, sizeof folder, "%s/home/fileshare/uploads", broken->server.folder);
    return find(folder, "", "", found);
}

unsigned runs_part(struct broken *broken, char found[600])
{
    return find(broken->folder, ".", ".part", found);
}

uint64_t runs_size(const char *path)
{
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    return (uint64_t)status.st_size;
}

/* ---- the server's view ---- */

uint64_t runs_held(struct broken *broken, const char *name, struct id *out)
{
    char path[600], line[64], hex[33];
    if (runs_note(broken, path) != 1)
        return UINT64_MAX;
    FILE *file = fopen(path, "r");
    assert_non_null(fgets(line, sizeof line, file));
    assert_int_equal(fscanf(file, "upload %32s", hex), 1);
    fclose(file);
    assert_int_equal(runs_size(path) > 0, 1);
    assert_int_equal(id_parse(hex, out, NULL), OUTCOME_OK);
    fs_upload_open_args args = {.upload = translate_id(out),
                                .name = translate_name(name),
                                .size_known = true};
    fs_upload_open_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_UPLOAD_OPEN, fs_upload_open_args, &args,
                                            fs_upload_open_res, &res);
    assert_int_equal(session_call(broken->session, &call, NULL), OUTCOME_OK);
    assert_int_equal(res.status, FS_OK);
    uint64_t bytes = res.fs_upload_open_res_u.state.held;
    session_call_end(&call);
    return bytes;
}

uint64_t runs_send(struct broken *broken, const struct id *id, uint64_t offset, const uint8_t *bytes,
                   uint64_t count)
{
    char *copy = malloc(count);
    memcpy(copy, bytes, count);
    fs_upload_data_args args = {
        .upload = translate_id(id),
        .offset = offset,
        .content = {.fs_data_len = (u_int)count, .fs_data_val = copy},
    };
    fs_upload_data_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_UPLOAD_DATA, fs_upload_data_args, &args,
                                            fs_upload_data_res, &res);
    assert_int_equal(session_call(broken->session, &call, NULL), OUTCOME_OK);
    assert_int_equal(res.status, FS_OK);
    uint64_t now = res.held;
    session_call_end(&call);
    free(copy);
    return now;
}

void runs_drop(struct broken *broken, const struct id *id)
{
    fs_upload_abort_args args = {.upload = translate_id(id)};
    fs_done_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_UPLOAD_ABORT, fs_upload_abort_args, &args, fs_done_res,
                                            &res);
    assert_int_equal(session_call(broken->session, &call, NULL), OUTCOME_OK);
    assert_int_equal(res.status, FS_OK);
    session_call_end(&call);
}

/* ---- breaking ---- */

static void kill_the_client(void *context)
{
    struct broken *broken = context;
    while (broken->client == 0)
        usleep(1000); /* not yet noted by who started it */
    kill(broken->client, SIGKILL);
}

static void kill_the_server(void *context)
{
    struct broken *broken = context;
    kill(broken->serving, SIGKILL);
}

/* Nothing gets through any more. */
static void cut_for_good(void *context)
{
    struct broken *broken = context;
    proxy_shut(broken->proxy, true);
}

int runs_some(struct broken *broken, enum how how, int way, uint64_t at, const char *const *arguments)
{
    void (*const hooks[])(void *) = {kill_the_client, kill_the_server, cut_for_good};
    unsigned cuts = proxy_cuts(broken->proxy);
    broken->client = 0;
    proxy_on_cut(broken->proxy, hooks[how], broken);
    proxy_plan(broken->proxy, 1, way == 0 ? at : 0, way == 1 ? at : 0);
    pid_t client = broken_client(broken, arguments);
    broken->client = client;
    int status = broken_wait(client);
    bool broke = proxy_cuts(broken->proxy) > cuts;
    proxy_plan(broken->proxy, 0, 0, 0);
    proxy_on_cut(broken->proxy, NULL, NULL);
    proxy_shut(broken->proxy, false);
    if (broke && how == SERVER_KILLED) {
        daemon_stop(&broken->server, SIGKILL);
        broken_serve(broken);
    }
    assert_true(status == 0 || status == (how == CLIENT_KILLED ? -SIGKILL : 5));
    return status;
}

uint64_t runs_break(struct broken *broken, enum how how, int way, uint64_t offset,
                    const char *const *arguments)
{
    unsigned cuts = proxy_cuts(broken->proxy);
    uint64_t before = proxy_received(broken->proxy);
    int status = runs_some(broken, how, way, broken_at(broken, way, offset), arguments);
    assert_int_equal(proxy_cuts(broken->proxy), cuts + 1);
    assert_true(status != 0 || (way == 1 && offset == SIZE)); /* then it had all */
    return broken_answered(broken, proxy_received(broken->proxy) - before);
}

void runs_put(const char *words[8], const char *name)
{
    const char *all[8] = {"--retry-for", "0", "put", "large", "--as", name, NULL};
    memcpy(words, all, sizeof all);
}

void runs_get(const char *words[8], const char *name)
{
    const char *all[8] = {"--retry-for", "0", "get", name, NULL};
    memcpy(words, all, sizeof all);
}

void runs_leave_part(struct broken *broken, char name[64], char part[600])
{
    const char *words[8];
    broken_name(broken, name);
    broken_publish(broken, name);
    runs_get(words, name);
    runs_break(broken, CUT, 1, SIZE - 1, words);
    assert_int_equal(runs_part(broken, part), 1);
}
