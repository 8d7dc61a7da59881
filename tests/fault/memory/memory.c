#include "fault/memory/memory.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#define OURS __attribute__((visibility("default")))

/* What is below: a sanitizer's allocator, else the C library's. */
#ifdef FILESHARE_SANITIZED
#define BELOW(name) __interceptor_##name
#else
#define BELOW(name) __libc_##name
#endif

void *BELOW(malloc)(size_t size);
void *BELOW(calloc)(size_t count, size_t size);
void *BELOW(realloc)(void *block, size_t size);
void *BELOW(memalign)(size_t alignment, size_t size);
void BELOW(free)(void *block);

#if defined(__SANITIZE_ADDRESS__)
#define HAS_LSAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_LSAN 1
#endif
#endif

#ifdef HAS_LSAN
int __lsan_do_recoverable_leak_check(void);
#endif

static atomic_int left;     /* 1: the next one fails; 0 and below: none */
static atomic_bool lasts;   /* all do from the one on */
static atomic_bool failing; /* lasting, and begun */
static atomic_uint failed;
static atomic_long blocks;
static __thread bool is_counted;

static bool fails(void)
{
    if (!is_counted || (left <= 0 && !failing))
        return false;
    if (!failing && atomic_fetch_sub(&left, 1) != 1)
        return false;
    if (lasts)
        failing = true;
    failed++;
    errno = ENOMEM;
    return true;
}

__attribute__((constructor)) static void count_main(void)
{
    is_counted = true;
}

void memory_fail(unsigned nth, bool lasting)
{
    failed = 0;
    lasts = lasting;
    left = (int)nth;
}

unsigned memory_recover(void)
{
    left = 0;
    failing = false;
    return atomic_exchange(&failed, 0);
}

void memory_spare(bool spared)
{
    is_counted = !spared;
}

long memory_blocks(void)
{
    return blocks;
}

bool memory_is_lost(void)
{
#ifdef HAS_LSAN
    return __lsan_do_recoverable_leak_check() != 0;
#else
    return false;
#endif
}

/* ---- malloc and kin ---- */

static void *counted(void *block)
{
    if (block)
        atomic_fetch_add_explicit(&blocks, 1, memory_order_relaxed);
    return block;
}

OURS void *malloc(size_t size)
{
    return fails() ? NULL : counted(BELOW(malloc)(size));
}

OURS void *calloc(size_t count, size_t size)
{
    return fails() ? NULL : counted(BELOW(calloc)(count, size));
}

OURS void *realloc(void *block, size_t size)
{
    if (!block)
        return malloc(size);
    if (size == 0) {
        free(block);
        return NULL;
    }
    return fails() ? NULL : BELOW(realloc)(block, size);
}

OURS void free(void *block)
{
    if (!block)
        return;
    atomic_fetch_sub_explicit(&blocks, 1, memory_order_relaxed);
    BELOW(free)(block);
}

OURS void *memalign(size_t alignment, size_t size);
OURS void *memalign(size_t alignment, size_t size)
{
    return fails() ? NULL : counted(BELOW(memalign)(alignment, size));
}

OURS void *aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

OURS int posix_memalign(void **out, size_t alignment, size_t size)
{
    int before = errno;
    void *block = memalign(alignment, size);
    errno = before;
    if (!block)
        return ENOMEM;
    *out = block;
    return 0;
}

/* ---- threads ---- */

struct start {
    void *(*run)(void *argument);
    void *argument;
    bool counted; /* as the thread that started it */
};

/* What a sanitizer's runtime does before this is no affair of ours, and it aborts without memory. */
static void *start_counted(void *argument)
{
    struct start start = *(struct start *)argument;
    free(argument);
    is_counted = start.counted;
    void *result = start.run(start.argument);
    is_counted = false;
    return result;
}

OURS int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                        void *argument)
{
    typedef int create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    struct start *start = malloc(sizeof *start);
    if (!start)
        return EAGAIN;
    bool counted = is_counted;
    *start = (struct start){run, argument, counted};
    is_counted = false;
    create *below = (create *)(uintptr_t)dlsym(RTLD_NEXT, "pthread_create");
    int error = below(thread, attributes, start_counted, start);
    is_counted = counted;
    if (error != 0)
        free(start);
    return error;
}
