/* Requests that go through several endpoints, ranks behind one address, and what a request is refused with. */
#include <math.h>

#include "check.h"

#define YAML_STAGES                                                                                              \
    "apiVersion: llm-d.ai/v1alpha1\n"                                                                            \
    "kind: EndpointPickerConfig\n"                                                                               \
    "plugins:\n"                                                                                                 \
    "- type: decode-filter\n"                                                                                    \
    "- type: prefill-filter\n"                                                                                   \
    "- type: active-request-scorer\n"                                                                            \
    "- type: always-disagg-pd-decider\n"                                                                         \
    "- type: disagg-profile-handler\n"                                                                           \
    "  parameters: {deciders: {prefill: always-disagg-pd-decider}, deadlines: {prefill: 1500ms}}\n"              \
    "schedulingProfiles:\n"                                                                                      \
    "- {name: decode, plugins: [{pluginRef: decode-filter}, {pluginRef: active-request-scorer}]}\n"              \
    "- {name: prefill, plugins: [{pluginRef: prefill-filter}, {pluginRef: active-request-scorer}]}\n"

#define YAML_SESSIONS                                                                                            \
    "apiVersion: llm-d.ai/v1alpha1\n"                                                                            \
    "kind: EndpointPickerConfig\n"                                                                               \
    "plugins: [{type: session-affinity-scorer}]\n"

#define YAML_COUNTS                                                                                              \
    "apiVersion: llm-d.ai/v1alpha1\n"                                                                            \
    "kind: EndpointPickerConfig\n"                                                                               \
    "plugins:\n"                                                                                                 \
    "- type: active-request-scorer\n"                                                                            \
    "- {type: inflight-load-producer, parameters: {reserve: when-sent, reservationTTL: 1ms}}\n"                  \
    "- {type: data-parallel-profile-handler, parameters: {primaryPort: 9000}}\n"

enum { PROMPT = 100, POOL = 3 };

static llmd_endpoint *endpoint(const char *name, const char *address, const char *role) {
    llmd_pair label = {"llm-d.ai/role", NULL};
    llmd_endpoint_settings settings = {0};
    llmd_endpoint *made;
    label.value = role;
    settings.struct_size = sizeof settings;
    settings.name = name;
    settings.address = address;
    settings.labels = &label;
    settings.labels_len = 1;
    made = llmd_endpoint_new(&settings, NULL, NULL);
    CHECK(made != NULL);
    return made;
}

static llmd_request request(const uint32_t *tokens) {
    llmd_request asked = {0};
    asked.struct_size = sizeof asked;
    asked.id = "request-1";
    asked.model = "tiny";
    asked.tokens = tokens;
    asked.tokens_len = PROMPT;
    asked.tenant = "acme";
    asked.priority = -1;
    return asked;
}

static void goes_through_its_stages_and_past_endpoints_that_fail(const uint32_t *tokens) {
    llmd_scheduler *scheduler = llmd_scheduler_from_yaml(YAML_STAGES, NULL, NULL);
    llmd_endpoint *pool[POOL];
    llmd_request asked = request(tokens);
    llmd_decision *decision = NULL;
    llmd_stage_route stages[3];
    llmd_stage skipped[3];
    llmd_next_step next;
    llmd_pair headers[4];
    const char *removed[8], *prefiller;
    size_t len = 3, places[POOL], first;

    CHECK(scheduler != NULL);
    pool[0] = endpoint("decode", "10.0.0.0:8000", "decode");
    pool[1] = endpoint("prefill-1", "10.0.0.1:8000", "prefill");
    pool[2] = endpoint("prefill-2", "10.0.0.2:8000", "prefill");
    DONE(llmd_scheduler_decide(scheduler, &asked, pool, POOL, &decision, &error));
    DONE(llmd_decision_stages(decision, stages, &len, &error));
    CHECK(len == 2 && stages[0].stage == LLMD_STAGE_PREFILL && stages[1].stage == LLMD_STAGE_DECODE);
    CHECK(strcmp(stages[0].profile, "prefill") == 0 && strcmp(stages[1].endpoint, "decode") == 0);
    CHECK(stages[1].endpoint == llmd_decision_endpoint(decision) && stages[1].place == 0 && stages[1].rank == -1);
    CHECK(stages[0].deadline == 1.5 && stages[1].deadline == -1.0);
    first = stages[0].place;
    CHECK(llmd_endpoint_in_flight_tokens(pool[first]) == PROMPT && llmd_endpoint_in_flight_tokens(pool[0]) == 0);
    len = 1;
    REFUSED(llmd_decision_stages(decision, stages, &len, &error), LLMD_EXHAUSTED, "room for 1, expected 2");

    len = POOL;
    DONE(llmd_decision_ranked(decision, LLMD_STAGE_PREFILL, places, &len, &error));
    CHECK(len == 2 && places[0] == first && places[1] == 3 - first);
    len = POOL;
    DONE(llmd_decision_ranked(decision, LLMD_STAGE_ENCODE, places, &len, &error));
    CHECK(len == 0);

    len = 4;
    DONE(llmd_decision_request_headers(decision, headers, &len, &error));
    CHECK(len == 1 && strcmp(headers[0].name, "x-prefiller-host-port") == 0);
    prefiller = headers[0].value;
    CHECK(strcmp(prefiller, stages[0].address) == 0);
    len = 8;
    DONE(llmd_decision_request_headers_removed(decision, removed, &len, &error));
    CHECK(len == 6 && strcmp(removed[5], "x-prefiller-host-port") == 0);
    CHECK(llmd_decision_destination(decision) == NULL);

    DONE(llmd_decision_stage_failed(decision, LLMD_STAGE_PREFILL, &next, &error));
    CHECK(next == LLMD_NEXT_RETRY);
    len = 3;
    DONE(llmd_decision_stages(decision, stages, &len, &error));
    CHECK(len == 2 && stages[0].place == 3 - first && llmd_endpoint_in_flight_requests(pool[first]) == 0);
    len = 4;
    DONE(llmd_decision_request_headers(decision, headers, &len, &error));
    CHECK(strcmp(headers[0].value, stages[0].address) == 0 && strcmp(headers[0].value, prefiller) != 0);

    DONE(llmd_decision_stage_failed(decision, LLMD_STAGE_PREFILL, &next, &error));
    CHECK(next == LLMD_NEXT_WITHOUT);
    len = 3;
    DONE(llmd_decision_skipped(decision, skipped, &len, &error));
    CHECK(len == 1 && skipped[0] == LLMD_STAGE_PREFILL);
    CHECK(llmd_endpoint_in_flight_tokens(pool[0]) == PROMPT);
    DONE(llmd_decision_stage_failed(decision, LLMD_STAGE_DECODE, &next, &error));
    CHECK(next == LLMD_NEXT_FAIL);
    REFUSED(llmd_decision_stage_failed(decision, 3, &next, &error), LLMD_INVALID, "stage 3: expected one of llmd_stage");
    REFUSED(llmd_decision_stage_done(decision, -1, &error), LLMD_INVALID, "stage -1");
    llmd_decision_free(decision);

    DONE(llmd_scheduler_decide(scheduler, &asked, pool, POOL, &decision, &error));
    DONE(llmd_decision_stage_done(decision, LLMD_STAGE_PREFILL, &error));
    CHECK(llmd_endpoint_in_flight_requests(pool[1]) + llmd_endpoint_in_flight_requests(pool[2]) == 0);
    CHECK(llmd_decision_attribute(decision, "agent-identity") == NULL);
    len = 0;
    DONE(llmd_decision_report(decision, NULL, NULL, &len, &error));
    CHECK(len == 0);
    llmd_decision_free(decision);
    for (len = 0; len < POOL; len++) llmd_endpoint_free(pool[len]);
    llmd_scheduler_free(scheduler);
}

static void ranks_stand_behind_one_address(const uint32_t *tokens) {
    llmd_index_settings index_settings = {0};
    llmd_index *index;
    llmd_endpoint_settings settings = {0};
    llmd_endpoint *ranks[2] = {NULL, NULL}, *one;
    const char *workers[2] = {"pod-7/0", NULL};
    llmd_scheduler *scheduler = llmd_scheduler_from_yaml(YAML_COUNTS, NULL, NULL);
    llmd_request asked = request(tokens);
    llmd_decision *decision = NULL;
    llmd_pair headers[4];
    llmd_metrics metrics = {0};
    const char *running[2] = {"poet", "lawyer"};
    uint32_t number, five = 5;
    size_t len = 4;

    index_settings.struct_size = sizeof index_settings;
    index = llmd_index_new(&index_settings, NULL);
    settings.struct_size = sizeof settings;
    settings.name = "pod-7";
    settings.address = "10.0.0.7:8000";
    REFUSED(llmd_endpoint_ranks(&settings, index, workers, ranks, 2, &error), LLMD_INVALID, "workers[1] is NULL");
    REFUSED(llmd_endpoint_ranks(&settings, index, NULL, NULL, 2, &error), LLMD_INVALID, "endpoints is NULL");
    REFUSED(llmd_endpoint_ranks(&settings, index, NULL, ranks, SIZE_MAX, &error), LLMD_INVALID, "expected 65535 or less");
    CHECK(ranks[0] == NULL);
    workers[1] = "pod-7/1";
    DONE(llmd_endpoint_ranks(&settings, index, workers, ranks, 2, &error));
    DONE(llmd_index_worker(index, "pod-7/1", &number, &error));
    llmd_endpoint_free(ranks[0]);
    llmd_endpoint_free(ranks[1]);
    settings.rank = &five;
    REFUSED(llmd_endpoint_ranks(&settings, NULL, NULL, ranks, 2, &error), LLMD_INVALID, "expected NULL");
    one = llmd_endpoint_new(&settings, NULL, NULL);
    settings.rank = NULL;
    DONE(llmd_endpoint_ranks(&settings, NULL, NULL, ranks, 2, &error));
    CHECK(scheduler != NULL);
    DONE(llmd_scheduler_decide(scheduler, &asked, &ranks[1], 1, &decision, &error));
    CHECK(llmd_decision_rank(decision) == 1 && strcmp(llmd_decision_endpoint(decision), "pod-7-rank-1") == 0);
    CHECK(strcmp(llmd_decision_destination(decision), "10.0.0.7:9000") == 0);
    DONE(llmd_decision_request_headers(decision, headers, &len, &error));
    CHECK(len == 2 && strcmp(headers[1].name, "x-data-parallel-rank") == 0 && strcmp(headers[1].value, "1") == 0);

    /* It counts from when it is sent, until it is forgotten. */
    CHECK(llmd_endpoint_in_flight_requests(ranks[1]) == 0);
    DONE(llmd_decision_sent(decision, &error));
    DONE(llmd_decision_renew(decision, &error));
    while (llmd_scheduler_lapse(scheduler) == 0) {
    }
    CHECK(llmd_endpoint_in_flight_requests(ranks[1]) == 0);
    llmd_decision_free(decision);
    DONE(llmd_scheduler_decide(scheduler, &asked, &one, 1, &decision, &error));
    CHECK(llmd_decision_rank(decision) == 5 && llmd_decision_rank(NULL) == -1);
    llmd_decision_free(decision);

    /* What is measured of it. */
    DONE(llmd_endpoint_set_attribute(one, "GPUUtilization", 62.5, &error));
    CHECK(llmd_endpoint_attribute(one, "GPUUtilization") == 62.5 && isnan(llmd_endpoint_attribute(one, "power")));
    CHECK(isnan(llmd_endpoint_attribute(NULL, "power")) && isnan(llmd_endpoint_attribute(one, NULL)));
    metrics.struct_size = sizeof metrics;
    metrics.max_lora = 4;
    metrics.running_lora_adapters = running;
    metrics.running_lora_adapters_len = 2;
    metrics.load_s_per_token[LLMD_MEDIUM_CPU] = 1e-6;
    metrics.prefill_s_per_token = 2e-5;
    DONE(llmd_endpoint_set_metrics(one, &metrics, &error));
    running[1] = NULL;
    REFUSED(llmd_endpoint_set_metrics(one, &metrics, &error), LLMD_INVALID, "running_lora_adapters[1] is NULL");
    metrics.struct_size = offsetof(llmd_metrics, max_lora);
    DONE(llmd_endpoint_set_metrics(one, &metrics, &error));

    llmd_endpoint_free(one);
    llmd_endpoint_free(ranks[0]);
    llmd_endpoint_free(ranks[1]);
    llmd_scheduler_free(scheduler);
    llmd_index_free(index);
}

static void a_refusal_says_how_to_answer(const uint32_t *tokens) {
    llmd_scheduler *scheduler = llmd_scheduler_from_yaml(YAML_STAGES, NULL, NULL);
    llmd_endpoint *prefiller = endpoint("prefill", "10.0.0.1:8000", "prefill");
    llmd_request asked = request(tokens);
    llmd_decision *decision = NULL;
    llmd_error *error = NULL;

    CHECK(llmd_scheduler_decide(scheduler, &asked, &prefiller, 1, &decision, &error) == LLMD_EXHAUSTED);
    CHECK(llmd_error_http_status(error) == 429 && strcmp(llmd_error_reason(error), "rejected-saturated") == 0);
    llmd_error_free(error);
    CHECK(llmd_scheduler_decide(scheduler, &asked, NULL, 0, &decision, &error) == LLMD_UNAVAILABLE);
    CHECK(llmd_error_http_status(error) == 503 && strcmp(llmd_error_reason(error), "rejected-no-endpoints") == 0);
    CHECK(strcmp(llmd_error_message(error), "no endpoint serves model tiny") == 0);
    llmd_error_free(error);
    CHECK(llmd_scheduler_reload(scheduler, "plugins: 7", &error) == LLMD_INVALID);
    CHECK(llmd_error_http_status(error) == 0 && llmd_error_reason(error) == NULL);
    llmd_error_free(error);
    CHECK(llmd_error_http_status(NULL) == 0 && llmd_error_reason(NULL) == NULL);
    llmd_endpoint_free(prefiller);
    llmd_scheduler_free(scheduler);
}

static void experiments_are_allowed_when_it_is_said(void) {
    llmd_scheduler_settings settings = {0};
    llmd_scheduler *scheduler;
    llmd_needs needs = {0};

    settings.struct_size = sizeof settings;
    NOT_MADE(llmd_scheduler_new(&settings, NULL, &error), LLMD_INVALID, "yaml is NULL");
    settings.yaml = YAML_SESSIONS;
    NOT_MADE(llmd_scheduler_new(&settings, NULL, &error), LLMD_INVALID, "experimental");
    settings.allow_experimental = 1;
    scheduler = llmd_scheduler_new(&settings, NULL, NULL);
    CHECK(scheduler != NULL);
    needs.struct_size = sizeof needs;
    needs.usage = needs.cookies = 9;
    DONE(llmd_scheduler_needs(scheduler, &needs, &error));
    CHECK(needs.usage == 0 && needs.body == 0 && needs.attributes == 0 && needs.cookies == 0);
    llmd_scheduler_free(scheduler);
}

static void everything_that_is_wrong_is_said_at_once(void) {
    llmd_scheduler_settings settings = {0};
    llmd_problems *problems = NULL;
    llmd_problem problem = {0};
    llmd_index_settings index_settings = {0};
    llmd_index *index;

    settings.struct_size = sizeof settings;
    settings.yaml = "plugins:\n- type: queue-scorrer\nschedulingProfiles: 7\n";
    DONE(llmd_check_config(&settings, NULL, &problems, &error));
    CHECK(llmd_problems_len(problems) >= 3);
    REFUSED(llmd_problems_get(problems, 0, &problem, &error), LLMD_INVALID, "llmd_problem: struct_size is 0");
    problem.struct_size = sizeof problem;
    REFUSED(llmd_problems_get(problems, 99, &problem, &error), LLMD_INVALID, "problem 99 is not there");
    DONE(llmd_problems_get(problems, llmd_problems_len(problems) - 1, &problem, &error));
    CHECK(problem.line == 3 && strcmp(problem.path, "schedulingProfiles") == 0 && problem.message[0] != '\0');
    llmd_problems_free(problems);

    /* What there is beside the configuration counts. */
    settings.yaml = YAML_PRECISE;
    DONE(llmd_check_config(&settings, NULL, &problems, &error));
    CHECK(llmd_problems_len(problems) == 1);
    DONE(llmd_problems_get(problems, 0, &problem, &error));
    CHECK(problem.kind == LLMD_INVALID);
    llmd_problems_free(problems);
    index_settings.struct_size = sizeof index_settings;
    index = llmd_index_new(&index_settings, NULL);
    DONE(llmd_check_config(&settings, index, &problems, &error));
    CHECK(llmd_problems_len(problems) == 0);
    llmd_problems_free(problems);
    llmd_index_free(index);
}

int main(void) {
    uint32_t tokens[PROMPT];

    count_up(tokens, PROMPT, 1);
    goes_through_its_stages_and_past_endpoints_that_fail(tokens);
    ranks_stand_behind_one_address(tokens);
    a_refusal_says_how_to_answer(tokens);
    experiments_are_allowed_when_it_is_said();
    everything_that_is_wrong_is_said_at_once();
    puts("stages: done");
    return 0;
}
