//! The engine of [`model`](crate::model), written for speed: the same steps, admissions, evictions and preemptions, at a
//! cost of what changes in a step and not of all that runs.
//!
//! A property test holds it to the model. What it adds is a second tier in host memory, and prefixes that come from a peer.

mod events;
mod host;
mod machine;
mod name;
mod pool;
mod prompt;
mod report;
mod sequence;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use llmd_core::Medium;
use llmd_core::event::KvEvent;

use self::events::Events;
use self::host::Host;
pub use self::machine::{Experts, Machine};
pub(crate) use self::name::Name;
use self::pool::Pool;
pub use self::prompt::{Prompt, Stream};
pub use self::report::{Admitted, Finished, StepReport};
use self::sequence::{Decoding, Sequence};
use crate::model::BlockId;

/// Sequences in a step: vLLM's default.
pub(crate) const MAX_NUM_SEQS: usize = 256;
/// Tokens in a step: vLLM's default.
pub(crate) const MAX_BATCHED_TOKENS: usize = 8_192;

/// What is to be computed.
#[derive(Clone, Debug)]
pub struct Job {
    /// What the driver calls it.
    pub tag: usize,
    /// The prompt.
    pub prompt: Prompt,
    /// How many tokens come out, at least 1.
    pub output: usize,
    /// Whether the output is what the prompt's stream goes on with; otherwise it is drawn from `seed`.
    pub follows: bool,
    /// What the output is made from.
    pub seed: u64,
    /// How many leading tokens come from a peer, and how long that takes.
    pub pulled: Option<(usize, Duration)>,
}

/// One engine.
///
/// Whoever drives it calls [`begin_step`](Self::begin_step), lets that much time pass, and calls
/// [`end_step`](Self::end_step). Requests come in between steps.
#[derive(Debug)]
pub struct Engine {
    machine: Machine,
    max_num_seqs: usize,
    max_batched_tokens: usize,
    pool: Pool,
    host: Option<Host>,
    events: Events,
    sequences: Vec<Option<Sequence>>,
    vacant: Vec<u32>,
    /// Requests that the front end still works on, by when it hands them over.
    arriving: BinaryHeap<Reverse<(Duration, u64, u32)>>,
    arrived: u64,
    waiting: VecDeque<u32>,
    /// Whether the first of those that wait was found not to fit.
    blocked: bool,
    /// The running ones, oldest first.
    running: Vec<u32>,
    /// The one whose prompt is computed in part: always the newest.
    partial: Option<u32>,
    /// Those whose prompt the step in flight computes, oldest first.
    prefilling: Vec<u32>,
    /// Those that decode, by when they need blocks: oldest first, those that are equally far modulo the block size together.
    classes: Vec<Vec<u32>>,
    decoding: usize,
    /// The KV that these read in the step in flight.
    context: usize,
    /// When those that decode are done: step, order and place.
    ends: BinaryHeap<Reverse<(u64, u64, u32)>>,
    step: u64,
    in_flight: bool,
    admissions: u64,
    admitted: Vec<Admitted>,
    preempted: usize,
    restored: usize,
    /// Buffers that are kept for the next time.
    due: Vec<(u64, u32)>,
    found: Vec<BlockId>,
}

impl Engine {
    /// An idle engine with an empty cache. It tells of its cache when somebody hears it.
    pub fn new(machine: Machine, heard: bool) -> Self {
        Self::with_limits(machine, heard, MAX_NUM_SEQS, MAX_BATCHED_TOKENS)
    }

    /// The same, with so many sequences and tokens in a step; a step has room for a token of each sequence.
    pub(crate) fn with_limits(machine: Machine, heard: bool, max_num_seqs: usize, max_batched_tokens: usize) -> Self {
        let host = (machine.host_tokens / machine.block_size) as u32;
        Self {
            pool: Pool::new(machine.blocks()),
            host: (host > 0).then(|| Host::new(host)),
            events: Events::new(heard),
            max_num_seqs,
            max_batched_tokens: max_batched_tokens.max(max_num_seqs),
            sequences: Vec::new(),
            vacant: Vec::new(),
            arriving: BinaryHeap::new(),
            arrived: 0,
            waiting: VecDeque::new(),
            blocked: false,
            running: Vec::new(),
            partial: None,
            prefilling: Vec::new(),
            classes: vec![Vec::new(); machine.block_size],
            decoding: 0,
            context: 0,
            ends: BinaryHeap::new(),
            step: 0,
            in_flight: false,
            admissions: 0,
            admitted: Vec::new(),
            preempted: 0,
            restored: 0,
            due: Vec::new(),
            found: Vec::new(),
            machine,
        }
    }

    /// What it runs on.
    pub const fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Takes a request in, if prompt and output fit into the cache; it reaches the scheduler after the front end's delay,
    /// and after what it pulls from a peer is there. Says whether it was taken.
    pub fn submit(&mut self, now: Duration, job: Job) -> bool {
        let tokens = job.prompt.len() + job.output;
        if job.prompt.is_empty() || job.output == 0 || tokens > self.pool.capacity() * self.machine.block_size {
            return false;
        }
        let pulled = job.pulled.map_or(Duration::ZERO, |(_, takes)| takes);
        let queued = now + Duration::from_secs_f64(self.machine.constants.front_end_s) + pulled;
        let sequence = Sequence::new(job);
        let place = match self.vacant.pop() {
            Some(place) => {
                self.sequences[place as usize] = Some(sequence);
                place
            }
            None => {
                self.sequences.push(Some(sequence));
                (self.sequences.len() - 1) as u32
            }
        };
        self.arriving.push(Reverse((queued, self.arrived, place)));
        self.arrived += 1;
        true
    }

    /// When the front end hands over the next request, if it works on any.
    pub fn next_arrival(&self) -> Option<Duration> {
        self.arriving.peek().map(|Reverse((queued, ..))| *queued)
    }

    /// Begins a step and says how long it takes. `None` when there is nothing to compute.
    pub fn begin_step(&mut self, now: Duration) -> Option<Duration> {
        while let Some(&Reverse((queued, _, place))) = self.arriving.peek()
            && queued <= now
        {
            self.arriving.pop();
            self.waiting.push_back(place);
        }
        self.step += 1;
        self.admitted.clear();
        self.prefilling.clear();
        (self.preempted, self.restored) = (0, 0);
        self.advance_decoding();
        let mut budget = self.max_batched_tokens - self.decoding;
        let mut prefill = 0;
        let mut last_tokens = (0, 0);
        self.advance_partial(&mut budget, &mut prefill, &mut last_tokens);
        if self.preempted == 0 {
            self.admit(&mut budget, &mut prefill, &mut last_tokens);
        }
        self.context += self.decoding;
        let (decoding, context) = (self.decoding + last_tokens.0, self.context + last_tokens.1);
        self.in_flight = decoding + prefill > 0;
        self.in_flight.then(|| self.machine.step(context, decoding, prefill, self.restored))
    }

    /// Ends the step: whose tokens are all computed produces one more. Does nothing when no step is in flight.
    pub fn end_step(&mut self, report: &mut StepReport) {
        report.first.clear();
        report.finished.clear();
        report.admitted.clear();
        if !std::mem::take(&mut self.in_flight) {
            return;
        }
        report.preempted = self.preempted;
        report.admitted.append(&mut self.admitted);
        while let Some(&Reverse((step, order, place))) = self.ends.peek()
            && step <= self.step
        {
            self.ends.pop();
            let ended = self.sequences[place as usize]
                .as_ref()
                .is_some_and(|sequence| sequence.order == order && sequence.decoding.is_some());
            if ended {
                self.leave_decoding(place);
                self.finish(place, report);
            }
        }
        let mut prefilling = std::mem::take(&mut self.prefilling);
        for &place in &prefilling {
            let sequence = self.at(place);
            if sequence.computed < sequence.len() {
                continue;
            }
            if sequence.produced == 0 {
                report.first.push(sequence.job.tag);
            }
            sequence.produced += 1;
            if sequence.produced == sequence.job.output {
                self.finish(place, report);
            } else {
                self.join_decoding(place);
            }
        }
        prefilling.clear();
        self.prefilling = prefilling;
    }

    /// Everything in it is lost: requests, whose tags are given, and caches.
    pub fn die(&mut self) -> Vec<usize> {
        let machine = self.machine.clone();
        let fresh = Self::with_limits(machine, self.events.is_heard(), self.max_num_seqs, self.max_batched_tokens);
        let dead = std::mem::replace(self, fresh);
        dead.sequences.into_iter().flatten().map(|sequence| sequence.job.tag).collect()
    }

    /// What happened to the caches since the last call; nothing when nobody hears it.
    pub fn take_events(&mut self) -> Vec<KvEvent> {
        self.events.take()
    }

    /// Requests that compute.
    pub const fn running(&self) -> usize {
        self.running.len()
    }

    /// Requests that wait, those that the front end still works on included.
    pub fn waiting(&self) -> usize {
        self.waiting.len() + self.arriving.len()
    }

    /// How much of the cache running requests hold, from 0 to 1.
    pub fn cache_usage(&self) -> f64 {
        self.pool.used() as f64 / self.pool.capacity() as f64
    }

    /// How many leading tokens of a prompt are in GPU memory or, behind those, in host memory.
    pub fn held(&self, prompt: &Prompt) -> usize {
        let names = &prompt.names()[..prompt.len() / self.machine.block_size];
        let here = |&&name: &&Name| self.pool.holds(name) || self.host.as_ref().is_some_and(|host| host.holds(name));
        names.iter().take_while(here).count() * self.machine.block_size
    }

    fn at(&mut self, place: u32) -> &mut Sequence {
        self.sequences[place as usize].as_mut().expect("a place that is in use holds a sequence")
    }

    /// Gives those that decode the blocks that this step begins, and names those that it fills. A shortage takes the blocks
    /// of the newest.
    fn advance_decoding(&mut self) {
        let block_size = self.machine.block_size as u64;
        let begins = ((1 % block_size + block_size) - self.step % block_size) % block_size;
        let fills = (block_size - self.step % block_size) % block_size;
        let mut due = std::mem::take(&mut self.due);
        due.clear();
        let sequences = &self.sequences;
        let order = |place: u32| sequences[place as usize].as_ref().map_or(0, |sequence| sequence.order);
        due.extend(self.classes[begins as usize].iter().map(|&place| (order(place), place)));
        if fills != begins {
            due.extend(self.classes[fills as usize].iter().map(|&place| (order(place), place)));
            due.sort_unstable();
        }
        for &(order, place) in &due {
            if self.sequences[place as usize].as_ref().is_none_or(|sequence| sequence.order != order) {
                continue;
            }
            let Some(decoding) = self.at(place).decoding else { continue };
            let computed = decoding.computed(self.step);
            if self.at(place).blocks.len() < computed.div_ceil(block_size as usize) && !self.take_block(place) {
                continue;
            }
            self.name_full(place, computed);
        }
        self.due = due;
    }

    /// Takes one block for a sequence, and those of the newest until there is one. Says whether it still runs.
    fn take_block(&mut self, place: u32) -> bool {
        while self.pool.free() == 0 {
            let newest = self.preempt_newest();
            if newest == Some(place) {
                return false;
            }
        }
        let id = self.take();
        self.at(place).blocks.push(id);
        true
    }

    fn take(&mut self) -> BlockId {
        let (id, lost) = self.pool.take();
        if let Some(name) = lost {
            self.events.removed(name, Medium::Gpu);
        }
        id
    }

    /// Goes on with the prompt that was computed in part.
    fn advance_partial(&mut self, budget: &mut usize, prefill: &mut usize, last_tokens: &mut (usize, usize)) {
        if let Some(place) = self.partial
            && *budget > 0
        {
            let block_size = self.machine.block_size;
            let sequence = self.at(place);
            let tokens = (sequence.len() - sequence.computed).min(*budget);
            let missing = (sequence.computed + tokens).div_ceil(block_size).saturating_sub(sequence.blocks.len());
            if missing > self.pool.free() {
                // It is the newest itself.
                self.preempt_newest();
                return;
            }
            self.compute(place, tokens, missing, prefill, last_tokens);
            *budget -= tokens;
        }
    }

    /// Takes requests from the queue while sequences, tokens and blocks last.
    fn admit(&mut self, budget: &mut usize, prefill: &mut usize, last_tokens: &mut (usize, usize)) {
        let block_size = self.machine.block_size;
        while *budget > 0 && self.running.len() < self.max_num_seqs {
            let Some(&place) = self.waiting.front() else { return };
            if self.blocked && !self.pool.eased() {
                return;
            }
            let sequence = self.sequences[place as usize].as_mut().expect("who waits is there");
            // The last token is always computed: its logits are the next token.
            let usable = (sequence.len() - 1) / block_size;
            let blocks = sequence.len().div_ceil(block_size);
            let mut found = std::mem::take(&mut self.found);
            found.clear();
            if blocks - usable <= self.pool.free() {
                self.pool.longest_run((0..usable).map(|place| sequence.name(place, block_size)), &mut found);
            }
            if blocks - found.len() + self.pool.unused_among(&found) > self.pool.free() {
                let next = (found.len() < usable).then(|| sequence.name(found.len(), block_size));
                self.pool.await_ease(next);
                self.blocked = true;
                self.found = found;
                return;
            }
            self.blocked = false;
            self.waiting.pop_front();
            self.pool.touch(&found);
            let elsewhere = self.elsewhere(place, found.len(), usable);
            self.admissions += 1;
            let order = self.admissions;
            let sequence = self.at(place);
            sequence.order = order;
            sequence.blocks.clear();
            sequence.blocks.extend_from_slice(&found);
            (sequence.stored, sequence.computed) = (found.len(), found.len() * block_size);
            self.found = found;
            let hit = self.bring(place, elsewhere);
            let sequence = self.at(place);
            let resumed = sequence.hit.is_some();
            if !resumed {
                sequence.hit = Some(hit);
            }
            let (tag, len) = (sequence.job.tag, sequence.len());
            self.admitted.push(Admitted { tag, tokens: len, cached_tokens: hit, resumed });
            let tokens = (len - hit).min(*budget);
            let missing = (hit + tokens).div_ceil(block_size).saturating_sub(self.at(place).blocks.len());
            self.running.push(place);
            self.compute(place, tokens, missing, prefill, last_tokens);
            *budget -= tokens;
        }
    }

    /// How many blocks behind the first `found` come from host memory or a peer.
    fn elsewhere(&mut self, place: u32, found: usize, usable: usize) -> usize {
        let block_size = self.machine.block_size;
        let sequence = self.sequences[place as usize].as_mut().expect("who waits is there");
        let pulled = sequence.job.pulled.map_or(0, |(tokens, _)| (tokens / block_size).min(usable));
        let Some(host) = &mut self.host else { return pulled.saturating_sub(found) };
        let names: Vec<_> = (0..usable).map(|place| sequence.name(place, block_size)).collect();
        host.touch(&names);
        let end = names.iter().enumerate().skip(found).find(|(place, name)| *place >= pulled && !host.holds(**name));
        let end = end.map_or(usable, |(place, _)| place);
        self.restored += end.saturating_sub(found.max(pulled)) * block_size;
        end - found
    }

    /// Brings `blocks` more blocks of a prompt to GPU memory, and says how many of its tokens are there now.
    fn bring(&mut self, place: u32, blocks: usize) -> usize {
        let block_size = self.machine.block_size;
        if blocks > 0 {
            for _ in 0..blocks {
                let id = self.take();
                self.at(place).blocks.push(id);
            }
            let computed = self.at(place).blocks.len() * block_size;
            self.at(place).computed = computed;
            self.name_full(place, computed);
        }
        self.at(place).computed
    }

    /// Takes `missing` blocks for `tokens` more tokens of a prompt, and names those that they fill.
    fn compute(
        &mut self,
        place: u32,
        tokens: usize,
        missing: usize,
        prefill: &mut usize,
        last_tokens: &mut (usize, usize),
    ) {
        for _ in 0..missing {
            let id = self.take();
            self.at(place).blocks.push(id);
        }
        let end = self.at(place).computed + tokens;
        self.name_full(place, end);
        let sequence = self.at(place);
        (sequence.computed, sequence.scheduled) = (end, tokens);
        if sequence.is_last_token() {
            *last_tokens = (last_tokens.0 + 1, last_tokens.1 + end);
        } else {
            *prefill += tokens;
        }
        let is_partial = end < sequence.len();
        self.partial = is_partial.then_some(place);
        self.prefilling.push(place);
    }

    /// Names the blocks that are full when `end` tokens are computed, and copies them to host memory.
    fn name_full(&mut self, place: u32, end: usize) {
        let block_size = self.machine.block_size;
        let sequence = self.sequences[place as usize].as_mut().expect("a place that is in use holds a sequence");
        let (from, full) = (sequence.stored, end / block_size);
        if full <= from {
            return;
        }
        for block in from..full {
            let name = sequence.name(block, block_size);
            self.pool.store(sequence.blocks[block], name);
        }
        sequence.stored = full;
        if self.events.is_heard() {
            let parent = from.checked_sub(1).map(|before| sequence.name(before, block_size));
            let names: Vec<_> = (from..full).map(|block| sequence.name(block, block_size)).collect();
            let tokens = (from * block_size..full * block_size).map(|position| sequence.token(position));
            self.events.stored(parent, names.into_iter(), tokens, block_size);
        }
        let Some(host) = &mut self.host else { return };
        for block in from..full {
            let name = sequence.name(block, block_size);
            let (is_new, gone) = host.store(name);
            if let Some(gone) = gone {
                self.events.removed(gone, Medium::Cpu);
            }
            if is_new {
                self.events.offloaded(name);
            }
        }
    }

    /// Takes all blocks from the request that began last, which goes back to the head of the queue.
    fn preempt_newest(&mut self) -> Option<u32> {
        let place = *self.running.last()?;
        self.running.pop();
        if self.partial == Some(place) {
            self.partial = None;
        }
        if let Some(decoding) = self.at(place).decoding {
            let computed = decoding.computed(self.step - 1);
            self.leave_decoding_at(place, computed);
        }
        let sequence = self.sequences[place as usize].as_mut().expect("who runs is there");
        self.pool.release(&sequence.blocks);
        sequence.blocks.clear();
        (sequence.stored, sequence.computed, sequence.scheduled) = (0, 0, 0);
        sequence.preemptions += 1;
        self.waiting.push_front(place);
        (self.blocked, self.preempted) = (false, self.preempted + 1);
        Some(place)
    }

    /// From the next step on it computes one token in each.
    fn join_decoding(&mut self, place: u32) {
        let step = self.step;
        let sequence = self.at(place);
        let decoding = Decoding { ahead: sequence.computed as i64 - step as i64 };
        let (order, computed) = (sequence.order, sequence.computed);
        let left = sequence.job.output - sequence.produced;
        sequence.decoding = Some(decoding);
        let class = decoding.ahead.rem_euclid(self.machine.block_size as i64) as usize;
        self.classes[class].push(place);
        self.ends.push(Reverse((step + left as u64, order, place)));
        self.decoding += 1;
        self.context += computed;
    }

    fn leave_decoding(&mut self, place: u32) {
        if let Some(decoding) = self.at(place).decoding {
            let computed = decoding.computed(self.step);
            self.leave_decoding_at(place, computed);
        }
    }

    /// It decodes no more, and the context that it counts for is `computed`.
    fn leave_decoding_at(&mut self, place: u32, computed: usize) {
        let sequence = self.sequences[place as usize].as_mut().expect("who decodes is there");
        let Some(decoding) = sequence.decoding.take() else { return };
        sequence.computed = computed;
        // One token came with the prompt's last step, and one with each step since.
        sequence.produced = computed + 1 - sequence.job.prompt.len();
        let class = decoding.ahead.rem_euclid(self.machine.block_size as i64) as usize;
        let class = &mut self.classes[class];
        if let Some(at) = class.iter().position(|&other| other == place) {
            class.remove(at);
        }
        self.decoding -= 1;
        self.context -= computed;
    }

    /// Ends a request.
    fn finish(&mut self, place: u32, report: &mut StepReport) {
        let Some(sequence) = self.sequences[place as usize].take() else { return };
        self.pool.release(&sequence.blocks);
        self.vacant.push(place);
        if let Some(at) = self.running.iter().position(|&other| other == place) {
            self.running.remove(at);
        }
        report.finished.push(Finished {
            tag: sequence.job.tag,
            cached_tokens: sequence.hit.unwrap_or(0),
            preemptions: sequence.preemptions,
        });
    }
}
