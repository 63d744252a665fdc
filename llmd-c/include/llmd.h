/*
 * llmd: where the KV cache of a prompt lies, which engine should take a request, and how KV gets there.
 *
 * Made from the sources of llmd-c; changes belong there.
 *
 * OWNERSHIP
 *
 * A function that returns an object (..._new, ..._from_yaml, ..._restore and their like), and one that puts a pointer where an
 * argument points, hands it over. Who is handed one frees it with the ..._free of its type, once: an object that is freed twice, or used after it was
 * freed, is the end of the process at best, and cannot be noticed. Freeing NULL does nothing. Objects may be freed in any
 * order: each keeps what it needs of the others.
 *
 * What a function takes by pointer it reads during the call and keeps nothing of. A `const char *` that a function returns, or
 * puts into a struct, belongs to an object; its description says how long it lives.
 *
 * STRINGS AND ARRAYS
 *
 * Strings are UTF-8 and end with NUL. An array is a pointer and a length; the pointer may be NULL when the length is 0. A
 * buffer that a function writes to is a pointer to room for `*len` items; `*len` is told how many there are, so that a call
 * with no room asks how much is needed.
 *
 * STRUCTS
 *
 * A struct that begins with `struct_size` may grow in later versions: set it to `sizeof` the struct, also before a function
 * writes to it. What a caller that was compiled against an older header does not know has its default. In a struct that is
 * read, a field that is 0 or NULL has its default, unless its description says otherwise.
 *
 * ERRORS
 *
 * What can fail returns an `llmd_status`, or an object that is NULL when it failed. The last argument `error` may be NULL; where
 * it is not, `*error` is set to an object when the call fails, and left as it was when it succeeds. NULL where something was
 * expected, a wrong size and bad UTF-8 are LLMD_INVALID; accessors without a status answer NULL with 0 or NULL. A defect of
 * llmd is LLMD_INTERNAL, and never unwinds into the caller.
 *
 * THREADS
 *
 * Every object may be used by several threads at once, as long as none of them frees it. Errors are objects of the call, not of
 * the thread. Only an agent starts threads, and a device's driver. In a process that was forked, use only what was made after the fork.
 */

#ifndef LLMD_H
#define LLMD_H

#include <stddef.h>
#include <stdint.h>

// How many media there is room for in `llmd_overlap.on`.
#define LLMD_MEDIA 4

// No sequence number: as an argument, the batch came without one; as an answer, nothing is missing.
#define LLMD_NO_SEQ UINT64_MAX

// How many axes a layout has.
#define LLMD_AXES 5

// How many outcomes there is room for in `llmd_agent_counts.ended`.
#define LLMD_OUTCOMES 16

// What a call came to, and so what to do next. `LLMD_OK` is 0; everything else is a kind of error, and there will be a new
// one only where a caller would act differently.
typedef enum {
    // It was done.
    LLMD_OK = 0,
    // Bytes are not what they claim to be: drop them, count it, go on.
    LLMD_CORRUPT = 1,
    // The caller may not do this: do not retry.
    LLMD_DENIED = 2,
    // A limit was reached, the room that a buffer has included: retry later, or raise it.
    LLMD_EXHAUSTED = 3,
    // A defect of llmd: report it.
    LLMD_INTERNAL = 4,
    // The call was wrong: fix it.
    LLMD_INVALID = 5,
    // What was named has been replaced since: ask again.
    LLMD_STALE = 6,
    // The other side is not there now: go elsewhere, or retry later.
    LLMD_UNAVAILABLE = 7,
    // This machine or build cannot do it: choose another way.
    LLMD_UNSUPPORTED = 8,
} llmd_status;

// What happened.
typedef enum {
    // Every block in GPU memory is gone.
    LLMD_EVENT_ALL_BLOCKS_CLEARED = 0,
    // One copy of each block is gone.
    LLMD_EVENT_BLOCK_REMOVED = 1,
    // One copy of each block is there now.
    LLMD_EVENT_BLOCK_STORED = 2,
    // A kind that this header does not know.
    LLMD_EVENT_OTHER = 3,
} llmd_event_kind;

// What a block lies on. Also the place of its count in `llmd_overlap.on`.
typedef enum {
    // Memory that the engine computes in.
    LLMD_MEDIUM_GPU = 0,
    // Host memory.
    LLMD_MEDIUM_CPU = 1,
    // Disks and object stores.
    LLMD_MEDIUM_STORAGE = 2,
    // A medium that this header does not know.
    LLMD_MEDIUM_OTHER = 3,
} llmd_medium;

// Whether a tier is the engine's own or shared with others.
typedef enum {
    // Only this engine reads it.
    LLMD_LOCALITY_LOCAL = 0,
    // Other engines read it too.
    LLMD_LOCALITY_REMOTE = 1,
} llmd_locality;

// How far the answers about a worker can be trusted.
typedef enum {
    // From a stream that cannot be checked, or of which something is missing for good.
    LLMD_APPROXIMATE = 0,
    // As of the last event of a stream without gaps.
    LLMD_EXACT = 1,
    // Events are missing and are waited for.
    LLMD_RECOVERING = 2,
} llmd_worker_state;

// What became of a block that a worker does not hold.
typedef enum {
    // There is no such block: the prompt ends there, or it is held all the same.
    LLMD_FATE_NONE = 0,
    // It was stored once, and removed.
    LLMD_FATE_EVICTED = 1,
    // It was gone with all others.
    LLMD_FATE_CLEARED = 2,
    // Nothing says that it was ever stored; or it was so long ago that it is forgotten.
    LLMD_FATE_NEVER_STORED = 3,
    // The worker holds blocks of these tokens, of a size that cannot be put together to this one.
    LLMD_FATE_OTHER_BLOCK_SIZE = 4,
    // The worker holds a block of these tokens, under another adapter or salt.
    LLMD_FATE_OTHER_NAMESPACE = 5,
    // Nothing says that it was ever stored, but events are missing that may.
    LLMD_FATE_UNHEARD = 6,
    // A fate that this header does not know.
    LLMD_FATE_OTHER = 7,
} llmd_block_fate;

// One step of serving a request, in the order in which they are done. Without a stage of its own, a step is done by the
// endpoint of the next one.
typedef enum {
    // Multimodal items become embeddings.
    LLMD_STAGE_ENCODE = 0,
    // The prompt becomes KV.
    LLMD_STAGE_PREFILL = 1,
    // Tokens come out: the stage that every request has, and that answers.
    LLMD_STAGE_DECODE = 2,
} llmd_stage;

// How a request goes on after an endpoint failed at one of its stages.
typedef enum {
    // It does not go on.
    LLMD_NEXT_FAIL = 0,
    // Another endpoint does the stage: llmd_decision_stages says which.
    LLMD_NEXT_RETRY = 1,
    // The endpoint of the next stage does it as well.
    LLMD_NEXT_WITHOUT = 2,
} llmd_next_step;

// What an event tells of.
typedef enum {
    // An operation ended.
    LLMD_FETCHED = 0,
    // A lease ended: its blocks may be used again.
    LLMD_LEASE_ENDED = 1,
} llmd_agent_event_kind;

// How an operation ended. Each ends exactly once, in one of these.
typedef enum {
    // Every block is where it was to go, as it was sent.
    LLMD_OUTCOME_DONE = 0,
    // Its caller took it back.
    LLMD_OUTCOME_CANCELLED = 1,
    // What arrived is not what was granted: compute it again.
    LLMD_OUTCOME_CORRUPT = 2,
    // The other side refused.
    LLMD_OUTCOME_DENIED = 3,
    // This machine failed: a socket, a mapping, a device.
    LLMD_OUTCOME_IO = 4,
    // The other side is gone.
    LLMD_OUTCOME_PEER_LOST = 5,
    // The lease ended before all was read: compute it again.
    LLMD_OUTCOME_STALE = 6,
    // Its time was over.
    LLMD_OUTCOME_TIMEOUT = 7,
} llmd_outcome;

// How a lease ended.
typedef enum {
    // All consumers have what they need.
    LLMD_LEASE_FINISHED = 0,
    // Its time was over.
    LLMD_LEASE_LAPSED = 1,
    // It was taken back.
    LLMD_LEASE_RELEASED = 2,
} llmd_lease_end;

// When what arrives is held against what was granted.
typedef enum {
    // Whichever way it comes.
    LLMD_CHECK_ALWAYS = 0,
    // When it comes from another machine, or may.
    LLMD_CHECK_REMOTE = 1,
    // Never.
    LLMD_CHECK_OFF = 2,
} llmd_check;

// Lends blocks of its pools to other agents, and fetches theirs. May be used by several threads at once. It has one thread of its
// own, which sleeps unless there is something to do, and a few that copy.
typedef struct llmd_agent llmd_agent;

// What happened, in the order in which it did. May be read by several threads at once.
typedef struct llmd_agent_events llmd_agent_events;

// Bytes that were made for the caller, who frees them.
typedef struct llmd_bytes llmd_bytes;

// A prompt as an index sees it: it can be asked for again without being hashed again, and goes on as tokens are made. May be
// used by several threads at once, which take turns. It keeps what it needs of its index, and may outlive it.
typedef struct llmd_chain llmd_chain;

// Where a request goes, and its reservation there. Free it when the request is over, whatever became of it. May be used by
// several threads at once. It may outlive its scheduler, its index and its endpoints.
typedef struct llmd_decision llmd_decision;

// An accelerator, by its driver, which is loaded when it is wanted. As long as somebody has it (this object, a region on it, a
// transport that imports by it), it is the same for all of the process who name it.
typedef struct llmd_device llmd_device;

// An address that requests can go to, with what is known about it now. May be used by several threads at once; its requests
// are counted in one place, whichever scheduler sends them. A decision keeps what it needs of it, and may outlive it.
typedef struct llmd_endpoint llmd_endpoint;

// What went wrong: a status and a message. The caller's to free.
typedef struct llmd_error llmd_error;

// One message of an engine's event stream, decoded. May be read by several threads at once.
typedef struct llmd_events llmd_events;

// Names the blocks of a prompt as an engine does, bit for bit. May be used by several threads at once.
typedef struct llmd_hasher llmd_hasher;

// An exact index of who holds which block. May be used by several threads at once: those who ask do not wait for those who
// feed it. A scheduler or an endpoint that was made with it keeps what it needs of it, and may outlive it.
typedef struct llmd_index llmd_index;

// Has a lease prolonged until it is freed.
typedef struct llmd_kept llmd_kept;

// Where each part of a KV cache lies in memory: `offset + sum of index * stride` over layers, blocks, heads, tokens and parts, and
// there `content` bytes that follow each other.
typedef struct llmd_layout llmd_layout;

// Remembers the names of each session's last prompt: of the next one that begins as that did, only what follows is hashed. May
// be used by several threads at once, which take turns.
typedef struct llmd_memo llmd_memo;

// A region that an agent knows, with its layout: what blocks are granted of and fetched into.
typedef struct llmd_pool llmd_pool;

// What is wrong with a configuration. May be read by several threads at once.
typedef struct llmd_problems llmd_problems;

// Memory that blocks are moved from and to, registered once for a whole pool. The memory is given back when the region and every
// pool of it are freed, and no agent moves anything there any more.
//
// It may lie on a device: then nothing reads it by an address but that device. Copies there wait for no stream of anybody's: whoever
// lends blocks has synchronised with those that write them, and nobody touches those that are fetched into before the fetch has
// ended.
typedef struct llmd_region llmd_region;

// Chooses endpoints for requests. May be used by several threads at once.
typedef struct llmd_scheduler llmd_scheduler;

// A text that was made for the caller, who frees it.
typedef struct llmd_string llmd_string;

// Reads what one TensorRT-LLM engine says of its cache. What its events leave unsaid it remembers: one of them reads all that
// an engine says, in order. May be used by several threads at once, which take turns.
typedef struct llmd_trtllm llmd_trtllm;

// What an engine said, event by event: each that has a number is a batch by itself. May be read by several threads at once.
typedef struct llmd_trtllm_events llmd_trtllm_events;

// What a hasher is made with.
typedef struct {
    // sizeof(llmd_hasher_settings).
    size_t struct_size;
    // `vllm-sha256`, `vllm-sha256_cbor`, `vllm-xxhash`, `vllm-xxhash_cbor` or `sglang`.
    const char *scheme;
    // Tokens per block, as the engine has it.
    size_t block_size;
    // The engine's PYTHONHASHSEED; NULL when it was started without.
    const char *seed;
    // The version of vLLM, such as `0.30`; NULL for the newest that is known.
    const char *engine_version;
} llmd_hasher_settings;

// An image, a clip or another item whose placeholder tokens stand in the prompt.
typedef struct {
    // The engine's name for the content.
    const char *identifier;
    // The first placeholder token, counted from 0.
    size_t offset;
    // How many placeholder tokens there are.
    size_t len;
} llmd_multimodal;

// What a prompt is computed under, besides its tokens: two prompts with the same tokens share blocks only when all of this
// is equal. Where a function takes one, NULL stands for a prompt that is computed under nothing else.
typedef struct {
    // sizeof(llmd_namespace).
    size_t struct_size;
    // The name of the adapter; NULL for none.
    const char *lora_name;
    // Where the engine loaded the adapter from; NULL where that is not known. Only the names of vLLM 0.31 and later
    // depend on it.
    const char *lora_path;
    // The tenant's salt; NULL or empty for none.
    const char *cache_salt;
    // The images and other items in the prompt, in any order.
    const llmd_multimodal *multimodal;
    // How many there are.
    size_t multimodal_len;
} llmd_namespace;

// An engine's name for a block: an integer, or bytes.
typedef struct {
    // The bytes; NULL when the name is an integer.
    const uint8_t *bytes;
    // How many bytes there are.
    size_t bytes_len;
    // The integer, when there are no bytes.
    uint64_t number;
} llmd_block_name;

// One event. What an event does not say is 0 or NULL.
typedef struct {
    // sizeof(llmd_event).
    size_t struct_size;
    // What happened.
    llmd_event_kind kind;
    // What the blocks lie on, or lay on.
    llmd_medium medium;
    // Whether others read the tier too.
    llmd_locality locality;
    // The KV-cache group.
    uint32_t group;
    // The engine's names of the blocks, first block first.
    const llmd_block_name *blocks;
    // How many names there are.
    size_t blocks_len;
    // The name of the block before the first; NULL at the start of a prompt.
    const llmd_block_name *parent;
    // The tokens of the blocks.
    const uint32_t *tokens;
    // How many tokens there are.
    size_t tokens_len;
    // Tokens per block; 0 in events that say only names.
    uint32_t block_size;
    // 1 when a hit in the group is a run of blocks from the start of a prompt (full attention), 0 otherwise.
    uint32_t full_attention;
    // How far a sliding window reaches, in tokens; 0 for none.
    uint32_t sliding_window;
    // The adapter; `lora id N` from engines that say only its number.
    const char *lora_name;
    // The tenant's salt, from engines that say it here and not among the extra keys.
    const char *cache_salt;
    // The tier that holds the blocks, where there is more than one.
    const char *ownership;
    // The session of the request that stored them.
    const char *session_id;
} llmd_event;

// One event of a batch that could not be read.
typedef struct {
    // sizeof(llmd_event_error).
    size_t struct_size;
    // Which event of the batch it is, counted from 0; how many events there are, when it is something behind them.
    size_t event;
    // The first byte of the payload that could not be read.
    size_t byte;
    // The field it stands in, as the engine names it; empty when no field had begun.
    const char *field;
    // What was found and what was expected.
    const char *message;
} llmd_event_error;

// What a reader of TensorRT-LLM's events is made with.
typedef struct {
    // sizeof(llmd_trtllm_settings).
    size_t struct_size;
    // The engine's `tokens_per_block`. Default: 32.
    uint32_t block_size;
    // How many blocks can be remembered that do not lie in GPU memory; those beyond are errors of their batches. Default:
    // 1,048,576.
    size_t max_places;
} llmd_trtllm_settings;

// One batch among several, with the number that the engine gave it.
typedef struct {
    // sizeof(llmd_trtllm_batch).
    size_t struct_size;
    // Its number.
    uint64_t seq;
    // What it says, and which rank does. Lives as long as what it is told of.
    const llmd_events *events;
} llmd_trtllm_batch;

// What an index is made with. Where nothing else is said, a limit is per worker.
typedef struct {
    // sizeof(llmd_index_settings).
    size_t struct_size;
    // Tokens per block, as the engines have it. Default: 16.
    size_t block_size;
    // How many blocks a worker can hold, a block once for each of its groups and media. Default: 4,194,304.
    size_t max_blocks;
    // How many blocks can wait for their parent. Default: 16,384.
    size_t max_orphans;
    // How many blocks that are gone are remembered, with when they went. Default: 4,096.
    size_t max_remembered;
    // How many workers there can be, in all. Default: 4,096.
    size_t max_workers;
    // How many bytes a payload can have. Default: 64 MiB.
    size_t max_payload;
    // How many batches may wait while those before them are missing. Default: 4,096.
    size_t max_waiting;
    // How long what is missing is waited for, in milliseconds. Default: 10,000.
    uint64_t recover_within_ms;
    // Not 0 where no engine can replay: what is missing is then given up at once.
    size_t without_replay;
    // How many blocks an engine must have stored, as llmd_index_stored tells, of which its stream says nothing, until it is
    // approximate. Default: 64.
    uint64_t silence_blocks;
    // How long its stream may say nothing of them, in milliseconds. Default: 5,000.
    uint64_t silence_patience_ms;
} llmd_index_settings;

// How many leading blocks of a prompt one worker holds.
typedef struct {
    // The worker's name. Lives as long as the index. NULL when the worker has just been removed.
    const char *name;
    // The worker.
    uint32_t worker;
    // Leading blocks that lie on any medium, or on the storage that all workers share.
    uint32_t leading;
    // Leading blocks that lie on each of the worker's own media, by llmd_medium.
    uint32_t on[LLMD_MEDIA];
    // Leading blocks that lie on the storage that all workers share: the same for all of them.
    uint32_t shared;
} llmd_overlap;

// Where one worker's prefix of a prompt ends, and why.
typedef struct {
    // Who, and how many leading blocks it holds.
    llmd_overlap overlap;
    // How far that can be trusted.
    llmd_worker_state state;
    // What became of the first block behind the prefix.
    llmd_block_fate fate;
    // Which block that is, counted from 0.
    uint32_t ends;
    // Tokens per block there, of LLMD_FATE_OTHER_BLOCK_SIZE; 0 otherwise.
    uint32_t block_size;
    // When it was removed, of LLMD_FATE_EVICTED, in seconds of the engine's clock; 0 otherwise.
    double evicted_at;
    // Of a hybrid model, the first cache group that did not allow a longer hit; -1 when the prompt ends there, and for every
    // other model.
    int64_t limited_by;
    // How many blocks behind the end of the prefix are held all the same, and are of no use.
    size_t held_behind;
    // How many blocks the worker holds of which the index does not know where in which prompt they stand.
    size_t unplaced;
} llmd_ending;

// What became of a batch that was fed.
typedef struct {
    // sizeof(llmd_fed).
    size_t struct_size;
    // How many events were taken into the index: none while the batch waits for others, and those of all that waited when
    // it was the one that was missing.
    size_t events;
    // How many events of this batch could not be read; llmd_events_decode says which and why.
    size_t errors;
    // Copies of blocks that were added.
    size_t stored;
    // Copies that were taken away.
    size_t removed;
    // Blocks that wait for their parent, counted in `stored` too.
    size_t orphaned;
    // Removals of blocks that were not held: a sign that events were lost.
    size_t unknown_removals;
    // Blocks that were dropped because a limit was reached.
    size_t dropped;
    // From which number on the engine should replay, inclusive; LLMD_NO_SEQ when nothing is missing.
    uint64_t missing_from;
    // How far the answers about the worker can be trusted now.
    llmd_worker_state state;
    // 1 when the batch came before, and was skipped; 0 otherwise.
    uint32_t duplicate;
} llmd_fed;

// How much an index holds now, and what it could not take since it was made.
typedef struct {
    // sizeof(llmd_stats).
    size_t struct_size;
    // Workers that are known.
    size_t workers;
    // Different blocks that somebody holds and whose place is known.
    size_t blocks;
    // What all workers hold, a block once for each worker, cache group and medium.
    size_t residents;
    // Those of them that wait for their parent.
    size_t orphans;
    // Those of them of which no event has said the tokens in a way that places them.
    size_t unplaced;
    // Blocks of removed copies that are remembered.
    size_t remembered;
    // Blocks dropped because a limit was reached.
    uint64_t dropped;
    // Blocks that came in events which cannot be placed.
    uint64_t unplaceable;
    // Removals of blocks that were not held.
    uint64_t unknown_removals;
    // Bytes that the tables take, about, free places included; 0 where they are not counted.
    size_t bytes;
} llmd_stats;

// A name and a value, such as a label or a header. Neither is NULL.
typedef struct {
    // The name.
    const char *name;
    // The value.
    const char *value;
} llmd_pair;

// What an endpoint is made with.
typedef struct {
    // sizeof(llmd_endpoint_settings).
    size_t struct_size;
    // The name that people know it by.
    const char *name;
    // Where requests go: `host:port`.
    const char *address;
    // The name of the worker whose cache its requests use, as the index is told it. Default: the endpoint's own name.
    const char *worker;
    // Its labels.
    const llmd_pair *labels;
    // How many there are.
    size_t labels_len;
    // The data-parallel rank that requests are for; NULL when the engine at the address has one, or chooses itself.
    const uint32_t *rank;
} llmd_endpoint_settings;

// What an engine said about itself, once. What it does not say is below 0; of its adapters and of how fast it is, 0.
typedef struct {
    // sizeof(llmd_metrics).
    size_t struct_size;
    // Requests that wait for a place in the batch.
    int64_t waiting_requests;
    // Requests in the batch.
    int64_t running_requests;
    // How much of its KV cache running requests hold, from 0 to 1.
    double kv_cache_usage;
    // Tokens per block of its cache.
    int64_t block_size;
    // Blocks of its cache.
    int64_t num_blocks;
    // How many adapters fit into its memory at once; 0 when it says nothing of adapters.
    uint32_t max_lora;
    // Names of those that a request in the batch uses.
    const char *const *running_lora_adapters;
    // How many there are.
    size_t running_lora_adapters_len;
    // Names of those that a request that waits uses.
    const char *const *waiting_lora_adapters;
    // How many there are.
    size_t waiting_lora_adapters_len;
    // Seconds that it takes to load a cached token from each medium, by llmd_medium; 0 where it does not say.
    double load_s_per_token[LLMD_MEDIA];
    // Seconds that it takes to compute a token of a prompt; 0 where it does not say.
    double prefill_s_per_token;
} llmd_metrics;

// What a scheduler is made with.
typedef struct {
    // sizeof(llmd_scheduler_settings).
    size_t struct_size;
    // The configuration, an EndpointPickerConfig of llm-d in YAML.
    const char *yaml;
    // 1 allows plugins that are experimental in llm-d. Default: they are refused.
    uint32_t allow_experimental;
} llmd_scheduler_settings;

// One request, as a scheduler sees it: fill in what llmd_scheduler_needs says, and leave the rest.
typedef struct {
    // sizeof(llmd_request).
    size_t struct_size;
    // The id that logs and traces know it by.
    const char *id;
    // The model that the client asks for.
    const char *model;
    // The headers, in any case.
    const llmd_pair *headers;
    // How many there are.
    size_t headers_len;
    // The prompt; NULL when nobody made tokens.
    const uint32_t *tokens;
    // How many there are.
    size_t tokens_len;
    // What the prompt is computed under; NULL for nothing.
    const llmd_namespace *under;
    // At most how many tokens the client wants back; 0 when it does not say.
    size_t max_output_tokens;
    // Whose it is; NULL for nobody's. What is remembered under names that clients choose is remembered for each tenant by
    // itself.
    const char *tenant;
    // How important it is: what is below 0 may be refused when there is too much to do.
    int32_t priority;
} llmd_request;

// What a scheduler must be given: each is 1 when its plugins read it, and 0 when it need not be made.
typedef struct {
    // sizeof(llmd_needs).
    size_t struct_size;
    // The prompt as tokens.
    uint32_t tokens;
    // What engines say about themselves.
    uint32_t metrics;
    // KV events.
    uint32_t events;
    // When the first token of a response passed.
    uint32_t response;
    // Anything in the body of a request besides the model's name.
    uint32_t body;
    // The cookies of a request, which say who somebody is: leave the header `cookie` out else.
    uint32_t cookies;
    // What others than the engines measure of endpoints.
    uint32_t attributes;
    // What the engine says at the end of a response that it took.
    uint32_t usage;
} llmd_needs;

// One thing that is wrong with a configuration.
typedef struct {
    // sizeof(llmd_problem).
    size_t struct_size;
    // The line, counted from 1; 0 when it has no place in the text.
    uint64_t line;
    // The column, counted from 1; 0 when it has no place in the text.
    uint64_t column;
    // The way there: `plugins[0].parameters.threshold`; empty for the document as a whole.
    const char *path;
    // What is wrong, and what was expected.
    const char *message;
    // LLMD_INVALID, or LLMD_UNSUPPORTED for what llm-d has and llmd has not.
    llmd_status kind;
} llmd_problem;

// What an engine says a request took, in tokens. What it does not say is below 0.
typedef struct {
    // sizeof(llmd_usage).
    size_t struct_size;
    // Of the prompt.
    int64_t prompt_tokens;
    // Of the prompt, that it did not compute.
    int64_t cached_tokens;
    // That it made.
    int64_t completion_tokens;
} llmd_usage;

// One thing that is reported of a complete response.
typedef struct {
    // The namespace of its name, as Envoy's dynamic metadata has it.
    const char *name_space;
    // Its name.
    const char *name;
    // Its value.
    int64_t value;
} llmd_reported;

// One stage of a request, and the endpoint that does it.
typedef struct {
    // The stage.
    llmd_stage stage;
    // The profile that chose.
    const char *profile;
    // The name of the endpoint that does it now.
    const char *endpoint;
    // Its address: `host:port`.
    const char *address;
    // Its place among the endpoints that llmd_scheduler_decide was given, counted from 0.
    size_t place;
    // The data-parallel rank that it is for; -1 when the engine there has one, or chooses itself.
    int64_t rank;
    // How many seconds the stage may take, from when it is begun; -1 when as long as the whole request.
    double deadline;
} llmd_stage_route;

// Memory of this machine to be allocated.
typedef struct {
    // sizeof(llmd_memory).
    size_t struct_size;
    // How many bytes.
    size_t len;
    // 1 takes pages of 2 MiB, which the machine's administrator has to set aside.
    uint32_t huge_pages;
    // 1 takes each page when it is first touched. Default: all at once, so that there are too few now and not later.
    uint32_t lazy;
    // The NUMA node that the pages are of; NULL when any will do.
    const uint32_t *node;
} llmd_memory;

// How much there is of each axis, and which part of a model's cache it is.
typedef struct {
    // sizeof(llmd_shape).
    size_t struct_size;
    // Layers. Default: 1.
    uint32_t layers;
    // Blocks.
    uint32_t blocks;
    // KV heads. Default: 1.
    uint32_t heads;
    // Tokens per block. Default: 1.
    uint32_t tokens;
    // 2 where keys and values are kept, 1 for a latent. Default: 1.
    uint32_t parts;
    // Bytes of one token's key, or value, or latent, of one head and layer.
    uint32_t content;
    // Where the first byte is.
    uint64_t offset;
    // The first of its layers, of the model's.
    uint32_t first_layer;
    // The first of its heads, of the model's.
    uint32_t first_head;
    // What the content is, such as `bfloat16`: nothing is moved between formats that differ. Default: the empty text.
    const char *format;
} llmd_shape;

// A tenant, and the key by which its agents prove that they are of it.
typedef struct {
    // Its name.
    const char *name;
    // The key.
    const uint8_t *key;
    // How many bytes it has.
    size_t key_len;
} llmd_tenant;

// What an agent is made with.
typedef struct {
    // sizeof(llmd_agent_settings).
    size_t struct_size;
    // Its name, which is said to peers and means nothing else.
    const char *name;
    // By what blocks are moved: `shm` between processes of one machine, `cuda_ipc` between their devices, by the first of CUDA or
    // else of ROCm, or by the one that `cuda_ipc://cuda:1` names, `tcp://HOST:PORT` between machines, listening there, `local`
    // between the agents of one process. Default: `shm`.
    const char *const *transports;
    // How many there are.
    size_t transports_len;
    // Where the sockets of `shm` and `cuda_ipc` lie. Default: a folder of the user's own.
    const char *folder;
    // The tenant that it belongs to. Default: one that needs no proof.
    const llmd_tenant *tenant;
    // Other tenants who are let in.
    const llmd_tenant *serve;
    // How many there are.
    size_t serve_len;
    // An llmd_check. Default: LLMD_CHECK_ALWAYS.
    int check;
    // How many threads copy. Default: half of the cores, 1 to 4.
    size_t copy_threads;
    // How many leases may hold at once. Default: 65,536.
    size_t max_leases;
    // How many operations may be under way, or have ended without being polled. Default: 65,536.
    size_t max_operations;
    // How long its thread goes on looking after something happened before it sleeps, in microseconds. Default: 50.
    uint64_t spin_us;
} llmd_agent_settings;

// What an agent has now, and what it counted since it was made.
typedef struct {
    // sizeof(llmd_agent_counts).
    size_t struct_size;
    // Leases that hold.
    size_t leases;
    // Operations under way.
    size_t operations;
    // Peers that it is connected with.
    size_t peers;
    // Operations that ended, by llmd_outcome.
    uint64_t ended[LLMD_OUTCOMES];
    // Bytes that were fetched.
    uint64_t fetched_bytes;
    // Operations that were begun again on another transport.
    uint64_t fallbacks;
    // Bytes that were sent to others; not those that others copied by themselves.
    uint64_t served_bytes;
    // Reads that were denied.
    uint64_t denied_reads;
    // Reads with a lease that had ended.
    uint64_t stale_reads;
    // Peers that were not let in.
    uint64_t refused_peers;
    // Messages that were none.
    uint64_t malformed_messages;
    // Notes of leases that had ended, or of none.
    uint64_t lost_notes;
    // Bytes that were fetched by `shm` out of memory of a peer that this process mapped.
    uint64_t mapped_bytes;
    // Bytes that were fetched by `shm` out of a peer's memory by its address.
    uint64_t cma_bytes;
    // Bytes that were fetched by `shm` and copied there by the peer.
    uint64_t staged_bytes;
    // Bytes that were fetched by `cuda_ipc` out of memory that another process's device exported.
    uint64_t ipc_bytes;
} llmd_agent_counts;

// Something that happened to an operation, or to a lease. Fields of the other are 0 or NULL.
typedef struct {
    // sizeof(llmd_agent_event).
    size_t struct_size;
    // What it tells of.
    llmd_agent_event_kind kind;
    // How the operation ended.
    llmd_outcome outcome;
    // How the lease ended.
    llmd_lease_end end;
    // The operation.
    uint64_t op;
    // How many blocks were to be fetched into.
    size_t blocks;
    // The places, in the list of blocks, of those that hold nothing that can be relied on.
    const size_t *failed;
    // How many there are.
    size_t failed_len;
    // How many bytes were brought.
    uint64_t bytes;
    // How long it took, in microseconds.
    uint64_t took_us;
    // By which transport.
    const char *transport;
    // What happened, where the outcome alone does not say it; else NULL.
    const char *why;
    // The lease, as llmd_grant has it.
    uint64_t lease_generation;
    // The lease's place.
    uint32_t lease_slot;
    // The pool that its blocks are of.
    uint32_t pool;
    // Those of its blocks that no other lease holds.
    const uint32_t *free;
    // How many there are.
    size_t free_len;
} llmd_agent_event;

// Blocks to be brought here.
typedef struct {
    // sizeof(llmd_fetch).
    size_t struct_size;
    // The grant's bytes.
    const uint8_t *grant;
    // How many there are.
    size_t grant_len;
    // The first of the grant's blocks that are wanted, by its place, counted from 0: what is here already need not be fetched.
    size_t first;
    // How many of them are wanted. Default: all from there on.
    size_t count;
    // A pool of the agent's own.
    const llmd_pool *pool;
    // Its blocks that are fetched into.
    const uint32_t *blocks;
    // How many there are.
    size_t blocks_len;
    // Within how long, in milliseconds. Default: 30,000.
    uint64_t within_ms;
    // The only transports to be used. Default: whichever is fastest.
    const char *const *transports;
    // How many there are.
    size_t transports_len;
    // 1 keeps the lease when it ended, for more to be fetched: whoever granted is told only by llmd_agent_finish.
    uint32_t hold;
    // Those with a higher one go first: 0 to 255.
    uint8_t priority;
} llmd_fetch;

// On which terms blocks are lent.
typedef struct {
    // sizeof(llmd_lease_terms).
    size_t struct_size;
    // For how long without a heartbeat, in milliseconds. Default: 30,000.
    uint64_t ttl_ms;
    // For how long with heartbeats, in milliseconds. Default: ten times `ttl_ms`.
    uint64_t longest_ms;
    // To how many consumers, such as the ranks of a decoder. Default: 1.
    uint16_t consumers;
} llmd_lease_terms;

// What a grant says that is no secret.
typedef struct {
    // sizeof(llmd_grant).
    size_t struct_size;
    // How many blocks it names.
    size_t blocks;
    // How many bytes of content each has, in the layout of who granted.
    uint64_t block_bytes;
    // For how long it was granted, when it was, in milliseconds.
    uint64_t ttl_ms;
    // The lease, of which a place is used again and again: how often it was.
    uint64_t lease_generation;
    // The lease's place.
    uint32_t lease_slot;
    // The pool that the blocks are of.
    uint32_t pool;
} llmd_grant;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The name of a status: `ok`, `corrupt`, …, and `unknown` for a number that is none. Lives for ever.
const char *llmd_status_name(int status);

// The status that the call returned with this error. LLMD_OK for NULL.
llmd_status llmd_error_status(const llmd_error *error);

// What happened: one line that names the value and what was expected. Lives as long as the error; NULL for NULL.
const char *llmd_error_message(const llmd_error *error);

// The HTTP status of the answer, where the error means that a request is sent nowhere: 429, 503, … 0 where it does not, and
// for NULL.
uint32_t llmd_error_http_status(const llmd_error *error);

// What llm-d says of that in the header `x-llm-d-request-dropped-reason`; NULL where it says nothing, and for NULL. Lives as
// long as the error.
const char *llmd_error_reason(const llmd_error *error);

// Frees an error. NULL is fine.
void llmd_error_free(llmd_error *error);

// The text: UTF-8 that ends with NUL. Lives as long as the string; NULL for NULL.
const char *llmd_string_text(const llmd_string *string);

// How many bytes the text has, without the NUL. 0 for NULL.
size_t llmd_string_len(const llmd_string *string);

// Frees a string. NULL is fine.
void llmd_string_free(llmd_string *string);

// The bytes. They live as long as the object; NULL for NULL.
const uint8_t *llmd_bytes_data(const llmd_bytes *bytes);

// How many bytes there are. 0 for NULL.
size_t llmd_bytes_len(const llmd_bytes *bytes);

// Frees bytes. NULL is fine.
void llmd_bytes_free(llmd_bytes *bytes);

// The version of the library, such as `0.1.0`. Lives for ever.
const char *llmd_version(void);

// A hasher; NULL when it cannot be made. LLMD_INVALID names what is not known of scheme, version and seed.
llmd_hasher *llmd_hasher_new(const llmd_hasher_settings *settings, llmd_error **error);

// Bytes per name: 32 or 16. 0 for NULL.
size_t llmd_hasher_digest_len(const llmd_hasher *hasher);

// Writes the names of all full blocks to `digests`, first block first and nothing between them. `digests_len` counts
// bytes: it says how many there is room for, and is told how many there are. LLMD_EXHAUSTED when that is more; nothing
// else is written then.
llmd_status llmd_hasher_hash(const llmd_hasher *hasher,
                             const uint32_t *tokens,
                             size_t tokens_len,
                             const llmd_namespace *under,
                             uint8_t *digests,
                             size_t *digests_len,
                             llmd_error **error);

// The integer that KV events say instead of a name that a hasher made. SGLang's events carry it as a signed number, which
// has the same bits.
llmd_status llmd_hasher_event_int(const llmd_hasher *hasher,
                                  const uint8_t *digest,
                                  size_t digest_len,
                                  uint64_t *number,
                                  llmd_error **error);

// Frees a hasher. NULL is fine.
void llmd_hasher_free(llmd_hasher *hasher);

// A memo of what `hasher` makes; NULL when it cannot be made. It keeps sessions of `max_tokens` tokens together at most, where
// each counts as 64 more; those that were asked for longest ago make room.
llmd_memo *llmd_memo_new(const llmd_hasher *hasher,
                         size_t max_tokens,
                         llmd_error **error);

// Writes the names of all full blocks to `digests`, as llmd_hasher_hash does, and to `remembered` how many of them were
// remembered of `session`; `remembered` may be NULL.
llmd_status llmd_memo_hash(const llmd_memo *memo,
                           const char *session,
                           const uint32_t *tokens,
                           size_t tokens_len,
                           const llmd_namespace *under,
                           uint8_t *digests,
                           size_t *digests_len,
                           size_t *remembered,
                           llmd_error **error);

// Forgets what was hashed for a session.
llmd_status llmd_memo_forget(const llmd_memo *memo, const char *session, llmd_error **error);

// How many sessions are remembered. 0 for NULL.
size_t llmd_memo_sessions(const llmd_memo *memo);

// How many sessions had to make room for others, or were too long by themselves. 0 for NULL.
uint64_t llmd_memo_dropped(const llmd_memo *memo);

// Frees a memo. NULL is fine.
void llmd_memo_free(llmd_memo *memo);

// Decodes the payload of one message of an engine: vLLM's and SGLang's, of any version that is known. An event that
// cannot be read takes no other with it: it is among the errors. LLMD_CORRUPT when the payload is no batch at all.
llmd_status llmd_events_decode(const uint8_t *payload, size_t payload_len, llmd_events **events, llmd_error **error);

// When the engine made the batch, in seconds of the engine's clock. 0 for NULL.
double llmd_events_timestamp(const llmd_events *events);

// The data-parallel rank that speaks; -1 where the engine does not say so, and for NULL.
int64_t llmd_events_data_parallel_rank(const llmd_events *events);

// How many events could be read. 0 for NULL.
size_t llmd_events_len(const llmd_events *events);

// Tells about the event at `place`, counted from 0. Its pointers live as long as `events`. Set `event->struct_size` before.
llmd_status llmd_events_get(const llmd_events *events,
                            size_t place,
                            llmd_event *event,
                            llmd_error **error);

// How many events could not be read, and can be asked for. 0 for NULL.
size_t llmd_events_errors_len(const llmd_events *events);

// How many more errors there were than are kept. 0 for NULL.
size_t llmd_events_errors_dropped(const llmd_events *events);

// Tells about the event that could not be read at `place` among those, counted from 0. Its pointers live as long as
// `events`. Set `event_error->struct_size` before.
llmd_status llmd_events_error(const llmd_events *events,
                              size_t place,
                              llmd_event_error *event_error,
                              llmd_error **error);

// Frees events. NULL is fine.
void llmd_events_free(llmd_events *events);

// A reader of TensorRT-LLM's events; NULL when it cannot be made.
llmd_trtllm *llmd_trtllm_new(const llmd_trtllm_settings *settings, llmd_error **error);

// Reads what the engine says next: the answer of `trtllm-serve` to `POST /kv_cache_events`, or what the `LLM` class gives by
// `get_kv_cache_events()`, as JSON. An event that cannot be read takes no other with it. LLMD_CORRUPT when the bytes are neither
// a list nor an event.
llmd_status llmd_trtllm_decode(const llmd_trtllm *trtllm,
                               const uint8_t *said,
                               size_t said_len,
                               llmd_trtllm_events **events,
                               llmd_error **error);

// How many blocks were not remembered, since there was no room. 0 for NULL.
uint64_t llmd_trtllm_places_dropped(const llmd_trtllm *trtllm);

// Frees a reader. NULL is fine.
void llmd_trtllm_free(llmd_trtllm *trtllm);

// How many batches there are. 0 for NULL.
size_t llmd_trtllm_events_len(const llmd_trtllm_events *events);

// Tells about the batch at `place`, counted from 0. Set `batch->struct_size` before.
llmd_status llmd_trtllm_events_get(const llmd_trtllm_events *events,
                                   size_t place,
                                   llmd_trtllm_batch *batch,
                                   llmd_error **error);

// How many events could not be read whose number or rank is not known, and can be asked for. 0 for NULL.
size_t llmd_trtllm_events_errors_len(const llmd_trtllm_events *events);

// Tells about the event that could not be read at `place` among those, counted from 0. Its pointers live as long as `events`.
// Set `event_error->struct_size` before.
llmd_status llmd_trtllm_events_error(const llmd_trtllm_events *events,
                                     size_t place,
                                     llmd_event_error *event_error,
                                     llmd_error **error);

// Frees what an engine said. NULL is fine.
void llmd_trtllm_events_free(llmd_trtllm_events *events);

// An empty index; NULL when it cannot be made.
llmd_index *llmd_index_new(const llmd_index_settings *settings, llmd_error **error);

// Frees an index. NULL is fine.
void llmd_index_free(llmd_index *index);

// A prompt, to be asked for again and again.
llmd_status llmd_chain_new(const llmd_index *index,
                           const uint32_t *tokens,
                           size_t tokens_len,
                           const llmd_namespace *under,
                           llmd_chain **chain,
                           llmd_error **error);

// Goes on with more tokens, as they are made; what fills no block yet is kept.
llmd_status llmd_chain_extend(const llmd_chain *chain, const uint32_t *tokens, size_t tokens_len, llmd_error **error);

// Says what the engines call the full blocks, first block first, in place of what was said before; llmd_hasher_hash and
// llmd_hasher_event_int make such names. They find blocks of hybrid models of which events say no more than the name.
llmd_status llmd_chain_set_names(const llmd_chain *chain,
                                 const llmd_block_name *names,
                                 size_t names_len,
                                 llmd_error **error);

// How many full blocks the prompt has. 0 for NULL.
size_t llmd_chain_blocks(const llmd_chain *chain);

// Writes to `overlaps` how many leading blocks of the prompt each worker holds, as llmd_index_query does. Names live as long
// as the index or any of its chains.
llmd_status llmd_chain_query(const llmd_chain *chain,
                             llmd_overlap *overlaps,
                             size_t *overlaps_len,
                             llmd_error **error);

// Writes to `leading` how many leading blocks of the prompt each of `workers` holds, as llmd_index_query_dense does.
llmd_status llmd_chain_query_dense(const llmd_chain *chain,
                                   const uint32_t *workers,
                                   size_t workers_len,
                                   uint32_t *leading,
                                   llmd_error **error);

// Frees a chain. NULL is fine.
void llmd_chain_free(llmd_chain *chain);

// The engine of a worker stored at least `blocks` more blocks since this was last told, as something else than its stream says:
// its counters, or requests that completed. When the stream says nothing of `silence_blocks` of them for `silence_patience_ms`,
// the worker is approximate from the next telling on, and until a batch comes. LLMD_INVALID when nobody has heard of the worker.
llmd_status llmd_index_stored(const llmd_index *index,
                              const char *worker,
                              uint64_t blocks,
                              llmd_error **error);

// GPU memory of the worker's engine has so many blocks. An engine of which more copies are counted announces hits as if it had
// stored the blocks; it is never exact. LLMD_INVALID when nobody has heard of the worker.
llmd_status llmd_index_set_gpu_blocks(const llmd_index *index,
                                      const char *worker,
                                      uint64_t blocks,
                                      llmd_error **error);

// The worker's engine announces hits as if it had stored the blocks, since requests ask it to (vLLM's `kv_cache_report_mode:
// full`): it is never exact from now on. LLMD_INVALID when nobody has heard of the worker.
llmd_status llmd_index_set_announces_hits(const llmd_index *index,
                                          const char *worker,
                                          llmd_error **error);

// How many seconds old the newest batch of a worker is that entered the index, when the engine's clock says `now` in seconds
// (vLLM's: since 1970); not a number when there is none. Less than nothing, when the clocks differ. LLMD_INVALID when nobody has
// heard of the worker.
llmd_status llmd_index_lag(const llmd_index *index,
                           const char *worker,
                           double now,
                           double *lag,
                           llmd_error **error);

// Writes to `endings` where each worker's prefix of the prompt ends, and why: every worker that the index knows, by id.
// `endings_len` says how many there is room for, and is told how many there are. LLMD_EXHAUSTED when that is more; nothing else
// is written then. For people, not for every request: llmd_index_explain says the same in words.
llmd_status llmd_index_endings(const llmd_index *index,
                               const uint32_t *tokens,
                               size_t tokens_len,
                               const llmd_namespace *under,
                               llmd_ending *endings,
                               size_t *endings_len,
                               llmd_error **error);

// Takes one batch of `worker`'s engine as it came; makes the worker, if it is new. With `seq`, the number that the engine
// gave the batch, it is put in order: batches after a gap wait, while `fed->missing_from` says from where the engine should
// replay. A replay is fed by this call too, in order and including the number that was asked for. With LLMD_NO_SEQ the
// worker is never exact. `fed` may be NULL; set `fed->struct_size` before.
llmd_status llmd_index_apply(const llmd_index *index,
                             const char *worker,
                             uint64_t seq,
                             const uint8_t *payload,
                             size_t payload_len,
                             llmd_fed *fed,
                             llmd_error **error);

// Takes the batch at `place` among what a TensorRT-LLM engine said, under the number that it has, as llmd_index_apply does.
// Each of the engine's ranks is a worker by itself. The engine replays nothing: `without_replay` is for an index of such engines.
// `fed` may be NULL; set `fed->struct_size` before.
llmd_status llmd_index_apply_trtllm(const llmd_index *index,
                                    const char *worker,
                                    const llmd_trtllm_events *events,
                                    size_t place,
                                    llmd_fed *fed,
                                    llmd_error **error);

// What is missing of `worker` will not come: what waits is applied, and the worker is approximate. Nothing happens when
// nothing is missing. `fed` may be NULL; set `fed->struct_size` before.
llmd_status llmd_index_give_up(const llmd_index *index, const char *worker, llmd_fed *fed, llmd_error **error);

// Writes to `overlaps` how many leading blocks of the prompt each worker holds, by worker; one that holds none is left out.
// `overlaps_len` says how many there is room for, and is told how many there are. LLMD_EXHAUSTED when that is more; nothing
// else is written then.
llmd_status llmd_index_query(const llmd_index *index,
                             const uint32_t *tokens,
                             size_t tokens_len,
                             const llmd_namespace *under,
                             llmd_overlap *overlaps,
                             size_t *overlaps_len,
                             llmd_error **error);

// Writes to `leading` how many leading blocks of the prompt each of `workers` holds, in their order: the ids that
// llmd_index_worker gave, `workers_len` of them, and room for as many numbers. A worker that nobody knows holds nothing. The
// two arrays are not the same.
llmd_status llmd_index_query_dense(const llmd_index *index,
                                   const uint32_t *tokens,
                                   size_t tokens_len,
                                   const llmd_namespace *under,
                                   const uint32_t *workers,
                                   size_t workers_len,
                                   uint32_t *leading,
                                   llmd_error **error);

// Says in words where each worker's prefix of the prompt ends, and why; a line per worker.
llmd_status llmd_index_explain(const llmd_index *index,
                               const uint32_t *tokens,
                               size_t tokens_len,
                               const llmd_namespace *under,
                               llmd_string **explanation,
                               llmd_error **error);

// Everything that an index knows, as bytes for llmd_index_restore. They hold the secret that it names blocks with, so only
// their owner should be able to read them. Whoever feeds the index waits meanwhile.
llmd_status llmd_index_snapshot(const llmd_index *index,
                                llmd_bytes **snapshot,
                                llmd_error **error);

// The index that was written into a snapshot; NULL when it cannot be restored. Block size and secret are the snapshot's, the
// limits those of `settings`. Workers keep their names and get new ids; each is recovering until its engine proves that it
// is the same: llmd_index_missing_from says from where it should replay. LLMD_CORRUPT when the bytes are damaged or no
// snapshot, LLMD_UNSUPPORTED when a newer version wrote them, LLMD_EXHAUSTED when they hold more than the limits allow.
llmd_index *llmd_index_restore(const llmd_index_settings *settings,
                               const uint8_t *snapshot,
                               size_t snapshot_len,
                               llmd_error **error);

// How much the index holds, and what it could not take. Set `stats->struct_size` before.
llmd_status llmd_index_stats(const llmd_index *index, llmd_stats *stats, llmd_error **error);

// The id of the worker of this name; gives it one when it is new. LLMD_EXHAUSTED when there are too many.
llmd_status llmd_index_worker(const llmd_index *index, const char *name, uint32_t *worker, llmd_error **error);

// The name of a worker; NULL when there is no such worker. Lives as long as the index.
const char *llmd_index_worker_name(const llmd_index *index, uint32_t worker);

// How far the answers about a worker can be trusted. LLMD_INVALID when nobody has heard of it.
llmd_status llmd_index_state(const llmd_index *index, const char *worker, llmd_worker_state *state, llmd_error **error);

// From which number on the engine of a worker should replay, inclusive; LLMD_NO_SEQ when nothing is missing. LLMD_INVALID
// when nobody has heard of it.
llmd_status llmd_index_missing_from(const llmd_index *index,
                                    const char *worker,
                                    uint64_t *seq,
                                    llmd_error **error);

// Forgets the blocks of a worker whose engine was told to empty its cache. It is exact again when its stream says that all
// blocks are gone, or begins anew. LLMD_INVALID when nobody has heard of it.
llmd_status llmd_index_clear(const llmd_index *index,
                             const char *worker,
                             llmd_error **error);

// Forgets a worker. Who comes by the same name later has another id. LLMD_INVALID when nobody has heard of it.
llmd_status llmd_index_remove_worker(const llmd_index *index, const char *worker, llmd_error **error);

// An endpoint; NULL when it cannot be made. `index` is the one that the scheduler asks; NULL when it asks none.
llmd_endpoint *llmd_endpoint_new(const llmd_endpoint_settings *settings, const llmd_index *index, llmd_error **error);

// Makes the data-parallel ranks behind one address, an endpoint each, and puts them where `endpoints` has room for `ranks`
// of them, from rank 0. They are called `<name>-rank-<n>`, as in llm-d: each is scored by itself, and a decision names the
// rank. `workers` are the names of the workers whose caches their requests use, in the order of the ranks; NULL for the
// endpoints' own names. `settings->worker` and `settings->rank` are NULL. There are at most 65,535 ranks. When it
// fails, no endpoint was made.
llmd_status llmd_endpoint_ranks(const llmd_endpoint_settings *settings,
                                const llmd_index *index,
                                const char *const *workers,
                                llmd_endpoint **endpoints,
                                size_t ranks,
                                llmd_error **error);

// Takes what the engine says about itself, instead of what it said before.
llmd_status llmd_endpoint_set_metrics(const llmd_endpoint *endpoint, const llmd_metrics *metrics, llmd_error **error);

// Takes what others than the engine measure of it under a name, such as `GPUUtilization`.
llmd_status llmd_endpoint_set_attribute(const llmd_endpoint *endpoint,
                                        const char *name,
                                        double value,
                                        llmd_error **error);

// What others than the engine measure of it under a name: NaN when nobody did, and for NULL.
double llmd_endpoint_attribute(const llmd_endpoint *endpoint, const char *name);

// How many requests were sent there and have not ended. 0 for NULL.
uint64_t llmd_endpoint_in_flight_requests(const llmd_endpoint *endpoint);

// How many tokens of their prompts were not in its cache, and have not been computed, as far as is known. 0 for NULL.
uint64_t llmd_endpoint_in_flight_tokens(const llmd_endpoint *endpoint);

// Frees an endpoint. NULL is fine.
void llmd_endpoint_free(llmd_endpoint *endpoint);

// A scheduler of this configuration, an EndpointPickerConfig of llm-d in YAML; NULL when it cannot be made. `index` is what
// `precise-prefix-cache-producer` asks; NULL when there is none. LLMD_INVALID says what is wrong and where,
// LLMD_UNSUPPORTED what llm-d has and llmd has not.
llmd_scheduler *llmd_scheduler_from_yaml(const char *yaml,
                                         const llmd_index *index,
                                         llmd_error **error);

// The same, as the settings say.
llmd_scheduler *llmd_scheduler_new(const llmd_scheduler_settings *settings,
                                   const llmd_index *index,
                                   llmd_error **error);

// Puts another configuration in the place of the old one, between two requests. Index, counts of what is in flight
// and sessions stay; decisions that were made go on as they began. What the scheduler needs may change. When it is refused, the old one stays.
llmd_status llmd_scheduler_reload(const llmd_scheduler *scheduler,
                                  const char *yaml,
                                  llmd_error **error);

// Says in words what the scheduler is made of, what was added by default included; a line per part.
llmd_status llmd_scheduler_describe(const llmd_scheduler *scheduler, llmd_string **description, llmd_error **error);

// Chooses one of `endpoints`, and reserves a place there: the request counts as in flight until llmd_decision_end, or until
// the decision is freed. LLMD_UNAVAILABLE when there are no endpoints; LLMD_EXHAUSTED when a filter, which is named, left
// none; LLMD_STALE when the request prefers `if-available` and nothing of its prompt is cached; and what an admitter says.
// llmd_error_http_status says how to answer the client.
llmd_status llmd_scheduler_decide(const llmd_scheduler *scheduler,
                                  const llmd_request *asked,
                                  llmd_endpoint *const *endpoints,
                                  size_t endpoints_len,
                                  llmd_decision **decision,
                                  llmd_error **error);

// Gives back the reservations whose time is over, and says how many ever were: decisions that somebody forgot. Each decision
// does so first; this is for a scheduler that has none to make. 0 for NULL.
uint64_t llmd_scheduler_lapse(const llmd_scheduler *scheduler);

// Frees a scheduler. NULL is fine.
void llmd_scheduler_free(llmd_scheduler *scheduler);

// What the scheduler must be given, so that nothing else is read, made or scraped. Set `needs->struct_size` before.
llmd_status llmd_scheduler_needs(const llmd_scheduler *scheduler, llmd_needs *needs, llmd_error **error);

// Looks for everything that is wrong with the configuration of a scheduler that would be made with the same arguments, and
// puts it at `problems`, in the order of the text: nothing when the scheduler can be made. What is wrong only since something
// else is, is left out. At most 256 problems are told.
llmd_status llmd_check_config(const llmd_scheduler_settings *settings,
                              const llmd_index *index,
                              llmd_problems **problems,
                              llmd_error **error);

// How many problems there are. 0 for NULL.
size_t llmd_problems_len(const llmd_problems *problems);

// Tells about the problem at `place`, counted from 0. Its pointers live as long as `problems`. Set `problem->struct_size` before.
llmd_status llmd_problems_get(const llmd_problems *problems,
                              size_t place,
                              llmd_problem *problem,
                              llmd_error **error);

// Frees problems. NULL is fine.
void llmd_problems_free(llmd_problems *problems);

// The name of the endpoint that the request goes to. Lives as long as the decision; NULL for NULL.
const char *llmd_decision_endpoint(const llmd_decision *decision);

// Its address: `host:port`. Lives as long as the decision; NULL for NULL.
const char *llmd_decision_address(const llmd_decision *decision);

// Its place among the endpoints that llmd_scheduler_decide was given, counted from 0. SIZE_MAX for NULL.
size_t llmd_decision_place(const llmd_decision *decision);

// How many tokens of the prompt it is expected to take from its cache; 0 when no plugin looks at caches, and for NULL.
size_t llmd_decision_predicted_hit_tokens(const llmd_decision *decision);

// The data-parallel rank that the request is for; -1 when the engine there has one, or chooses itself, and for NULL.
int64_t llmd_decision_rank(const llmd_decision *decision);

// What the configured plugins said about the request under this name, such as `agent-identity`. Lives as long as the
// decision; NULL when nobody said anything, and for NULL.
const char *llmd_decision_attribute(const llmd_decision *decision, const char *name);

// Counts the request in, where the configuration says that it counts from when it is sent; else it does already.
llmd_status llmd_decision_sent(const llmd_decision *decision, llmd_error **error);

// The request goes on: its reservation lapses as long after now as after a decision.
llmd_status llmd_decision_renew(const llmd_decision *decision, llmd_error **error);

// The endpoint failed before its first byte: the reservation moves to the next best. LLMD_UNAVAILABLE when all were tried,
// or the request is over; the reservation then stays where it is.
llmd_status llmd_decision_advance(const llmd_decision *decision,
                                  llmd_error **error);

// The first token came back: the prompt has been computed, and its tokens are in flight no more. Later ones are not heard.
llmd_status llmd_decision_first_token(const llmd_decision *decision,
                                      llmd_error **error);

// The response is complete: the reservation is released. What comes after is not heard. `used` is what the engine says it
// took, and may be NULL. A decision that is freed without an end was aborted.
llmd_status llmd_decision_end(const llmd_decision *decision,
                              const llmd_usage *used,
                              llmd_error **error);

// Says in words why this endpoint: a table per profile.
llmd_status llmd_decision_explain(const llmd_decision *decision, llmd_string **explanation, llmd_error **error);

// The same as a JSON object, with the numbers as they are.
llmd_status llmd_decision_explain_json(const llmd_decision *decision, llmd_string **explanation, llmd_error **error);

// Frees a decision, and releases its reservation. NULL is fine.
void llmd_decision_free(llmd_decision *decision);

// Writes to `headers` what to add to the response. `headers_len` says how many there is room for, and is told how many
// there are. LLMD_EXHAUSTED when that is more; nothing else is written then. Names and values live as long as the decision.
llmd_status llmd_decision_headers(const llmd_decision *decision,
                                  llmd_pair *headers,
                                  size_t *headers_len,
                                  llmd_error **error);

// Writes to `headers` what to set in the request that goes to the endpoints, in the place of headers of the same name: where
// its other stages are done, and for which rank it is. Before that, remove what llmd_decision_request_headers_removed names.
// Room and lifetimes are as for llmd_decision_headers.
llmd_status llmd_decision_request_headers(const llmd_decision *decision,
                                          llmd_pair *headers,
                                          size_t *headers_len,
                                          llmd_error **error);

// Writes to `names` which headers the client may have sent that go no further, in lower case. `names_len` says how many there
// is room for, and is told how many there are. LLMD_EXHAUSTED when that is more; nothing else is written then. Names live as
// long as the decision.
llmd_status llmd_decision_request_headers_removed(const llmd_decision *decision,
                                                  const char **names,
                                                  size_t *names_len,
                                                  llmd_error **error);

// Where the request is sent (`host:port`) in the place of its endpoint's address. Lives as long as the decision; NULL where it
// is sent there, and for NULL.
const char *llmd_decision_destination(const llmd_decision *decision);

// Writes to `reported` what plugins report of a complete response that took `used`, which may be NULL. `reported_len` says how
// many there is room for, and is told how many there are. LLMD_EXHAUSTED when that is more; nothing else is written then. Names
// live as long as the decision.
llmd_status llmd_decision_report(const llmd_decision *decision,
                                 const llmd_usage *used,
                                 llmd_reported *reported,
                                 size_t *reported_len,
                                 llmd_error **error);

// Writes to `stages` the stages that have an endpoint of their own, in the order in which they are done; the last is the
// decode, which answers. `stages_len` says how many there is room for, and is told how many there are: three at most.
// LLMD_EXHAUSTED when that is more; nothing else is written then. Names live as long as the decision.
llmd_status llmd_decision_stages(const llmd_decision *decision,
                                 llmd_stage_route *stages,
                                 size_t *stages_len,
                                 llmd_error **error);

// Writes to `places` every candidate of a stage, best first, by its place among the endpoints that llmd_scheduler_decide was
// given. Those that were tried stay. `places_len` says how many there is room for, and is told how many there are: none when
// the stage has no endpoint of its own. LLMD_EXHAUSTED when that is more; nothing else is written then.
llmd_status llmd_decision_ranked(const llmd_decision *decision,
                                 int of_stage,
                                 size_t *places,
                                 size_t *places_len,
                                 llmd_error **error);

// The endpoint of a stage failed at it: tells `next` how the request goes on, and reserves there. An endpoint that does not fit
// those of the other stages is passed over.
llmd_status llmd_decision_stage_failed(const llmd_decision *decision,
                                       int failed,
                                       llmd_next_step *next,
                                       llmd_error **error);

// A stage before the decode is done: its reservation is released.
llmd_status llmd_decision_stage_done(const llmd_decision *decision, int done, llmd_error **error);

// Writes to `stages` those that were wanted, and for which nobody was left: the endpoint of the next one does them as well.
// `stages_len` says how many there is room for, and is told how many there are. LLMD_EXHAUSTED when that is more; nothing else
// is written then.
llmd_status llmd_decision_skipped(const llmd_decision *decision,
                                  llmd_stage *stages,
                                  size_t *stages_len,
                                  llmd_error **error);

// The device of this name, such as `cuda:0` or `rocm:1`, by the driver of the system, or, where it is not NULL, by the library in
// the file `library`, which is trusted to be one. NULL when it cannot be opened: LLMD_UNSUPPORTED, naming what was looked for, where
// there is no driver; LLMD_INVALID for a device that there is not, and for one that is open by another library.
llmd_device *llmd_device_open(const char *name,
                              const char *library,
                              llmd_error **error);

// Frees a device. NULL is fine.
void llmd_device_free(llmd_device *device);

// New memory, zero, that peers on this machine can map to read; NULL when there is none. LLMD_EXHAUSTED when there is not as much,
// LLMD_UNSUPPORTED when there are no huge pages or no such node.
llmd_region *llmd_region_new(const llmd_memory *memory,
                             llmd_error **error);

// All of the file that `fd` is open for, mapped, for writing if it was opened so: a memfd of another library, for example. The
// descriptor stays the caller's. NULL when it cannot be mapped.
llmd_region *llmd_region_from_fd(int fd,
                                 llmd_error **error);

// All of the file at `path`, mapped, for writing where that is allowed; NULL when it cannot be. LLMD_UNAVAILABLE when it cannot be
// opened.
llmd_region *llmd_region_from_path(const char *path,
                                   llmd_error **error);

// `len` bytes of the caller's own from `start` on, which must be readable and writable, and stay, until the region, every pool of it
// and the agents that these were registered with are freed. Peers cannot map such memory. NULL when there is none.
llmd_region *llmd_region_from_pointer(void *start,
                                      size_t len,
                                      llmd_error **error);

// `len` bytes of the memory of a device. What is in them is not said. NULL when there are none: LLMD_EXHAUSTED when there is no room.
llmd_region *llmd_region_on_device(const llmd_device *device,
                                   size_t len,
                                   llmd_error **error);

// `len` bytes from `address` on in the memory of a device, which somebody else allocated, and which stay until the region, every
// pool of it and the agents that these were registered with are freed. NULL when there is none.
llmd_region *llmd_region_from_device_pointer(const llmd_device *device,
                                             uint64_t address,
                                             size_t len,
                                             llmd_error **error);

// The memory of a DLPack tensor: a `DLManagedTensor *`, or with `versioned` 1 a `DLManagedTensorVersioned *`, in this machine's
// memory or on a device of CUDA or ROCm, which is opened by its number. It is the library's from now on, also when the call fails:
// its deleter is called when nobody has the memory any more, from any thread. NULL when it cannot be taken: LLMD_UNSUPPORTED for
// memory of another device and where there is no driver, LLMD_INVALID for a tensor that does not lie in one piece.
llmd_region *llmd_region_from_dlpack(void *tensor,
                                     uint32_t versioned,
                                     llmd_error **error);

// Puts the region at `tensor` as a DLPack tensor of bytes, in the same two forms. It keeps the memory there until its deleter is
// called. LLMD_UNSUPPORTED for a region that is only for reading in the form that cannot say so.
llmd_status llmd_region_to_dlpack(const llmd_region *region,
                                  uint32_t versioned,
                                  void **tensor,
                                  llmd_error **error);

// The first byte of the memory, which is there as long as the region. NULL for NULL, and for memory of a device.
void *llmd_region_data(const llmd_region *region);

// How many bytes it has. 0 for NULL.
size_t llmd_region_len(const llmd_region *region);

// 1 where it may be written to, else 0. 0 for NULL.
uint32_t llmd_region_is_writable(const llmd_region *region);

// The descriptor that peers on this machine map, which lives as long as the region; -1 where they cannot, and for NULL.
int llmd_region_fd(const llmd_region *region);

// Frees a region. NULL is fine.
void llmd_region_free(llmd_region *region);

// The layout that vLLM calls by this name: an order of L (layers), B (blocks), H (heads), N (tokens) that ends with C, outermost
// first, such as `LBNHC` (NHD) or `LBHNC` (HND); P says where keys and values stand, if not inside C. NULL when it cannot be made.
llmd_layout *llmd_layout_named(const char *name,
                               const llmd_shape *shape,
                               llmd_error **error);

// The layout with these LLMD_AXES strides, in bytes, of layers, blocks, heads, tokens and parts. NULL when it cannot be made.
llmd_layout *llmd_layout_strided(const uint64_t *strides,
                                 const llmd_shape *shape,
                                 llmd_error **error);

// `blocks` blocks of `block_bytes` each, one after the other, of whose inside nothing is known: they are moved whole, and only to
// blocks of the same size and `format`, which may be NULL. NULL when it cannot be made.
llmd_layout *llmd_layout_block_major(uint32_t blocks,
                                     uint32_t block_bytes,
                                     const char *format,
                                     llmd_error **error);

// How many bytes of content a block has. 0 for NULL.
uint64_t llmd_layout_block_bytes(const llmd_layout *layout);

// How many bytes the memory must have: where the last byte ends. 0 for NULL.
uint64_t llmd_layout_end(const llmd_layout *layout);

// Frees a layout. NULL is fine.
void llmd_layout_free(llmd_layout *layout);

// An agent; NULL when it cannot be made.
llmd_agent *llmd_agent_new(const llmd_agent_settings *settings, llmd_error **error);

// A descriptor that is readable when llmd_agent_poll has something to say, for loops: it is the agent's, and not to be read or
// closed. -1 for NULL.
int llmd_agent_wake_fd(const llmd_agent *agent);

// Ends an agent: what is under way is left, and its leases can be read no more. NULL is fine.
void llmd_agent_free(llmd_agent *agent);

// What the agent has, and what it counted. Set `counts->struct_size` before.
llmd_status llmd_agent_stats(const llmd_agent *agent, llmd_agent_counts *counts, llmd_error **error);

// The name of an outcome: `done`, `cancelled`, ..., and `unknown` for a number that is none. Lives for ever.
const char *llmd_outcome_name(int outcome);

// Puts at `events` what happened since: operations that ended and leases that did, at most 1,024 at a time; NULL when nothing did.
// Does not wait.
llmd_status llmd_agent_poll(const llmd_agent *agent,
                            llmd_agent_events **events,
                            llmd_error **error);

// Waits for one operation to end, for at most `timeout_ms`, copies meanwhile, and puts at `events` how it did: one event, which
// llmd_agent_poll does not tell of again. LLMD_UNAVAILABLE when it takes longer; LLMD_INVALID when there is no such operation, or its
// end was polled already.
llmd_status llmd_agent_wait(const llmd_agent *agent,
                            uint64_t op,
                            uint64_t timeout_ms,
                            llmd_agent_events **events,
                            llmd_error **error);

// How many events there are. 0 for NULL.
size_t llmd_agent_events_len(const llmd_agent_events *events);

// Tells about the event at `place`, counted from 0. Its pointers live as long as `events`. Set `event->struct_size` before.
llmd_status llmd_agent_events_get(const llmd_agent_events *events,
                                  size_t place,
                                  llmd_agent_event *event,
                                  llmd_error **error);

// Frees events. NULL is fine.
void llmd_agent_events_free(llmd_agent_events *events);

// Begins to bring blocks here, and puts the operation's number at `op`. Its end comes once, from llmd_agent_poll or llmd_agent_wait;
// until then nobody may read or write the blocks that are fetched into. When it fails nothing was begun: LLMD_INVALID and
// LLMD_UNSUPPORTED for blocks and layouts that do not fit, LLMD_UNAVAILABLE when no transport reaches the agent that granted,
// LLMD_EXHAUSTED when too many operations are under way.
llmd_status llmd_agent_fetch(const llmd_agent *agent,
                             const llmd_fetch *fetch,
                             uint64_t *op,
                             llmd_error **error);

// Ends an operation, as LLMD_OUTCOME_CANCELLED unless it was faster. That end still comes, and not before nothing is written to its
// blocks any more.
llmd_status llmd_agent_cancel(const llmd_agent *agent,
                              uint64_t op,
                              llmd_error **error);

// Says in words what each transport would cost for this grant, or why it would not do; a line for each, the one that would be taken
// first.
llmd_status llmd_agent_consider(const llmd_agent *agent,
                                const uint8_t *grant,
                                size_t grant_len,
                                const llmd_pool *pool,
                                llmd_string **considered,
                                llmd_error **error);

// Lends blocks of a pool, and puts the bytes that name them at `grant`: whoever sees those may read the blocks as long as the lease
// holds. Nobody may write them until llmd_agent_poll says that they are free. `terms` may be NULL. LLMD_INVALID for blocks that the
// pool does not have, LLMD_EXHAUSTED when as many leases hold as may.
llmd_status llmd_agent_grant(const llmd_agent *agent,
                             const llmd_pool *pool,
                             const uint32_t *blocks,
                             size_t blocks_len,
                             const llmd_lease_terms *terms,
                             llmd_bytes **grant,
                             llmd_error **error);

// Looks into a grant. LLMD_CORRUPT for bytes that are none. Set `read->struct_size` before.
llmd_status llmd_grant_read(const uint8_t *grant, size_t grant_len, llmd_grant *read, llmd_error **error);

// Takes a lease of this agent's back, whoever reads: they are told that it is stale. Puts at `held` whether it still held, 1 or 0;
// `held` may be NULL. LLMD_INVALID for a grant of another agent.
llmd_status llmd_agent_release(const llmd_agent *agent,
                               const uint8_t *grant,
                               size_t grant_len,
                               uint32_t *held,
                               llmd_error **error);

// Says that this agent needs nothing more of a grant: of one that was never fetched, or fetched with `hold`. LLMD_UNAVAILABLE when
// the agent that granted cannot be reached: then the lease ends by itself.
llmd_status llmd_agent_finish(const llmd_agent *agent,
                              const uint8_t *grant,
                              size_t grant_len,
                              llmd_error **error);

// Has a grant's lease prolonged until what this returns is freed: for one that waits to be fetched. NULL when it cannot be:
// LLMD_EXHAUSTED when too many are kept.
llmd_kept *llmd_agent_keep(const llmd_agent *agent,
                           const uint8_t *grant,
                           size_t grant_len,
                           llmd_error **error);

// No longer prolongs a lease. NULL is fine.
void llmd_kept_free(llmd_kept *kept);

// Takes a region in, laid out like this: from now on its blocks can be granted, and blocks fetched into it. `tenant` is whom it is
// for; NULL for the agent's own. NULL when it cannot be: LLMD_INVALID when the region is shorter than its layout, LLMD_UNSUPPORTED
// when no transport of the agent can move such memory, LLMD_DENIED when it is another tenant's already.
llmd_pool *llmd_agent_register(const llmd_agent *agent,
                               const llmd_region *region,
                               const llmd_layout *layout,
                               const char *tenant,
                               llmd_error **error);

// Forgets a pool: leases of its blocks are released, and no grant names it again. Its memory stays until it is freed.
llmd_status llmd_agent_unregister(const llmd_agent *agent, const llmd_pool *pool, llmd_error **error);

// Its number in its agent, never used twice; a lease that ended names it. 0 for NULL.
uint32_t llmd_pool_id(const llmd_pool *pool);

// Writes a block's content to `content`, in the order in which it lies. `content_len` says how many bytes there is room for, and is
// told how many there are. LLMD_EXHAUSTED when that is more.
llmd_status llmd_pool_read_block(const llmd_pool *pool,
                                 uint32_t block,
                                 uint8_t *content,
                                 size_t *content_len,
                                 llmd_error **error);

// Copies a block's content into the pool, in the order in which it lies there.
llmd_status llmd_pool_write_block(const llmd_pool *pool,
                                  uint32_t block,
                                  const uint8_t *content,
                                  size_t content_len,
                                  llmd_error **error);

// Frees a pool; its agent still knows it, unless it was unregistered. NULL is fine.
void llmd_pool_free(llmd_pool *pool);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* LLMD_H */
