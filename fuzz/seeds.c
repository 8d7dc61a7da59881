/*
 * seeds FOLDER: writes the golden bytes of every type as inputs of fuzz/decode,
 * one a file, named by type and number.
 */
#include "wire/golden/golden.h"
#include "wire/golden/types.h"

#include <limits.h>
#include <stdio.h>

enum { MESSAGE_MAX = 4096 };

static int write_seed(const char *folder, const struct golden *golden, size_t number)
{
    char path[PATH_MAX];
    uint8_t bytes[1 + MESSAGE_MAX];
    size_t length;

    if (!golden_bytes(golden->hex, bytes + 1, MESSAGE_MAX, &length))
        return -1;
    bytes[0] = (uint8_t)wire_type_place(golden->type);
    snprintf(path, sizeof(path), "%s/%s-%zu", folder, golden->type, number);
    FILE *file = fopen(path, "w");
    if (!file) {
        perror(path);
        return -1;
    }
    size_t written = fwrite(bytes, 1, 1 + length, file);
    return fclose(file) == 0 && written == 1 + length ? 0 : -1;
}

int main(int argc, char **argv)
{
    size_t families, number = 0;
    const struct golden_family *const *family = golden_families(&families);

    if (argc != 2) {
        fprintf(stderr, "usage: seeds FOLDER\n");
        return 2;
    }
    for (size_t f = 0; f < families; f++)
        for (size_t i = 0; i < family[f]->count; i++)
            if (write_seed(argv[1], &family[f]->cases[i], number++) != 0)
                return 1;
    return 0;
}
