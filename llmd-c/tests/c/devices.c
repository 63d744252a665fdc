/* Blocks move between devices and this machine; every function of devices is called. Arguments: a library that is a driver of
 * CUDA's, and an empty folder. */
#include "check.h"

enum { BLOCKS = 8, BYTES = 4096 };

static llmd_agent *agent_of(const char *name, const char *transport, const char *folder) {
    llmd_agent_settings settings = {0};
    llmd_error *error = NULL;
    llmd_agent *agent;
    settings.struct_size = sizeof settings;
    settings.name = name;
    settings.transports = &transport;
    settings.transports_len = 1;
    settings.folder = folder;
    agent = llmd_agent_new(&settings, &error);
    if (agent == NULL) fprintf(stderr, "%s\n", llmd_error_message(error));
    CHECK(agent != NULL);
    return agent;
}

/* Where memory of a device begins: the first field of its tensor. */
static uint64_t address_of(const llmd_region *region, void *tensor) {
    CHECK(llmd_region_data(region) == NULL);
    return (uint64_t)(uintptr_t)*(void **)tensor;
}

static void fetch(const llmd_agent *agent, const llmd_bytes *grant, const llmd_pool *pool, const uint32_t *blocks, size_t len) {
    llmd_fetch wanted = {0};
    llmd_agent_events *events = NULL;
    llmd_agent_event event = {0};
    uint64_t op;
    wanted.struct_size = sizeof wanted;
    wanted.grant = llmd_bytes_data(grant);
    wanted.grant_len = llmd_bytes_len(grant);
    wanted.pool = pool;
    wanted.blocks = blocks;
    wanted.blocks_len = len;
    DONE(llmd_agent_fetch(agent, &wanted, &op, &error));
    DONE(llmd_agent_wait(agent, op, 10000, &events, &error));
    event.struct_size = sizeof event;
    DONE(llmd_agent_events_get(events, 0, &event, &error));
    CHECK(event.outcome == LLMD_OUTCOME_DONE);
    llmd_agent_events_free(events);
}

static void blocks_go_from_a_device_to_this_machine(const llmd_device *device) {
    llmd_agent *prefill = agent_of("prefill-0", "local", NULL), *decode = agent_of("decode-0", "local", NULL);
    llmd_layout *layout = llmd_layout_block_major(BLOCKS, BYTES, NULL, NULL);
    llmd_memory wanted = {0};
    llmd_agent_counts counts = {0};
    llmd_region *there, *same, *again, *here;
    llmd_pool *computed, *cache;
    llmd_bytes *grant = NULL;
    void *tensor = NULL;
    const uint32_t from[2] = {6, 1}, to[2] = {0, 7};
    uint8_t content[BYTES];
    size_t at, room;

    there = llmd_region_on_device(device, BLOCKS * BYTES, NULL);
    CHECK(there != NULL && llmd_region_len(there) == BLOCKS * BYTES && llmd_region_is_writable(there) && llmd_region_fd(there) == -1);
    DONE(llmd_region_to_dlpack(there, 0, &tensor, &error));
    same = llmd_region_from_device_pointer(device, address_of(there, tensor), BLOCKS * BYTES, NULL);
    again = llmd_region_from_dlpack(tensor, 0, NULL);
    CHECK(same != NULL && again != NULL && llmd_region_data(again) == NULL);
    wanted.struct_size = sizeof wanted;
    wanted.len = BLOCKS * BYTES;
    here = llmd_region_new(&wanted, NULL);
    computed = llmd_agent_register(prefill, same, layout, NULL, NULL);
    cache = llmd_agent_register(decode, here, layout, NULL, NULL);
    CHECK(computed != NULL && cache != NULL);
    for (at = 0; at < BLOCKS; at++) {
        memset(content, (int)(65 + at), sizeof content);
        DONE(llmd_pool_write_block(computed, (uint32_t)at, content, sizeof content, &error));
    }
    DONE(llmd_agent_grant(prefill, computed, from, 2, NULL, &grant, &error));
    fetch(decode, grant, cache, to, 2);
    for (at = 0; at < 2; at++) {
        room = sizeof content;
        DONE(llmd_pool_read_block(cache, to[at], content, &room, &error));
        CHECK(content[0] == 65 + from[at] && content[BYTES - 1] == 65 + from[at]);
    }
    counts.struct_size = sizeof counts;
    DONE(llmd_agent_stats(decode, &counts, &error));
    CHECK(counts.fetched_bytes == 2 * BYTES && counts.mapped_bytes + counts.cma_bytes + counts.staged_bytes + counts.ipc_bytes == 0);
    llmd_bytes_free(grant);
    llmd_layout_free(layout);
    llmd_agent_free(prefill);
    llmd_agent_free(decode);
    llmd_pool_free(computed);
    llmd_pool_free(cache);
    llmd_region_free(again);
    llmd_region_free(same);
    llmd_region_free(there);
    llmd_region_free(here);
}

static void a_transport_imports(const llmd_device *device, const char *folder) {
    llmd_agent *agent = agent_of("prefill-0", "cuda_ipc", folder), *named = agent_of("prefill-1", "cuda_ipc://cuda:0", folder);
    llmd_layout *layout = llmd_layout_block_major(BLOCKS, BYTES, NULL, NULL);
    llmd_region *region = llmd_region_on_device(device, BLOCKS * BYTES, NULL);
    llmd_pool *pool = llmd_agent_register(agent, region, layout, NULL, NULL);
    CHECK(pool != NULL);
    llmd_pool_free(pool);
    llmd_region_free(region);
    llmd_layout_free(layout);
    llmd_agent_free(named);
    llmd_agent_free(agent);
}

static void what_is_wrong_is_said(const llmd_device *device) {
    NOT_MADE(llmd_device_open(NULL, NULL, &error), LLMD_INVALID, "name is NULL");
    NOT_MADE(llmd_device_open("tpu:0", NULL, &error), LLMD_INVALID, "device \"tpu:0\"");
    NOT_MADE(llmd_device_open("rocm:0", "nowhere/libamdhip64.so", &error), LLMD_UNSUPPORTED, "looked for nowhere/libamdhip64.so");
    NOT_MADE(llmd_device_open("cuda:0", "other.so", &error), LLMD_INVALID, "by which it is open");
    NOT_MADE(llmd_region_on_device(NULL, 1, &error), LLMD_INVALID, "device is NULL");
    NOT_MADE(llmd_region_on_device(device, 0, &error), LLMD_INVALID, "0 bytes");
    NOT_MADE(llmd_region_from_device_pointer(NULL, 1, 1, &error), LLMD_INVALID, "device is NULL");
    NOT_MADE(llmd_region_from_device_pointer(device, 0, 1, &error), LLMD_INVALID, "address 0x0");
    llmd_device_free(NULL);
}

int main(int count, char **arguments) {
    llmd_error *error = NULL;
    llmd_device *device;
    CHECK(count == 3);
    device = llmd_device_open("cuda:0", arguments[1], &error);
    if (device == NULL) fprintf(stderr, "%s\n", llmd_error_message(error));
    CHECK(device != NULL);
    blocks_go_from_a_device_to_this_machine(device);
    a_transport_imports(device, arguments[2]);
    what_is_wrong_is_said(device);
    llmd_device_free(device);
    puts("devices: done");
    return 0;
}
