//! What an engine counts, under the names that vLLM 0.32 gives it. Times are engine time.

mod exposition;
mod render;

use std::time::Duration;

use exposition::Histogram;

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

    /// Requests that wait.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Counts requests that ended before their last token.
    pub(super) const fn aborted(&mut self, requests: u64) {
        self.aborted += requests;
    }

    /// Counts a request that found no room.
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
}
