//! Both state machines of a shard, and the agent that does what they want done.

mod ended;
mod lend;
mod load;
mod recover;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use llmd_core::{GroupIdx, Result};

use self::ended::Ended;
use self::load::{Load, Running};
use self::recover::Left;
use super::{Done, WorkerSettings, WorkerStats};
use crate::agent::{Agent, Event, Kept, OpId};
use crate::engine::message::{Command, Notice};
use crate::lease::LeaseId;
use crate::pool::Pool;
use crate::session::decode::{Decode, FetchId};
use crate::session::prefill::Prefill;
use crate::session::{LeaseKey, Part, RequestId};

/// Both state machines of a shard, and what the agent does for them.
#[derive(Debug)]
pub(super) struct Core {
    agent: Agent,
    pools: BTreeMap<GroupIdx, Pool>,
    settings: WorkerSettings,
    boot: u64,
    prefill: Prefill,
    decode: Decode,
    /// What the scheduler asked and was not answered.
    asked: BTreeMap<RequestId, u64>,
    /// Why the agent granted nothing to one of those.
    why: Option<String>,
    /// What the scheduler told to others, and `sent` follows.
    lent: BTreeMap<RequestId, u64>,
    leases: HashMap<u64, LeaseId>,
    /// What blocks were allocated for, and `received` follows.
    loads: BTreeMap<RequestId, Load>,
    ops: HashMap<OpId, Running>,
    fetches: BTreeMap<FetchId, OpId>,
    kept: BTreeMap<(RequestId, Part), Kept>,
    /// Loads that ended lately, by their numbers: their end may have been lost on its way.
    ended: Ended,
    /// What a thread that panicked left behind.
    left: Left,
    /// What became of requests, until the scheduler was told.
    pub(super) done: Done,
    /// What the scheduler is to be told.
    pub(super) notices: Vec<Notice>,
    pub(super) stats: WorkerStats,
}

impl Core {
    pub(super) fn new(agent: Agent, groups: Vec<(GroupIdx, Pool)>, settings: &WorkerSettings) -> Result<Self> {
        let bytes = agent.id().to_bytes();
        let boot = u64::from_le_bytes(std::array::from_fn(|place| bytes[place]));
        let (prefill, decode) = machines(&agent, boot, settings)?;
        Ok(Self {
            agent,
            pools: groups.into_iter().collect(),
            settings: settings.clone(),
            boot,
            prefill,
            decode,
            asked: BTreeMap::new(),
            why: None,
            lent: BTreeMap::new(),
            leases: HashMap::new(),
            loads: BTreeMap::new(),
            ops: HashMap::new(),
            fetches: BTreeMap::new(),
            kept: BTreeMap::new(),
            ended: Ended::default(),
            left: Left::default(),
            done: Done::default(),
            notices: Vec::new(),
            stats: WorkerStats::default(),
        })
    }

    pub(super) fn agent(&self) -> &Agent {
        &self.agent
    }

    pub(super) const fn max_untold(&self) -> usize {
        self.settings.max_untold
    }

    pub(super) fn pools(&self) -> &BTreeMap<GroupIdx, Pool> {
        &self.pools
    }

    /// When [`step`](Self::step) has something to do, even if nothing happens.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.prefill.next_deadline().into_iter().chain(self.decode.next_deadline()).min()
    }

    /// What the scheduler said. When nobody takes what has ended, `is_full` says so.
    pub(super) fn obey(&mut self, command: Command, is_full: bool) {
        let now = self.agent.now();
        match command {
            Command::Abort { id } => {
                // What was lent is answered: the answer left, or will not be missed.
                let _reuse = (self.prefill.abort(now, &id), self.decode.abort(now, &id));
            }
            Command::Allocated { number, id, local_tokens, external_tokens, groups } => {
                self.allocated(now, number, id, local_tokens, external_tokens, groups);
            }
            Command::Arrive { id, prompt_tokens, text } => {
                if is_full {
                    self.stats.refused_untold += 1;
                } else {
                    // It counts why it does not take one, and the blocks that are allocated then are told to be computed.
                    let _taken = self.decode.arrive(now, &id, prompt_tokens, &text);
                }
            }
            Command::Computed { number, id, tokens, groups } => self.computed(now, number, id, tokens, groups, is_full),
            Command::GiveUp { id } => {
                self.asked.remove(&id);
                self.lent.remove(&id);
                let _reuse = self.prefill.abort(now, &id);
            }
            Command::Holds { number } => {
                let is_held = self.lent.values().chain(self.left.lent.values()).any(|held| *held == number);
                if !is_held && !self.loads.values().any(|load| load.number == number) {
                    self.notices.push(Notice::Ended { number, is_waiting: false });
                }
            }
            Command::Preempted { id } => {
                let _reuse = self.decode.preempted(now, &id);
            }
            Command::Release { grants } => grants.iter().for_each(|grant| self.finish(grant)),
        }
        self.step();
    }

    /// The scheduler's connection ended: what nobody was told of is given up. What is lent, and what is fetched, ends by itself.
    pub(super) fn forsake(&mut self) {
        let now = self.agent.now();
        for id in std::mem::take(&mut self.asked).into_keys() {
            self.stats.given_up += 1;
            let _reuse = self.prefill.abort(now, &id);
        }
        let waiting: Vec<_> = self.decode.waiting().cloned().collect();
        for id in waiting {
            self.stats.given_up += 1;
            let _reuse = self.decode.abort(now, &id);
        }
        self.step();
        self.notices.clear();
    }

    /// Another scheduler commands: its numbers are others.
    pub(super) fn forget_numbers(&mut self) {
        self.ended = Ended::default();
    }

    /// What the agent says, and what time it is; and whatever has to be done then.
    pub(super) fn step(&mut self) {
        let mut events = Vec::new();
        let mut actions = (Vec::new(), Vec::new());
        loop {
            let now = self.agent.now();
            // In a forked child nothing of this runs.
            let _polled = self.agent.poll(&mut events);
            let is_any = !events.is_empty();
            events.drain(..).for_each(|event| self.hear(now, event));
            self.prefill.poll(now, &mut actions.0);
            self.decode.poll(now, &mut actions.1);
            if !is_any && actions.0.is_empty() && actions.1.is_empty() {
                break;
            }
            actions.0.drain(..).for_each(|action| self.lend(now, action));
            actions.1.drain(..).for_each(|action| self.load(now, action));
        }
    }

    fn hear(&mut self, now: Duration, event: Event) {
        match event {
            Event::Fetched(fetched) => self.fetched(now, fetched),
            Event::LeaseEnded(ended) => {
                let number = ended.lease.generation;
                if self.left.leases.remove(&number) {
                    return self.settle_lent();
                }
                if self.leases.remove(&number).is_some() {
                    self.prefill.ended(now, LeaseKey { boot: self.boot, number }, ended.end);
                }
            }
            Event::Notified(_) => {}
        }
    }

    /// What counts for its owner.
    pub(super) fn counted(&self) -> WorkerStats {
        WorkerStats {
            prefill: self.prefill.counts().clone(),
            decode: self.decode.counts().clone(),
            lending: self.prefill.len(),
            loading: self.loads.len(),
            ..self.stats.clone()
        }
    }
}

fn machines(agent: &Agent, boot: u64, settings: &WorkerSettings) -> Result<(Prefill, Decode)> {
    let (mut prefill, decode) = (Prefill::new(settings.prefill.clone())?, Decode::new(settings.decode.clone())?);
    prefill.restarted(agent.now(), 0, boot);
    Ok((prefill, decode))
}

#[cfg(test)]
mod tests;
