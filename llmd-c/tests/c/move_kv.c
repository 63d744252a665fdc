/* Blocks move between two agents; every function of agents, layouts and regions of this machine is called. */
#include "check.h"

enum { BLOCKS = 16, BYTES = 4096 };

static const char *const TRANSPORTS[] = {"local", "shm"};

static llmd_agent *agent_of(const char *name, const char *const *transports, size_t len) {
    llmd_agent_settings settings = {0};
    llmd_agent *agent;
    llmd_error *error = NULL;
    settings.struct_size = sizeof settings;
    settings.name = name;
    settings.transports = transports;
    settings.transports_len = len;
    settings.check = LLMD_CHECK_ALWAYS;
    settings.copy_threads = 1;
    agent = llmd_agent_new(&settings, &error);
    if (agent == NULL) fprintf(stderr, "%s\n", llmd_error_message(error));
    CHECK(agent != NULL);
    return agent;
}

static llmd_region *memory(size_t len) {
    llmd_memory wanted = {0};
    llmd_region *region;
    wanted.struct_size = sizeof wanted;
    wanted.len = len;
    wanted.lazy = 1;
    region = llmd_region_new(&wanted, NULL);
    CHECK(region != NULL && llmd_region_len(region) == len && llmd_region_is_writable(region) && llmd_region_fd(region) >= 0);
    return region;
}

static llmd_pool *pool_of(const llmd_agent *agent, const llmd_region *region, const llmd_layout *layout) {
    llmd_pool *pool = llmd_agent_register(agent, region, layout, NULL, NULL);
    CHECK(pool != NULL);
    return pool;
}

/* Begins to fetch all of a grant. */
static uint64_t fetch(const llmd_agent *agent, const llmd_bytes *grant, const llmd_pool *pool, const uint32_t *blocks, size_t len) {
    llmd_fetch asked = {0};
    uint64_t op = 0;
    asked.struct_size = sizeof asked;
    asked.grant = llmd_bytes_data(grant);
    asked.grant_len = llmd_bytes_len(grant);
    asked.pool = pool;
    asked.blocks = blocks;
    asked.blocks_len = len;
    asked.within_ms = 5000;
    DONE(llmd_agent_fetch(agent, &asked, &op, &error));
    return op;
}

/* Waits until the agent says something, and takes it. */
static llmd_agent_events *heard(const llmd_agent *agent) {
    llmd_agent_events *events = NULL;
    while (events == NULL) DONE(llmd_agent_poll(agent, &events, &error));
    return events;
}

static void blocks_arrive(const char *const *transports, size_t len) {
    llmd_agent *prefill = agent_of("prefill-0", transports, len), *decode = agent_of("decode-0", transports, len);
    llmd_layout *layout = llmd_layout_block_major(BLOCKS, BYTES, NULL, NULL);
    llmd_region *source = memory((size_t)llmd_layout_end(layout)), *target = memory((size_t)llmd_layout_end(layout));
    llmd_pool *computed = pool_of(prefill, source, layout), *cache = pool_of(decode, target, layout);
    const uint32_t from[3] = {3, 1, 7}, to[3] = {9, 4, 2};
    llmd_lease_terms terms = {0};
    llmd_grant look = {0};
    llmd_agent_event event = {0};
    llmd_agent_counts counts = {0};
    llmd_bytes *grant = NULL;
    llmd_agent_events *events = NULL;
    llmd_string *considered = NULL;
    llmd_fetch part = {0};
    llmd_kept *kept;
    uint8_t content[BYTES];
    size_t room = sizeof content, at;
    uint64_t op;
    uint32_t held = 7;

    CHECK(llmd_layout_block_bytes(layout) == BYTES && llmd_pool_id(cache) == 0 && llmd_agent_wake_fd(decode) >= 0);
    for (at = 0; at < BLOCKS; at++) {
        memset(content, (int)(65 + at), sizeof content);
        DONE(llmd_pool_write_block(computed, (uint32_t)at, content, sizeof content, &error));
    }
    CHECK(((unsigned char *)llmd_region_data(source))[3 * BYTES] == 68);
    terms.struct_size = sizeof terms;
    terms.ttl_ms = 10000;
    DONE(llmd_agent_grant(prefill, computed, from, 3, &terms, &grant, &error));
    look.struct_size = sizeof look;
    DONE(llmd_grant_read(llmd_bytes_data(grant), llmd_bytes_len(grant), &look, &error));
    CHECK(look.blocks == 3 && look.block_bytes == BYTES && look.ttl_ms == 10000 && look.lease_generation == 1);
    kept = llmd_agent_keep(decode, llmd_bytes_data(grant), llmd_bytes_len(grant), NULL);
    CHECK(kept != NULL);
    DONE(llmd_agent_consider(decode, llmd_bytes_data(grant), llmd_bytes_len(grant), cache, &considered, &error));
    CHECK(strncmp(llmd_string_text(considered), transports[0], strlen(transports[0])) == 0);
    llmd_string_free(considered);

    /* Two of them first, and the lease is held. */
    part.struct_size = sizeof part;
    part.grant = llmd_bytes_data(grant);
    part.grant_len = llmd_bytes_len(grant);
    part.first = 1;
    part.count = 2;
    part.pool = cache;
    part.blocks = to + 1;
    part.blocks_len = 2;
    part.hold = 1;
    part.transports = transports;
    part.transports_len = len;
    part.priority = 3;
    DONE(llmd_agent_fetch(decode, &part, &op, &error));
    DONE(llmd_agent_wait(decode, op, 5000, &events, &error));
    event.struct_size = sizeof event;
    CHECK(llmd_agent_events_len(events) == 1);
    DONE(llmd_agent_events_get(events, 0, &event, &error));
    CHECK(event.kind == LLMD_FETCHED && event.outcome == LLMD_OUTCOME_DONE && event.op == op && event.blocks == 2);
    CHECK(event.bytes == 2 * BYTES && event.failed_len == 0 && event.why == NULL);
    CHECK(strcmp(event.transport, transports[0]) == 0);
    REFUSED(llmd_agent_events_get(events, 1, &event, &error), LLMD_INVALID, "event 1 is not there");
    llmd_agent_events_free(events);
    REFUSED(llmd_agent_wait(decode, op, 0, &events, &error), LLMD_INVALID, "operation");
    llmd_kept_free(kept);

    /* Then all, which ends the lease. */
    op = fetch(decode, grant, cache, to, 3);
    events = heard(decode);
    DONE(llmd_agent_events_get(events, 0, &event, &error));
    CHECK(event.op == op && event.outcome == LLMD_OUTCOME_DONE);
    llmd_agent_events_free(events);
    for (at = 0; at < 3; at++) {
        room = sizeof content;
        DONE(llmd_pool_read_block(cache, to[at], content, &room, &error));
        CHECK(room == BYTES && content[0] == 65 + from[at] && content[BYTES - 1] == 65 + from[at]);
    }
    events = heard(prefill);
    DONE(llmd_agent_events_get(events, 0, &event, &error));
    CHECK(event.kind == LLMD_LEASE_ENDED && event.end == LLMD_LEASE_FINISHED && event.free_len == 3 && event.pool == 0);
    CHECK(event.lease_slot == look.lease_slot && event.lease_generation == look.lease_generation);
    llmd_agent_events_free(events);
    llmd_bytes_free(grant);

    /* What is finished unread, and what is taken back. */
    DONE(llmd_agent_grant(prefill, computed, from, 1, NULL, &grant, &error));
    DONE(llmd_agent_finish(decode, llmd_bytes_data(grant), llmd_bytes_len(grant), &error));
    llmd_agent_events_free(heard(prefill));
    llmd_bytes_free(grant);
    DONE(llmd_agent_grant(prefill, computed, from, 2, NULL, &grant, &error));
    DONE(llmd_agent_release(prefill, llmd_bytes_data(grant), llmd_bytes_len(grant), &held, &error));
    CHECK(held == 1);
    REFUSED(llmd_agent_release(decode, llmd_bytes_data(grant), llmd_bytes_len(grant), NULL, &error), LLMD_INVALID, "expected one of agent");
    op = fetch(decode, grant, cache, to, 2);
    DONE(llmd_agent_cancel(decode, op, &error));
    events = heard(decode);
    DONE(llmd_agent_events_get(events, 0, &event, &error));
    CHECK(event.outcome == LLMD_OUTCOME_STALE && event.failed_len == 2 && event.failed[1] == 1 && event.why != NULL);
    CHECK(strcmp(llmd_outcome_name((int)event.outcome), "stale") == 0);
    llmd_agent_events_free(events);
    llmd_bytes_free(grant);

    counts.struct_size = sizeof counts;
    DONE(llmd_agent_stats(decode, &counts, &error));
    CHECK(counts.fetched_bytes == 5 * BYTES && counts.ended[LLMD_OUTCOME_DONE] == 2 && counts.ended[LLMD_OUTCOME_STALE] == 1);
    DONE(llmd_agent_unregister(decode, cache, &error));
    llmd_layout_free(layout);
    llmd_region_free(source);
    llmd_region_free(target);
    llmd_pool_free(computed);
    llmd_agent_free(prefill);
    llmd_agent_free(decode);
    llmd_pool_free(cache);
}

static void memory_comes_from_everywhere(void) {
    static unsigned char own[BLOCKS * BYTES];
    llmd_agent *agent = agent_of("here", TRANSPORTS, 1);
    llmd_shape shape = {0};
    llmd_layout *named, *strided;
    llmd_region *region, *back;
    llmd_pool *pool;
    void *tensor = NULL;
    uint32_t versioned;
    const uint64_t strides[LLMD_AXES] = {BLOCKS * 2048, 2048, 2048, 128, 64};

    shape.struct_size = sizeof shape;
    shape.layers = 2;
    shape.blocks = BLOCKS;
    shape.tokens = 16;
    shape.parts = 2;
    shape.content = 64;
    shape.format = "bfloat16";
    named = llmd_layout_named("LBNHC", &shape, NULL);
    strided = llmd_layout_strided(strides, &shape, NULL);
    CHECK(named != NULL && strided != NULL && llmd_layout_end(named) == sizeof own && llmd_layout_end(strided) == sizeof own);

    region = llmd_region_from_pointer(own, sizeof own, NULL);
    CHECK(region != NULL && llmd_region_data(region) == own && llmd_region_fd(region) == -1);
    pool = pool_of(agent, region, named);
    llmd_pool_free(pool);
    llmd_region_free(region);

    for (versioned = 0; versioned < 2; versioned++) {
        region = memory(sizeof own);
        DONE(llmd_region_to_dlpack(region, versioned, &tensor, &error));
        back = llmd_region_from_dlpack(tensor, versioned, NULL);
        CHECK(back != NULL && llmd_region_data(back) == llmd_region_data(region) && llmd_region_len(back) == sizeof own);
        llmd_region_free(region);
        memset(llmd_region_data(back), 7, sizeof own);
        pool = pool_of(agent, back, strided);
        llmd_region_free(back);
        llmd_pool_free(pool);
    }

    region = memory(sizeof own);
    back = llmd_region_from_fd(llmd_region_fd(region), NULL);
    CHECK(back == NULL); /* nobody else may write to it */
    llmd_region_free(region);
    NOT_MADE(llmd_region_from_fd(-1, &error), LLMD_INVALID, "file descriptor -1");
    NOT_MADE(llmd_region_from_path("/nowhere", &error), LLMD_UNAVAILABLE, "/nowhere");
    NOT_MADE(llmd_region_from_path("/dev/null", &error), LLMD_INVALID, "expected a file");
    NOT_MADE(llmd_layout_named("LBN", &shape, &error), LLMD_INVALID, "layout `LBN`");
    llmd_layout_free(named);
    llmd_layout_free(strided);
    llmd_agent_free(agent);
}

static void what_is_wrong_is_answered(void) {
    llmd_agent_settings settings = {0};
    llmd_tenant tenant = {0};
    const char *transports[] = {"carrier pigeon"};
    llmd_agent *agent;
    llmd_agent_events *events = NULL;
    llmd_agent_event event = {0};
    llmd_agent_counts counts = {0};
    llmd_bytes *grant = NULL;
    llmd_string *text = NULL;
    void *tensor = NULL;
    uint64_t op = 0;
    size_t len = 0;
    uint8_t byte = 0;

    NOT_MADE(llmd_agent_new(NULL, &error), LLMD_INVALID, "llmd_agent_settings is NULL");
    settings.struct_size = sizeof settings;
    NOT_MADE(llmd_agent_new(&settings, &error), LLMD_INVALID, "name is NULL");
    settings.name = "here";
    settings.transports = transports;
    settings.transports_len = 1;
    NOT_MADE(llmd_agent_new(&settings, &error), LLMD_INVALID, "transport `carrier pigeon`");
    transports[0] = "local";
    settings.check = 9;
    NOT_MADE(llmd_agent_new(&settings, &error), LLMD_INVALID, "check 9");
    settings.check = LLMD_CHECK_OFF;
    settings.tenant = &tenant;
    NOT_MADE(llmd_agent_new(&settings, &error), LLMD_INVALID, "tenant is NULL");
    tenant.name = "acme";
    tenant.key = (const uint8_t *)"secret";
    tenant.key_len = 6;
    settings.serve = &tenant;
    settings.serve_len = 1;
    agent = llmd_agent_new(&settings, NULL);
    CHECK(agent != NULL);
    REFUSED(llmd_agent_wait(agent, 3, 0, &events, &error), LLMD_INVALID, "operation 3");
    REFUSED(llmd_grant_read(&byte, 1, NULL, &error), LLMD_CORRUPT, "grant");
    NOT_MADE(llmd_agent_keep(agent, &byte, 1, &error), LLMD_CORRUPT, "grant");
    REFUSED(llmd_agent_fetch(agent, NULL, &op, &error), LLMD_INVALID, "llmd_fetch is NULL");
    REFUSED(llmd_agent_fetch(agent, NULL, NULL, &error), LLMD_INVALID, "op is NULL");
    NOT_MADE(llmd_agent_register(agent, NULL, NULL, NULL, &error), LLMD_INVALID, "region is NULL");
    REFUSED(llmd_agent_grant(agent, NULL, NULL, 0, NULL, &grant, &error), LLMD_INVALID, "pool is NULL");
    REFUSED(llmd_agent_poll(agent, NULL, &error), LLMD_INVALID, "events is NULL");
    REFUSED(llmd_agent_stats(agent, &counts, &error), LLMD_INVALID, "struct_size is 0");
    llmd_agent_free(agent);

    NOT_MADE(llmd_region_new(NULL, &error), LLMD_INVALID, "llmd_memory is NULL");
    NOT_MADE(llmd_region_from_path(NULL, &error), LLMD_INVALID, "path is NULL");
    NOT_MADE(llmd_region_from_pointer(NULL, 5, &error), LLMD_INVALID, "start is NULL");
    NOT_MADE(llmd_region_from_pointer(&byte, 0, &error), LLMD_INVALID, "memory of 0 bytes");
    NOT_MADE(llmd_region_from_dlpack(NULL, 0, &error), LLMD_INVALID, "tensor is NULL");
    REFUSED(llmd_region_to_dlpack(NULL, 0, &tensor, &error), LLMD_INVALID, "region is NULL");
    REFUSED(llmd_region_to_dlpack(NULL, 0, NULL, &error), LLMD_INVALID, "tensor is NULL");
    NOT_MADE(llmd_layout_named(NULL, NULL, &error), LLMD_INVALID, "name is NULL");
    NOT_MADE(llmd_layout_named("NHD", NULL, &error), LLMD_INVALID, "llmd_shape is NULL");
    NOT_MADE(llmd_layout_strided(NULL, NULL, &error), LLMD_INVALID, "strides is NULL");
    NOT_MADE(llmd_layout_block_major(0, 1, NULL, &error), LLMD_INVALID, "0 blocks");
    NOT_MADE(llmd_agent_register(NULL, NULL, NULL, NULL, &error), LLMD_INVALID, "agent is NULL");
    NOT_MADE(llmd_agent_keep(NULL, NULL, 0, &error), LLMD_INVALID, "agent is NULL");
    REFUSED(llmd_agent_unregister(NULL, NULL, &error), LLMD_INVALID, "agent is NULL");
    REFUSED(llmd_agent_grant(NULL, NULL, NULL, 0, NULL, &grant, &error), LLMD_INVALID, "agent is NULL");
    REFUSED(llmd_agent_release(NULL, NULL, 0, NULL, &error), LLMD_INVALID, "agent is NULL");
    REFUSED(llmd_agent_finish(NULL, NULL, 0, &error), LLMD_INVALID, "agent is NULL");
    REFUSED(llmd_agent_fetch(NULL, NULL, &op, &error), LLMD_INVALID, "agent is NULL");
    REFUSED(llmd_agent_cancel(NULL, 0, &error), LLMD_INVALID, "agent is NULL");
    REFUSED(llmd_agent_poll(NULL, &events, &error), LLMD_INVALID, "agent is NULL");
    REFUSED(llmd_agent_wait(NULL, 0, 0, &events, &error), LLMD_INVALID, "agent is NULL");
    REFUSED(llmd_agent_consider(NULL, NULL, 0, NULL, &text, &error), LLMD_INVALID, "agent is NULL");
    REFUSED(llmd_agent_stats(NULL, &counts, &error), LLMD_INVALID, "agent is NULL");
    REFUSED(llmd_agent_events_get(NULL, 0, &event, &error), LLMD_INVALID, "events is NULL");
    REFUSED(llmd_pool_read_block(NULL, 0, &byte, &len, &error), LLMD_INVALID, "pool is NULL");
    REFUSED(llmd_pool_write_block(NULL, 0, &byte, 1, &error), LLMD_INVALID, "pool is NULL");
    CHECK(llmd_region_data(NULL) == NULL && llmd_region_len(NULL) == 0 && llmd_region_fd(NULL) == -1);
    CHECK(llmd_region_is_writable(NULL) == 0 && llmd_layout_end(NULL) == 0 && llmd_layout_block_bytes(NULL) == 0);
    CHECK(llmd_agent_wake_fd(NULL) == -1 && llmd_pool_id(NULL) == 0 && llmd_agent_events_len(NULL) == 0);
    CHECK(strcmp(llmd_outcome_name(99), "unknown") == 0);
    llmd_region_free(NULL);
    llmd_layout_free(NULL);
    llmd_pool_free(NULL);
    llmd_kept_free(NULL);
    llmd_agent_events_free(NULL);
    llmd_agent_free(NULL);
}

int main(void) {
    blocks_arrive(TRANSPORTS, 1);
    blocks_arrive(TRANSPORTS + 1, 1);
    memory_comes_from_everywhere();
    what_is_wrong_is_answered();
    puts("move_kv: done");
    return 0;
}
