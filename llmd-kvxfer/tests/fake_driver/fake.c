/* A driver over host memory, for tests: CUDA's symbols with -DFAKE_CUDA, HIP's with -DFAKE_HIP.
 *
 * Copies and kernels are done by a thread of its own, in order within a stream and in none between streams: it takes the head of
 * a stream that it draws. It is stricter than a driver: memory of the host that is not registered is refused, and so is memory of
 * a device that is not allocated; what is freed while it is in use is counted. What a test wants to go wrong is said by
 * llmd_fake_*, at the end. With -DFAKE_OLD it has no call for many copies, as before CUDA 12.8.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum {
    OK = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    INVALID_DEVICE = 101,
    INVALID_CONTEXT = 201,
    INVALID_PTX = 218,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    NOT_READY = 600,
    ILLEGAL_ADDRESS = 700,
    ALREADY_REGISTERED = 712,
    NOT_REGISTERED = 713,
    LAUNCH_FAILED = 719,
};

enum { DEVICES = 2, DEVICE_BYTES = 1 << 30 };

typedef struct Range {
    struct Range *next;
    uintptr_t start;
    size_t len;
    char name[48];
} Range;

typedef struct Event {
    unsigned pending;
    int code;
    int is_gone;
} Event;

typedef enum { COPY, ROWS, PACK, MARK } Kind;

typedef struct Op {
    struct Op *next;
    Kind kind;
    uintptr_t to, from;
    size_t len, to_stride, from_stride, rows;
    int is_gather;
    Event *event;
} Op;

typedef struct Stream {
    struct Stream *next;
    Op *head, *tail;
    int code;
    int is_busy;
} Stream;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static Range *allocations, *imports, *registrations;
static Stream *streams;
static size_t allocated, events, contexts, modules, stream_count, misuses, serial;
static unsigned delay_us;
static int is_held, is_lost;
static uint64_t chance = 88172645463325252u;

/* What fails next: the nth call of this name, or the nth copy as it is done. */
static char failing[48];
static unsigned failing_in;
static int failing_code;
static unsigned later_in;
static int later_code;

static int fails(const char *call) {
    if (is_lost)
        return LAUNCH_FAILED;
    if (failing_in && !strcmp(call, failing) && --failing_in == 0)
        return failing_code;
    return OK;
}

static Range *within(Range *list, uintptr_t start, size_t len) {
    for (; list; list = list->next)
        if (start >= list->start && len <= list->len && start - list->start <= list->len - len)
            return list;
    return NULL;
}

static Range *add(Range **list, uintptr_t start, size_t len) {
    Range *range = calloc(1, sizeof *range);
    range->start = start, range->len = len, range->next = *list;
    return *list = range;
}

static Range *take(Range **list, uintptr_t start) {
    for (; *list; list = &(*list)->next)
        if ((*list)->start == start) {
            Range *taken = *list;
            *list = taken->next;
            return taken;
        }
    return NULL;
}

static int is_device(uintptr_t start, size_t len) {
    return within(allocations, start, len) || within(imports, start, len);
}

static int is_reached(uintptr_t start, size_t len) {
    return is_device(start, len) || within(registrations, start, len);
}

static int touches(const Op *op, const Range *range) {
    size_t to = op->rows ? (op->rows - 1) * op->to_stride + op->len : op->len;
    size_t from = op->rows ? (op->rows - 1) * op->from_stride + op->len : op->len;
    uintptr_t end = range->start + range->len;
    return (op->to < end && range->start < op->to + to) || (op->from < end && range->start < op->from + from);
}

/* Memory that goes while something is under way that uses it. */
static void leaves(const Range *range) {
    for (Stream *stream = streams; stream; stream = stream->next)
        for (Op *op = stream->head; op; op = op->next)
            if (op->kind != MARK && touches(op, range))
                misuses++;
}

static int pack(const Op *op) {
    const uint64_t *entry = (const uint64_t *)op->from;
    if (!is_device(op->from, op->rows * 24))
        return ILLEGAL_ADDRESS;
    for (size_t i = 0; i < op->rows; i++, entry += 3) {
        uintptr_t there = entry[0], slab = op->to + entry[1];
        if (!is_device(there, entry[2]) || !is_device(slab, entry[2]))
            return ILLEGAL_ADDRESS;
        if (op->is_gather)
            memcpy((void *)slab, (void *)there, entry[2]);
        else
            memcpy((void *)there, (void *)slab, entry[2]);
    }
    return OK;
}

static int perform(const Op *op) {
    size_t rows = op->kind == ROWS ? op->rows : 1;
    if (is_lost)
        return LAUNCH_FAILED;
    if (later_in && --later_in == 0)
        return later_code;
    if (op->kind == PACK)
        return pack(op);
    for (size_t row = 0; row < rows; row++) {
        uintptr_t to = op->to + row * op->to_stride, from = op->from + row * op->from_stride;
        if (!is_reached(to, op->len) || !is_reached(from, op->len))
            return ILLEGAL_ADDRESS;
        memcpy((void *)to, (void *)from, op->len);
    }
    return OK;
}

/* A stream that has something to do, drawn from all that have. */
static Stream *drawn(void) {
    size_t ready = 0;
    for (Stream *stream = streams; stream; stream = stream->next)
        ready += stream->head != NULL;
    if (!ready)
        return NULL;
    chance ^= chance << 13, chance ^= chance >> 7, chance ^= chance << 17;
    size_t at = chance % ready;
    for (Stream *stream = streams; stream; stream = stream->next)
        if (stream->head && !at--)
            return stream;
    return NULL;
}

static void *work(void *unused) {
    (void)unused;
    pthread_mutex_lock(&lock);
    for (;;) {
        Stream *stream = is_held ? NULL : drawn();
        if (!stream) {
            pthread_cond_wait(&changed, &lock);
            continue;
        }
        Op *op = stream->head;
        if (delay_us && op->kind != MARK) {
            struct timespec pause = {0, delay_us * 1000L};
            stream->is_busy = 1;
            pthread_mutex_unlock(&lock);
            nanosleep(&pause, NULL);
            pthread_mutex_lock(&lock);
            stream->is_busy = 0;
        }
        if (op->kind == MARK) {
            op->event->code = stream->code;
            if (--op->event->pending == 0 && op->event->is_gone)
                free(op->event);
            stream->code = OK;
        } else if (stream->code == OK) {
            stream->code = perform(op);
        }
        stream->head = op->next;
        if (!stream->head)
            stream->tail = NULL;
        free(op);
        pthread_cond_broadcast(&changed);
    }
    return NULL;
}

/* Names in shared memory that a test left behind. */
__attribute__((destructor)) static void tidy(void) {
    for (Range *range = allocations; range; range = range->next)
        shm_unlink(range->name);
}

static void start(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, work, NULL);
    pthread_detach(thread);
}

static int submit(Stream *stream, Op op) {
    Op *own = malloc(sizeof *own);
    *own = op, own->next = NULL;
    if (stream->tail)
        stream->tail->next = own;
    else
        stream->head = own;
    stream->tail = own;
    pthread_cond_broadcast(&changed);
    return OK;
}

/* The calls, in words of neither vendor. Each holds the lock. */

#define CALL(name)                                                                                                     \
    pthread_mutex_lock(&lock);                                                                                         \
    int code = fails(name);                                                                                            \
    if (code == OK)
#define END                                                                                                            \
    pthread_mutex_unlock(&lock);                                                                                       \
    return code

static int f_init(void) {
    pthread_once(&once, start);
    CALL("init") {}
    END;
}

static int f_allocate(uint64_t *address, size_t len) {
    CALL("allocate") {
        char name[48];
        snprintf(name, sizeof name, "/llmd-fake-%d-%zu-%p", (int)getpid(), ++serial, (void *)&serial);
        int file = len && allocated + len <= DEVICE_BYTES ? shm_open(name, O_CREAT | O_EXCL | O_RDWR, 0600) : -1;
        void *start = MAP_FAILED;
        if (file >= 0 && ftruncate(file, (off_t)len) == 0)
            start = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (file >= 0)
            close(file);
        if (start == MAP_FAILED) {
            shm_unlink(name);
            code = len ? OUT_OF_MEMORY : INVALID_VALUE;
        } else {
            strcpy(add(&allocations, (uintptr_t)start, len)->name, name);
            allocated += len;
            *address = (uintptr_t)start;
        }
    }
    END;
}

static int f_free(uint64_t address) {
    CALL("free") {
        Range *range = take(&allocations, address);
        if (!range) {
            misuses++;
            code = INVALID_VALUE;
        } else {
            leaves(range);
            munmap((void *)range->start, range->len);
            shm_unlink(range->name);
            allocated -= range->len;
            free(range);
        }
    }
    END;
}

static int f_allocation(uint64_t *base, size_t *len, uint64_t address) {
    CALL("allocation") {
        Range *range = within(allocations, address, 1);
        if (!range)
            range = within(imports, address, 1);
        if (!range)
            code = INVALID_VALUE;
        else
            *base = range->start, *len = range->len;
    }
    END;
}

static int f_register(void *start, size_t len, unsigned flags) {
    CALL("register") {
        if (!start || !len || flags != 3)
            code = INVALID_VALUE;
        for (Range *range = registrations; range && code == OK; range = range->next)
            if ((uintptr_t)start < range->start + range->len && range->start < (uintptr_t)start + len)
                code = ALREADY_REGISTERED;
        if (code == OK)
            add(&registrations, (uintptr_t)start, len);
    }
    END;
}

static int f_unregister(void *start) {
    CALL("unregister") {
        Range *range = take(&registrations, (uintptr_t)start);
        if (!range) {
            misuses++;
            code = NOT_REGISTERED;
        } else {
            leaves(range);
            free(range);
        }
    }
    END;
}

static int f_stream_create(void **stream, unsigned flags) {
    CALL("stream_create") {
        Stream *made = calloc(1, sizeof *made);
        if (flags != 1)
            misuses++;
        made->next = streams, streams = made, *stream = made;
        stream_count++;
    }
    END;
}

static void drain(Stream *stream) {
    while (stream->head || stream->is_busy)
        pthread_cond_wait(&changed, &lock);
}

static int f_stream_synchronize(Stream *stream) {
    CALL("stream_synchronize") {
        drain(stream);
        code = stream->code;
        stream->code = OK;
    }
    END;
}

static int f_stream_destroy(Stream *stream) {
    pthread_mutex_lock(&lock);
    drain(stream);
    for (Stream **at = &streams; *at; at = &(*at)->next)
        if (*at == stream) {
            *at = stream->next;
            break;
        }
    free(stream);
    stream_count--;
    pthread_mutex_unlock(&lock);
    return OK;
}

static int f_event_create(void **event, unsigned flags) {
    CALL("event_create") {
        if (flags != 3)
            misuses++;
        *event = calloc(1, sizeof(Event));
        events++;
    }
    END;
}

static int f_event_record(Event *event, Stream *stream) {
    CALL("event_record") {
        event->pending++;
        code = submit(stream, (Op){.kind = MARK, .event = event});
    }
    END;
}

static int f_event_query(Event *event) {
    CALL("event_query") { code = event->pending ? NOT_READY : event->code; }
    END;
}

static int f_event_synchronize(Event *event) {
    CALL("event_synchronize") {
        while (event->pending)
            pthread_cond_wait(&changed, &lock);
        code = event->code;
    }
    END;
}

static int f_event_destroy(Event *event) {
    pthread_mutex_lock(&lock);
    event->is_gone = 1;
    if (!event->pending)
        free(event);
    events--;
    pthread_mutex_unlock(&lock);
    return OK;
}

static int checked(uintptr_t to, uintptr_t from, size_t len) {
    return is_reached(to, len) && is_reached(from, len) && (is_device(to, len) || is_device(from, len));
}

static int f_copy(uintptr_t to, uintptr_t from, size_t len, Stream *stream) {
    CALL("copy") {
        if (!checked(to, from, len))
            code = INVALID_VALUE;
        else
            code = submit(stream, (Op){.kind = COPY, .to = to, .from = from, .len = len});
    }
    END;
}

static int f_within(uintptr_t to, uintptr_t from, size_t len, Stream *stream) {
    CALL("within") {
        if (!is_device(to, len) || !is_device(from, len))
            code = INVALID_VALUE;
        else
            code = submit(stream, (Op){.kind = COPY, .to = to, .from = from, .len = len});
    }
    END;
}

#ifndef FAKE_OLD
typedef struct {
    unsigned order;
    int source[2], destination[2];
    unsigned flags;
} Attributes;

static int f_batch(uint64_t *to, uint64_t *from, size_t *lens, size_t count, Attributes *attributes, size_t *first,
                   size_t sets, size_t *failed, Stream *stream) {
    CALL("batch") {
        if (!count || sets != 1 || *first != 0 || attributes->order != 1)
            code = INVALID_VALUE;
        for (size_t i = 0; i < count && code == OK; i++) {
            code = fails("batched_copy");
            if (code == OK && !checked(to[i], from[i], lens[i]))
                code = INVALID_VALUE;
            if (code == OK)
                submit(stream, (Op){.kind = COPY, .to = to[i], .from = from[i], .len = lens[i]});
            else if (failed)
                *failed = i;
        }
    }
    END;
}

#endif

static int f_rows(uintptr_t to, size_t to_stride, uintptr_t from, size_t from_stride, size_t len, size_t rows,
                  Stream *stream) {
    CALL("rows") {
        if (!rows || len > to_stride || len > from_stride ||
            !checked(to, from, len) || !checked(to + (rows - 1) * to_stride, from + (rows - 1) * from_stride, len))
            code = INVALID_VALUE;
        else
            code = submit(stream, (Op){.kind = ROWS, .to = to, .from = from, .len = len, .rows = rows,
                                       .to_stride = to_stride, .from_stride = from_stride});
    }
    END;
}

typedef struct {
    char bytes[64];
} Handle;

static int f_ipc_export(Handle *handle, uint64_t address) {
    CALL("ipc_export") {
        Range *range = within(allocations, address, 1);
        if (!range) {
            code = INVALID_VALUE;
        } else {
            uint64_t len = range->len;
            memset(handle, 0, sizeof *handle);
            memcpy(handle->bytes, &len, sizeof len);
            strcpy(handle->bytes + sizeof len, range->name);
        }
    }
    END;
}

static int f_ipc_open(uint64_t *address, Handle handle, unsigned flags) {
    CALL("ipc_open") {
        uint64_t len;
        char own[32];
        memcpy(&len, handle.bytes, sizeof len);
        handle.bytes[63] = 0;
        const char *name = handle.bytes + sizeof len;
        snprintf(own, sizeof own, "/llmd-fake-%d-", (int)getpid());
        int file = -1;
        void *start = MAP_FAILED;
        if (flags == 1 && !strncmp(name, "/llmd-fake-", 11) && strncmp(name, own, strlen(own)))
            file = shm_open(name, O_RDWR, 0);
        if (file >= 0) {
            start = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
            close(file);
        }
        /* As drivers do, what this process exported is refused. */
        if (start == MAP_FAILED)
            code = strncmp(name, own, strlen(own)) ? INVALID_HANDLE : INVALID_CONTEXT;
        else
            add(&imports, (uintptr_t)start, len), *address = (uintptr_t)start;
    }
    END;
}

static int f_ipc_close(uint64_t address) {
    CALL("ipc_close") {
        Range *range = take(&imports, address);
        if (!range) {
            misuses++;
            code = INVALID_VALUE;
        } else {
            leaves(range);
            munmap((void *)range->start, range->len);
            free(range);
        }
    }
    END;
}

static const char *name_of(int code) {
    switch (code) {
    case OK: return "SUCCESS";
    case INVALID_VALUE: return "ERROR_INVALID_VALUE";
    case OUT_OF_MEMORY: return "ERROR_OUT_OF_MEMORY";
    case INVALID_DEVICE: return "ERROR_INVALID_DEVICE";
    case INVALID_CONTEXT: return "ERROR_INVALID_CONTEXT";
    case INVALID_PTX: return "ERROR_INVALID_PTX";
    case INVALID_HANDLE: return "ERROR_INVALID_HANDLE";
    case NOT_FOUND: return "ERROR_NOT_FOUND";
    case NOT_READY: return "ERROR_NOT_READY";
    case ILLEGAL_ADDRESS: return "ERROR_ILLEGAL_ADDRESS";
    case ALREADY_REGISTERED: return "ERROR_HOST_MEMORY_ALREADY_REGISTERED";
    case NOT_REGISTERED: return "ERROR_HOST_MEMORY_NOT_REGISTERED";
    case LAUNCH_FAILED: return "ERROR_LAUNCH_FAILED";
    default: return NULL;
    }
}

static int f_error_name(int code, const char **name) {
    return (*name = name_of(code)) ? OK : INVALID_VALUE;
}

#ifdef FAKE_CUDA

static __thread void *stack[16];
static __thread int depth;
static char primary[DEVICES];

static int is_entered(void) {
    if (!depth) {
        pthread_mutex_lock(&lock);
        misuses++;
        pthread_mutex_unlock(&lock);
    }
    return depth > 0;
}
#define IN(call) (is_entered() ? (call) : INVALID_CONTEXT)

int cuInit(unsigned flags) { return flags ? INVALID_VALUE : f_init(); }
int cuDeviceGetCount(int *count) { return *count = DEVICES, OK; }
int cuDeviceGet(int *device, int ordinal) {
    return ordinal < 0 || ordinal >= DEVICES ? INVALID_DEVICE : (*device = ordinal, OK);
}
int cuGetErrorName(int code, const char **name) { return f_error_name(code, name); }
int cuDevicePrimaryCtxRetain(void **context, int device) {
    CALL("retain") { contexts++, *context = &primary[device]; }
    END;
}
int cuDevicePrimaryCtxRelease_v2(int device) {
    (void)device;
    pthread_mutex_lock(&lock);
    contexts--;
    pthread_mutex_unlock(&lock);
    return OK;
}
int cuCtxPushCurrent_v2(void *context) {
    return context && depth < 16 ? (stack[depth++] = context, OK) : INVALID_CONTEXT;
}
int cuCtxPopCurrent_v2(void **context) { return depth ? (*context = stack[--depth], OK) : INVALID_CONTEXT; }
int cuMemAlloc_v2(uint64_t *address, size_t len) { return IN(f_allocate(address, len)); }
int cuMemFree_v2(uint64_t address) { return IN(f_free(address)); }
int cuMemGetAddressRange_v2(uint64_t *base, size_t *len, uint64_t address) {
    return IN(f_allocation(base, len, address));
}
int cuMemHostRegister_v2(void *start, size_t len, unsigned flags) { return IN(f_register(start, len, flags)); }
int cuMemHostUnregister(void *start) { return IN(f_unregister(start)); }
int cuStreamCreate(void **stream, unsigned flags) { return IN(f_stream_create(stream, flags)); }
int cuStreamDestroy_v2(void *stream) { return IN(f_stream_destroy(stream)); }
int cuStreamSynchronize(void *stream) { return IN(f_stream_synchronize(stream)); }
int cuEventCreate(void **event, unsigned flags) { return IN(f_event_create(event, flags)); }
int cuEventRecord(void *event, void *stream) { return IN(f_event_record(event, stream)); }
int cuEventQuery(void *event) { return IN(f_event_query(event)); }
int cuEventSynchronize(void *event) { return IN(f_event_synchronize(event)); }
int cuEventDestroy_v2(void *event) { return IN(f_event_destroy(event)); }
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t len, void *stream) {
    return IN(f_copy(to, (uintptr_t)from, len, stream));
}
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t len, void *stream) {
    return IN(f_copy((uintptr_t)to, from, len, stream));
}
int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t len, void *stream) {
    return IN(f_within(to, from, len, stream));
}
#ifndef FAKE_OLD
#ifdef FAKE_POINTING
int cuMemcpyBatchAsync(uint64_t *to, uint64_t *from, size_t *lens, size_t count, Attributes *attributes, size_t *first,
                       size_t sets, size_t *failed, void *stream) {
    return IN(f_batch(to, from, lens, count, attributes, first, sets, failed, stream));
}
#else
int cuMemcpyBatchAsync_v2(uint64_t *to, uint64_t *from, size_t *lens, size_t count, Attributes *attributes,
                          size_t *first, size_t sets, void *stream) {
    return IN(f_batch(to, from, lens, count, attributes, first, sets, NULL, stream));
}
#endif
#endif

typedef struct {
    size_t source_x, source_y;
    unsigned source_kind;
    const void *source_host;
    uint64_t source_device;
    void *source_array;
    size_t source_pitch;
    size_t x, y;
    unsigned kind;
    void *host;
    uint64_t device;
    void *array;
    size_t pitch;
    size_t width, height;
} Description;

int cuMemcpy2DAsync_v2(const Description *d, void *stream) {
    enum { HOST = 1, DEVICE = 2 };
    uintptr_t to = d->kind == HOST ? (uintptr_t)d->host : d->device;
    uintptr_t from = d->source_kind == HOST ? (uintptr_t)d->source_host : d->source_device;
    if (d->source_x || d->source_y || d->x || d->y || d->source_array || d->array || d->kind + d->source_kind != 3)
        return INVALID_VALUE;
    return IN(f_rows(to, d->pitch, from, d->source_pitch, d->width, d->height, stream));
}
int cuIpcGetMemHandle(Handle *handle, uint64_t address) { return IN(f_ipc_export(handle, address)); }
int cuIpcOpenMemHandle_v2(uint64_t *address, Handle handle, unsigned flags) {
    return IN(f_ipc_open(address, handle, flags));
}
int cuIpcCloseMemHandle(uint64_t address) { return IN(f_ipc_close(address)); }

/* The kernels that pack are known by name; what runs is this, not their PTX. */
static char gather, scatter;

int cuModuleLoadData(void **module, const void *image) {
    CALL("module_load") {
        if (!is_entered())
            code = INVALID_CONTEXT;
        else if (!strstr(image, ".visible .entry llmd_gather(") || !strstr(image, ".visible .entry llmd_scatter("))
            code = INVALID_PTX;
        else
            modules++, *module = &gather;
    }
    END;
}
int cuModuleUnload(void *module) {
    (void)module;
    pthread_mutex_lock(&lock);
    modules--;
    pthread_mutex_unlock(&lock);
    return OK;
}
int cuModuleGetFunction(void **function, void *module, const char *name) {
    (void)module;
    *function = !strcmp(name, "llmd_gather") ? &gather : !strcmp(name, "llmd_scatter") ? &scatter : NULL;
    return *function ? OK : NOT_FOUND;
}
int cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned threads_y,
                   unsigned threads_z, unsigned shared, void *stream, void **arguments, void **extra) {
    CALL("launch") {
        if (!is_entered())
            code = INVALID_CONTEXT;
        else if (!x || y != 1 || z != 1 || !threads || threads > 1024 || threads_y != 1 || threads_z != 1 || shared || extra)
            code = INVALID_VALUE;
        else
            code = submit(stream, (Op){.kind = PACK, .is_gather = function == &gather,
                                       .from = *(uint64_t *)arguments[0], .rows = *(uint64_t *)arguments[1],
                                       .to = *(uint64_t *)arguments[2]});
    }
    END;
}

#endif

#ifdef FAKE_HIP

static __thread int current;

int hipInit(unsigned flags) { return flags ? INVALID_VALUE : f_init(); }
int hipGetDeviceCount(int *count) { return *count = DEVICES, OK; }
int hipGetDevice(int *device) { return *device = current, OK; }
int hipSetDevice(int device) { return device < 0 || device >= DEVICES ? INVALID_DEVICE : (current = device, OK); }
int hipDrvGetErrorName(int code, const char **name) { return f_error_name(code, name); }
int hipMalloc(void **start, size_t len) { return f_allocate((uint64_t *)start, len); }
int hipFree(void *start) { return f_free((uintptr_t)start); }
int hipMemGetAddressRange(void **base, size_t *len, void *address) {
    return f_allocation((uint64_t *)base, len, (uintptr_t)address);
}
int hipHostRegister(void *start, size_t len, unsigned flags) { return f_register(start, len, flags); }
int hipHostUnregister(void *start) { return f_unregister(start); }
int hipStreamCreateWithFlags(void **stream, unsigned flags) { return f_stream_create(stream, flags); }
int hipStreamDestroy(void *stream) { return f_stream_destroy(stream); }
int hipStreamSynchronize(void *stream) { return f_stream_synchronize(stream); }
int hipEventCreateWithFlags(void **event, unsigned flags) { return f_event_create(event, flags); }
int hipEventRecord(void *event, void *stream) { return f_event_record(event, stream); }
int hipEventQuery(void *event) { return f_event_query(event); }
int hipEventSynchronize(void *event) { return f_event_synchronize(event); }
int hipEventDestroy(void *event) { return f_event_destroy(event); }
int hipMemcpyHtoDAsync(void *to, const void *from, size_t len, void *stream) {
    return f_copy((uintptr_t)to, (uintptr_t)from, len, stream);
}
int hipMemcpyDtoHAsync(void *to, void *from, size_t len, void *stream) {
    return f_copy((uintptr_t)to, (uintptr_t)from, len, stream);
}
int hipMemcpyDtoDAsync(void *to, void *from, size_t len, void *stream) {
    return f_within((uintptr_t)to, (uintptr_t)from, len, stream);
}
#ifndef FAKE_OLD
int hipMemcpyBatchAsync(void **to, void **from, size_t *lens, size_t count, Attributes *attributes, size_t *first,
                        size_t sets, size_t *failed, void *stream) {
    return f_batch((uint64_t *)to, (uint64_t *)from, lens, count, attributes, first, sets, failed, stream);
}
#endif
int hipMemcpy2DAsync(void *to, size_t pitch, const void *from, size_t source_pitch, size_t width, size_t height,
                     int kind, void *stream) {
    pthread_mutex_lock(&lock);
    int is_right = kind == (is_device((uintptr_t)to, 1) ? 1 : 2);
    pthread_mutex_unlock(&lock);
    if (!is_right)
        return INVALID_VALUE;
    return f_rows((uintptr_t)to, pitch, (uintptr_t)from, source_pitch, width, height, stream);
}
int hipIpcGetMemHandle(Handle *handle, void *address) { return f_ipc_export(handle, (uintptr_t)address); }
int hipIpcOpenMemHandle(void **address, Handle handle, unsigned flags) {
    return f_ipc_open((uint64_t *)address, handle, flags);
}
int hipIpcCloseMemHandle(void *address) { return f_ipc_close((uintptr_t)address); }

#endif

/* What tests say and ask. */

/* The nth call of this name from now on (from 1) gives this code. */
void llmd_fake_fail(const char *call, unsigned nth, int code) {
    pthread_mutex_lock(&lock);
    snprintf(failing, sizeof failing, "%s", call);
    failing_in = nth, failing_code = code;
    pthread_mutex_unlock(&lock);
}

/* The nth copy or kernel that is done from now on (from 1) gives this code. */
void llmd_fake_fail_later(unsigned nth, int code) {
    pthread_mutex_lock(&lock);
    later_in = nth, later_code = code;
    pthread_mutex_unlock(&lock);
}

/* Every call fails, and all that is under way does. */
void llmd_fake_lose(int lost) {
    pthread_mutex_lock(&lock);
    is_lost = lost;
    pthread_mutex_unlock(&lock);
}

/* Nothing is done while it is held. */
void llmd_fake_hold(int held) {
    pthread_mutex_lock(&lock);
    is_held = held;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

/* Each copy takes so long. */
void llmd_fake_delay(unsigned us) {
    pthread_mutex_lock(&lock);
    delay_us = us;
    pthread_mutex_unlock(&lock);
}

/* Allocations, imports, registrations, events, streams, modules, contexts that were not given back, and misuses. */
void llmd_fake_left(size_t left[8]) {
    size_t lists[3] = {0};
    pthread_mutex_lock(&lock);
    Range *heads[3] = {allocations, imports, registrations};
    for (int i = 0; i < 3; i++)
        for (Range *range = heads[i]; range; range = range->next)
            lists[i]++;
    size_t all[8] = {lists[0], lists[1], lists[2], events, stream_count, modules, contexts, misuses};
    memcpy(left, all, sizeof all);
    pthread_mutex_unlock(&lock);
}
