/*
 * Where is a prompt computed, and where are its answers made? A configuration with stages, endpoints of two roles, one that
 * fails, and a decision that says why; before that, everything that is wrong with a configuration.
 *
 *   cc prefill_and_decode.c $(pkg-config --cflags --libs llmd) && ./a.out
 */
#include <stdio.h>
#include <stdlib.h>

#include <llmd.h>

static const char YAML[] =
    "apiVersion: llm-d.ai/v1alpha1\n"
    "kind: EndpointPickerConfig\n"
    "plugins:\n"
    "- type: prefill-filter\n"
    "- type: decode-filter\n"
    "- type: active-request-scorer\n"
    "- type: always-disagg-pd-decider\n"
    "- type: disagg-profile-handler\n"
    "  parameters: {deciders: {prefill: always-disagg-pd-decider}, deadlines: {prefill: 30s}}\n"
    "schedulingProfiles:\n"
    "- {name: prefill, plugins: [{pluginRef: prefill-filter}, {pluginRef: active-request-scorer}]}\n"
    "- {name: decode, plugins: [{pluginRef: decode-filter}, {pluginRef: active-request-scorer}]}\n";

static void must(llmd_status status, llmd_error *error) {
    if (status != LLMD_OK) {
        fprintf(stderr, "%s: %s\n", llmd_status_name((int)status), llmd_error_message(error));
        llmd_error_free(error);
        exit(1);
    }
}

/* Where each stage is done, and what the request carries so that the engines know. */
static void show(const llmd_decision *decision) {
    static const char *const names[] = {"encode", "prefill", "decode"};
    llmd_stage_route stages[3];
    llmd_pair headers[8];
    const char *removed[8];
    size_t stages_len = 3, headers_len = 8, removed_len = 8;
    llmd_error *error = NULL;

    must(llmd_decision_stages(decision, stages, &stages_len, &error), error);
    for (size_t at = 0; at < stages_len; at++) {
        printf("%s at %s (%s)", names[stages[at].stage], stages[at].endpoint, stages[at].address);
        if (stages[at].deadline >= 0) printf(" within %g s", stages[at].deadline);
        puts("");
    }
    must(llmd_decision_request_headers_removed(decision, removed, &removed_len, &error), error);
    for (size_t at = 0; at < removed_len; at++) printf("  without %s\n", removed[at]);
    must(llmd_decision_request_headers(decision, headers, &headers_len, &error), error);
    for (size_t at = 0; at < headers_len; at++) printf("  %s: %s\n", headers[at].name, headers[at].value);
}

/* Everything that is wrong with a configuration, each with its place. */
static void check(const char *yaml) {
    llmd_scheduler_settings settings = {.struct_size = sizeof settings, .yaml = yaml};
    llmd_problems *problems = NULL;
    llmd_error *error = NULL;

    must(llmd_check_config(&settings, NULL, &problems, &error), error);
    printf("%u problems\n", (unsigned)llmd_problems_len(problems));
    for (size_t at = 0; at < llmd_problems_len(problems); at++) {
        llmd_problem problem = {.struct_size = sizeof problem};
        must(llmd_problems_get(problems, at, &problem, &error), error);
        printf("  %u:%u %s: %s\n", (unsigned)problem.line, (unsigned)problem.column, problem.path, problem.message);
    }
    llmd_problems_free(problems);
}

int main(void) {
    static const char *const names[] = {"decode-0", "prefill-0", "prefill-1"}, *const roles[] = {"decode", "prefill", "prefill"};
    static const char *const addresses[] = {"10.0.0.1:8000", "10.0.0.2:8000", "10.0.0.3:8000"};
    llmd_error *error = NULL;

    check("apiVersion: llm-d.ai/v1alpha1\n"
          "kind: EndpointPickerConfig\n"
          "plugins:\n"
          "- type: queue-scorrer\n"
          "- {type: random-picker, parameters: {maxNumOfEndpoints: many}}\n");
    check(YAML);

    llmd_scheduler *scheduler = llmd_scheduler_from_yaml(YAML, NULL, &error);
    must(llmd_error_status(error), error);
    llmd_endpoint *endpoints[3];
    for (int at = 0; at < 3; at++) {
        llmd_pair role = {"llm-d.ai/role", roles[at]};
        llmd_endpoint_settings settings = {
            .struct_size = sizeof settings, .name = names[at], .address = addresses[at], .labels = &role, .labels_len = 1};
        endpoints[at] = llmd_endpoint_new(&settings, NULL, &error);
        must(llmd_error_status(error), error);
    }

    llmd_request request = {.struct_size = sizeof request, .id = "request-1", .model = "tiny"};
    llmd_decision *decision = NULL;
    must(llmd_scheduler_decide(scheduler, &request, endpoints, 3, &decision, &error), error);
    show(decision);

    /* The prefiller does not answer: another one, and then the endpoint that decodes, computes the prompt. */
    for (int attempt = 0; attempt < 2; attempt++) {
        llmd_next_step next;
        must(llmd_decision_stage_failed(decision, LLMD_STAGE_PREFILL, &next, &error), error);
        puts(next == LLMD_NEXT_RETRY ? "that one failed: another" : next == LLMD_NEXT_WITHOUT ? "that one failed: without" : "it fails");
        show(decision);
    }
    must(llmd_decision_first_token(decision, &error), error);
    must(llmd_decision_end(decision, NULL, &error), error);
    llmd_string *why = NULL;
    must(llmd_decision_explain_json(decision, &why, &error), error);
    puts(llmd_string_text(why));
    llmd_string_free(why);
    llmd_decision_free(decision);

    /* Nobody is there: the error says how to answer the client. */
    if (llmd_scheduler_decide(scheduler, &request, NULL, 0, &decision, &error) != LLMD_OK) {
        printf("%u %s: %s\n", llmd_error_http_status(error), llmd_error_reason(error), llmd_error_message(error));
        llmd_error_free(error);
    }
    for (int at = 0; at < 3; at++) llmd_endpoint_free(endpoints[at]);
    llmd_scheduler_free(scheduler);
    return 0;
}
