//! Engines, their agents, a router and a network, on one clock that jumps from event to event.

use std::collections::BTreeMap;
use std::time::Duration;

use llmd_kvxfer::LeaseEnd;
use llmd_kvxfer::Outcome;
use llmd_kvxfer::session::decode::{self, FetchId, Loading};
use llmd_kvxfer::session::prefill::{self, GrantId};
use llmd_kvxfer::session::{GrantBytes, LeaseKey, RequestId};

use crate::engine::{DecodeEngine, PrefillEngine};
use crate::faults::{Faults, Shape};
use crate::lender::{Key, Lender};
use crate::pool::Pool;
use crate::rng::Rng;

/// In milliseconds.
pub(crate) type Time = u64;

pub(crate) const ASK_AGAIN: Time = 20;

/// For how long what was given up may go on being read, and what was cancelled go on writing.
pub(crate) const QUIESCENCE: Time = 8;

/// More events than any world has that comes to rest.
const MAX_EVENTS: usize = 400_000;

#[derive(Clone, Debug)]
pub(crate) enum Event {
    // The router and the engines.
    Compute { prefill: usize, request: usize },
    ToDecode { decode: usize, request: usize, text: String },
    Try { decode: usize, request: usize },
    Allocate { decode: usize, request: usize, local: u32, external: u32 },
    Finish { decode: usize, request: usize },
    AbortPrefill { prefill: usize, request: usize },
    AbortDecode { decode: usize, request: usize },
    Preempt { decode: usize, request: usize },
    PollPrefill { prefill: usize },
    PollDecode { decode: usize },
    // From an agent to its engine.
    Granted { prefill: usize, grant: GrantId, lease: LeaseKey, bytes: GrantBytes },
    Refused { prefill: usize, grant: GrantId },
    Ended { prefill: usize, lease: LeaseKey, end: LeaseEnd },
    Restarted { prefill: usize, shard: u32, boot: u64 },
    Fetched { decode: usize, fetch: FetchId },
    // Between agents, and inside them.
    Keep { key: Key },
    Finished { key: Key, consumer: u64 },
    Lapse { key: Key },
    Release { key: Key },
    Read { decode: usize, boot: u64, fetch: FetchId, index: usize },
    OpEnd { decode: usize, boot: u64, fetch: FetchId, outcome: Outcome },
    RestartLender { prefill: usize, shard: u32 },
    RestartFetcher { decode: usize },
}

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) rng: Rng,
    pub(crate) faults: Faults,
    pub(crate) shape: Shape,
    pub(crate) prefills: Vec<PrefillEngine>,
    pub(crate) decodes: Vec<DecodeEngine>,
    /// Of each request, how many tokens its prompt has.
    pub(crate) prompts: Vec<u32>,
    pub(crate) next_boot: u64,
    queue: BTreeMap<(Time, usize), Event>,
    events: usize,
}

pub(crate) fn at(time: Time) -> Duration {
    Duration::from_millis(time)
}

pub(crate) fn name(request: usize) -> RequestId {
    RequestId::new(&format!("cmpl-{request}")).expect("a name is short")
}

pub(crate) fn number(id: &RequestId) -> usize {
    id.as_str()["cmpl-".len()..].parse().expect("we gave the name")
}

impl World {
    /// Much goes wrong, and whatever has a bound reaches it.
    pub(crate) fn foul(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let faults = Faults::draw(&mut rng);
        Self::new(rng, faults, |rng, shape| (tight_prefill(rng, shape), tight_decode(rng, shape)))
    }

    /// Nothing goes wrong, and no bound is reached.
    pub(crate) fn calm(seed: u64) -> Self {
        Self::new(Rng::new(seed), Faults::default(), |_, shape| {
            let (mut prefill, mut decode) = (prefill::Settings::default(), decode::Settings::default());
            // A router needs up to 100 ms, in which nobody keeps a lease.
            prefill.ttl = at(shape.ttl + 100);
            decode.block_tokens = shape.block_tokens;
            (prefill, decode)
        })
    }

    fn new(
        mut rng: Rng,
        faults: Faults,
        settings: impl Fn(&mut Rng, &Shape) -> (prefill::Settings, decode::Settings),
    ) -> Self {
        let shape = Shape::draw(&mut rng);
        let prompts: Vec<u32> = (0..shape.requests).map(|_| rng.between(1, 40) as u32).collect();
        let mut world = Self {
            now: 1000,
            prefills: (0..shape.prefills)
                .map(|_| prefill_engine(settings(&mut rng, &shape).0, &mut rng, &shape))
                .collect(),
            decodes: (0..shape.decodes).map(|_| decode_engine(settings(&mut rng, &shape).1, &shape)).collect(),
            rng,
            faults,
            shape,
            prompts,
            next_boot: 1000,
            queue: BTreeMap::new(),
            events: 0,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for prefill in 0..self.prefills.len() {
            for shard in 0..self.shape.shards {
                let engine = &mut self.prefills[prefill];
                engine.machine.restarted(at(self.now), shard, engine.lenders[shard as usize].boot);
                for _ in 0..self.rng.below(self.faults.restarts + 1) / 4 {
                    let after = self.rng.below(3000);
                    self.after(after, Event::RestartLender { prefill, shard });
                }
            }
        }
        for decode in 0..self.decodes.len() {
            for _ in 0..self.rng.below(self.faults.restarts + 1) / 4 {
                let after = self.rng.below(3000);
                self.after(after, Event::RestartFetcher { decode });
            }
        }
        for request in 0..self.prompts.len() {
            let prefill = self.rng.below(self.prefills.len() as u64) as usize;
            for _ in 0..1 + u64::from(self.rng.chance(self.faults.told_twice)) {
                let after = self.rng.below(1500);
                self.after(after, Event::Compute { prefill, request });
            }
        }
    }

    /// Until nothing is left to happen.
    pub(crate) fn run(&mut self) {
        while let Some(((time, _), event)) = self.queue.pop_first() {
            assert!(time >= self.now, "time goes on");
            assert!(self.queue.len() < MAX_EVENTS && self.events < MAX_EVENTS, "the world does not come to rest");
            self.now = time;
            self.handle(event);
            assert!(self.prefills.iter().all(|engine| engine.machine.len() <= engine.max_held), "a bound was passed");
            assert!(
                self.decodes.iter().all(|engine| engine.machine.len() <= engine.max_requests),
                "a bound was passed"
            );
        }
        self.check_rest();
    }

    pub(crate) fn after(&mut self, delay: Time, event: Event) {
        self.queue.insert((self.now + delay, self.events), event);
        self.events += 1;
    }

    /// A message between agents: lost, late, twice.
    pub(crate) fn send(&mut self, event: &Event) {
        let Faults { net_lost, net_twice, net_delay, .. } = self.faults;
        self.deliver(event, net_lost, net_twice, net_delay);
    }

    /// A notice of an agent to its engine that may be lost, since it can be asked for.
    pub(crate) fn notice(&mut self, event: &Event) {
        let Faults { notice_lost, notice_twice, notice_delay, .. } = self.faults;
        self.deliver(event, notice_lost, notice_twice, notice_delay);
    }

    /// A notice that cannot be asked for.
    pub(crate) fn sure_notice(&mut self, event: &Event) {
        let Faults { notice_twice, notice_delay, .. } = self.faults;
        self.deliver(event, 0, notice_twice, notice_delay);
    }

    fn deliver(&mut self, event: &Event, lost: u64, twice: u64, delay: u64) {
        for _ in 0..1 + u64::from(self.rng.chance(twice)) {
            if !self.rng.chance(lost) {
                let delay = self.rng.below(delay + 1);
                self.after(delay, event.clone());
            }
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Compute { prefill, request } => self.compute(prefill, request),
            Event::ToDecode { decode, request, text } => self.arrive(decode, request, &text),
            Event::Try { decode, request } => self.try_to_load(decode, request),
            Event::Allocate { decode, request, local, external } => self.allocate(decode, request, local, external),
            Event::Finish { decode, request } => self.finish(decode, request),
            Event::AbortPrefill { prefill, request } => self.abort_prefill(prefill, request),
            Event::AbortDecode { decode, request } => self.abort_decode(decode, request),
            Event::Preempt { decode, request } => self.preempt(decode, request),
            Event::PollPrefill { prefill } => self.poll_prefill(prefill),
            Event::PollDecode { decode } => self.poll_decode(decode),
            Event::Granted { prefill, grant, lease, bytes } => {
                self.prefills[prefill].machine.granted(at(self.now), grant, lease, bytes);
                self.wake_prefill(prefill);
            }
            Event::Refused { prefill, grant } => {
                self.prefills[prefill].machine.refused(at(self.now), grant);
                self.wake_prefill(prefill);
            }
            Event::Ended { prefill, lease, end } => {
                self.prefills[prefill].machine.ended(at(self.now), lease, end);
                self.wake_prefill(prefill);
            }
            Event::Restarted { prefill, shard, boot } => {
                self.prefills[prefill].machine.restarted(at(self.now), shard, boot);
                self.wake_prefill(prefill);
            }
            Event::Fetched { decode, fetch } => self.fetched(decode, fetch),
            Event::Keep { key } => {
                let now = self.now;
                self.lender(key).keep(now, key.lease);
            }
            Event::Finished { key, consumer } => self.lease_finished(key, consumer),
            Event::Lapse { key } => self.lapse(key),
            Event::Release { key } => self.release(key),
            Event::Read { decode, boot, fetch, index } => self.read(decode, boot, fetch, index),
            Event::OpEnd { decode, boot, fetch, outcome } => self.op_end(decode, boot, fetch, outcome),
            Event::RestartLender { prefill, shard } => self.restart_lender(prefill, shard),
            Event::RestartFetcher { decode } => self.restart_fetcher(decode),
        }
    }

    pub(crate) fn lender(&mut self, key: Key) -> &mut Lender {
        &mut self.prefills[key.prefill].lenders[key.shard as usize]
    }

    /// Lets an engine poll soon, or when its machine wants it, or somewhat later than that.
    pub(crate) fn wake_prefill(&mut self, prefill: usize) {
        let oversleeps = self.faults.oversleeps;
        let soon = self.now + self.rng.below(oversleeps / 4 + 1);
        self.poll_prefill_at(prefill, soon);
    }

    pub(crate) fn poll_prefill_at(&mut self, prefill: usize, time: Time) {
        let engine = &mut self.prefills[prefill];
        if engine.polls_at.is_none_or(|polls_at| time < polls_at) {
            engine.polls_at = Some(time);
            self.after(time - self.now, Event::PollPrefill { prefill });
        }
    }

    pub(crate) fn wake_decode(&mut self, decode: usize) {
        let oversleeps = self.faults.oversleeps;
        let soon = self.now + self.rng.below(oversleeps / 4 + 1);
        self.poll_decode_at(decode, soon);
    }

    pub(crate) fn poll_decode_at(&mut self, decode: usize, time: Time) {
        let engine = &mut self.decodes[decode];
        if engine.polls_at.is_none_or(|polls_at| time < polls_at) {
            engine.polls_at = Some(time);
            self.after(time - self.now, Event::PollDecode { decode });
        }
    }

    /// When an engine polls whose machine wants it then.
    pub(crate) fn overslept(&mut self, deadline: Duration) -> Time {
        assert!(deadline > at(self.now), "a machine that was polled wants it again later: {deadline:?}");
        let oversleeps = self.faults.oversleeps;
        deadline.as_micros().div_ceil(1000) as Time + self.rng.below(oversleeps + 1)
    }

    /// Everything has ended, and nobody holds anything.
    fn check_rest(&self) {
        for (at, engine) in self.prefills.iter().enumerate() {
            assert!(engine.machine.is_empty(), "prefill {at} holds a request: {:?}", engine.machine);
            assert_eq!(engine.machine.next_deadline(), None);
            assert!(engine.held.is_empty() && engine.pool.is_whole(), "prefill {at} keeps blocks: {:?}", engine.held);
            assert!(engine.lenders.iter().all(Lender::is_idle), "prefill {at} has leases: {:?}", engine.lenders);
        }
        for (at, engine) in self.decodes.iter().enumerate() {
            assert!(engine.machine.is_empty(), "decode {at} holds a request: {:?}", engine.machine);
            assert_eq!(engine.machine.next_deadline(), None);
            assert!(engine.ops.is_empty(), "decode {at} fetches: {:?}", engine.ops);
            let open = engine.jobs.iter().find(|(_, job)| job.state != crate::engine::JobState::Ended);
            assert!(open.is_none(), "decode {at} has a request that never ended: {open:?}");
            assert!(engine.pool.is_whole(), "decode {at} keeps blocks");
        }
    }
}

fn tight_prefill(rng: &mut Rng, shape: &Shape) -> prefill::Settings {
    let mut settings = prefill::Settings::default();
    settings.ttl = at(shape.ttl);
    settings.hold_at_most = at(rng.between(shape.ttl, shape.ttl * 6));
    settings.ask_again = at(ASK_AGAIN);
    settings.max_held = rng.between(2, 10) as usize;
    settings.max_actions = rng.between(3, 40) as usize;
    settings
}

fn tight_decode(rng: &mut Rng, shape: &Shape) -> decode::Settings {
    let mut settings = decode::Settings::default();
    settings.block_tokens = shape.block_tokens;
    settings.loading = if rng.chance(300) { Loading::InStep } else { Loading::InBackground };
    settings.min_tokens = rng.between(0, 4) as u32;
    settings.wait_at_most = at(rng.between(50, 1500));
    settings.fetch_within = at(rng.between(20, 500));
    settings.retries = rng.below(3) as u32;
    settings.retry_after = at(rng.between(1, 50));
    settings.ask_again = at(ASK_AGAIN);
    settings.max_requests = rng.between(1, 12) as usize;
    settings.max_actions = rng.between(3, 40) as usize;
    settings
}

fn prefill_engine(settings: prefill::Settings, rng: &mut Rng, shape: &Shape) -> PrefillEngine {
    PrefillEngine {
        max_held: settings.max_held,
        machine: prefill::Prefill::new(settings).expect("settings are valid"),
        polls_at: None,
        pool: Pool::new(shape.groups, 60),
        memory: BTreeMap::new(),
        lenders: (0..shape.shards).map(|_| Lender::new(rng.next())).collect(),
        told_at: vec![0; shape.shards as usize],
        held: BTreeMap::new(),
        answered: BTreeMap::new(),
    }
}

fn decode_engine(settings: decode::Settings, shape: &Shape) -> DecodeEngine {
    DecodeEngine {
        fetch_within: settings.fetch_within,
        in_step: settings.loading == Loading::InStep,
        max_requests: settings.max_requests,
        machine: decode::Decode::new(settings).expect("settings are valid"),
        polls_at: None,
        pool: Pool::new(shape.groups, 30),
        memory: BTreeMap::new(),
        jobs: BTreeMap::new(),
        boot: 0,
        ops: BTreeMap::new(),
        ended: BTreeMap::new(),
    }
}
