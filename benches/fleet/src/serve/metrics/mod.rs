//! What an engine counts, under the names that vLLM 0.32 gives it. Times are engine time.

mod exposition;

use std::time::Duration;

use exposition::{Exposition, Histogram};

use super::clock::unix_seconds;
use crate::model::{Engine, EngineSettings, StepReport};

const FIRST_TOKEN_S: [f64; 22] = [
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
    160.0, 640.0, 2560.0,
];
const BETWEEN_TOKENS_S: [f64; 19] =
    [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0];
const REQUEST_S: [f64; 21] = [
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0,
    1920.0, 7680.0,
];
const STEP_TOKENS: [f64; 13] =
    [1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0];

/// Everything that `/metrics` tells, kept by the thread that steps the engine.
#[derive(Debug)]
pub(super) struct Counts {
    running: usize,
    waiting: usize,
    usage: f64,
    queries: u64,
    hits: u64,
    preemptions: u64,
    prompt_tokens: u64,
    cached_tokens: u64,
    generated: u64,
    finished: u64,
    aborted: u64,
    rejected: u64,
    prompt: Histogram,
    generation: Histogram,
    step: Histogram,
    max_generation: Histogram,
    choices: Histogram,
    max_tokens: Histogram,
    first_token: Histogram,
    between_tokens: Histogram,
    per_output_token: Histogram,
    request: Histogram,
    queue: Histogram,
    inference: Histogram,
    prefill: Histogram,
    decode: Histogram,
    request_preemptions: Histogram,
    computed: Histogram,
}

impl Counts {
    pub(super) fn new(settings: &EngineSettings) -> Self {
        let tokens = || Histogram::up_to(settings.max_model_len);
        let seconds = || Histogram::new(&REQUEST_S);
        Self {
            running: 0,
            waiting: 0,
            usage: 0.0,
            queries: 0,
            hits: 0,
            preemptions: 0,
            prompt_tokens: 0,
            cached_tokens: 0,
            generated: 0,
            finished: 0,
            aborted: 0,
            rejected: 0,
            prompt: tokens(),
            generation: tokens(),
            step: Histogram::new(&STEP_TOKENS),
            max_generation: tokens(),
            choices: Histogram::up_to(20),
            max_tokens: tokens(),
            first_token: Histogram::new(&FIRST_TOKEN_S),
            between_tokens: Histogram::new(&BETWEEN_TOKENS_S),
            per_output_token: Histogram::new(&BETWEEN_TOKENS_S),
            request: seconds(),
            queue: seconds(),
            inference: seconds(),
            prefill: seconds(),
            decode: seconds(),
            request_preemptions: Histogram::new(&[1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0]),
            computed: tokens(),
        }
    }

    /// Requests that are in the engine.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    pub(super) const fn aborted(&mut self) {
        self.aborted += 1;
    }

    pub(super) const fn rejected(&mut self) {
        self.rejected += 1;
    }

    /// Takes over what the engine is doing now.
    pub(super) fn look(&mut self, engine: &Engine) {
        self.running = engine.running();
        self.waiting = engine.waiting();
        self.usage = engine.pool().used() as f64 / engine.pool().capacity() as f64;
    }

    /// Counts a step that ended at `now`.
    pub(super) fn step(&mut self, now: Duration, report: &StepReport) {
        self.step.observe(report.tokens as f64);
        self.preemptions += report.preempted as u64;
        for admission in &report.admitted {
            self.queries += admission.tokens as u64;
            self.hits += admission.cached_tokens as u64;
        }
        for output in &report.outputs {
            self.generated += 1;
            let seconds = now.saturating_sub(output.since).as_secs_f64();
            let histogram = if output.position == 0 { &mut self.first_token } else { &mut self.between_tokens };
            histogram.observe(seconds);
            if output.position == 0 {
                self.prompt_tokens += output.prompt_tokens as u64;
                self.cached_tokens += output.cached_tokens as u64;
            }
            let Some(finish) = output.finish else { continue };
            self.finished += 1;
            self.prompt.observe(finish.prompt_tokens as f64);
            self.generation.observe(finish.completion_tokens as f64);
            self.max_generation.observe(finish.completion_tokens as f64);
            self.max_tokens.observe(finish.completion_tokens as f64);
            self.choices.observe(1.0);
            self.request_preemptions.observe(finish.preemptions as f64);
            self.computed.observe((finish.prompt_tokens - output.cached_tokens) as f64);
            let times = finish.times;
            let between = |from: Duration, to: Duration| to.saturating_sub(from).as_secs_f64();
            let decode = between(times.first_token, times.last_token);
            self.request.observe(between(times.arrived, times.last_token));
            self.queue.observe(between(times.queued, times.scheduled));
            self.inference.observe(between(times.scheduled, times.last_token));
            self.prefill.observe(between(times.scheduled, times.first_token));
            self.decode.observe(decode);
            self.per_output_token.observe(decode / finish.completion_tokens.saturating_sub(1).max(1) as f64);
        }
    }

    /// The text of a scrape, in vLLM's order, with vLLM's help.
    pub(super) fn render(&self, model: &str, settings: &EngineSettings) -> String {
        let mut out = Exposition::new(model);
        self.render_load(&mut out);
        self.render_tokens(&mut out);
        self.render_requests(&mut out);
        render_config(&mut out, settings);
        out.finish()
    }

    fn render_load(&self, out: &mut Exposition) {
        out.gauge("vllm:num_requests_running", "Number of requests in model execution batches.", self.running as f64);
        out.gauge("vllm:num_requests_waiting", "Number of requests waiting to be processed.", self.waiting as f64);
        out.by(
            "vllm:num_requests_waiting_by_reason",
            "Number of waiting requests by reason. Reason labels: 'capacity' = waiting for scheduling capacity; 'deferred' = \
             deferred by transient constraints (LoRA budget, KV transfer, blocked status). Sum of all reasons equals \
             vllm:num_requests_waiting.",
            "gauge",
            "reason",
            &[("capacity", self.waiting as f64), ("deferred", 0.0)],
        );
        out.by(
            "vllm:engine_sleep_state",
            "Engine sleep state; awake = 0 means engine is sleeping; awake = 1 means engine is awake; weights_offloaded = 1 \
             means sleep level 1; discard_all = 1 means sleep level 2.",
            "gauge",
            "sleep_state",
            &[("awake", 1.0), ("weights_offloaded", 0.0), ("discard_all", 0.0)],
        );
        out.gauge("vllm:kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", self.usage);
    }

    fn render_tokens(&self, out: &mut Exposition) {
        out.counter(
            "vllm:prefix_cache_queries_total",
            "Prefix cache queries, in terms of number of queried tokens.",
            self.queries,
        );
        out.counter(
            "vllm:prefix_cache_hits_total",
            "Prefix cache hits, in terms of number of cached tokens.",
            self.hits,
        );
        out.counter(
            "vllm:external_prefix_cache_queries_total",
            "External prefix cache queries from KV connector cross-instance cache sharing, in terms of number of queried tokens.",
            0,
        );
        out.counter(
            "vllm:external_prefix_cache_hits_total",
            "External prefix cache hits from KV connector cross-instance cache sharing, in terms of number of cached tokens.",
            0,
        );
        out.counter("vllm:num_preemptions_total", "Cumulative number of preemption from the engine.", self.preemptions);
        out.counter("vllm:prompt_tokens_total", "Number of prefill tokens processed.", self.prompt_tokens);
        let computed = (self.prompt_tokens - self.cached_tokens) as f64;
        let cached = self.cached_tokens as f64;
        out.by(
            "vllm:prompt_tokens_by_source_total",
            "Number of prompt tokens by source.",
            "counter",
            "source",
            &[("local_compute", computed), ("local_cache_hit", cached), ("external_kv_transfer", 0.0)],
        );
        out.counter(
            "vllm:prompt_tokens_cached_total",
            "Number of cached prompt tokens (local + external).",
            self.cached_tokens,
        );
        out.by(
            "vllm:prompt_tokens_cached_by_source_total",
            "Prefix-cache hit tokens by the cache tier that supplied them: device (local HBM), host (offloaded to DRAM), disk, \
             p2p (transferred from another vLLM instance) or external_unspecified. Counted at admission; sums to \
             vllm:prefix_cache_hits + vllm:external_prefix_cache_hits.",
            "counter",
            "source",
            &[("device", self.hits as f64), ("host", 0.0), ("p2p", 0.0), ("disk", 0.0), ("external_unspecified", 0.0)],
        );
        out.counter("vllm:generation_tokens_total", "Number of generation tokens processed.", self.generated);
    }

    fn render_requests(&self, out: &mut Exposition) {
        out.by(
            "vllm:request_success_total",
            "Count of successfully processed requests.",
            "counter",
            "finished_reason",
            &[
                ("stop", 0.0),
                ("length", self.finished as f64),
                ("abort", self.aborted as f64),
                ("error", 0.0),
                ("repetition", 0.0),
            ],
        );
        out.by(
            "vllm:admission_rejections_total",
            "Number of admission attempts rejected by a queue limit, by reason.",
            "counter",
            "reason",
            &[("max_num_queued_reqs", self.rejected as f64), ("max_num_queued_tokens", 0.0)],
        );
        for (name, help, histogram) in [
            ("request_prompt_tokens", "Number of prefill tokens processed.", &self.prompt),
            ("request_generation_tokens", "Number of generation tokens processed.", &self.generation),
            ("iteration_tokens_total", "Histogram of number of tokens per engine_step.", &self.step),
            (
                "request_max_num_generation_tokens",
                "Histogram of maximum number of requested generation tokens.",
                &self.max_generation,
            ),
            ("request_params_n", "Histogram of the n request parameter.", &self.choices),
            ("request_params_max_tokens", "Histogram of the max_tokens request parameter.", &self.max_tokens),
            ("time_to_first_token_seconds", "Histogram of time to first token in seconds.", &self.first_token),
            ("inter_token_latency_seconds", "Histogram of inter-token latency in seconds.", &self.between_tokens),
            (
                "request_time_per_output_token_seconds",
                "Histogram of time_per_output_token_seconds per request.",
                &self.per_output_token,
            ),
            ("e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.", &self.request),
            ("request_queue_time_seconds", "Histogram of time spent in WAITING phase for request.", &self.queue),
            (
                "request_inference_time_seconds",
                "Histogram of time spent in RUNNING phase for request.",
                &self.inference,
            ),
            ("request_prefill_time_seconds", "Histogram of time spent in PREFILL phase for request.", &self.prefill),
            ("request_decode_time_seconds", "Histogram of time spent in DECODE phase for request.", &self.decode),
            (
                "request_num_preemptions",
                "Histogram of the number of times a request was preempted.",
                &self.request_preemptions,
            ),
            (
                "request_prefill_kv_computed_tokens",
                "Histogram of new KV tokens computed during prefill (excluding cached tokens).",
                &self.computed,
            ),
        ] {
            out.histogram(&format!("vllm:{name}"), help, histogram);
        }
    }
}

fn render_config(out: &mut Exposition, settings: &EngineSettings) {
    let lora = [("max_lora", "1"), ("running_lora_adapters", ""), ("waiting_lora_adapters", "")];
    out.info("vllm:lora_requests_info", "Running stats on lora requests.", &lora, unix_seconds());
    let concurrency = settings.kv_cache_tokens() as f64 / settings.max_model_len as f64;
    let labels = [
        ("block_size", settings.block_size.to_string()),
        ("enable_prefix_caching", "True".into()),
        ("engine", "0".into()),
        ("kv_cache_max_concurrency", concurrency.to_string()),
        ("kv_cache_size_tokens", settings.kv_cache_tokens().to_string()),
        ("num_cpu_blocks", "None".into()),
        ("num_gpu_blocks", settings.num_blocks.to_string()),
        ("prefix_caching_hash_algo", "sha256_cbor".into()),
        ("sliding_window", "None".into()),
    ];
    let labels: Vec<(&str, &str)> = labels.iter().map(|(label, value)| (*label, value.as_str())).collect();
    out.info("vllm:cache_config_info", "Information of the LLMEngine CacheConfig", &labels, 1.0);
}
