/* Calls that are wrong: each is answered, and none crashes. */
#include "check.h"

enum { BLOCK = 16, PROMPT = 64 };

static llmd_index_settings index_settings(void) {
    llmd_index_settings settings = {0};
    settings.struct_size = sizeof settings;
    settings.block_size = BLOCK;
    return settings;
}

static llmd_endpoint *endpoint(const char *name, const llmd_index *index) {
    llmd_endpoint_settings settings = {0};
    llmd_endpoint *made;
    settings.struct_size = sizeof settings;
    settings.name = name;
    settings.address = "10.0.0.1:8000";
    made = llmd_endpoint_new(&settings, index, NULL);
    CHECK(made != NULL);
    return made;
}

static void null_is_answered(void) {
    uint32_t token = 1;
    uint64_t number;
    size_t len = 0;
    llmd_worker_state state;
    uint8_t byte = 0;

    NOT_MADE(llmd_hasher_new(NULL, &error), LLMD_INVALID, "llmd_hasher_settings is NULL");
    REFUSED(llmd_hasher_hash(NULL, &token, 1, NULL, &byte, &len, &error), LLMD_INVALID, "hasher is NULL");
    REFUSED(llmd_hasher_event_int(NULL, &byte, 1, &number, &error), LLMD_INVALID, "hasher is NULL");
    REFUSED(llmd_events_decode(NULL, 5, NULL, &error), LLMD_INVALID, "events is NULL");
    REFUSED(llmd_events_get(NULL, 0, NULL, &error), LLMD_INVALID, "events is NULL");
    REFUSED(llmd_events_error(NULL, 0, NULL, &error), LLMD_INVALID, "events is NULL");
    NOT_MADE(llmd_index_new(NULL, &error), LLMD_INVALID, "llmd_index_settings is NULL");
    REFUSED(llmd_index_apply(NULL, "pod", 0, &byte, 1, NULL, &error), LLMD_INVALID, "index is NULL");
    REFUSED(llmd_index_give_up(NULL, "pod", NULL, &error), LLMD_INVALID, "index is NULL");
    REFUSED(llmd_index_query(NULL, &token, 1, NULL, NULL, &len, &error), LLMD_INVALID, "index is NULL");
    REFUSED(llmd_index_explain(NULL, &token, 1, NULL, NULL, &error), LLMD_INVALID, "explanation is NULL");
    REFUSED(llmd_index_state(NULL, "pod", &state, &error), LLMD_INVALID, "index is NULL");
    REFUSED(llmd_index_missing_from(NULL, "pod", &number, &error), LLMD_INVALID, "index is NULL");
    REFUSED(llmd_index_snapshot(NULL, NULL, &error), LLMD_INVALID, "snapshot is NULL");
    NOT_MADE(llmd_index_restore(NULL, &byte, 1, &error), LLMD_INVALID, "llmd_index_settings is NULL");
    REFUSED(llmd_index_clear(NULL, "pod", &error), LLMD_INVALID, "index is NULL");
    REFUSED(llmd_index_remove_worker(NULL, "pod", &error), LLMD_INVALID, "index is NULL");
    REFUSED(llmd_index_worker(NULL, "pod", NULL, &error), LLMD_INVALID, "index is NULL");
    REFUSED(llmd_index_stats(NULL, NULL, &error), LLMD_INVALID, "index is NULL");
    NOT_MADE(llmd_endpoint_new(NULL, NULL, &error), LLMD_INVALID, "llmd_endpoint_settings is NULL");
    REFUSED(llmd_endpoint_set_metrics(NULL, NULL, &error), LLMD_INVALID, "endpoint is NULL");
    NOT_MADE(llmd_scheduler_from_yaml(NULL, NULL, &error), LLMD_INVALID, "yaml is NULL");
    REFUSED(llmd_scheduler_needs(NULL, NULL, &error), LLMD_INVALID, "scheduler is NULL");
    REFUSED(llmd_scheduler_reload(NULL, YAML_QUEUE, &error), LLMD_INVALID, "scheduler is NULL");
    REFUSED(llmd_scheduler_describe(NULL, NULL, &error), LLMD_INVALID, "description is NULL");
    REFUSED(llmd_scheduler_decide(NULL, NULL, NULL, 0, NULL, &error), LLMD_INVALID, "decision is NULL");
    REFUSED(llmd_decision_headers(NULL, NULL, &len, &error), LLMD_INVALID, "decision is NULL");
    REFUSED(llmd_decision_advance(NULL, &error), LLMD_INVALID, "decision is NULL");
    REFUSED(llmd_decision_first_token(NULL, &error), LLMD_INVALID, "decision is NULL");
    REFUSED(llmd_decision_end(NULL, NULL, &error), LLMD_INVALID, "decision is NULL");
    REFUSED(llmd_decision_explain(NULL, NULL, &error), LLMD_INVALID, "explanation is NULL");
    REFUSED(llmd_decision_explain_json(NULL, NULL, &error), LLMD_INVALID, "explanation is NULL");
    REFUSED(llmd_endpoint_ranks(NULL, NULL, NULL, NULL, 0, &error), LLMD_INVALID, "llmd_endpoint_settings is NULL");
    REFUSED(llmd_endpoint_set_attribute(NULL, "power", 1.0, &error), LLMD_INVALID, "endpoint is NULL");
    NOT_MADE(llmd_scheduler_new(NULL, NULL, &error), LLMD_INVALID, "llmd_scheduler_settings is NULL");
    REFUSED(llmd_check_config(NULL, NULL, NULL, &error), LLMD_INVALID, "problems is NULL");
    REFUSED(llmd_problems_get(NULL, 0, NULL, &error), LLMD_INVALID, "problems is NULL");
    REFUSED(llmd_decision_request_headers(NULL, NULL, &len, &error), LLMD_INVALID, "decision is NULL");
    REFUSED(llmd_decision_request_headers_removed(NULL, NULL, &len, &error), LLMD_INVALID, "decision is NULL");
    REFUSED(llmd_decision_sent(NULL, &error), LLMD_INVALID, "decision is NULL");
    REFUSED(llmd_decision_renew(NULL, &error), LLMD_INVALID, "decision is NULL");
    REFUSED(llmd_decision_stages(NULL, NULL, &len, &error), LLMD_INVALID, "decision is NULL");
    REFUSED(llmd_decision_ranked(NULL, LLMD_STAGE_DECODE, NULL, &len, &error), LLMD_INVALID, "decision is NULL");
    REFUSED(llmd_decision_stage_failed(NULL, LLMD_STAGE_DECODE, NULL, &error), LLMD_INVALID, "decision is NULL");
    REFUSED(llmd_decision_stage_done(NULL, LLMD_STAGE_DECODE, &error), LLMD_INVALID, "decision is NULL");
    REFUSED(llmd_decision_skipped(NULL, NULL, &len, &error), LLMD_INVALID, "decision is NULL");
    REFUSED(llmd_decision_report(NULL, NULL, NULL, &len, &error), LLMD_INVALID, "decision is NULL");

    CHECK(llmd_error_message(NULL) == NULL && llmd_error_status(NULL) == LLMD_OK);
    CHECK(llmd_string_text(NULL) == NULL && llmd_string_len(NULL) == 0);
    CHECK(llmd_bytes_data(NULL) == NULL && llmd_bytes_len(NULL) == 0);
    CHECK(llmd_events_len(NULL) == 0 && llmd_events_timestamp(NULL) == 0.0 && llmd_events_data_parallel_rank(NULL) == -1);
    CHECK(llmd_events_errors_len(NULL) == 0 && llmd_events_errors_dropped(NULL) == 0);
    CHECK(llmd_hasher_digest_len(NULL) == 0 && llmd_index_worker_name(NULL, 0) == NULL);
    CHECK(llmd_endpoint_in_flight_requests(NULL) == 0 && llmd_endpoint_in_flight_tokens(NULL) == 0);
    CHECK(llmd_decision_endpoint(NULL) == NULL && llmd_decision_address(NULL) == NULL);
    CHECK(llmd_decision_place(NULL) == SIZE_MAX && llmd_decision_predicted_hit_tokens(NULL) == 0);
    CHECK(llmd_decision_destination(NULL) == NULL && llmd_decision_attribute(NULL, "name") == NULL);
    CHECK(llmd_scheduler_lapse(NULL) == 0 && llmd_problems_len(NULL) == 0);
    llmd_problems_free(NULL);

    /* Nobody has to take the error. */
    CHECK(llmd_index_clear(NULL, "pod", NULL) == LLMD_INVALID);
    llmd_error_free(NULL);
    llmd_string_free(NULL);
    llmd_bytes_free(NULL);
    llmd_hasher_free(NULL);
    llmd_events_free(NULL);
    llmd_index_free(NULL);
    llmd_endpoint_free(NULL);
    llmd_scheduler_free(NULL);
    llmd_decision_free(NULL);
}

static void arguments_inside_a_good_call_are_answered_too(void) {
    llmd_index_settings settings = index_settings();
    llmd_index *index = llmd_index_new(&settings, NULL);
    uint32_t tokens[PROMPT];
    uint8_t byte = 0;
    size_t len = 0;

    count_up(tokens, PROMPT, 0);
    REFUSED(llmd_index_apply(index, NULL, 0, &byte, 1, NULL, &error), LLMD_INVALID, "worker is NULL");
    REFUSED(llmd_index_apply(index, "pod", 0, NULL, 1, NULL, &error), LLMD_INVALID, "payload is NULL");
    REFUSED(llmd_index_apply(index, "", 0, &byte, 1, NULL, &error), LLMD_INVALID, "name of 0 bytes");
    REFUSED(llmd_index_apply(index, "pod", LLMD_NO_SEQ, NULL, 0, NULL, &error), LLMD_CORRUPT, "pod");
    REFUSED(llmd_index_apply(index, "p\xff", 0, &byte, 1, NULL, &error), LLMD_INVALID, "byte 1 is 0xff, expected UTF-8");
    REFUSED(llmd_index_query(index, NULL, 3, NULL, NULL, &len, &error), LLMD_INVALID, "tokens is NULL, expected 3");
    REFUSED(llmd_index_query(index, tokens, PROMPT, NULL, NULL, NULL, &error), LLMD_INVALID, "length of overlaps is NULL");
    REFUSED(llmd_index_clear(index, "nobody", &error), LLMD_INVALID, "nobody");
    DONE(llmd_index_query(index, NULL, 0, NULL, NULL, &len, &error));
    CHECK(len == 0);
    llmd_index_free(index);
}

static void a_wrong_size_is_named_with_the_right_one(void) {
    llmd_index_settings settings = index_settings();
    llmd_index *index = llmd_index_new(&settings, NULL);
    llmd_namespace under = {0};
    llmd_fed fed = {0};
    llmd_stats stats = {0};
    uint32_t token = 1;
    size_t len = 0;
    char expected[64];
    message batch;

    settings.struct_size = 3;
    sprintf(expected, "struct_size is 3, expected %u or %u", (unsigned)offsetof(llmd_index_settings, silence_blocks),
            (unsigned)sizeof settings);
    NOT_MADE(llmd_index_new(&settings, &error), LLMD_INVALID, expected);
    settings.struct_size = sizeof settings + 8;
    NOT_MADE(llmd_index_new(&settings, &error), LLMD_INVALID, "llmd_index_settings");

    /* Nothing is fed when there is no telling how it went. */
    cleared(&batch);
    REFUSED(llmd_index_apply(index, "pod", 0, batch.bytes, batch.len, &fed, &error), LLMD_INVALID, "llmd_fed: struct_size is 0");
    REFUSED(llmd_index_clear(index, "pod", &error), LLMD_INVALID, "pod");
    REFUSED(llmd_index_stats(index, &stats, &error), LLMD_INVALID, "llmd_stats: struct_size is 0");
    REFUSED(llmd_index_query(index, &token, 1, &under, NULL, &len, &error), LLMD_INVALID, "llmd_namespace: struct_size is 0");
    llmd_index_free(index);
}

static void too_little_room_is_answered_with_how_much_there_must_be(void) {
    llmd_index_settings settings = index_settings();
    llmd_index *index = llmd_index_new(&settings, NULL);
    llmd_overlap overlaps[3];
    uint32_t tokens[PROMPT];
    char name[16];
    size_t len = 0;
    int pod;
    message batch;

    count_up(tokens, PROMPT, 0);
    stored(&batch, 1, tokens, PROMPT, BLOCK);
    for (pod = 0; pod < 3; pod++) {
        sprintf(name, "pod-%d", pod);
        DONE(llmd_index_apply(index, name, 0, batch.bytes, batch.len, NULL, &error));
    }
    REFUSED(llmd_index_query(index, tokens, PROMPT, NULL, NULL, &len, &error), LLMD_EXHAUSTED, "room for 0, expected 3");
    CHECK(len == 3);
    memset(overlaps, 0x55, sizeof overlaps);
    len = 2;
    REFUSED(llmd_index_query(index, tokens, PROMPT, NULL, overlaps, &len, &error), LLMD_EXHAUSTED, "room for 2, expected 3");
    CHECK(len == 3 && overlaps[0].leading == 0x55555555);
    DONE(llmd_index_query(index, tokens, PROMPT, NULL, overlaps, &len, &error));
    CHECK(strcmp(overlaps[2].name, "pod-2") == 0 && overlaps[2].leading == PROMPT / BLOCK);
    llmd_index_free(index);
}

static void what_was_made_may_be_freed_in_any_order(void) {
    llmd_index_settings settings = index_settings();
    llmd_index *index = llmd_index_new(&settings, NULL);
    llmd_scheduler *scheduler = llmd_scheduler_from_yaml(YAML_PRECISE, index, NULL);
    llmd_endpoint *endpoints[2];
    llmd_request request = {0};
    llmd_decision *decision = NULL, *second = NULL;
    llmd_error *error = NULL;
    llmd_string *why = NULL;
    uint32_t tokens[PROMPT];

    CHECK(scheduler != NULL);
    endpoints[0] = endpoint("pod-0", index);
    endpoints[1] = endpoint("pod-1", index);
    count_up(tokens, PROMPT, 0);
    request.struct_size = sizeof request;
    request.model = "tiny";
    request.tokens = tokens;
    request.tokens_len = PROMPT;
    CHECK(llmd_index_clear(index, "nobody", &error) == LLMD_INVALID);

    llmd_index_free(index);
    CHECK(llmd_scheduler_decide(scheduler, &request, endpoints, 2, &decision, NULL) == LLMD_OK);
    CHECK(llmd_scheduler_decide(scheduler, &request, endpoints, 2, &second, NULL) == LLMD_OK);
    llmd_scheduler_free(scheduler);
    llmd_endpoint_free(endpoints[0]);
    CHECK(llmd_decision_advance(decision, NULL) == LLMD_OK);
    llmd_endpoint_free(endpoints[1]);
    CHECK(llmd_decision_explain(decision, &why, NULL) == LLMD_OK);
    CHECK(strncmp(llmd_decision_endpoint(decision), "pod-", 4) == 0);
    llmd_decision_free(decision);
    llmd_decision_free(second);
    CHECK(llmd_string_len(why) > 0);
    llmd_string_free(why);
    CHECK(strstr(llmd_error_message(error), "nobody") != NULL);
    llmd_error_free(error);
}

static void a_configuration_or_request_that_is_wrong_is_refused(void) {
    llmd_scheduler *scheduler;
    llmd_endpoint *one = endpoint("pod-0", NULL), *endpoints[2];
    llmd_request request = {0};
    llmd_pair header = {"Host", NULL};
    llmd_decision *decision = NULL;
    llmd_hasher_settings scheme = {0};

    NOT_MADE(llmd_scheduler_from_yaml("kind: [", NULL, &error), LLMD_INVALID, "line 1");
    NOT_MADE(llmd_scheduler_from_yaml(YAML_PRECISE, NULL, &error), LLMD_INVALID, "without one");
    NOT_MADE(llmd_scheduler_from_yaml("\xc3(", NULL, &error), LLMD_INVALID, "yaml: byte 0 is 0xc3");
    scheduler = llmd_scheduler_from_yaml(YAML_QUEUE, NULL, NULL);
    CHECK(scheduler != NULL);
    request.struct_size = sizeof request;
    request.model = "tiny";
    endpoints[0] = one;
    endpoints[1] = NULL;
    REFUSED(llmd_scheduler_decide(scheduler, &request, endpoints, 2, &decision, &error), LLMD_INVALID, "endpoints[1] is NULL");
    REFUSED(llmd_scheduler_decide(scheduler, &request, NULL, 0, &decision, &error), LLMD_UNAVAILABLE, "tiny");
    request.headers = &header;
    request.headers_len = 1;
    REFUSED(llmd_scheduler_decide(scheduler, &request, endpoints, 1, &decision, &error), LLMD_INVALID, "value is NULL");
    CHECK(decision == NULL && llmd_endpoint_in_flight_requests(one) == 0);
    llmd_endpoint_free(one);
    llmd_scheduler_free(scheduler);

    scheme.struct_size = sizeof scheme;
    scheme.scheme = "vllm-md5";
    scheme.block_size = BLOCK;
    NOT_MADE(llmd_hasher_new(&scheme, &error), LLMD_INVALID, "vllm-md5");
    scheme.scheme = "llmd";
    NOT_MADE(llmd_hasher_new(&scheme, &error), LLMD_UNSUPPORTED, "llmd");
}

int main(void) {
    null_is_answered();
    arguments_inside_a_good_call_are_answered_too();
    a_wrong_size_is_named_with_the_right_one();
    too_little_room_is_answered_with_how_much_there_must_be();
    what_was_made_may_be_freed_in_any_order();
    a_configuration_or_request_that_is_wrong_is_refused();
    puts("misuse: done");
    return 0;
}
