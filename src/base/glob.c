#include "base/glob.h"

#include "base/name.h"
#include "base/utf8.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/*
 * A pattern becomes a row of steps, and matching walks the name once, keeping
 * the set of steps that may come next (one bit each). A step is looked at once
 * for each character of the name; a set costs as many looks as it has ranges,
 * which its text pays for. So the time is bounded by pattern times name.
 */
enum step_kind { STEP_LITERAL, STEP_ANY, STEP_SET, STEP_STAR, STEP_STARS };

struct step {
    uint32_t kind : 4;
    uint32_t negated : 1;
    uint32_t value : 24; /* LITERAL: the character; SET: index of its first range */
};

struct range {
    uint32_t low, high; /* low > high: the end of a set */
};

struct glob {
    char prefix[NAME_BUFFER];
    size_t prefix_size;  /* bytes */
    size_t prefix_steps; /* the literal steps that it covers */
    size_t step_count;
    size_t range_count;
    struct range *ranges;
    struct step steps[]; /* the ranges follow them, in the same allocation */
};

enum { SET_WORDS = (NAME_SIZE_MAX + 1 + 63) / 64 };

struct states {
    uint64_t words[SET_WORDS];
};

/* What is read of a pattern: its text was checked to be UTF-8. */
struct reader {
    const unsigned char *text;
    size_t size, at;
};

static uint32_t peek(const struct reader *reader)
{
    uint32_t code = 0;
    utf8_read(reader->text + reader->at, reader->size - reader->at, &code);
    return code;
}

static uint32_t next(struct reader *reader)
{
    uint32_t code = 0;
    reader->at += utf8_read(reader->text + reader->at, reader->size - reader->at, &code);
    return code;
}

static bool ended(const struct reader *reader)
{
    return reader->at >= reader->size;
}

static bool escaped(struct reader *reader, uint32_t *code)
{
    *code = next(reader);
    if (*code != '\\')
        return true;
    if (ended(reader))
        return false;
    *code = next(reader);
    return true;
}

static void add_range(struct glob *glob, uint32_t low, uint32_t high)
{
    glob->ranges[glob->range_count++] = (struct range){ low, high };
}

static enum outcome refuse_set(size_t start, const char *reason, struct failure *why)
{
    return failure_set(why, OUTCOME_INVALID, "the glob has a '[' at byte %zu %s", start, reason);
}

/* As in "[[:alpha:]]": those mean something by a locale, and nothing here. */
static bool is_class(const char *text)
{
    if (text[0] != '[' || text[1] != ':')
        return false;
    size_t size = strspn(text + 2, "abcdefghijklmnopqrstuvwxyz");
    return size > 0 && text[2 + size] == ':' && text[3 + size] == ']';
}

/* Reads a set, from after its '[' to after its ']'. */
static enum outcome read_set(struct glob *glob, struct reader *reader, struct failure *why)
{
    static const char no_end[] = "without its ']' (write \\[ for the character itself)";
    size_t start = reader->at - 1;
    struct step *step = &glob->steps[glob->step_count++];
    *step = (struct step){ .kind = STEP_SET, .value = (uint32_t)glob->range_count & 0xffffff };
    if (!ended(reader) && (peek(reader) == '!' || peek(reader) == '^')) {
        step->negated = 1;
        next(reader);
    }
    for (bool first = true;; first = false) {
        if (ended(reader))
            return refuse_set(start, no_end, why);
        if (peek(reader) == ']' && !first) {
            next(reader);
            add_range(glob, 1, 0);
            return OUTCOME_OK;
        }
        const unsigned char *at = reader->text + reader->at;
        if (is_class((const char *)at))
            return refuse_set(start, "with a class as [:alpha:] in it; only characters and ranges are known", why);
        uint32_t low, high;
        if (!escaped(reader, &low))
            return refuse_set(start, no_end, why);
        high = low;
        at = reader->text + reader->at;
        if (at[0] == '-' && at[1] != ']' && at[1] != '\0') {
            next(reader);
            if (!escaped(reader, &high))
                return refuse_set(start, no_end, why);
            if (high < low)
                return refuse_set(start, "with a range that runs backwards", why);
        }
        add_range(glob, low, high);
    }
}

static enum outcome read_step(struct glob *glob, struct reader *reader, struct failure *why)
{
    size_t start = reader->at;
    uint32_t code = next(reader);
    struct step step = { .kind = STEP_LITERAL, .value = code & 0xffffff };
    switch (code) {
    case '[': return read_set(glob, reader, why);
    case '?': step.kind = STEP_ANY; break;
    case '*':
        step.kind = STEP_STAR;
        while (!ended(reader) && peek(reader) == '*') {
            next(reader);
            step.kind = STEP_STARS;
        }
        break;
    case '\\':
        if (ended(reader))
            return failure_set(why, OUTCOME_INVALID, "the glob ends with a lone '\\' at byte %zu", start);
        step.value = next(reader) & 0xffffff;
        break;
    default: break;
    }
    glob->steps[glob->step_count++] = step;
    return OUTCOME_OK;
}

static enum outcome check_text(const char *pattern, size_t size, struct failure *why)
{
    if (size == 0)
        return failure_set(why, OUTCOME_INVALID, "the glob is empty");
    if (size > NAME_SIZE_MAX)
        return failure_set(why, OUTCOME_INVALID, "the glob has more than %d bytes", NAME_SIZE_MAX);
    for (size_t at = 0; at < size;) {
        uint32_t code;
        size_t length = utf8_read((const unsigned char *)pattern + at, size - at, &code);
        if (length == 0)
            return failure_set(why, OUTCOME_INVALID, "the glob is not UTF-8 at byte %zu", at);
        if (utf8_is_control(code))
            return failure_set(why, OUTCOME_INVALID, "the glob has a control character (U+%04X) at byte %zu", code, at);
        at += length;
    }
    return OUTCOME_OK;
}

static size_t utf8_write(uint32_t code, char *out)
{
    unsigned char *to = (unsigned char *)out;
    if (code < 0x80) {
        to[0] = (unsigned char)code;
        return 1;
    }
    size_t length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char heads[5] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    for (size_t i = length - 1; i > 0; i--, code >>= 6)
        to[i] = (unsigned char)(0x80 | (code & 0x3f));
    to[0] = (unsigned char)(heads[length] | code);
    return length;
}

static void find_prefix(struct glob *glob)
{
    while (glob->prefix_steps < glob->step_count && glob->steps[glob->prefix_steps].kind == STEP_LITERAL)
        glob->prefix_size +=
            utf8_write(glob->steps[glob->prefix_steps++].value, glob->prefix + glob->prefix_size);
    glob->prefix[glob->prefix_size] = '\0';
}

enum outcome glob_new(const char *pattern, struct glob **out, struct failure *why)
{
    size_t size = strnlen(pattern, NAME_SIZE_MAX + 1);
    enum outcome outcome = check_text(pattern, size, why);
    if (outcome != OUTCOME_OK)
        return outcome;

    /* No step and no range is made of less than a byte of the pattern (the end of a set: of its ']'). */
    struct glob *glob = malloc(sizeof *glob + size * (sizeof(struct step) + sizeof(struct range)));
    if (!glob)
        return failure_system(why, OUTCOME_NOMEM, ENOMEM, "cannot keep a glob");
    memset(glob, 0, sizeof *glob);
    glob->ranges = (struct range *)(void *)(glob->steps + size);
    struct reader reader = { (const unsigned char *)pattern, size, 0 };
    while (outcome == OUTCOME_OK && !ended(&reader))
        outcome = read_step(glob, &reader, why);
    if (outcome != OUTCOME_OK) {
        glob_free(glob);
        return outcome;
    }
    find_prefix(glob);
    *out = glob;
    return OUTCOME_OK;
}

void *glob_free(struct glob *glob)
{
    free(glob);
    return NULL;
}

static bool is_star(const struct step *step)
{
    return step->kind == STEP_STAR || step->kind == STEP_STARS;
}

/* A star may stand for nothing, so what follows it is next as well. */
static void states_add(const struct glob *glob, struct states *states, size_t step)
{
    states->words[step / 64] |= (uint64_t)1 << step % 64;
    if (step < glob->step_count && is_star(&glob->steps[step]))
        states->words[(step + 1) / 64] |= (uint64_t)1 << (step + 1) % 64;
}

static bool set_holds(const struct glob *glob, const struct step *step, uint32_t code)
{
    if (code == '/')
        return false;
    for (const struct range *range = &glob->ranges[step->value]; range->low <= range->high; range++) {
        if (code >= range->low && code <= range->high)
            return !step->negated;
    }
    return step->negated;
}

/* Puts what may come after `step` took `code` into `after`. */
static void advance(const struct glob *glob, size_t at, uint32_t code, struct states *after)
{
    const struct step *step = &glob->steps[at];
    switch ((enum step_kind)step->kind) {
    case STEP_LITERAL:
        if (code == step->value)
            states_add(glob, after, at + 1);
        break;
    case STEP_ANY:
        if (code != '/')
            states_add(glob, after, at + 1);
        break;
    case STEP_SET:
        if (set_holds(glob, step, code))
            states_add(glob, after, at + 1);
        break;
    case STEP_STAR:
        if (code != '/')
            states_add(glob, after, at);
        break;
    case STEP_STARS: states_add(glob, after, at); break;
    }
}

/* One character further; false when no way is left. */
static bool take(const struct glob *glob, struct states *states, uint32_t code)
{
    struct states after = { { 0 } };
    size_t used = glob->step_count / 64 + 1;
    bool alive = false;
    for (size_t word = 0; word < used; word++) {
        for (uint64_t bits = states->words[word]; bits != 0; bits &= bits - 1) {
            size_t at = word * 64 + (size_t)__builtin_ctzll(bits);
            if (at < glob->step_count)
                advance(glob, at, code, &after);
        }
    }
    for (size_t word = 0; word < used; word++)
        alive |= after.words[word] != 0;
    memcpy(states->words, after.words, used * sizeof after.words[0]);
    return alive;
}

bool glob_match(const struct glob *glob, const char *name)
{
    if (strncmp(name, glob->prefix, glob->prefix_size) != 0)
        return false;
    struct states states = { { 0 } };
    states_add(glob, &states, glob->prefix_steps);
    const unsigned char *bytes = (const unsigned char *)name;
    size_t size = strlen(name);
    for (size_t at = glob->prefix_size; at < size;) {
        uint32_t code;
        size_t length = utf8_read(bytes + at, size - at, &code);
        if (length == 0) { /* no name has it; a byte that is no character equals none */
            code = UINT32_MAX;
            length = 1;
        }
        if (!take(glob, &states, code))
            return false;
        at += length;
    }
    return states.words[glob->step_count / 64] >> glob->step_count % 64 & 1;
}

const char *glob_prefix(const struct glob *glob)
{
    return glob->prefix;
}

bool glob_is_pattern(const char *text)
{
    return strpbrk(text, "*?[\\") != NULL;
}
