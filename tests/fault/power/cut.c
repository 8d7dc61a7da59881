#include "fault/power/cut.h"

#include "fault/world.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SECTOR = 512, SHARED = -1 };

#define NOBODY (~0U)

static void *array_of(size_t count, size_t size)
{
    void *array = calloc(count + 1, size);
    if (!array)
        abort();
    return array;
}

void cut_begin(struct cut *cut, const struct recording *recording)
{
    *cut = (struct cut){.recording = recording};
    cut->images = array_of(recording->node_count, sizeof *cut->images);
    cut->durable = array_of(recording->op_count, sizeof *cut->durable);
    cut->names = array_of(recording->op_count, sizeof *cut->names);
    cut->stands = array_of(recording->slot_count, sizeof *cut->stands);
    cut->below = array_of(recording->node_count, sizeof *cut->below);
    cut->beside = array_of(recording->slot_count, sizeof *cut->beside);
    cut->made = array_of(recording->node_count, sizeof *cut->made);
    for (size_t i = recording->slot_count; i > 0; i--) {
        cut->beside[i - 1] = cut->below[recording->slots[i - 1].folder];
        cut->below[recording->slots[i - 1].folder] = (unsigned)i;
    }
}

void cut_fini(struct cut *cut)
{
    for (size_t i = 0; cut->images && i < cut->recording->node_count; i++) {
        free(cut->images[i].bytes);
        free(cut->images[i].pending);
    }
    free(cut->images);
    free(cut->durable);
    free(cut->names);
    free(cut->stands);
    free(cut->below);
    free(cut->beside);
    free(cut->made);
    free(cut->scratch.bytes);
    *cut = (struct cut){0};
}

/* ---- bytes ---- */

static void image_resize(struct image *image, size_t size)
{
    if (size > image->room) {
        image->room = size * 2;
        image->bytes = realloc(image->bytes, image->room);
        if (!image->bytes)
            abort();
    }
    if (size > image->size)
        memset(image->bytes + image->size, 0, size - image->size);
    image->size = size;
}

static void image_write(struct image *image, const uint8_t *bytes, size_t count, uint64_t offset)
{
    if (offset + count > image->size)
        image_resize(image, offset + count);
    if (count > 0)
        memcpy(image->bytes + offset, bytes, count);
}

static void image_do(const struct cut *cut, struct image *image, const struct op *op)
{
    if (op->kind == OP_WRITE)
        image_write(image, cut->recording->bytes + op->at, op->count, op->offset);
    else
        image_resize(image, op->offset);
}

/* ---- what becomes durable ---- */

static void image_wait(struct image *image, unsigned op)
{
    if (image->pending_count == image->pending_room) {
        image->pending_room = image->pending_room * 2 + 16;
        image->pending = realloc(image->pending, image->pending_room * sizeof *image->pending);
        if (!image->pending)
            abort();
    }
    image->pending[image->pending_count++] = op;
}

static void sync_node(struct cut *cut, unsigned node)
{
    struct image *image = &cut->images[node];
    for (size_t i = 0; i < image->pending_count; i++) {
        unsigned op = image->pending[i];
        if (cut->recording->nodes[node].is_folder)
            cut->durable[op] = true;
        else
            image_do(cut, image, &cut->recording->ops[op]);
    }
    cut->pending -= image->pending_count;
    image->pending_count = 0;
}

static bool is_lie(struct cut *cut, const struct op *op)
{
    char path[256];
    if (!cut->lie || fnmatch(cut->lie, recording_path(cut->recording, op->node, path), FNM_PATHNAME) != 0)
        return false;
    cut->lies++;
    return true;
}

static void advance_one(struct cut *cut, unsigned at)
{
    const struct op *op = &cut->recording->ops[at];
    unsigned waits = op->node;
    switch (op->kind) {
    case OP_SYNC_ALL:
        for (unsigned node = 0; node < cut->recording->node_count; node++)
            sync_node(cut, node);
        return;
    case OP_SYNC:
        if (!is_lie(cut, op))
            sync_node(cut, op->node);
        return;
    case OP_WRITE:
    case OP_CUT: break;
    case OP_ENTER:
    case OP_LEAVE:
    case OP_MOVE:
        waits = cut->recording->slots[op->kind == OP_MOVE ? op->to : op->slot].folder;
        cut->names[cut->name_count++] = at;
        break;
    }
    image_wait(&cut->images[waits], at);
    cut->pending++;
}

void cut_advance(struct cut *cut, size_t length)
{
    for (; cut->length < length; cut->length++)
        advance_one(cut, (unsigned)cut->length);
}

/* ---- chance ---- */

struct chance {
    enum cut_kept kept;
    struct dice dice;
    uint32_t of_eight; /* so many of eight are kept */
};

static bool is_kept(struct chance *chance)
{
    if (chance->kept != CUT_SOME)
        return chance->kept == CUT_ALL;
    return dice_throw(&chance->dice, 8) < chance->of_eight;
}

/* ---- names ---- */

static void name_do(struct cut *cut, const struct op *op, bool both)
{
    if (op->kind == OP_ENTER)
        cut->stands[op->slot] = op->node;
    if (op->kind == OP_MOVE)
        cut->stands[op->to] = op->node;
    bool leaves = op->kind == OP_LEAVE || (op->kind == OP_MOVE && !both);
    if (leaves && cut->stands[op->slot] == op->node)
        cut->stands[op->slot] = NOBODY;
}

static void choose_names(struct cut *cut, struct chance *chance)
{
    for (size_t i = 0; i < cut->recording->slot_count; i++)
        cut->stands[i] = NOBODY;
    for (size_t i = 0; i < cut->name_count; i++) {
        const struct op *op = &cut->recording->ops[cut->names[i]];
        bool durable = cut->durable[cut->names[i]];
        if (durable || is_kept(chance))
            name_do(cut, op, !durable && chance->kept == CUT_SOME && dice_throw(&chance->dice, 4) == 0);
    }
}

/* ---- content ---- */

static void write_torn(const struct cut *cut, struct image *image, const struct op *op, struct chance *chance)
{
    const uint8_t *bytes = cut->recording->bytes + op->at;
    if (op->offset + op->count > image->size)
        image_resize(image, op->offset + op->count);
    for (size_t done = 0; done < op->count;) {
        size_t step = SECTOR - (op->offset + done) % SECTOR;
        if (step > op->count - done)
            step = op->count - done;
        if (is_kept(chance))
            image_write(image, bytes + done, step, op->offset + done);
        done += step;
    }
}

/* What the file of `node` holds, into the scratch image. */
static void choose_bytes(struct cut *cut, unsigned node, struct chance *chance)
{
    const struct image *image = &cut->images[node];
    struct image *out = &cut->scratch;
    out->size = 0;
    image_write(out, image->bytes ? image->bytes : (const uint8_t *)"", image->size, 0);
    for (size_t i = 0; i < image->pending_count; i++) {
        const struct op *op = &cut->recording->ops[image->pending[i]];
        if (is_kept(chance))
            image_do(cut, out, op);
        else if (chance->kept == CUT_SOME && op->kind == OP_WRITE && dice_throw(&chance->dice, 3) == 0)
            write_torn(cut, out, op, chance);
    }
}

static void fill_file(const struct image *image, int fd)
{
    for (size_t done = 0; done < image->size;) {
        ssize_t written = pwrite(fd, image->bytes + done, image->size - done, (off_t)done);
        if (written <= 0)
            abort();
        done += (size_t)written;
    }
}

/* A file that has two names is one all the same. */
static void make_file(struct cut *cut, int folder_fd, const char *name, unsigned node, struct chance *chance)
{
    char first[32];
    if (cut->made[node] > 0) {
        snprintf(first, sizeof first, "/proc/self/fd/%d", cut->made[node]);
        if (linkat(AT_FDCWD, first, folder_fd, name, AT_SYMLINK_FOLLOW) < 0)
            abort();
        return;
    }
    int fd = openat(folder_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        abort();
    choose_bytes(cut, node, chance);
    fill_file(&cut->scratch, fd);
    if (cut->made[node] == SHARED)
        cut->made[node] = fd;
    else
        close(fd);
}

/* Nodes with two names and more are held open while the tree is made. */
static void note_shared(struct cut *cut)
{
    enum { SEEN = -2 };
    for (size_t i = 0; i < cut->recording->slot_count; i++)
        if (cut->stands[i] != NOBODY)
            cut->made[cut->stands[i]] = cut->made[cut->stands[i]] == 0 ? SEEN : SHARED;
    for (size_t i = 0; i < cut->recording->node_count; i++)
        if (cut->made[i] == SEEN)
            cut->made[i] = 0;
}

static void forget_shared(struct cut *cut)
{
    for (size_t i = 0; i < cut->recording->node_count; i++) {
        if (cut->made[i] > 0)
            close(cut->made[i]);
        cut->made[i] = 0;
    }
}

/* ---- the tree ---- */

static void remove_all(int folder_fd, const char *name);

static bool is_folder_of(const struct cut *cut, unsigned folder, const char *name)
{
    for (unsigned i = cut->below[folder]; i > 0; i = cut->beside[i - 1])
        if (cut->stands[i - 1] != NOBODY && cut->recording->nodes[cut->stands[i - 1]].is_folder &&
            strcmp(cut->recording->slots[i - 1].name, name) == 0)
            return true;
    return false;
}

struct doomed {
    char names[32][64];
    size_t count;
};

/* What of the folder is to go, as much of it as there is room for. Raw calls: thousands of folders are looked at. */
static void find_doomed(const struct cut *cut, int fd, unsigned folder, struct doomed *out)
{
    struct {
        uint64_t inode, next;
        unsigned short size;
        char kind, name[];
    } const *at;
    static char buffer[1 << 15];
    long count = sizeof buffer;
    out->count = 0;
    lseek(fd, 0, SEEK_SET);
    while (count > (long)sizeof buffer / 2) {
        count = syscall(SYS_getdents64, fd, buffer, sizeof buffer);
        for (long i = 0; i < count && out->count < sizeof out->names / sizeof out->names[0]; i += at->size) {
            at = (const void *)(buffer + i);
            bool keep = strcmp(at->name, ".") == 0 || strcmp(at->name, "..") == 0;
            if (!keep && !(cut && is_folder_of(cut, folder, at->name)))
                snprintf(out->names[out->count++], sizeof out->names[0], "%s", at->name);
        }
    }
}

/* Everything in it goes, but folders that are to be there. */
static void tidy(const struct cut *cut, int fd, unsigned folder)
{
    struct doomed doomed;
    do {
        find_doomed(cut, fd, folder, &doomed);
        for (size_t i = 0; i < doomed.count; i++)
            remove_all(fd, doomed.names[i]);
    } while (doomed.count > 0);
}

static void remove_all(int folder_fd, const char *name)
{
    if (unlinkat(folder_fd, name, 0) == 0)
        return;
    int fd = openat(folder_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    tidy(NULL, fd, NOBODY);
    close(fd);
    unlinkat(folder_fd, name, AT_REMOVEDIR);
}

static int open_below(int fd, const char *name)
{
    int below = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (below < 0 && mkdirat(fd, name, 0700) == 0)
        below = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (below < 0)
        abort();
    return below;
}

static void make_folder(struct cut *cut, int fd, unsigned folder, struct chance *chance)
{
    tidy(cut, fd, folder);
    for (unsigned i = cut->below[folder]; i > 0; i = cut->beside[i - 1]) {
        const struct slot *slot = &cut->recording->slots[i - 1];
        unsigned node = cut->stands[i - 1];
        if (node == NOBODY)
            continue;
        if (!cut->recording->nodes[node].is_folder) {
            make_file(cut, fd, slot->name, node, chance);
            continue;
        }
        int below = open_below(fd, slot->name);
        make_folder(cut, below, node, chance);
        close(below);
    }
}

void cut_make(struct cut *cut, enum cut_kept kept, uint64_t seed, const char *folder)
{
    struct chance chance = {.kept = kept, .dice = dice_of(seed, cut->length)};
    static const uint32_t of_eight[] = {4, 7, 1, 6, 2, 4, 5, 3};
    chance.of_eight = of_eight[seed % 8];
    choose_names(cut, &chance);
    note_shared(cut);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        abort();
    make_folder(cut, fd, 0, &chance);
    forget_shared(cut);
    close(fd);
}
