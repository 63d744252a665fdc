/* What else an index is asked and told: numbers for many workers, prompts that grow, doubts, TensorRT-LLM, sessions. */
#include "check.h"

enum { BLOCK = 16, BLOCKS = 4, PROMPT = BLOCK * BLOCKS + 3 };

static llmd_index *new_index(size_t block_size) {
    llmd_index_settings settings = {0};
    llmd_index *index;
    settings.struct_size = sizeof settings;
    settings.block_size = block_size;
    settings.silence_blocks = 2;
    settings.silence_patience_ms = 3600000;
    index = llmd_index_new(&settings, NULL);
    CHECK(index != NULL);
    return index;
}

/* pod-0 holds nothing, pod-1 one block, and so on. */
static llmd_index *four_pods(const uint32_t *tokens, uint32_t *pods) {
    llmd_index *index = new_index(BLOCK);
    uint32_t pod;
    for (pod = 0; pod < BLOCKS; pod++) {
        char name[16];
        message batch;
        sprintf(name, "pod-%u", (unsigned)pod);
        stored(&batch, 100, tokens, pod * BLOCK, BLOCK);
        DONE(llmd_index_apply(index, name, 0, batch.bytes, batch.len, NULL, &error));
        DONE(llmd_index_worker(index, name, &pods[pod], &error));
    }
    return index;
}

static void answers_in_the_order_that_it_is_asked_in(const uint32_t *tokens) {
    uint32_t pods[BLOCKS], asked[6], leading[6] = {9, 9, 9, 9, 9, 9};
    llmd_index *index = four_pods(tokens, pods);
    size_t at;

    asked[0] = pods[3];
    asked[1] = pods[0];
    asked[2] = 12345; /* nobody */
    asked[3] = pods[1];
    asked[4] = pods[3];
    DONE(llmd_index_query_dense(index, tokens, PROMPT, NULL, asked, 5, leading, &error));
    CHECK(leading[0] == 3 && leading[1] == 0 && leading[2] == 0 && leading[3] == 1 && leading[4] == 3);
    CHECK(leading[5] == 9);
    DONE(llmd_index_query_dense(index, tokens, BLOCK, NULL, pods, BLOCKS, leading, &error));
    for (at = 0; at < BLOCKS; at++) CHECK(leading[at] == (at > 0));
    DONE(llmd_index_query_dense(index, tokens, PROMPT, NULL, NULL, 0, NULL, &error));
    REFUSED(llmd_index_query_dense(index, tokens, PROMPT, NULL, NULL, 1, leading, &error), LLMD_INVALID, "workers is NULL");
    REFUSED(llmd_index_query_dense(index, tokens, PROMPT, NULL, pods, 1, NULL, &error), LLMD_INVALID, "leading is NULL");
    REFUSED(llmd_index_query_dense(NULL, tokens, PROMPT, NULL, pods, 1, leading, &error), LLMD_INVALID, "index is NULL");
    llmd_index_free(index);
}

static void goes_on_with_tokens_as_they_are_made(const uint32_t *tokens) {
    uint32_t pods[BLOCKS], leading[BLOCKS];
    llmd_index *index = four_pods(tokens, pods);
    llmd_chain *chain = NULL;
    llmd_overlap overlaps[BLOCKS];
    llmd_block_name name = {0};
    size_t at, len;

    DONE(llmd_chain_new(index, tokens, 5, NULL, &chain, &error));
    CHECK(llmd_chain_blocks(chain) == 0);
    for (at = 5; at < PROMPT; at++) {
        DONE(llmd_chain_extend(chain, &tokens[at], 1, &error));
        CHECK(llmd_chain_blocks(chain) == (at + 1) / BLOCK);
    }
    DONE(llmd_chain_query_dense(chain, pods, BLOCKS, leading, &error));
    for (at = 0; at < BLOCKS; at++) CHECK(leading[at] == at);
    name.number = 100;
    DONE(llmd_chain_set_names(chain, &name, 1, &error));
    name.bytes = (const uint8_t *)"abc";
    name.bytes_len = 3;
    DONE(llmd_chain_set_names(chain, &name, 1, &error));
    len = 1;
    REFUSED(llmd_chain_query(chain, overlaps, &len, &error), LLMD_EXHAUSTED, "expected 3 or more");
    CHECK(len == 3);

    /* It may outlive the index. */
    llmd_index_free(index);
    DONE(llmd_chain_query(chain, overlaps, &len, &error));
    CHECK(len == 3 && strcmp(overlaps[2].name, "pod-3") == 0 && overlaps[2].leading == 3 && overlaps[2].shared == 0);
    llmd_chain_free(chain);
    llmd_chain_free(NULL);
    CHECK(llmd_chain_blocks(NULL) == 0);
    REFUSED(llmd_chain_new(NULL, tokens, 5, NULL, &chain, &error), LLMD_INVALID, "index is NULL");
    REFUSED(llmd_chain_extend(NULL, tokens, 5, &error), LLMD_INVALID, "chain is NULL");
    REFUSED(llmd_chain_set_names(NULL, NULL, 0, &error), LLMD_INVALID, "chain is NULL");
    REFUSED(llmd_chain_query(NULL, overlaps, &len, &error), LLMD_INVALID, "chain is NULL");
    REFUSED(llmd_chain_query_dense(NULL, pods, 1, leading, &error), LLMD_INVALID, "chain is NULL");
}

static void says_where_prefixes_end(const uint32_t *tokens) {
    uint32_t pods[BLOCKS];
    llmd_index *index = four_pods(tokens, pods);
    llmd_ending endings[BLOCKS];
    size_t at, len = BLOCKS;

    DONE(llmd_index_endings(index, tokens, PROMPT, NULL, endings, &len, &error));
    CHECK(len == BLOCKS);
    for (at = 0; at < len; at++) {
        CHECK(endings[at].overlap.worker == pods[at] && endings[at].overlap.leading == at && endings[at].ends == at);
        CHECK(endings[at].fate == LLMD_FATE_NEVER_STORED && endings[at].state == LLMD_EXACT);
        CHECK(endings[at].limited_by == -1 && endings[at].held_behind == 0 && endings[at].unplaced == 0);
        CHECK(endings[at].block_size == 0 && endings[at].evicted_at == 0.0);
    }
    len = BLOCKS;
    DONE(llmd_index_endings(index, tokens, BLOCK, NULL, endings, &len, &error));
    CHECK(endings[3].fate == LLMD_FATE_NONE && endings[0].fate == LLMD_FATE_NEVER_STORED);
    len = 1;
    REFUSED(llmd_index_endings(index, tokens, BLOCK, NULL, endings, &len, &error), LLMD_EXHAUSTED, "expected 4 or more");
    REFUSED(llmd_index_endings(NULL, tokens, BLOCK, NULL, endings, &len, &error), LLMD_INVALID, "index is NULL");
    llmd_index_free(index);
}

static void is_told_what_speaks_against_a_stream(const uint32_t *tokens) {
    uint32_t pods[BLOCKS];
    llmd_index *index = four_pods(tokens, pods);
    llmd_worker_state state;
    llmd_stats stats = {0};
    double lag = 0.0;
    message again;

    DONE(llmd_index_lag(index, "pod-1", 3.5, &lag, &error));
    CHECK(lag == 2.5); /* batches are of second 1 */
    DONE(llmd_index_worker(index, "pod-9", &pods[0], &error));
    DONE(llmd_index_lag(index, "pod-9", 3.5, &lag, &error));
    CHECK(lag != lag);

    DONE(llmd_index_stored(index, "pod-1", 1, &error));
    DONE(llmd_index_stored(index, "pod-1", 9, &error));
    DONE(llmd_index_state(index, "pod-1", &state, &error));
    CHECK(state == LLMD_EXACT); /* it has an hour to say so */

    DONE(llmd_index_set_gpu_blocks(index, "pod-1", 1, &error));
    DONE(llmd_index_state(index, "pod-1", &state, &error));
    CHECK(state == LLMD_EXACT);
    stored(&again, 100, tokens, BLOCK, BLOCK);
    DONE(llmd_index_apply(index, "pod-1", 1, again.bytes, again.len, NULL, &error));
    DONE(llmd_index_state(index, "pod-1", &state, &error));
    CHECK(state == LLMD_APPROXIMATE);
    DONE(llmd_index_set_announces_hits(index, "pod-2", &error));
    DONE(llmd_index_state(index, "pod-2", &state, &error));
    CHECK(state == LLMD_APPROXIMATE);

    /* A caller that was compiled against a header without the last field. */
    stats.struct_size = offsetof(llmd_stats, bytes);
    stats.bytes = 77;
    DONE(llmd_index_stats(index, &stats, &error));
    CHECK(stats.blocks == 3 && stats.bytes == 77);
    REFUSED(llmd_index_stored(index, "nobody", 1, &error), LLMD_INVALID, "nobody");
    REFUSED(llmd_index_stored(NULL, "pod-1", 1, &error), LLMD_INVALID, "index is NULL");
    REFUSED(llmd_index_set_gpu_blocks(NULL, "pod-1", 1, &error), LLMD_INVALID, "index is NULL");
    REFUSED(llmd_index_set_announces_hits(NULL, "pod-1", &error), LLMD_INVALID, "index is NULL");
    REFUSED(llmd_index_lag(NULL, "pod-1", 1.0, &lag, &error), LLMD_INVALID, "index is NULL");
    llmd_index_free(index);
}

static void hears_tensorrt_llm(void) {
    static const char said[] =
        "[{\"event_id\": 0, \"data\": {\"type\": \"created\", \"num_blocks_per_cache_level\": [9]}},"
        " {\"event_id\": 1, \"data\": {\"type\": \"stored\", \"parent_hash\": null, \"blocks\": [{\"block_hash\": 7,"
        "  \"tokens\": [{\"token_id\": 1}, {\"token_id\": 2}], \"cache_level\": 0}]}},"
        " {\"data\": {\"type\": \"removed\", \"block_hashes\": [7]}}]";
    const uint32_t tokens[2] = {1, 2};
    llmd_index *index = new_index(2);
    llmd_trtllm_settings settings = {0};
    llmd_trtllm *trtllm;
    llmd_trtllm_events *events = NULL;
    llmd_trtllm_batch batch = {0};
    llmd_event event = {0};
    llmd_event_error bad = {0};
    llmd_fed fed = {0};
    llmd_overlap overlaps[1];
    size_t len = 1, place;

    settings.struct_size = sizeof settings;
    settings.block_size = 2;
    trtllm = llmd_trtllm_new(&settings, NULL);
    CHECK(trtllm != NULL && llmd_trtllm_places_dropped(trtllm) == 0);
    DONE(llmd_trtllm_decode(trtllm, (const uint8_t *)said, sizeof said - 1, &events, &error));
    CHECK(llmd_trtllm_events_len(events) == 2 && llmd_trtllm_events_errors_len(events) == 1);
    bad.struct_size = sizeof bad;
    DONE(llmd_trtllm_events_error(events, 0, &bad, &error));
    CHECK(bad.event == 2 && strcmp(bad.field, "event_id") == 0);
    REFUSED(llmd_trtllm_events_error(events, 1, &bad, &error), LLMD_INVALID, "error 1 is not there");

    batch.struct_size = sizeof batch;
    DONE(llmd_trtllm_events_get(events, 1, &batch, &error));
    CHECK(batch.seq == 1 && llmd_events_len(batch.events) == 1);
    event.struct_size = sizeof event;
    DONE(llmd_events_get(batch.events, 0, &event, &error));
    CHECK(event.kind == LLMD_EVENT_BLOCK_STORED && event.blocks[0].number == 7 && event.tokens_len == 2);
    REFUSED(llmd_trtllm_events_get(events, 2, &batch, &error), LLMD_INVALID, "batch 2 is not there");

    fed.struct_size = sizeof fed;
    for (place = 0; place < 2; place++) {
        DONE(llmd_index_apply_trtllm(index, "trt-0", events, place, &fed, &error));
        CHECK(fed.state == LLMD_EXACT && fed.stored == place && fed.duplicate == 0);
    }
    DONE(llmd_index_apply_trtllm(index, "trt-0", events, 1, &fed, &error));
    CHECK(fed.duplicate == 1);
    DONE(llmd_index_query(index, tokens, 2, NULL, overlaps, &len, &error));
    CHECK(len == 1 && overlaps[0].leading == 1);
    REFUSED(llmd_index_apply_trtllm(index, "trt-0", events, 2, &fed, &error), LLMD_INVALID, "batch 2 is not there");
    llmd_trtllm_events_free(events);

    REFUSED(llmd_trtllm_decode(trtllm, (const uint8_t *)"7", 1, &events, &error), LLMD_CORRUPT, "no list of events");
    REFUSED(llmd_trtllm_decode(NULL, (const uint8_t *)"[]", 2, &events, &error), LLMD_INVALID, "trtllm is NULL");
    REFUSED(llmd_trtllm_events_get(NULL, 0, &batch, &error), LLMD_INVALID, "events is NULL");
    REFUSED(llmd_trtllm_events_error(NULL, 0, &bad, &error), LLMD_INVALID, "events is NULL");
    REFUSED(llmd_index_apply_trtllm(index, "trt-0", NULL, 0, &fed, &error), LLMD_INVALID, "events is NULL");
    NOT_MADE(llmd_trtllm_new(NULL, &error), LLMD_INVALID, "llmd_trtllm_settings is NULL");
    CHECK(llmd_trtllm_events_len(NULL) == 0 && llmd_trtllm_events_errors_len(NULL) == 0);
    CHECK(llmd_trtllm_places_dropped(NULL) == 0);
    llmd_trtllm_free(trtllm);
    llmd_trtllm_free(NULL);
    llmd_trtllm_events_free(NULL);
    llmd_index_free(index);
}

static void hashes_only_what_follows(const uint32_t *tokens) {
    llmd_hasher_settings settings = {0};
    llmd_hasher *hasher;
    llmd_memo *memo;
    uint8_t whole[BLOCKS * 32], digests[BLOCKS * 32];
    size_t len = sizeof whole, remembered = 9;

    settings.struct_size = sizeof settings;
    settings.scheme = "vllm-sha256_cbor";
    settings.block_size = BLOCK;
    hasher = llmd_hasher_new(&settings, NULL);
    CHECK(hasher != NULL);
    memo = llmd_memo_new(hasher, 200, NULL);
    CHECK(memo != NULL);
    DONE(llmd_hasher_hash(hasher, tokens, PROMPT, NULL, whole, &len, &error));
    llmd_hasher_free(hasher);

    DONE(llmd_memo_hash(memo, "chat-7", tokens, 2 * BLOCK, NULL, digests, &len, &remembered, &error));
    CHECK(len == 64 && remembered == 0 && memcmp(digests, whole, len) == 0);
    REFUSED(llmd_memo_hash(memo, "chat-7", tokens, PROMPT, NULL, digests, &len, NULL, &error), LLMD_EXHAUSTED, "128 or more");
    DONE(llmd_memo_hash(memo, "chat-7", tokens, PROMPT, NULL, digests, &len, &remembered, &error));
    CHECK(len == 128 && remembered == 2 && memcmp(digests, whole, len) == 0);
    DONE(llmd_memo_hash(memo, "chat-8", tokens, PROMPT, NULL, digests, &len, NULL, &error));
    CHECK(llmd_memo_sessions(memo) == 1 && llmd_memo_dropped(memo) == 1);
    DONE(llmd_memo_forget(memo, "chat-8", &error));
    CHECK(llmd_memo_sessions(memo) == 0);
    llmd_memo_free(memo);
    llmd_memo_free(NULL);

    NOT_MADE(llmd_memo_new(NULL, 200, &error), LLMD_INVALID, "hasher is NULL");
    REFUSED(llmd_memo_hash(NULL, "x", tokens, 1, NULL, digests, &len, NULL, &error), LLMD_INVALID, "memo is NULL");
    REFUSED(llmd_memo_forget(NULL, "x", &error), LLMD_INVALID, "memo is NULL");
    CHECK(llmd_memo_sessions(NULL) == 0 && llmd_memo_dropped(NULL) == 0);
}

int main(void) {
    uint32_t tokens[PROMPT];

    count_up(tokens, PROMPT, 1);
    answers_in_the_order_that_it_is_asked_in(tokens);
    goes_on_with_tokens_as_they_are_made(tokens);
    says_where_prefixes_end(tokens);
    is_told_what_speaks_against_a_stream(tokens);
    hears_tensorrt_llm();
    hashes_only_what_follows(tokens);
    puts("wide: done");
    return 0;
}
