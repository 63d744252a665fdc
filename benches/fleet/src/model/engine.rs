//! The engine: requests in, steps that take time, tokens and cache events out.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::Duration;

use llmd_core::hash::{ExtraKeyForm, Sha256Cbor};
use llmd_core::{Error, ErrorKind, Result, TokenId};

use super::event::CacheEvent;
use super::handover::Kept;
use super::name::RequestId;
use super::pool::BlockPool;
use super::report::{Finish, Output, StepReport};
use super::request::{Active, NewRequest};
use super::schedule::{Plan, Queues, release};
use super::settings::EngineSettings;

#[cfg(test)]
mod tests;

/// Chooses the token at a position of a request's output, from the request's seed.
type Sampler = Box<dyn FnMut(u64, usize) -> TokenId + Send>;

/// One engine.
///
/// Whoever drives it calls [`begin_step`](Self::begin_step), lets that much time pass, and calls
/// [`end_step`](Self::end_step). Requests and aborts come in between steps, as they do in vLLM.
pub struct Engine {
    pub(super) settings: EngineSettings,
    pub(super) scheme: Sha256Cbor,
    sampler: Sampler,
    pub(super) pool: BlockPool,
    /// What requests that ended left behind for other engines.
    pub(super) kept: HashMap<RequestId, Kept>,
    queues: Queues,
    /// Requests that the front end still works on, by when it hands them over. The delay is the same for all.
    arriving: VecDeque<Active>,
    plan: Option<Plan>,
    next_id: u64,
}

impl Engine {
    /// An idle engine with an empty cache. `sampler` chooses the token at a position of an output, given the seed of the
    /// request.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when a setting is 0 or `max_model_len` does not fit into the cache.
    pub fn new(settings: EngineSettings, sampler: impl FnMut(u64, usize) -> TokenId + Send + 'static) -> Result<Self> {
        let settings = settings.checked()?;
        Ok(Self {
            pool: BlockPool::new(settings.num_blocks),
            scheme: Sha256Cbor::new(&settings.hash_seed, ExtraKeyForm::Tagged),
            sampler: Box::new(sampler),
            kept: HashMap::new(),
            queues: Queues::default(),
            arriving: VecDeque::new(),
            plan: None,
            next_id: 0,
            settings,
        })
    }

    /// The settings.
    pub const fn settings(&self) -> &EngineSettings {
        &self.settings
    }

    /// Takes a request in. It reaches the scheduler after the front end's delay.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when the prompt is empty, no token is asked for, or both together exceed `max_model_len`;
    /// [`ErrorKind::Exhausted`] when `max_waiting` requests wait.
    pub fn submit(&mut self, now: Duration, request: NewRequest) -> Result<RequestId> {
        let (prompt, output, limit) = (request.prompt.len(), request.max_tokens, self.settings.max_model_len);
        if prompt == 0 || output == 0 {
            let message =
                format!("a prompt of {prompt} tokens for {output} tokens of output, expected at least 1 of each");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        if prompt.saturating_add(output) > limit {
            let message =
                format!("a prompt of {prompt} tokens and {output} tokens of output exceed the {limit} of the model");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        if self.waiting() >= self.settings.max_waiting {
            return Err(Error::new(
                ErrorKind::Exhausted,
                format!("all {} places of the queue are taken", self.waiting()),
            ));
        }
        let id = RequestId(self.next_id);
        self.next_id += 1;
        let mut active = Active::new(now, id, request);
        active.times.queued = now + Duration::from_secs_f64(self.settings.constants.real().front_end_s);
        self.arriving.push_back(active);
        Ok(id)
    }

    /// Ends a request without any answer. Its full blocks stay in the cache. Says whether it was there.
    pub fn abort(&mut self, id: RequestId) -> bool {
        if let Some(place) = self.arriving.iter().position(|request| request.id == id) {
            return self.arriving.remove(place).is_some();
        }
        self.queues.remove(id, &mut self.pool)
    }

    /// When the front end hands over the next request, if it works on any.
    pub fn next_arrival(&self) -> Option<Duration> {
        self.arriving.front().map(|request| request.times.queued)
    }

    /// Begins a step and says how long it takes. `None` when there is nothing to compute.
    pub fn begin_step(&mut self, now: Duration) -> Option<Duration> {
        while let Some(request) = self.arriving.pop_front_if(|request| request.times.queued <= now) {
            self.queues.waiting.push_back(request);
        }
        let plan = self.queues.plan(now, &self.settings, &self.scheme, &mut self.pool);
        if plan.tokens() == 0 {
            return None;
        }
        let seconds = self.settings.constants.step_s(plan.steps, plan.context_tokens, plan.prefill_tokens);
        self.plan = Some(plan);
        Some(Duration::from_secs_f64(seconds))
    }

    /// Ends the step at `now`: every request whose tokens are all computed produces one more. Does nothing when no step is
    /// in flight.
    pub fn end_step(&mut self, now: Duration, report: &mut StepReport) {
        report.outputs.clear();
        report.admitted.clear();
        let Some(plan) = self.plan.take() else { return };
        report.tokens = plan.tokens();
        report.preempted = plan.preempted;
        report.admitted.extend_from_slice(&plan.admitted);
        for request in &mut self.queues.running {
            if request.scheduled > 0 && request.computed == request.tokens.len() {
                let output = produce(request, &mut self.sampler, now);
                request.extend_chain(&self.scheme, self.settings.block_size);
                report.outputs.push(output);
                if output.finish.is_some() {
                    if request.hands_over {
                        let full = request.stored.min(request.prompt_len / self.settings.block_size);
                        let blocks = std::mem::take(&mut request.blocks);
                        self.kept.insert(request.id, Kept { blocks, full });
                    }
                    release(request, &mut self.pool);
                }
            }
        }
        self.queues.running.retain(|request| request.produced() < request.max_tokens);
    }

    /// Forgets the whole cache, unless a request uses a part of it. Says whether it did.
    pub fn reset_prefix_cache(&mut self) -> bool {
        self.pool.clear()
    }

    /// Takes all blocks from all running requests, which begin again from the head of the queue.
    pub fn preempt_all(&mut self) {
        while !self.queues.running.is_empty() {
            self.queues.preempt_newest(&mut self.pool);
        }
    }

    /// What happened to the cache since the last call.
    pub fn take_events(&mut self) -> Vec<CacheEvent> {
        self.pool.take_events()
    }

    /// The cache.
    pub const fn pool(&self) -> &BlockPool {
        &self.pool
    }

    /// Requests that compute.
    pub const fn running(&self) -> usize {
        self.queues.running.len()
    }

    /// Requests that wait, those that the front end still works on included.
    pub fn waiting(&self) -> usize {
        self.queues.waiting.len() + self.arriving.len()
    }
}

/// Not its requests: there may be thousands.
impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Engine");
        debug.field("settings", &self.settings).field("running", &self.running()).field("waiting", &self.waiting());
        debug.finish_non_exhaustive()
    }
}

/// Adds the next token to a request.
fn produce(request: &mut Active, sampler: &mut Sampler, now: Duration) -> Output {
    let position = request.produced();
    let token = sampler(request.seed, position);
    request.tokens.push(token);
    let since = if position == 0 { request.times.arrived } else { request.times.last_token };
    if position == 0 {
        request.times.first_token = now;
    }
    request.times.last_token = now;
    let finish = (request.produced() == request.max_tokens).then_some(Finish {
        prompt_tokens: request.prompt_len,
        completion_tokens: request.max_tokens,
        preemptions: request.preemptions,
        times: request.times,
    });
    let (prompt_tokens, cached_tokens) = (request.prompt_len, request.hit_tokens.unwrap_or(0));
    Output { request: request.id, token, position, prompt_tokens, cached_tokens, since, finish }
}
