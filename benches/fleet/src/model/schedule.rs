//! vLLM's scheduler: what the next step computes, and for whom there are blocks.

use std::collections::VecDeque;
use std::time::Duration;

use llmd_core::hash::Sha256Cbor;

use super::EngineSettings;
use super::name::RequestId;
use super::pool::BlockPool;
use super::report::Admission;
use super::request::Active;

#[cfg(test)]
mod tests;

/// What a step computes, decided when it begins.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Real steps that the step stands for: more than one only when nothing is prefilled, see [`Queues::plan`].
    pub(super) steps: usize,
    /// How many sequences decode.
    pub(super) decoding: usize,
    /// The KV that these read.
    pub(super) context_tokens: usize,
    /// Tokens of prompts, and of outputs that are computed again after a preemption.
    pub(super) prefill_tokens: usize,
    pub(super) admitted: Vec<Admission>,
    pub(super) preempted: usize,
}

/// The requests that compute, in the order in which they began, and those that wait, next one first.
#[derive(Debug, Default)]
pub(super) struct Queues {
    pub(super) running: Vec<Active>,
    pub(super) waiting: VecDeque<Active>,
}

impl Queues {
    /// Decides on a step: running requests first, then waiting ones while sequences, tokens and blocks last.
    ///
    /// When a running request lacks a block, the newest one loses all of its blocks and goes back to the head of the queue;
    /// nobody is admitted in such a step.
    ///
    /// A sequence that decodes yields a simulated token every `scale` real steps. A step that prefills is one real step;
    /// when nothing is prefilled, as many of them are taken at once as bring the next simulated token.
    pub(super) fn plan(
        &mut self,
        now: Duration,
        settings: &EngineSettings,
        scheme: &Sha256Cbor,
        pool: &mut BlockPool,
    ) -> Plan {
        let mut plan = Plan::default();
        self.running.iter_mut().for_each(|request| request.scheduled = 0);
        let mut budget = settings.max_num_batched_tokens;
        let scale = settings.constants.scale();
        plan.steps = 1;
        self.plan_running(&mut plan, &mut budget, scale, settings.block_size, pool);
        if plan.preempted == 0 {
            self.plan_waiting(&mut plan, &mut budget, now, settings, scheme, pool);
        }
        if plan.prefill_tokens == 0 {
            let furthest = self.running.iter().map(|request| request.decoded).max();
            plan.steps = furthest.map_or(1, |decoded| scale - decoded);
            self.plan_running(&mut plan, &mut budget, scale, settings.block_size, pool);
        }
        self.count_decoding(&mut plan, scale);
        plan
    }

    /// Schedules the running requests that are not yet scheduled: prompts, and decoding sequences whose next simulated
    /// token is due when the step ends.
    fn plan_running(
        &mut self,
        plan: &mut Plan,
        budget: &mut usize,
        scale: usize,
        block_size: usize,
        pool: &mut BlockPool,
    ) {
        let mut next = 0;
        while next < self.running.len() && *budget > 0 {
            let request = &mut self.running[next];
            let undue = request.decodes() && request.decoded + plan.steps < scale;
            if request.scheduled > 0 || undue {
                next += 1;
                continue;
            }
            let tokens = (request.tokens.len() - request.computed).min(*budget);
            if !allocate(request, tokens, block_size, pool) {
                // The newest request may be the one that lacks the block: then the loop ends here.
                self.preempt_newest(pool);
                plan.preempted += 1;
                continue;
            }
            count(plan, request, tokens);
            *budget -= tokens;
            next += 1;
        }
    }

    fn plan_waiting(
        &mut self,
        plan: &mut Plan,
        budget: &mut usize,
        now: Duration,
        settings: &EngineSettings,
        scheme: &Sha256Cbor,
        pool: &mut BlockPool,
    ) {
        let block_size = settings.block_size;
        while *budget > 0 && self.running.len() < settings.max_num_seqs {
            let Some(request) = self.waiting.front_mut() else { return };
            request.extend_chain(scheme, block_size);
            // The last token is always computed: its logits are the next token.
            let usable = if request.skip_cache { 0 } else { (request.tokens.len() - 1) / block_size };
            let found = pool.longest_run(&request.chain[..usable]);
            let blocks = request.tokens.len().div_ceil(block_size);
            if blocks - found.len() + pool.unused_among(&found) > pool.free() {
                return;
            }
            let mut request = self.waiting.pop_front().expect("it was there above");
            pool.touch(&found);
            let hit = found.len() * block_size;
            (request.stored, request.blocks, request.computed) = (found.len(), found, hit);
            let tokens = (request.tokens.len() - hit).min(*budget);
            let allocated = allocate(&mut request, tokens, block_size, pool);
            debug_assert!(allocated, "there are blocks for all of its tokens");
            let resumed = request.hit_tokens.is_some();
            if !resumed {
                request.hit_tokens = Some(hit);
                request.times.scheduled = now;
            }
            plan.admitted.push(Admission {
                request: request.id,
                tokens: request.tokens.len(),
                cached_tokens: hit,
                resumed,
            });
            count(plan, &mut request, tokens);
            *budget -= tokens;
            self.running.push(request);
        }
    }

    /// Counts the sequences that decode and what they read, and how far they come.
    fn count_decoding(&mut self, plan: &mut Plan, scale: usize) {
        for request in self.running.iter_mut().filter(|request| request.decodes()) {
            plan.decoding += 1;
            plan.context_tokens += request.computed;
            let decoded = request.decoded + plan.steps;
            // A token that is due and was not scheduled, for want of budget, stays due.
            request.decoded =
                if request.scheduled > 0 { decoded.saturating_sub(scale) } else { decoded.min(scale - 1) };
        }
    }

    /// Takes all blocks from the request that began last. They can be found until they are taken for something else.
    pub(super) fn preempt_newest(&mut self, pool: &mut BlockPool) {
        let Some(mut request) = self.running.pop() else { return };
        release(&mut request, pool);
        request.preemptions += 1;
        self.waiting.push_front(request);
    }

    /// Takes a request out, wherever it is. Its full blocks can still be found.
    pub(super) fn remove(&mut self, id: RequestId, pool: &mut BlockPool) -> bool {
        if let Some(place) = self.running.iter().position(|request| request.id == id) {
            release(&mut self.running.remove(place), pool);
            return true;
        }
        let place = self.waiting.iter().position(|request| request.id == id);
        place.is_some_and(|place| self.waiting.remove(place).is_some())
    }
}

/// Gives up a request's blocks.
pub(super) fn release(request: &mut Active, pool: &mut BlockPool) {
    pool.release(&request.blocks);
    request.blocks.clear();
    (request.stored, request.computed, request.scheduled, request.decoded) = (0, 0, 0, 0);
}

/// Takes the blocks that `tokens` more tokens need, and names those that they fill. Does nothing when there are too few.
fn allocate(request: &mut Active, tokens: usize, block_size: usize, pool: &mut BlockPool) -> bool {
    let end = request.computed + tokens;
    let missing = end.div_ceil(block_size).saturating_sub(request.blocks.len());
    if missing > pool.free() {
        return false;
    }
    pool.take(missing, &mut request.blocks);
    let full = end / block_size;
    if full > request.stored {
        let announcement = request.announcement(full, block_size);
        pool.store(&request.blocks[request.stored..full], announcement);
        request.stored = full;
    }
    true
}

/// Adds a prompt's share of the step to the plan, and counts a request's tokens as computed.
fn count(plan: &mut Plan, request: &mut Active, tokens: usize) {
    if !request.decodes() {
        plan.prefill_tokens += tokens;
    }
    request.computed += tokens;
    request.scheduled = tokens;
}

impl Plan {
    /// How many tokens are computed.
    pub(super) const fn tokens(&self) -> usize {
        self.decoding + self.prefill_tokens
    }
}
