/* The work in C: reads `job calls` lines, and answers each with the nanoseconds that a call took. */

#define _POSIX_C_SOURCE 200809L

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "llmd.h"

enum { WORKERS = 64, ENDPOINTS = 8 };

typedef struct {
    uint8_t *bytes;
    size_t len;
} file;

static llmd_index *held;
static llmd_scheduler *scheduler;
static llmd_endpoint *endpoints[ENDPOINTS];
static file prompt, batches[2];
static uint64_t seq;
static uint32_t numbers[WORKERS];

static void check(llmd_status status, llmd_error *error) {
    if (status != LLMD_OK) {
        fprintf(stderr, "bench.c: %s\n", llmd_error_message(error));
        exit(1);
    }
}

static file read_file(const char *folder, const char *name) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *opened = fopen(path, "rb");
    if (opened == NULL || fseek(opened, 0, SEEK_END) != 0) {
        perror(path);
        exit(1);
    }
    file whole = {NULL, (size_t)ftell(opened)};
    whole.bytes = malloc(whole.len + 1);
    rewind(opened);
    if (whole.bytes == NULL || fread(whole.bytes, 1, whole.len, opened) != whole.len) {
        perror(path);
        exit(1);
    }
    whole.bytes[whole.len] = 0; /* text ends with NUL */
    fclose(opened);
    return whole;
}

static void set_up(const char *folder) {
    llmd_error *error = NULL;
    llmd_index_settings settings = {.struct_size = sizeof settings, .block_size = 16};
    held = llmd_index_new(&settings, &error);
    check(held == NULL ? LLMD_INVALID : LLMD_OK, error);
    for (int worker = 0; worker < WORKERS; worker++) {
        char name[32], path[48];
        snprintf(name, sizeof name, "worker-%02d", worker);
        snprintf(path, sizeof path, "%s.msgpack", name);
        file payload = read_file(folder, path);
        check(llmd_index_apply(held, name, 0, payload.bytes, payload.len, NULL, &error), error);
        free(payload.bytes);
        check(llmd_index_worker(held, name, &numbers[worker], &error), error);
        if (worker >= WORKERS - ENDPOINTS) {
            llmd_endpoint_settings at = {.struct_size = sizeof at, .name = name, .address = "10.0.0.1:8000"};
            llmd_endpoint *made = llmd_endpoint_new(&at, held, &error);
            check(made == NULL ? LLMD_INVALID : LLMD_OK, error);
            endpoints[worker - (WORKERS - ENDPOINTS)] = made;
        }
    }
    file yaml = read_file(folder, "epp.yaml");
    scheduler = llmd_scheduler_from_yaml((const char *)yaml.bytes, held, &error);
    check(scheduler == NULL ? LLMD_INVALID : LLMD_OK, error);
    free(yaml.bytes);
    prompt = read_file(folder, "prompt.u32");
    batches[0] = read_file(folder, "store.msgpack");
    batches[1] = read_file(folder, "remove.msgpack");
}

static void apply(void) {
    llmd_error *error = NULL;
    file *payload = &batches[seq % 2];
    check(llmd_index_apply(held, "applied", seq++, payload->bytes, payload->len, NULL, &error), error);
}

static void decide(void) {
    llmd_error *error = NULL;
    llmd_decision *decision = NULL;
    llmd_request request = {.struct_size = sizeof request,
                            .id = "request",
                            .model = "model",
                            .tokens = (const uint32_t *)(const void *)prompt.bytes,
                            .tokens_len = prompt.len / sizeof(uint32_t)};
    check(llmd_scheduler_decide(scheduler, &request, endpoints, ENDPOINTS, &decision, &error), error);
    if (llmd_decision_predicted_hit_tokens(decision) == 0) {
        fprintf(stderr, "bench.c: nothing is predicted\n");
        exit(1);
    }
    llmd_decision_free(decision);
}

static void query(void) {
    static llmd_overlap found[2 * WORKERS];
    llmd_error *error = NULL;
    size_t len = sizeof found / sizeof *found;
    const uint32_t *tokens = (const uint32_t *)(const void *)prompt.bytes;
    check(llmd_index_query(held, tokens, prompt.len / sizeof(uint32_t), NULL, found, &len, &error), error);
    if (len != WORKERS) {
        fprintf(stderr, "bench.c: %zu workers hold the prompt\n", len);
        exit(1);
    }
}

static void dense(void) {
    static uint32_t leading[WORKERS];
    llmd_error *error = NULL;
    const uint32_t *tokens = (const uint32_t *)(const void *)prompt.bytes;
    size_t len = prompt.len / sizeof(uint32_t);
    check(llmd_index_query_dense(held, tokens, len, NULL, numbers, WORKERS, leading, &error), error);
    if (leading[WORKERS - 1] == 0) {
        fprintf(stderr, "bench.c: the last worker holds nothing\n");
        exit(1);
    }
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: bench FOLDER\n");
        return 2;
    }
    set_up(argv[1]);
    char job[16];
    unsigned long calls;
    while (scanf("%15s %lu", job, &calls) == 2 && calls > 0) {
        void (*call)(void) = strcmp(job, "apply") == 0    ? apply
                             : strcmp(job, "decide") == 0 ? decide
                             : strcmp(job, "dense") == 0  ? dense
                                                          : query;
        struct timespec began, ended;
        clock_gettime(CLOCK_MONOTONIC, &began);
        for (unsigned long n = 0; n < calls; n++) {
            call();
        }
        clock_gettime(CLOCK_MONOTONIC, &ended);
        double took = (double)(ended.tv_sec - began.tv_sec) * 1e9 + (double)(ended.tv_nsec - began.tv_nsec);
        printf("%f\n", took / (double)calls);
        fflush(stdout);
    }
    return 0;
}
