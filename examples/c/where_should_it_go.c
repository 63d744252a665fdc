/*
 * Where should this request go? llm-d's configuration, three endpoints, and a decision that says why.
 *
 *   cc where_should_it_go.c $(pkg-config --cflags --libs llmd) && ./a.out ../data/epp.yaml ../data/block_stored.msgpack
 */
#include <stdio.h>
#include <stdlib.h>

#include <llmd.h>

static void must(llmd_status status, llmd_error *error) {
    if (status != LLMD_OK) {
        fprintf(stderr, "%s: %s\n", llmd_status_name((int)status), llmd_error_message(error));
        llmd_error_free(error);
        exit(1);
    }
}

/* What a file holds, and a NUL. */
static size_t whole(const char *path, char *bytes, size_t room) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    size_t len = fread(bytes, 1, room - 1, file);
    fclose(file);
    bytes[len] = '\0';
    return len;
}

int main(int argc, char **argv) {
    char yaml[4096], payload[4096];
    whole(argc > 1 ? argv[1] : "examples/data/epp.yaml", yaml, sizeof yaml);
    size_t payload_len = whole(argc > 2 ? argv[2] : "examples/data/block_stored.msgpack", payload, sizeof payload);

    /* An index knows what engine-1 holds, and a scheduler asks it. */
    llmd_error *error = NULL;
    llmd_index *index =
        llmd_index_new(&(llmd_index_settings){.struct_size = sizeof(llmd_index_settings), .block_size = 32}, &error);
    must(llmd_error_status(error), error);
    must(llmd_index_apply(index, "engine-1", 0, (uint8_t *)payload, payload_len, NULL, &error), error);
    llmd_scheduler *scheduler = llmd_scheduler_from_yaml(yaml, index, &error);
    must(llmd_error_status(error), error);

    const char *const names[] = {"engine-0", "engine-1", "engine-2"};
    const char *const addresses[] = {"10.0.0.0:8000", "10.0.0.1:8000", "10.0.0.2:8000"};
    llmd_endpoint *endpoints[3];
    for (int at = 0; at < 3; at++) {
        llmd_endpoint_settings settings = {.struct_size = sizeof settings, .name = names[at], .address = addresses[at]};
        endpoints[at] = llmd_endpoint_new(&settings, index, &error);
        must(llmd_error_status(error), error);
    }

    /* A request whose prompt engine-1 has computed before. */
    llmd_events *events = NULL;
    llmd_event stored = {.struct_size = sizeof stored};
    must(llmd_events_decode((uint8_t *)payload, payload_len, &events, &error), error);
    must(llmd_events_get(events, 0, &stored, &error), error);
    llmd_request request = {.struct_size = sizeof request,
                            .id = "request-1",
                            .model = "tiny",
                            .tokens = stored.tokens,
                            .tokens_len = stored.tokens_len};
    llmd_decision *decision = NULL;
    must(llmd_scheduler_decide(scheduler, &request, endpoints, 3, &decision, &error), error);

    llmd_string *why = NULL;
    must(llmd_decision_explain(decision, &why, &error), error);
    printf("%s (%s) because\n%s", llmd_decision_endpoint(decision), llmd_decision_address(decision), llmd_string_text(why));
    printf("in flight there: %u\n", (unsigned)llmd_endpoint_in_flight_requests(endpoints[llmd_decision_place(decision)]));
    must(llmd_decision_first_token(decision, &error), error);
    must(llmd_decision_end(decision, NULL, &error), error);
    printf("in flight after the end: %u\n", (unsigned)llmd_endpoint_in_flight_requests(endpoints[llmd_decision_place(decision)]));

    llmd_string_free(why);
    llmd_decision_free(decision); /* without an end, this is what releases */
    llmd_events_free(events);
    for (int at = 0; at < 3; at++) llmd_endpoint_free(endpoints[at]);
    llmd_scheduler_free(scheduler);
    llmd_index_free(index);
    return 0;
}
