/*
 * Two processes exchange KV: one has computed blocks, the other fetches them into its own cache, by shared memory.
 *
 *   cc move_kv.c $(pkg-config --cflags --libs llmd) && ./a.out
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <llmd.h>

enum { BLOCKS = 1024, BYTES = 65536 };

static void must(llmd_status status, llmd_error *error) {
    if (status != LLMD_OK) {
        fprintf(stderr, "%s: %s\n", llmd_status_name((int)status), llmd_error_message(error));
        llmd_error_free(error);
        exit(1);
    }
}

/* An agent, and a pool of its own. */
static llmd_agent *begin(const char *name, llmd_pool **pool) {
    llmd_error *error = NULL;
    llmd_agent *agent = llmd_agent_new(&(llmd_agent_settings){.struct_size = sizeof(llmd_agent_settings), .name = name}, &error);
    must(llmd_error_status(error), error);
    llmd_layout *layout = llmd_layout_block_major(BLOCKS, BYTES, NULL, &error);
    must(llmd_error_status(error), error);
    llmd_region *region =
        llmd_region_new(&(llmd_memory){.struct_size = sizeof(llmd_memory), .len = (size_t)llmd_layout_end(layout)}, &error);
    must(llmd_error_status(error), error);
    *pool = llmd_agent_register(agent, region, layout, NULL, &error);
    must(llmd_error_status(error), error);
    llmd_layout_free(layout);
    llmd_region_free(region);
    return agent;
}

static void decode(const uint8_t *grant, size_t grant_len) {
    llmd_error *error = NULL;
    llmd_pool *pool = NULL;
    llmd_agent *agent = begin("decode-0", &pool);
    const uint32_t into[] = {9, 4, 2};
    llmd_fetch fetch = {.struct_size = sizeof fetch, .grant = grant, .grant_len = grant_len, .pool = pool, .blocks = into, .blocks_len = 3};
    uint64_t op = 0;
    must(llmd_agent_fetch(agent, &fetch, &op, &error), error);
    llmd_agent_events *events = NULL;
    llmd_agent_event ended = {.struct_size = sizeof ended};
    must(llmd_agent_wait(agent, op, 5000, &events, &error), error);
    must(llmd_agent_events_get(events, 0, &ended, &error), error);
    printf("decode-0 has %zu blocks by %s: %s\n", ended.blocks - ended.failed_len, ended.transport, llmd_outcome_name((int)ended.outcome));
    llmd_agent_events_free(events);
    llmd_pool_free(pool);
    llmd_agent_free(agent);
}

static void prefill(const char *program) {
    static uint8_t content[BYTES];
    const uint32_t blocks[] = {3, 1, 7};
    llmd_error *error = NULL;
    llmd_pool *pool = NULL;
    llmd_agent *agent = begin("prefill-0", &pool);
    for (int at = 0; at < 3; at++) {
        memset(content, (int)blocks[at], sizeof content);
        must(llmd_pool_write_block(pool, blocks[at], content, sizeof content, &error), error);
    }
    llmd_bytes *grant = NULL; /* goes with the request */
    must(llmd_agent_grant(agent, pool, blocks, 3, NULL, &grant, &error), error);
    char command[8192];
    int len = snprintf(command, sizeof command, "'%s' ", program);
    for (size_t at = 0; at < llmd_bytes_len(grant) && len < (int)sizeof command - 3; at++)
        len += snprintf(command + len, sizeof command - (size_t)len, "%02x", llmd_bytes_data(grant)[at]);
    fflush(stdout);
    if (system(command) != 0) exit(1);
    llmd_agent_events *events = NULL;
    must(llmd_agent_poll(agent, &events, &error), error);
    for (size_t at = 0; at < llmd_agent_events_len(events); at++) {
        llmd_agent_event ended = {.struct_size = sizeof ended};
        must(llmd_agent_events_get(events, at, &ended, &error), error);
        printf("prefill-0 may use %zu blocks again\n", ended.free_len);
    }
    llmd_agent_events_free(events);
    llmd_bytes_free(grant);
    llmd_pool_free(pool);
    llmd_agent_free(agent);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        prefill(argv[0]);
        return 0;
    }
    static uint8_t grant[4096];
    size_t len = strlen(argv[1]) / 2;
    for (size_t at = 0; at < len && at < sizeof grant; at++) {
        char hex[3] = {argv[1][2 * at], argv[1][2 * at + 1], '\0'};
        grant[at] = (uint8_t)strtoul(hex, NULL, 16);
    }
    decode(grant, len);
    return 0;
}
