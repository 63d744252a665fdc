/*
 * Two processes exchange KV: one has computed blocks, the other fetches them into its own cache, by shared memory.
 *
 *   cc move_kv.c $(pkg-config --cflags --libs llmd) && ./a.out
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <llmd.h>

enum { BLOCKS = 1024, BYTES = 65536 };

static llmd_error *error; /* of the last call that failed */

#define CHECK(is_done)                                                                                \
    if (!(is_done)) {                                                                                 \
        fprintf(stderr, "%s: %s\n", #is_done, error != NULL ? llmd_error_message(error) : "it failed"); \
        exit(1);                                                                                      \
    }

static void prefill(llmd_agent *agent, llmd_pool *pool, int to) {
    static uint8_t content[BYTES];
    const uint32_t blocks[] = {3, 1, 7};
    for (int at = 0; at < 3; at++) {
        memset(content, (int)blocks[at], BYTES);
        CHECK(llmd_pool_write_block(pool, blocks[at], content, BYTES, &error) == LLMD_OK);
    }
    llmd_bytes *grant = NULL; /* goes with the request */
    CHECK(llmd_agent_grant(agent, pool, blocks, 3, NULL, &grant, &error) == LLMD_OK);
    CHECK(write(to, llmd_bytes_data(grant), llmd_bytes_len(grant)) == (ssize_t)llmd_bytes_len(grant));
    int status = 0;
    CHECK(wait(&status) > 0 && status == 0);
    llmd_agent_events *events = NULL;
    llmd_agent_event ended = {.struct_size = sizeof ended};
    CHECK(llmd_agent_poll(agent, &events, &error) == LLMD_OK);
    CHECK(llmd_agent_events_get(events, 0, &ended, &error) == LLMD_OK);
    printf("prefill-0 may use %zu blocks again\n", ended.free_len);
    llmd_agent_events_free(events);
    llmd_bytes_free(grant);
}

static void decode(llmd_agent *agent, llmd_pool *pool, int from) {
    static uint8_t grant[4096];
    const ssize_t len = read(from, grant, sizeof grant);
    CHECK(len > 0);
    const uint32_t into[] = {9, 4, 2};
    llmd_fetch fetch = {.struct_size = sizeof fetch, .grant = grant, .grant_len = (size_t)len, .pool = pool, .blocks = into, .blocks_len = 3};
    uint64_t op = 0;
    CHECK(llmd_agent_fetch(agent, &fetch, &op, &error) == LLMD_OK);
    llmd_agent_events *events = NULL;
    llmd_agent_event ended = {.struct_size = sizeof ended};
    CHECK(llmd_agent_wait(agent, op, 5000, &events, &error) == LLMD_OK);
    CHECK(llmd_agent_events_get(events, 0, &ended, &error) == LLMD_OK);
    printf("decode-0 has %zu blocks by %s: %s\n", ended.blocks - ended.failed_len, ended.transport, llmd_outcome_name((int)ended.outcome));
    llmd_agent_events_free(events);
}

int main(void) {
    int ends[2] = {0, 0};
    CHECK(pipe(ends) == 0);
    const pid_t child = fork(); /* before there is an agent: a process builds its own */
    CHECK(child >= 0 && close(child == 0 ? ends[1] : ends[0]) == 0);
    llmd_agent_settings settings = {.struct_size = sizeof settings, .name = child == 0 ? "decode-0" : "prefill-0"};
    llmd_memory memory = {.struct_size = sizeof memory, .len = (size_t)BLOCKS * BYTES};
    llmd_agent *agent = llmd_agent_new(&settings, &error);
    CHECK(agent != NULL);
    llmd_region *region = llmd_region_new(&memory, &error);
    CHECK(region != NULL);
    llmd_layout *layout = llmd_layout_block_major(BLOCKS, BYTES, NULL, &error);
    CHECK(layout != NULL);
    llmd_pool *pool = llmd_agent_register(agent, region, layout, NULL, &error);
    CHECK(pool != NULL);
    if (child == 0)
        decode(agent, pool, ends[0]);
    else
        prefill(agent, pool, ends[1]);
    llmd_pool_free(pool);
    llmd_layout_free(layout);
    llmd_region_free(region);
    llmd_agent_free(agent);
    return 0;
}
