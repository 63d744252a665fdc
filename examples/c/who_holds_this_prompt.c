/*
 * Who holds this prompt? A KV event of a real engine goes into an index; the index answers, and says why.
 *
 *   cc who_holds_this_prompt.c $(pkg-config --cflags --libs llmd) && ./a.out ../data/block_stored.msgpack
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

int main(int argc, char **argv) {
    uint8_t payload[4096];
    FILE *file = fopen(argc > 1 ? argv[1] : "examples/data/block_stored.msgpack", "rb");
    if (file == NULL) {
        perror("the payload");
        return 1;
    }
    size_t payload_len = fread(payload, 1, sizeof payload, file);
    fclose(file);

    /* The engine's message, number 0 of its stream, goes into an index. */
    llmd_error *error = NULL;
    llmd_index *index =
        llmd_index_new(&(llmd_index_settings){.struct_size = sizeof(llmd_index_settings), .block_size = 32}, &error);
    must(llmd_error_status(error), error);
    must(llmd_index_apply(index, "pod-7", 0, payload, payload_len, NULL, &error), error);

    /* The same tokens, asked for as a prompt. */
    llmd_events *events = NULL;
    llmd_event stored = {.struct_size = sizeof stored};
    must(llmd_events_decode(payload, payload_len, &events, &error), error);
    must(llmd_events_get(events, 0, &stored, &error), error);
    llmd_overlap overlaps[64];
    size_t len = 64;
    must(llmd_index_query(index, stored.tokens, stored.tokens_len, NULL, overlaps, &len, &error), error);
    for (size_t at = 0; at < len; at++) {
        printf("%s holds %u leading blocks\n", overlaps[at].name, overlaps[at].leading);
    }

    llmd_string *why = NULL;
    must(llmd_index_explain(index, stored.tokens, stored.tokens_len, NULL, &why, &error), error);
    printf("%s", llmd_string_text(why));

    /* As numbers, for whoever scores many workers; and while the prompt is being made. */
    uint32_t workers[2], leading[2];
    must(llmd_index_worker(index, "pod-8", &workers[0], &error), error);
    must(llmd_index_worker(index, "pod-7", &workers[1], &error), error);
    llmd_chain *chain = NULL;
    must(llmd_chain_new(index, stored.tokens, 100, NULL, &chain, &error), error);
    must(llmd_chain_query_dense(chain, workers, 2, leading, &error), error);
    printf("of 100 tokens pod-8 and pod-7 hold %u and %u", leading[0], leading[1]);
    must(llmd_chain_extend(chain, stored.tokens + 100, stored.tokens_len - 100, &error), error);
    must(llmd_chain_query_dense(chain, workers, 2, leading, &error), error);
    printf(", of all %u and %u\n", leading[0], leading[1]);

    llmd_chain_free(chain);
    llmd_string_free(why);
    llmd_events_free(events);
    llmd_index_free(index);
    return 0;
}
