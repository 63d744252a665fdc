/* Eight threads on one index and one scheduler: two feed, two ask, four send requests. */
#include <pthread.h>

#include "check.h"

enum { BLOCK = 16, PROMPT = 256, PODS = 4, THREADS = 8 };

static const llmd_index *the_index;
static const llmd_scheduler *the_scheduler;
static llmd_endpoint *endpoints[PODS];
static uint32_t tokens[PROMPT];
static int rounds = 200;

static void *feed(void *which) {
    int round, pod = *(const int *)which;
    char name[16];
    message batch;
    llmd_fed fed = {0};

    sprintf(name, "pod-%d", pod);
    fed.struct_size = sizeof fed;
    for (round = 0; round < rounds; round++) {
        if (round % 2 == 0) {
            /* An engine names a block by its content, and each in its own way. */
            stored(&batch, (uint32_t)pod * 1000 + 1, tokens, PROMPT, BLOCK);
        } else {
            cleared(&batch);
        }
        DONE(llmd_index_apply(the_index, name, (uint64_t)round, batch.bytes, batch.len, &fed, &error));
        CHECK(fed.state == LLMD_EXACT && fed.events == 1);
    }
    return NULL;
}

static void *ask(void *which) {
    int round;
    uint32_t ids[PODS], leading[PODS];
    llmd_chain *chain = NULL;
    (void)which;
    for (round = 0; round < PODS; round++) {
        char name[16];
        sprintf(name, "pod-%d", round);
        DONE(llmd_index_worker(the_index, name, &ids[round], &error));
    }
    DONE(llmd_chain_new(the_index, tokens, PROMPT, NULL, &chain, &error));
    for (round = 0; round < rounds; round++) {
        llmd_overlap overlaps[PODS];
        llmd_string *why = NULL;
        size_t len = PODS, at;
        DONE(llmd_index_query(the_index, tokens, PROMPT, NULL, overlaps, &len, &error));
        for (at = 0; at < len; at++) {
            CHECK(strncmp(overlaps[at].name, "pod-", 4) == 0);
            CHECK(overlaps[at].leading <= PROMPT / BLOCK);
        }
        DONE(llmd_chain_query_dense(chain, ids, PODS, leading, &error));
        for (at = 0; at < PODS; at++) CHECK(leading[at] <= PROMPT / BLOCK);
        if (round % 16 == 0) {
            DONE(llmd_index_explain(the_index, tokens, PROMPT, NULL, &why, &error));
            llmd_string_free(why);
        }
    }
    llmd_chain_free(chain);
    return NULL;
}

static void *decide(void *which) {
    int round;
    (void)which;
    for (round = 0; round < rounds; round++) {
        llmd_request request = {0};
        llmd_decision *decision = NULL;
        request.struct_size = sizeof request;
        request.model = "tiny";
        request.tokens = tokens;
        request.tokens_len = PROMPT;
        DONE(llmd_scheduler_decide(the_scheduler, &request, endpoints, PODS, &decision, &error));
        CHECK(llmd_endpoint_in_flight_requests(endpoints[llmd_decision_place(decision)]) > 0);
        if (round % 3 == 0) {
            CHECK(llmd_decision_advance(decision, NULL) == LLMD_OK);
        }
        DONE(llmd_decision_first_token(decision, &error));
        if (round % 2 == 0) {
            DONE(llmd_decision_end(decision, NULL, &error));
        }
        llmd_decision_free(decision);
    }
    return NULL;
}

int main(int argc, char **argv) {
    void *(*const jobs[THREADS])(void *) = {feed, feed, ask, ask, decide, decide, decide, decide};
    llmd_index_settings settings = {0};
    llmd_index *index;
    llmd_scheduler *scheduler;
    pthread_t threads[THREADS];
    int which[THREADS], at;

    if (argc > 1) rounds = atoi(argv[1]);
    count_up(tokens, PROMPT, 0);
    settings.struct_size = sizeof settings;
    settings.block_size = BLOCK;
    the_index = index = llmd_index_new(&settings, NULL);
    the_scheduler = scheduler = llmd_scheduler_from_yaml(YAML_PRECISE, index, NULL);
    CHECK(index != NULL && scheduler != NULL);
    for (at = 0; at < PODS; at++) {
        llmd_endpoint_settings endpoint = {0};
        char name[16];
        sprintf(name, "pod-%d", at);
        endpoint.struct_size = sizeof endpoint;
        endpoint.name = name;
        endpoint.address = "10.0.0.1:8000";
        endpoints[at] = llmd_endpoint_new(&endpoint, index, NULL);
        CHECK(endpoints[at] != NULL);
    }
    for (at = 0; at < THREADS; at++) {
        which[at] = at;
        CHECK(pthread_create(&threads[at], NULL, jobs[at], &which[at]) == 0);
    }
    for (at = 0; at < THREADS; at++) CHECK(pthread_join(threads[at], NULL) == 0);
    for (at = 0; at < PODS; at++) {
        CHECK(llmd_endpoint_in_flight_requests(endpoints[at]) == 0);
        CHECK(llmd_endpoint_in_flight_tokens(endpoints[at]) == 0);
        llmd_endpoint_free(endpoints[at]);
    }
    llmd_scheduler_free(scheduler);
    llmd_index_free(index);
    puts("threads: done");
    return 0;
}
