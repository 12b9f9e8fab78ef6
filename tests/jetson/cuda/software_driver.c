/* A libcuda.so.1 on host memory, for tests of a caller: it computes nothing and checks much.

   Work put into a stream waits there until the host waits for it, so that a missing wait shows up as stale data.
   Device addresses cannot be used by the host. Handles, contexts, ranges and captures are checked as the driver API
   documents it. Steered by environment variables:

   SOFT_CUDA_MEMORY       bytes of the device, 64 MiB when not given
   SOFT_CUDA_DEVICES      number of devices, 1 when not given
   SOFT_CUDA_INTEGRATED   1: GPU and host share memory
   SOFT_CUDA_CANNOT_MAP   1: host memory cannot be mapped
   SOFT_CUDA_VERSION      of the driver, 13000 when not given
   SOFT_CUDA_LACKS        names of functions it does not have, separated by commas
   SOFT_CUDA_FAIL         CALL:N:CODE: the N-th CALL fails with CODE; codes from 700 to 719 stick

   soft_cuda_count(what) tells what is alive or was done, soft_cuda_fail(CALL:N:CODE) sets the failure later on. */
#include "software_driver.h"

int cuInit(unsigned flags) {
    pthread_mutex_lock(&lock);
    int status = failing("cuInit");
    if (!status && !setting("SOFT_CUDA_DEVICES", 1)) status = NO_DEVICE;
    initialized = !status;
    UNLOCK(status);
}
int cuDriverGetVersion(int *version) { *version = setting("SOFT_CUDA_VERSION", 13000); return OK; }
int cuDeviceGetCount(int *count) { CALL(cuDeviceGetCount); *count = setting("SOFT_CUDA_DEVICES", 1); UNLOCK(OK); }
int cuDeviceGet(int *device, int number) {
    CALL(cuDeviceGet);
    *device = number;
    UNLOCK(number < 0 || number >= setting("SOFT_CUDA_DEVICES", 1) ? INVALID_DEVICE : OK);
}
int cuDeviceGetName(char *name, int length, int device) { snprintf(name, length, "Software GPU"); return OK; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = setting("SOFT_CUDA_MEMORY", 64 << 20); return OK; }
int cuDeviceComputeCapability(int *major, int *minor, int device) { *major = 8; *minor = 7; return OK; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    CALL(cuDeviceGetAttribute);
    switch (attribute) {
        case 75: *value = 8; break;
        case 76: *value = 7; break;
        case 18: *value = setting("SOFT_CUDA_INTEGRATED", 0); break;
        case 19: *value = !setting("SOFT_CUDA_CANNOT_MAP", 0); break;
        default: UNLOCK(INVALID_VALUE);
    }
    UNLOCK(OK);
}

int cuDevicePrimaryCtxRetain(void **context, int device) {
    CALL(cuDevicePrimaryCtxRetain);
    if (device < 0 || device >= DEVICES) UNLOCK(INVALID_DEVICE);
    retained[device]++;
    *context = PRIMARY(device);
    UNLOCK(OK);
}
int cuDevicePrimaryCtxRelease_v2(int device) {
    CALL(cuDevicePrimaryCtxRelease);
    if (device < 0 || device >= DEVICES || !retained[device]) UNLOCK(INVALID_CONTEXT);
    if (device == 0) releases++;
    if (!--retained[device])  /* the last one takes all that was made in the context with it */
        for (object *o = alive, *next; o; o = next) {
            next = o->next;
            if (o->context == PRIMARY(device)) { lost++; destroy(o); }
        }
    UNLOCK(OK);
}
static int no_context(void *context) {
    return (uintptr_t)context < (uintptr_t)PRIMARY(0) || (uintptr_t)context >= (uintptr_t)PRIMARY(DEVICES);
}
int cuCtxSetCurrent(void *context) {
    CALL(cuCtxSetCurrent);
    if (!context) { if (depth) depth--; UNLOCK(OK); }
    if (no_context(context)) UNLOCK(INVALID_CONTEXT);
    if (!depth) depth = 1;
    stack[depth - 1] = context;
    UNLOCK(OK);
}
int cuCtxGetCurrent(void **context) {
    CALL(cuCtxGetCurrent);
    *context = depth ? stack[depth - 1] : NULL;
    UNLOCK(OK);
}
int cuCtxPushCurrent_v2(void *context) {
    CALL(cuCtxPushCurrent);
    if (no_context(context) || depth == DEPTH) UNLOCK(INVALID_CONTEXT);
    stack[depth++] = context;
    UNLOCK(OK);
}
int cuCtxPopCurrent_v2(void **context) {
    CALL(cuCtxPopCurrent);
    if (!depth) UNLOCK(INVALID_CONTEXT);
    void *top = stack[--depth];
    if (context) *context = top;
    UNLOCK(OK);
}

static int block(const char *kind, size_t size, int mapped, object **made) {
    if (!size) return INVALID_VALUE;
    if (!strcmp(kind, "device") && used + size > (size_t)setting("SOFT_CUDA_MEMORY", 64 << 20)) return OUT_OF_MEMORY;
    void *memory;
    if (posix_memalign(&memory, 512, size)) return OUT_OF_MEMORY;
    memset(memory, 0xCC, size);
    if (!strcmp(kind, "device")) used += size;
    *made = create(kind);
    (*made)->memory = (uintptr_t)memory;
    (*made)->size = size;
    (*made)->mapped = mapped;
    return OK;
}
static int within(uintptr_t address, const object *o) {
    return (address >= o->memory && address < o->memory + o->size)
        || (o->mapped && address >= o->memory + MAPPED_OFFSET && address < o->memory + MAPPED_OFFSET + o->size);
}
static int free_block(const char *kind, uintptr_t memory) {
    object *gone = alive;
    while (gone && (gone->memory != memory || strcmp(gone->kind, kind))) gone = gone->next;
    if (!gone) return INVALID_VALUE;
    if (!strcmp(kind, "device")) run_all();  /* cuMemFree waits for the work before it, cuMemFreeHost need not */
    for (object *o = alive; o; o = o->next)
        for (op *w = o->work.first; w; w = w->next)
            if (w->kind != MARK && (within(w->target, gone) || within(w->source, gone))) sticky = ILLEGAL_ADDRESS;
    destroy(gone);
    return OK;
}
int cuMemAlloc_v2(uintptr_t *address, size_t size) {
    UNSAFE_CALL(cuMemAlloc);
    object *made;
    int status = block("device", size, 0, &made);
    if (!status) *address = made->memory + DEVICE_OFFSET;
    UNLOCK(status);
}
int cuMemFree_v2(uintptr_t address) { UNSAFE_CALL(cuMemFree); UNLOCK(free_block("device", address - DEVICE_OFFSET)); }
int cuMemHostAlloc(void **memory, size_t size, unsigned flags) {
    UNSAFE_CALL(cuMemHostAlloc);
    object *made;
    int status = block("host", size, (flags & 2) && !setting("SOFT_CUDA_CANNOT_MAP", 0), &made);
    if (!status) *memory = (void *)made->memory;
    UNLOCK(status);
}
int cuMemFreeHost(void *memory) { UNSAFE_CALL(cuMemFreeHost); UNLOCK(free_block("host", (uintptr_t)memory)); }
int cuMemHostGetDevicePointer_v2(uintptr_t *address, void *memory, unsigned flags) {
    CONTEXT_CALL(cuMemHostGetDevicePointer);
    *address = (uintptr_t)memory + MAPPED_OFFSET;
    UNLOCK(reach(*address, 1) ? OK : INVALID_VALUE);
}
int cuMemGetInfo_v2(size_t *left, size_t *total) {
    CONTEXT_CALL(cuMemGetInfo);
    *total = setting("SOFT_CUDA_MEMORY", 64 << 20);
    *left = *total - used;
    UNLOCK(OK);
}

int cuMemcpyHtoDAsync_v2(uintptr_t target, const void *source, size_t size, void *stream) {
    CONTEXT_CALL(cuMemcpyHtoDAsync);
    UNLOCK(put(stream, COPY_IN, target, (uintptr_t)source, size, 0));
}
int cuMemcpyDtoHAsync_v2(void *target, uintptr_t source, size_t size, void *stream) {
    CONTEXT_CALL(cuMemcpyDtoHAsync);
    UNLOCK(put(stream, COPY_OUT, (uintptr_t)target, source, size, 0));
}
int cuMemsetD8Async(uintptr_t target, unsigned char value, size_t size, void *stream) {
    CONTEXT_CALL(cuMemsetD8Async);
    UNLOCK(put(stream, FILL, target, 0, size, value));
}

int cuStreamCreate(void **stream, unsigned flags) {
    CONTEXT_CALL(cuStreamCreate);
    if (flags != 1) UNLOCK(INVALID_VALUE);  /* a stream that waits for the default one is not wanted here */
    *stream = create("stream");
    UNLOCK(OK);
}
int cuStreamDestroy_v2(void *handle) {
    CONTEXT_CALL(cuStreamDestroy);
    object *stream = find(handle, "stream");
    if (!stream) UNLOCK(INVALID_HANDLE);
    run(stream, NULL);
    destroy(stream);
    UNLOCK(OK);
}
int cuStreamSynchronize(void *handle) {
    CONTEXT_CALL(cuStreamSynchronize);
    object *stream = find(handle, "stream");
    if (!stream) UNLOCK(INVALID_HANDLE);
    if (stream->capturing) { stream->spoilt = 1; UNLOCK(CAPTURE_UNSUPPORTED); }
    run(stream, NULL);
    UNLOCK(sticky);
}

int cuEventCreate(void **event, unsigned flags) {
    CONTEXT_CALL(cuEventCreate);
    object *made = create("event");
    made->timed = !(flags & 2);
    *event = made;
    UNLOCK(OK);
}
int cuEventDestroy_v2(void *event) {
    CONTEXT_CALL(cuEventDestroy);
    object *gone = find(event, "event");
    if (!gone) UNLOCK(INVALID_HANDLE);
    destroy(gone);
    UNLOCK(OK);
}
int cuEventRecord(void *handle, void *stream) {
    CONTEXT_CALL(cuEventRecord);
    object *event = find(handle, "event"), *into = find(stream, "stream");
    if (!event || !into) UNLOCK(INVALID_HANDLE);
    event->recorded = 1;
    event->done = 0;
    event->in_capture = into->capturing;
    UNLOCK(put(stream, MARK, (uintptr_t)event, 0, 0, 0));
}
int cuEventSynchronize(void *handle) {
    CONTEXT_CALL(cuEventSynchronize);
    object *event = find(handle, "event");
    if (!event) UNLOCK(INVALID_HANDLE);
    if (event->in_capture) UNLOCK(CAPTURED_EVENT);
    for (object *o = alive; o && event->recorded && !event->done; o = o->next)
        if (!strcmp(o->kind, "stream")) run(o, event);
    UNLOCK(sticky);
}
int cuEventElapsedTime_v2(float *ms, void *first, void *second) {
    CONTEXT_CALL(cuEventElapsedTime);
    object *a = find(first, "event"), *b = find(second, "event");
    if (!a || !b || !a->recorded || !b->recorded || !a->timed || !b->timed) UNLOCK(INVALID_HANDLE);
    if (!a->done || !b->done) UNLOCK(NOT_READY);
    *ms = (float)(b->at_ms - a->at_ms);
    UNLOCK(OK);
}
int cuEventElapsedTime(float *ms, void *first, void *second) { return cuEventElapsedTime_v2(ms, first, second); }

int cuStreamBeginCapture_v2(void *handle, int mode) {
    CONTEXT_CALL(cuStreamBeginCapture);
    object *stream = find(handle, "stream");
    if (!stream) UNLOCK(INVALID_HANDLE);
    if (stream->capturing) UNLOCK(ILLEGAL_STATE);
    if (mode != 1) UNLOCK(INVALID_VALUE);  /* only the thread-local mode is modelled */
    stream->capturing = 1;
    stream->spoilt = 0;
    stream->thread = pthread_self();
    UNLOCK(OK);
}
int cuStreamEndCapture(void *handle, void **graph) {
    CONTEXT_CALL(cuStreamEndCapture);
    object *stream = find(handle, "stream");
    *graph = NULL;
    if (!stream) UNLOCK(INVALID_HANDLE);
    if (!stream->capturing) UNLOCK(ILLEGAL_STATE);
    if (!pthread_equal(stream->thread, pthread_self())) UNLOCK(WRONG_THREAD);
    object *made = create("graph");
    made->captured_first = stream->captured_first;
    stream->captured_first = NULL;
    stream->captured_last = &stream->captured_first;
    stream->capturing = 0;
    if (stream->spoilt) { destroy(made); UNLOCK(CAPTURE_INVALIDATED); }
    *graph = made;
    UNLOCK(OK);
}
int cuGraphInstantiateWithFlags(void **ready, void *handle, unsigned long long flags) {
    CONTEXT_CALL(cuGraphInstantiate);
    object *graph = find(handle, "graph");
    if (!graph) UNLOCK(INVALID_HANDLE);
    object *made = create("exec");
    for (op *w = graph->captured_first; w; w = w->next) {
        op *copy = malloc(sizeof *copy);
        *copy = *w;
        copy->next = NULL;
        *made->captured_last = copy;
        made->captured_last = &copy->next;
    }
    *ready = made;
    UNLOCK(OK);
}
int cuGraphLaunch(void *handle, void *into) {
    CONTEXT_CALL(cuGraphLaunch);
    object *ready = find(handle, "exec"), *stream = find(into, "stream");
    if (!ready || !stream) UNLOCK(INVALID_HANDLE);
    for (op *w = ready->captured_first; w; w = w->next) {
        op *copy = malloc(sizeof *copy);
        *copy = *w;
        copy->next = NULL;
        *stream->work.last = copy;
        stream->work.last = &copy->next;
    }
    UNLOCK(OK);
}
static int drop(void *handle, const char *kind) {
    object *gone = find(handle, kind);
    if (!gone) return INVALID_HANDLE;
    destroy(gone);
    return OK;
}
int cuGraphDestroy(void *graph) { CONTEXT_CALL(cuGraphDestroy); UNLOCK(drop(graph, "graph")); }
int cuGraphExecDestroy(void *ready) { CONTEXT_CALL(cuGraphExecDestroy); UNLOCK(drop(ready, "exec")); }

int cuGetErrorName(int code, const char **name) {
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].code == code) { *name = errors[i].name; return OK; }
    *name = NULL;
    return INVALID_VALUE;
}
int cuGetErrorString(int code, const char **text) {
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].code == code) { *text = errors[i].text; return OK; }
    *text = NULL;
    return INVALID_VALUE;
}
int cuGetProcAddress_v2(const char *symbol, void **found, int version, uint64_t flags, int *status) {
    char name[128], lacks[512];
    void *self = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    snprintf(lacks, sizeof lacks, ",%s,", getenv("SOFT_CUDA_LACKS") ? getenv("SOFT_CUDA_LACKS") : "");
    snprintf(name, sizeof name, ",%s,", symbol);
    *found = NULL;
    if (!strstr(lacks, name)) {
        snprintf(name, sizeof name, "%s_v2", symbol);
        if (!strcmp(symbol, "cuGraphInstantiate")) snprintf(name, sizeof name, "cuGraphInstantiateWithFlags");
        *found = dlsym(self, name);
        if (!*found) *found = dlsym(self, symbol);
    }
    if (self) dlclose(self);
    if (status) *status = *found ? 0 : 1;
    return *found ? OK : NOT_FOUND;
}
