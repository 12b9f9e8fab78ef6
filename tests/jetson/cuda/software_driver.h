/* What the calls in software_driver.c stand on: errors, objects, the work that waits in a stream. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_DEVICE = 101,
       INVALID_CONTEXT = 201, INVALID_HANDLE = 400, ILLEGAL_STATE = 401, NOT_FOUND = 500, NOT_READY = 600,
       ILLEGAL_ADDRESS = 700, CONTEXT_IS_DESTROYED = 709, CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901,
       CAPTURED_EVENT = 907, WRONG_THREAD = 908 };
static const struct { int code; const char *name, *text; } errors[] = {
    {OK, "CUDA_SUCCESS", "no error"},
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {34, "CUDA_ERROR_STUB_LIBRARY", "CUDA driver is a stub library"},
    {NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {ILLEGAL_STATE, "CUDA_ERROR_ILLEGAL_STATE", "the operation cannot be performed in the present state"},
    {NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {CONTEXT_IS_DESTROYED, "CUDA_ERROR_CONTEXT_IS_DESTROYED", "context is destroyed"},
    {719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "system has unsupported display driver / cuda driver combination"},
    {CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error"},
    {CAPTURED_EVENT, "CUDA_ERROR_CAPTURED_EVENT", "operation not permitted on an event last recorded in a capture"},
    {WRONG_THREAD, "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD", "attempt to terminate a capture from another thread"},
};

typedef struct op { struct op *next; int kind; uintptr_t target, source; size_t size; int value; } op;
typedef struct { op *first, **last; } queue;
typedef struct object {          /* everything that is created and destroyed */
    struct object *next;
    const char *kind;            /* "device", "host", "stream", "event", "graph", "exec" */
    void *context;               /* it was made in; elsewhere its handle is none */
    uintptr_t memory; size_t size; int mapped;          /* blocks */
    queue work; int capturing, spoilt; pthread_t thread; op *captured_first, **captured_last;    /* streams, graphs */
    int timed, recorded, done, in_capture; double at_ms; /* events */
} object;

#define COPY_IN 1
#define COPY_OUT 2
#define FILL 3
#define MARK 4
#define MAPPED_OFFSET ((uintptr_t)1 << 60)
#define DEVICE_OFFSET ((uintptr_t)1 << 61)
#define DEVICES 4
#define PRIMARY(device) ((void *)(uintptr_t)(0x7000 + (device)))  /* the context of a device */
#define CURRENT (depth ? stack[depth - 1] : NULL)
#define DEPTH 64

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static object *alive;
static int initialized, retained[DEVICES], releases, sticky, lost;
static size_t used;
static char fail_call[64]; static int fail_count, fail_code;
static __thread void *stack[DEPTH]; static __thread int depth;

static long setting(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text ? atol(text) : otherwise;
}

void soft_cuda_fail(const char *what) {
    fail_call[0] = 0;
    if (what && sscanf(what, "%63[^:]:%d:%d", fail_call, &fail_count, &fail_code) != 3) abort();
}

__attribute__((constructor)) static void start(void) { soft_cuda_fail(getenv("SOFT_CUDA_FAIL")); }

int soft_cuda_count(const char *what) {
    int count = 0;
    if (!strcmp(what, "retained")) return retained[0];
    if (!strcmp(what, "releases")) return releases;
    if (!strcmp(what, "lost")) return lost;
    if (!strcmp(what, "depth")) return depth;
    pthread_mutex_lock(&lock);
    for (object *o = alive; o; o = o->next) {
        if (!strcmp(what, o->kind)) count++;
        if (!strcmp(what, "waiting")) for (op *w = o->work.first; w; w = w->next) count++;
    }
    pthread_mutex_unlock(&lock);
    return count;
}

static int failing(const char *call) {
    if (!strcmp(call, fail_call) && --fail_count == 0) {
        if (fail_code >= 700 && fail_code <= 719) sticky = fail_code;
        return fail_code;
    }
    return 0;
}

#define UNLOCK(status) do { int s_ = (status); pthread_mutex_unlock(&lock); return s_; } while (0)
#define LEAVE_IF(status) do { int f_ = (status); if (f_) UNLOCK(f_); } while (0)
/* every call; where a context has to be current; and where a capture by this thread is spoilt */
#define CALL(name) pthread_mutex_lock(&lock); LEAVE_IF(failing(#name)); LEAVE_IF(initialized ? OK : NOT_INITIALIZED)
#define CONTEXT_CALL(name) CALL(name); LEAVE_IF(context_status())
#define UNSAFE_CALL(name) CONTEXT_CALL(name); LEAVE_IF(spoil_capture())

static int context_status(void) {
    return !depth ? INVALID_CONTEXT : !retained[(uintptr_t)CURRENT - 0x7000] ? CONTEXT_IS_DESTROYED : sticky;
}

static int spoil_capture(void) {
    for (object *o = alive; o; o = o->next)
        if (o->capturing && pthread_equal(o->thread, pthread_self())) { o->spoilt = 1; return CAPTURE_UNSUPPORTED; }
    return OK;
}

static object *find(const void *handle, const char *kind) {
    for (object *o = alive; o; o = o->next)
        if (o == handle && o->context == CURRENT && !strcmp(o->kind, kind)) return o;
    return NULL;
}

static object *create(const char *kind) {
    object *o = calloc(1, sizeof *o);
    o->kind = kind;
    o->context = CURRENT;
    o->work.last = &o->work.first;
    o->captured_last = &o->captured_first;
    o->next = alive;
    return alive = o;
}

static void destroy(object *gone) {
    for (object **at = &alive; *at; at = &(*at)->next)
        if (*at == gone) { *at = gone->next; break; }
    if (!strcmp(gone->kind, "device")) used -= gone->size;
    if (gone->memory) { memset((void *)gone->memory, 0xDD, gone->size); free((void *)gone->memory); }
    for (op *w = gone->captured_first, *next; w; w = next) { next = w->next; free(w); }
    free(gone);
}

/* where the host finds device memory; 0 when the range is not all within one block that is alive */
static uintptr_t reach(uintptr_t address, size_t size) {
    for (object *o = alive; o; o = o->next) {
        uintptr_t offset = !strcmp(o->kind, "device") ? DEVICE_OFFSET : o->mapped ? MAPPED_OFFSET : 0;
        if (offset && address >= o->memory + offset && address + size <= o->memory + offset + o->size)
            return address - offset;
    }
    return 0;
}

static void perform(op *w) {
    uintptr_t at;
    if (w->kind == MARK) {
        object *event = alive;
        struct timespec now;
        while (event && event != (object *)w->target) event = event->next;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (event) { event->done = 1; event->at_ms = now.tv_sec * 1e3 + now.tv_nsec / 1e6; }
        return;
    }
    at = reach(w->kind == COPY_OUT ? w->source : w->target, w->size);
    if (!at) sticky = ILLEGAL_ADDRESS;
    else if (w->kind == COPY_IN) memcpy((void *)at, (void *)w->source, w->size);
    else if (w->kind == COPY_OUT) memcpy((void *)w->target, (void *)at, w->size);
    else memset((void *)at, w->value, w->size);
}

static void run(object *stream, const object *until) {
    for (op *w; (w = stream->work.first) && !sticky;) {
        stream->work.first = w->next;
        if (!w->next) stream->work.last = &stream->work.first;
        perform(w);
        int reached = until && w->kind == MARK && w->target == (uintptr_t)until;
        free(w);
        if (reached && until->done) return;
    }
}

static void run_all(void) {
    for (object *o = alive; o; o = o->next) if (!strcmp(o->kind, "stream")) run(o, NULL);
}

static int put(void *handle, int kind, uintptr_t target, uintptr_t source, size_t size, int value) {
    object *stream = find(handle, "stream");
    if (!stream) return INVALID_HANDLE;  /* the default stream too: nobody here may use it */
    if (kind != MARK && !reach(kind == COPY_OUT ? source : target, size)) return INVALID_VALUE;
    op *w = calloc(1, sizeof *w);
    *w = (op){NULL, kind, target, source, size, value};
    op ***last = stream->capturing ? &stream->captured_last : &stream->work.last;
    **last = w;
    *last = &w->next;
    return OK;
}
