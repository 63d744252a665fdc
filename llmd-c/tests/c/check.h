/* What the test programs share: checks that say where they failed, and an engine's messages. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llmd.h"

#define CHECK(what)                                                              \
    do {                                                                         \
        if (!(what)) {                                                           \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what);   \
            exit(1);                                                             \
        }                                                                        \
    } while (0)

/* The call, whose last argument is &error, succeeds; otherwise its error is said. */
#define DONE(call)                                                                                  \
    do {                                                                                            \
        llmd_error *error = NULL;                                                                   \
        if ((call) != LLMD_OK) {                                                                    \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, llmd_error_message(error));          \
            exit(1);                                                                                \
        }                                                                                           \
    } while (0)

/* The call, whose last argument is &error, is refused with this status and an error that contains these words. */
#define REFUSED(call, expected, words)                                    \
    do {                                                                  \
        llmd_error *error = NULL;                                         \
        llmd_status status = (call);                                      \
        check_refused(__LINE__, status, error, expected, words);          \
    } while (0)

/* The same for a call that answers with an object. */
#define NOT_MADE(call, expected, words)                                            \
    do {                                                                           \
        llmd_error *error = NULL;                                                  \
        CHECK((call) == NULL);                                                     \
        check_refused(__LINE__, llmd_error_status(error), error, expected, words); \
    } while (0)

static inline void check_refused(int line, llmd_status status, llmd_error *error, llmd_status expected, const char *words) {
    const char *said = llmd_error_message(error);
    if (status != expected || llmd_error_status(error) != expected || said == NULL || strstr(said, words) == NULL) {
        fprintf(stderr, "line %d: %s: %s, expected %s: ...%s...\n", line, llmd_status_name((int)status),
                said == NULL ? "(no error)" : said, llmd_status_name((int)expected), words);
        exit(1);
    }
    llmd_error_free(error);
}

/* A message of an engine, being written: msgpack, as vLLM sends it. */
typedef struct message {
    uint8_t bytes[16384];
    size_t len;
} message;

static inline void put(message *to, unsigned byte) {
    CHECK(to->len < sizeof to->bytes);
    to->bytes[to->len++] = (uint8_t)byte;
}

static inline void put_number(message *to, uint32_t number) {
    int shift;
    put(to, 0xce);
    for (shift = 24; shift >= 0; shift -= 8) put(to, (number >> shift) & 0xff);
}

static inline void put_array(message *to, size_t len) {
    put(to, 0xdc);
    put(to, (unsigned)(len >> 8) & 0xff);
    put(to, (unsigned)len & 0xff);
}

static inline void put_text(message *to, const char *text) {
    size_t len = strlen(text), at;
    put(to, 0xa0 | (unsigned)len);
    for (at = 0; at < len; at++) put(to, (unsigned char)text[at]);
}

/* [1.0, [[what, ...]]]: a batch of one event that begins so. */
static inline void begin(message *to, const char *what, size_t fields) {
    const unsigned char one[9] = {0xcb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0};
    size_t at;
    to->len = 0;
    put_array(to, 2);
    for (at = 0; at < sizeof one; at++) put(to, one[at]);
    put_array(to, 1);
    put_array(to, fields);
    put_text(to, what);
}

/* The engine has computed these tokens: blocks named first, first + 1, ... from the start of a prompt. */
static inline void stored(message *to, uint32_t first, const uint32_t *tokens, size_t len, uint32_t block_size) {
    size_t at;
    begin(to, "BlockStored", 6);
    put_array(to, len / block_size);
    for (at = 0; at < len / block_size; at++) put_number(to, first + (uint32_t)at);
    put(to, 0xc0);
    put_array(to, len);
    for (at = 0; at < len; at++) put_number(to, tokens[at]);
    put_number(to, block_size);
    put(to, 0xc0);
}

/* The engine has dropped every block. */
static inline void cleared(message *to) { begin(to, "AllBlocksCleared", 1); }

/* tokens[n] = from + n */
static inline void count_up(uint32_t *tokens, size_t len, uint32_t from) {
    size_t at;
    for (at = 0; at < len; at++) tokens[at] = from + (uint32_t)at;
}

#define YAML_PRECISE                                                             \
    "apiVersion: llm-d.ai/v1alpha1\n"                                            \
    "kind: EndpointPickerConfig\n"                                               \
    "plugins:\n"                                                                 \
    "- type: precise-prefix-cache-producer\n"                                    \
    "- type: prefix-cache-scorer\n"                                              \
    "  parameters: {prefixMatchInfoProducerName: precise-prefix-cache-producer}\n" \
    "- type: active-request-scorer\n"                                            \
    "schedulingProfiles:\n"                                                      \
    "- name: default\n"                                                          \
    "  plugins:\n"                                                               \
    "  - {pluginRef: prefix-cache-scorer, weight: 3}\n"                          \
    "  - {pluginRef: active-request-scorer, weight: 2}\n"

#define YAML_QUEUE                                                               \
    "apiVersion: llm-d.ai/v1alpha1\n"                                            \
    "kind: EndpointPickerConfig\n"                                               \
    "plugins:\n"                                                                 \
    "- type: queue-scorer\n"                                                     \
    "schedulingProfiles:\n"                                                      \
    "- name: default\n"                                                          \
    "  plugins:\n"                                                               \
    "  - {pluginRef: queue-scorer, weight: 1}\n"

#endif
