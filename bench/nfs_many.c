/*
 * An NFSv3 client for a batch, on libnfs' synchronous calls: one mount, one file
 * after the other. libnfs' own nfs-cp takes one file.
 *
 *     nfs_many put URL PATH NAME         nfs_many get URL NAME PATH
 *     nfs_many putmany URL FOLDER        nfs_many getmany URL NAMES FOLDER
 */
#include "base/scoped.h"

#include <dirent.h>
#include <fcntl.h>
#include <nfsc/libnfs.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>

enum { BLOCK_MAX = 1 << 20 };

static struct nfs_context *nfs;
static char *block;
static size_t block_size;

static void must(bool well, const char *what)
{
    if (well)
        return;
    fprintf(stderr, "nfs_many: %s: %s\n", what, nfs_get_error(nfs));
    exit(1);
}

static void put(const char *path, const char *name)
{
    char remote[1024];
    struct nfsfh *file;
    scoped_fd int source = open(path, O_RDONLY | O_CLOEXEC);
    snprintf(remote, sizeof remote, "/%s", name);
    must(source >= 0 && nfs_creat(nfs, remote, 0644, &file) == 0, path);
    for (ssize_t got; (got = read(source, block, block_size)) > 0;)
        must(nfs_write(nfs, file, (uint64_t)got, block) == got, "write");
    must(nfs_close(nfs, file) == 0, "close");
}

static void get(const char *name, const char *path)
{
    char remote[1024];
    struct nfsfh *file;
    scoped_fd int target = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    snprintf(remote, sizeof remote, "/%s", name);
    must(target >= 0 && nfs_open(nfs, remote, O_RDONLY, &file) == 0, name);
    int got;
    while ((got = nfs_read(nfs, file, block_size, block)) > 0)
        must(write(target, block, (size_t)got) == got, path);
    must(got == 0 && nfs_close(nfs, file) == 0, name);
}

static void put_folder(const char *folder)
{
    char path[4096];
    DIR *entries = opendir(folder);
    must(entries != NULL, folder);
    for (struct dirent *entry; (entry = readdir(entries)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        put(path, entry->d_name);
    }
    closedir(entries);
}

static void get_names(const char *list, const char *folder)
{
    char name[512];
    char path[4096];
    FILE *names = fopen(list, "re");
    must(names != NULL, list);
    while (fscanf(names, "%500s", name) == 1) {
        snprintf(path, sizeof path, "%s/%s", folder, name);
        get(name, path);
    }
    fclose(names);
}

int main(int count, char **words)
{
    nfs = nfs_init_context();
    struct nfs_url *url = nfs == NULL || count < 4 ? NULL : nfs_parse_url_dir(nfs, words[2]);
    if (url == NULL) {
        fprintf(stderr, "usage: nfs_many put|get|putmany|getmany URL ...\n");
        return 2;
    }
    must(nfs_mount(nfs, url->server, url->path) == 0, "mount");
    block_size = nfs_get_writemax(nfs);
    block_size = block_size < BLOCK_MAX ? block_size : BLOCK_MAX;
    block = malloc(block_size);
    must(block != NULL, "memory");
    if (strcmp(words[1], "put") == 0 && count == 5)
        put(words[3], words[4]);
    else if (strcmp(words[1], "get") == 0 && count == 5)
        get(words[3], words[4]);
    else if (strcmp(words[1], "putmany") == 0)
        put_folder(words[3]);
    else if (strcmp(words[1], "getmany") == 0 && count == 5)
        get_names(words[3], words[4]);
    nfs_destroy_url(url);
    nfs_destroy_context(nfs);
    free(block);
    return 0;
}
