/*
 * Setting, reading and writing keys. What the values mean together stands in
 * config_finish.c.
 */
#include "server/config.h"

#include "base/duration.h"

#include <errno.h>
#include <ini.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void *member(struct config *config, const struct config_key *key)
{
    return (char *)config + key->offset;
}

static void list_clear(struct config_list *list)
{
    while (list->count > 0) {
        list->count--;
        free(list->texts[list->count]);
        list->texts[list->count] = NULL;
    }
}

static void store_number(struct config *config, const struct config_key *key, uint64_t number)
{
    if (key->width == sizeof(uint64_t))
        *(uint64_t *)member(config, key) = number;
    else if (key->width == sizeof(uint32_t))
        *(uint32_t *)member(config, key) = (uint32_t)number;
    else
        *(uint16_t *)member(config, key) = (uint16_t)number;
}

static uint64_t load_number(const struct config *config, const struct config_key *key)
{
    const void *at = (const char *)config + key->offset;

    if (key->width == sizeof(uint64_t))
        return *(const uint64_t *)at;
    return key->width == sizeof(uint32_t) ? *(const uint32_t *)at : *(const uint16_t *)at;
}

static bool parse_flag(const char *text, bool *out)
{
    static const char *const yes[] = {"yes", "true", "on", "1", "y"};
    static const char *const no[] = {"no", "false", "off", "0", "n"};

    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        if (strcasecmp(text, yes[i]) == 0 || strcasecmp(text, no[i]) == 0) {
            *out = strcasecmp(text, yes[i]) == 0;
            return true;
        }
    }
    return false;
}

/* Decimal, or hex with 0x. */
static bool parse_number(const char *text, uint64_t *out)
{
    char *end = NULL;

    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    *out = strtoull(text, &end, strncasecmp(text, "0x", 2) == 0 ? 16 : 10);
    return errno == 0 && *end == '\0';
}

static enum outcome parse_amount(const struct config_key *key, const char *text, uint64_t *out, struct failure *why)
{
    uint32_t seconds = 0;
    enum outcome outcome = OUTCOME_OK;

    if (key->kind == CONFIG_SIZE)
        return size_parse(text, out, why);
    if (key->kind == CONFIG_DURATION) {
        outcome = duration_parse(text, &seconds, why);
        *out = seconds;
        return outcome;
    }
    if (!parse_number(text, out))
        return failure_set(why, OUTCOME_INVALID, "\"%s\" is no number", text);
    return OUTCOME_OK;
}

static enum outcome set_number(struct config *config, const struct config_key *key, const char *text,
                               struct failure *why)
{
    uint64_t number = 0;
    struct failure reason = {0};
    enum outcome outcome = parse_amount(key, text, &number, &reason);

    if (outcome != OUTCOME_OK)
        return failure_set(why, outcome, "%s: %s", key->name, reason.text);
    if (number < key->least || number > key->most)
        return failure_set(why, OUTCOME_INVALID, "%s: %s is not between %" PRIu64 " and %" PRIu64, key->name, text,
                           key->least, key->most);
    store_number(config, key, number);
    return OUTCOME_OK;
}

static enum outcome set_text(char **at, const char *text, struct failure *why)
{
    char *copy = strdup(text);

    if (!copy)
        return failure_set(why, OUTCOME_NOMEM, "no memory for the configuration");
    free(*at);
    *at = copy;
    return OUTCOME_OK;
}

static enum outcome add_text(struct config_list *list, const struct config_key *key, const char *text,
                             struct failure *why)
{
    if (list->from_default)
        list_clear(list);
    list->from_default = false;
    if (list->count == CONFIG_LIST_MAX)
        return failure_set(why, OUTCOME_INVALID, "%s: more than %d of them", key->name, CONFIG_LIST_MAX);
    enum outcome outcome = set_text(&list->texts[list->count], text, why);
    if (outcome == OUTCOME_OK)
        list->count++;
    return outcome;
}

enum outcome config_set(struct config *config, const struct config_key *key, const char *text, struct failure *why)
{
    switch (key->kind) {
    case CONFIG_FLAG:
        if (!parse_flag(text, member(config, key)))
            return failure_set(why, OUTCOME_INVALID, "%s: \"%s\" is neither yes nor no", key->name, text);
        return OUTCOME_OK;
    case CONFIG_TEXT:
        return set_text(member(config, key), text, why);
    case CONFIG_LIST:
        return add_text(member(config, key), key, text, why);
    case CONFIG_NUMBER:
    case CONFIG_SIZE:
    case CONFIG_DURATION:
        return set_number(config, key, text, why);
    }
    return failure_set(why, OUTCOME_FAULT, "%s: a key of kind %d", key->name, (int)key->kind);
}

enum outcome config_new(struct config **out, struct failure *why)
{
    struct config *config = calloc(1, sizeof *config);
    size_t count = 0;
    const struct config_key *keys = config_keys(&count);
    enum outcome outcome = OUTCOME_OK;

    if (!config)
        return failure_set(why, OUTCOME_NOMEM, "no memory for the configuration");
    config->engine = rpc_limits_default();
    config->sender = sender_limits_default();
    config->store_limits = store_limits_default();
    for (size_t i = 0; i < count && outcome == OUTCOME_OK; i++)
        if (keys[i].kind != CONFIG_LIST)
            outcome = config_set(config, &keys[i], keys[i].preset, why);
    if (outcome == OUTCOME_OK)
        *out = config;
    else
        config_free(config);
    return outcome;
}

void *config_free(struct config *config)
{
    size_t count = 0;
    const struct config_key *keys = config_keys(&count);

    if (!config)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        if (keys[i].kind == CONFIG_TEXT)
            free(*(char **)member(config, &keys[i]));
        else if (keys[i].kind == CONFIG_LIST)
            list_clear(member(config, &keys[i]));
    }
    free(config);
    return NULL;
}

/* ---- the file ---- */

struct reading {
    struct config *config;
    struct failure *why;
    enum outcome outcome; /* of the first bad line */
};

static enum outcome read_key(struct reading *reading, const char *section, const char *name, const char *value)
{
    size_t count = 0;
    const struct config_key *keys = config_keys(&count);

    for (size_t i = 0; i < count; i++)
        if (strcmp(keys[i].section, section) == 0 && strcmp(keys[i].name, name) == 0)
            return config_set(reading->config, &keys[i], value, reading->why);
    return failure_set(reading->why, OUTCOME_INVALID, "there is no key \"%s\" in a section [%s]", name, section);
}

static int on_key(void *user, const char *section, const char *name, const char *value)
{
    struct reading *reading = user;

    if (reading->outcome == OUTCOME_OK)
        reading->outcome = read_key(reading, section, name, value ? value : "");
    return reading->outcome == OUTCOME_OK;
}

enum outcome config_read(struct config *config, const char *path, struct failure *why)
{
    struct failure reason = {0};
    struct reading reading = {.config = config, .why = &reason};
    FILE *file = fopen(path, "re");
    size_t count = 0;
    const struct config_key *keys = config_keys(&count);

    if (!file)
        return failure_system(why, errno == ENOENT ? OUTCOME_ABSENT : OUTCOME_LOCAL, errno, "%s", path);
    /* A list in the file takes the place of what was there before. */
    for (size_t i = 0; i < count; i++)
        if (keys[i].kind == CONFIG_LIST)
            ((struct config_list *)member(config, &keys[i]))->from_default = true;

    int line = ini_parse_file(file, on_key, &reading);
    fclose(file);
    if (reading.outcome != OUTCOME_OK)
        return failure_set(why, reading.outcome, "%s:%d: %s", path, line, reason.text);
    if (line != 0)
        return failure_set(why, OUTCOME_INVALID, "%s:%d: neither [section] nor name = value", path, line);
    return OUTCOME_OK;
}

/* ---- the dump ---- */

static void dump_key(const struct config *config, const struct config_key *key, FILE *to)
{
    const void *at = (const char *)config + key->offset;
    const struct config_list *list = at;

    switch (key->kind) {
    case CONFIG_FLAG:
        fprintf(to, "%s = %s\n", key->name, *(const bool *)at ? "yes" : "no");
        break;
    case CONFIG_TEXT:
        fprintf(to, "%s = %s\n", key->name, *(char *const *)at);
        break;
    case CONFIG_LIST:
        for (size_t i = 0; i < list->count; i++)
            fprintf(to, "%s = %s\n", key->name, list->texts[i]);
        break;
    case CONFIG_NUMBER:
    case CONFIG_SIZE:
    case CONFIG_DURATION:
        fprintf(to, "%s = %" PRIu64 "\n", key->name, load_number(config, key));
        break;
    }
}

void config_dump(const struct config *config, FILE *to)
{
    size_t count = 0;
    const struct config_key *keys = config_keys(&count);
    const char *section = "";

    for (size_t i = 0; i < count; i++) {
        if (strcmp(section, keys[i].section) != 0) {
            fprintf(to, "%s[%s]\n", i > 0 ? "\n" : "", keys[i].section);
            section = keys[i].section;
        }
        dump_key(config, &keys[i], to);
    }
}
