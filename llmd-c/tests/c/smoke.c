/* Every function once, in the order in which a gateway would call them. */
#include "check.h"

enum { BLOCK = 16, BLOCKS = 4, PROMPT = BLOCK * BLOCKS + 3 };

static void names_blocks_as_the_engine_does(const uint32_t *tokens) {
    llmd_hasher_settings settings = {0};
    llmd_hasher *hasher;
    uint8_t digests[BLOCKS * 32];
    size_t len = sizeof digests;
    uint64_t number = 0;

    settings.struct_size = sizeof settings;
    settings.scheme = "vllm-sha256_cbor";
    settings.block_size = BLOCK;
    settings.seed = "0";
    hasher = llmd_hasher_new(&settings, NULL);
    CHECK(hasher != NULL);
    CHECK(llmd_hasher_digest_len(hasher) == 32);
    DONE(llmd_hasher_hash(hasher, tokens, PROMPT, NULL, digests, &len, &error));
    CHECK(len == sizeof digests);
    CHECK(memcmp(digests, digests + 32, 32) != 0);
    DONE(llmd_hasher_event_int(hasher, digests, 32, &number, &error));
    CHECK(number != 0 && (number & 0xff) == digests[31]);
    len = 40;
    REFUSED(llmd_hasher_hash(hasher, tokens, PROMPT, NULL, digests, &len, &error), LLMD_EXHAUSTED, "128 or more");
    CHECK(len == sizeof digests);
    llmd_hasher_free(hasher);
}

static void tells_the_events_of_a_batch(const uint32_t *tokens, const message *batch) {
    llmd_events *events = NULL;
    llmd_event event = {0};

    DONE(llmd_events_decode(batch->bytes, batch->len, &events, &error));
    CHECK(llmd_events_len(events) == 1);
    CHECK(llmd_events_errors_len(events) == 0 && llmd_events_errors_dropped(events) == 0);
    CHECK(llmd_events_timestamp(events) == 1.0);
    CHECK(llmd_events_data_parallel_rank(events) == -1);
    event.struct_size = sizeof event;
    DONE(llmd_events_get(events, 0, &event, &error));
    CHECK(event.kind == LLMD_EVENT_BLOCK_STORED && event.medium == LLMD_MEDIUM_GPU && event.locality == LLMD_LOCALITY_LOCAL);
    CHECK(event.blocks_len == BLOCKS && event.block_size == BLOCK && event.tokens_len == BLOCK * BLOCKS);
    CHECK(event.blocks[0].bytes == NULL && event.blocks[0].number == 100 && event.blocks[3].number == 103);
    CHECK(event.parent == NULL && event.lora_name == NULL && event.full_attention == 1);
    CHECK(memcmp(event.tokens, tokens, event.tokens_len * sizeof *tokens) == 0);
    llmd_events_free(events);
}

static void says_which_events_cannot_be_read(void) {
    llmd_events *events = NULL;
    llmd_event_error bad = {0};
    message batch;

    begin(&batch, "BlockMoved", 1);
    DONE(llmd_events_decode(batch.bytes, batch.len, &events, &error));
    CHECK(llmd_events_len(events) == 0 && llmd_events_errors_len(events) == 1);
    bad.struct_size = sizeof bad;
    DONE(llmd_events_error(events, 0, &bad, &error));
    CHECK(bad.event == 0 && bad.byte > 0 && strcmp(bad.field, "type") == 0 && strstr(bad.message, "BlockMoved") != NULL);
    llmd_events_free(events);
    REFUSED(llmd_events_decode(batch.bytes, 1, &events, &error), LLMD_CORRUPT, "byte");
    CHECK(events == NULL);
}

static llmd_index *knows_who_holds_a_prompt(const uint32_t *tokens, const message *batch) {
    llmd_index_settings settings = {0};
    llmd_index *index;
    llmd_fed fed = {0};
    llmd_stats stats = {0};
    llmd_worker_state state;
    llmd_overlap overlaps[4];
    llmd_namespace salted = {0};
    llmd_string *text = NULL;
    size_t len = 4;
    uint32_t worker = 99;
    message none;

    settings.struct_size = sizeof settings;
    settings.block_size = BLOCK;
    index = llmd_index_new(&settings, NULL);
    CHECK(index != NULL);

    fed.struct_size = sizeof fed;
    cleared(&none);
    DONE(llmd_index_apply(index, "pod-1", 0, none.bytes, none.len, NULL, &error));
    DONE(llmd_index_apply(index, "pod-1", 1, batch->bytes, batch->len, &fed, &error));
    CHECK(fed.events == 1 && fed.stored == BLOCKS && fed.errors == 0 && fed.duplicate == 0);
    CHECK(fed.state == LLMD_EXACT && fed.missing_from == LLMD_NO_SEQ);
    DONE(llmd_index_state(index, "pod-1", &state, &error));
    CHECK(state == LLMD_EXACT);

    DONE(llmd_index_query(index, tokens, PROMPT, NULL, overlaps, &len, &error));
    CHECK(len == 1 && overlaps[0].leading == BLOCKS && strcmp(overlaps[0].name, "pod-1") == 0);
    CHECK(overlaps[0].on[LLMD_MEDIUM_GPU] == BLOCKS && overlaps[0].on[LLMD_MEDIUM_CPU] == 0);
    DONE(llmd_index_worker(index, "pod-1", &worker, &error));
    CHECK(worker == overlaps[0].worker && llmd_index_worker_name(index, worker) == overlaps[0].name);
    CHECK(llmd_index_worker_name(index, 12345) == NULL);

    salted.struct_size = sizeof salted;
    salted.cache_salt = "tenant-7";
    len = 4;
    DONE(llmd_index_query(index, tokens, PROMPT, &salted, overlaps, &len, &error));
    CHECK(len == 0);

    DONE(llmd_index_explain(index, tokens, PROMPT, NULL, &text, &error));
    CHECK(strstr(llmd_string_text(text), "pod-1 (exact): holds 4 leading") != NULL);
    CHECK(llmd_string_len(text) == strlen(llmd_string_text(text)));
    llmd_string_free(text);

    DONE(llmd_index_apply(index, "pod-1", 4, batch->bytes, batch->len, &fed, &error));
    CHECK(fed.state == LLMD_RECOVERING && fed.missing_from <= 2 && fed.events == 0);
    DONE(llmd_index_give_up(index, "pod-1", &fed, &error));
    CHECK(fed.state == LLMD_APPROXIMATE && fed.events == 1);
    DONE(llmd_index_apply(index, "pod-2", LLMD_NO_SEQ, batch->bytes, batch->len, &fed, &error));
    CHECK(fed.state == LLMD_APPROXIMATE);

    stats.struct_size = sizeof stats;
    DONE(llmd_index_stats(index, &stats, &error));
    CHECK(stats.workers == 2 && stats.blocks == BLOCKS && stats.residents == 2 * BLOCKS && stats.dropped == 0);
    DONE(llmd_index_clear(index, "pod-2", &error));
    DONE(llmd_index_remove_worker(index, "pod-1", &error));
    REFUSED(llmd_index_state(index, "pod-1", &state, &error), LLMD_INVALID, "pod-1");
    DONE(llmd_index_apply(index, "pod-1", 0, batch->bytes, batch->len, NULL, &error));
    return index;
}

static void is_kept_and_restored(const llmd_index *index, const uint32_t *tokens) {
    llmd_index_settings settings = {0};
    llmd_bytes *snapshot = NULL;
    llmd_index *restored;
    llmd_overlap overlaps[4];
    llmd_worker_state state;
    uint64_t missing = 99;
    uint8_t *damaged;
    size_t len = 4;

    settings.struct_size = sizeof settings;
    DONE(llmd_index_snapshot(index, &snapshot, &error));
    restored = llmd_index_restore(&settings, llmd_bytes_data(snapshot), llmd_bytes_len(snapshot), NULL);
    CHECK(restored != NULL);
    DONE(llmd_index_query(restored, tokens, PROMPT, NULL, overlaps, &len, &error));
    CHECK(len == 1 && strcmp(overlaps[0].name, "pod-1") == 0 && overlaps[0].leading == BLOCKS);
    DONE(llmd_index_state(restored, "pod-1", &state, &error));
    DONE(llmd_index_missing_from(restored, "pod-1", &missing, &error));
    CHECK(state == LLMD_RECOVERING && missing == 0);
    DONE(llmd_index_missing_from(index, "pod-1", &missing, &error));
    CHECK(missing == LLMD_NO_SEQ);
    llmd_index_free(restored);

    len = llmd_bytes_len(snapshot);
    damaged = (uint8_t *)malloc(len);
    memcpy(damaged, llmd_bytes_data(snapshot), len);
    damaged[len / 2] ^= 1;
    NOT_MADE(llmd_index_restore(&settings, damaged, len, &error), LLMD_CORRUPT, "");
    NOT_MADE(llmd_index_restore(&settings, damaged, 0, &error), LLMD_CORRUPT, "");
    free(damaged);
    llmd_bytes_free(snapshot);
}

static llmd_endpoint *endpoint(const char *name, const char *address, const llmd_index *index) {
    llmd_pair zone = {"zone", "a"};
    llmd_endpoint_settings settings = {0};
    llmd_endpoint *made;
    settings.struct_size = sizeof settings;
    settings.name = name;
    settings.address = address;
    settings.labels = &zone;
    settings.labels_len = 1;
    made = llmd_endpoint_new(&settings, index, NULL);
    CHECK(made != NULL);
    return made;
}

static void sends_a_request_to_who_holds_it(llmd_index *index, const uint32_t *tokens) {
    llmd_scheduler *scheduler = llmd_scheduler_from_yaml(YAML_PRECISE, index, NULL);
    llmd_endpoint *endpoints[2];
    llmd_pair host = {"Host", "example.org"}, headers[4];
    llmd_needs needs = {0};
    llmd_request request = {0};
    llmd_decision *decision = NULL;
    llmd_metrics metrics = {0};
    llmd_usage usage = {0};
    llmd_string *text = NULL;
    size_t len = 4;

    CHECK(scheduler != NULL);
    endpoints[0] = endpoint("pod-0", "10.0.0.0:8000", index);
    endpoints[1] = endpoint("pod-1", "10.0.0.1:8000", index);
    needs.struct_size = sizeof needs;
    DONE(llmd_scheduler_needs(scheduler, &needs, &error));
    CHECK(needs.tokens == 1 && needs.events == 1 && needs.metrics == 0);
    DONE(llmd_scheduler_describe(scheduler, &text, &error));
    CHECK(strstr(llmd_string_text(text), "prefix-cache-scorer") != NULL);
    llmd_string_free(text);

    request.struct_size = sizeof request;
    request.id = "request-1";
    request.model = "tiny";
    request.headers = &host;
    request.headers_len = 1;
    request.tokens = tokens;
    request.tokens_len = PROMPT;
    request.max_output_tokens = 100;
    DONE(llmd_scheduler_decide(scheduler, &request, endpoints, 2, &decision, &error));
    CHECK(strcmp(llmd_decision_endpoint(decision), "pod-1") == 0);
    CHECK(strcmp(llmd_decision_address(decision), "10.0.0.1:8000") == 0);
    CHECK(llmd_decision_place(decision) == 1);
    CHECK(llmd_decision_predicted_hit_tokens(decision) == BLOCK * BLOCKS);
    CHECK(llmd_endpoint_in_flight_requests(endpoints[1]) == 1 && llmd_endpoint_in_flight_requests(endpoints[0]) == 0);
    CHECK(llmd_endpoint_in_flight_tokens(endpoints[1]) == 3);
    DONE(llmd_decision_explain(decision, &text, &error));
    CHECK(strstr(llmd_string_text(text), "pod-1 of 2 candidates") != NULL);
    llmd_string_free(text);
    DONE(llmd_decision_explain_json(decision, &text, &error));
    CHECK(llmd_string_text(text)[0] == '{' && strstr(llmd_string_text(text), "\"endpoint\":\"pod-1\"") != NULL);
    llmd_string_free(text);
    DONE(llmd_decision_headers(decision, headers, &len, &error));
    CHECK(len == 0);

    DONE(llmd_decision_advance(decision, &error));
    CHECK(strcmp(llmd_decision_endpoint(decision), "pod-0") == 0 && llmd_decision_place(decision) == 0);
    CHECK(llmd_endpoint_in_flight_requests(endpoints[1]) == 0 && llmd_endpoint_in_flight_requests(endpoints[0]) == 1);
    REFUSED(llmd_decision_advance(decision, &error), LLMD_UNAVAILABLE, "no endpoint is left");
    DONE(llmd_decision_first_token(decision, &error));
    CHECK(llmd_endpoint_in_flight_tokens(endpoints[0]) == 0);
    usage.struct_size = sizeof usage;
    usage.prompt_tokens = PROMPT;
    usage.cached_tokens = -1;
    DONE(llmd_decision_end(decision, &usage, &error));
    CHECK(llmd_endpoint_in_flight_requests(endpoints[0]) == 0);
    llmd_decision_free(decision);

    /* Another configuration, which looks at queues, and one that is refused. */
    DONE(llmd_scheduler_reload(scheduler, YAML_QUEUE, &error));
    REFUSED(llmd_scheduler_reload(scheduler, "plugins: 7", &error), LLMD_INVALID, "apiVersion");
    DONE(llmd_scheduler_needs(scheduler, &needs, &error));
    CHECK(needs.metrics == 1 && needs.events == 0);
    metrics.struct_size = sizeof metrics;
    metrics.waiting_requests = 3;
    metrics.running_requests = metrics.block_size = metrics.num_blocks = -1;
    metrics.kv_cache_usage = -1.0;
    DONE(llmd_endpoint_set_metrics(endpoints[1], &metrics, &error));
    metrics.waiting_requests = 9;
    DONE(llmd_endpoint_set_metrics(endpoints[0], &metrics, &error));
    DONE(llmd_scheduler_decide(scheduler, &request, endpoints, 2, &decision, &error));
    CHECK(llmd_decision_place(decision) == 1 && llmd_decision_predicted_hit_tokens(decision) == 0);
    llmd_decision_free(decision);
    llmd_endpoint_free(endpoints[0]);
    llmd_endpoint_free(endpoints[1]);
    llmd_scheduler_free(scheduler);
}

int main(void) {
    uint32_t tokens[PROMPT];
    message batch;
    llmd_index *index;

    CHECK(strchr(llmd_version(), '.') != NULL);
    CHECK(strcmp(llmd_status_name(LLMD_STALE), "stale") == 0);
    count_up(tokens, PROMPT, 1);
    stored(&batch, 100, tokens, BLOCK * BLOCKS, BLOCK);
    names_blocks_as_the_engine_does(tokens);
    tells_the_events_of_a_batch(tokens, &batch);
    says_which_events_cannot_be_read();
    index = knows_who_holds_a_prompt(tokens, &batch);
    is_kept_and_restored(index, tokens);
    sends_a_request_to_who_holds_it(index, tokens);
    llmd_index_free(index);
    puts("smoke: done");
    return 0;
}
