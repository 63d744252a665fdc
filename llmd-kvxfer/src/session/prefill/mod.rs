//! The side of the engine that prefills.
//!
//! A request is in one of these states, and each way out is told by a method or by the time:
//!
//! | state | what happens | what is done | then |
//! |---|---|---|---|
//! | – | [`computed`](Prefill::computed) | [`Grant`](Action::Grant) for each part | asking |
//! | – | as many are held as may be | refused: the engine frees at once | – |
//! | asking | every part [`granted`](Prefill::granted) | [`Answer`](Action::Answer) with params | lent |
//! | asking | a part [`refused`](Prefill::refused), a lease that [`ended`](Prefill::ended) already, one of another boot, held for too long, params too long | [`Answer`](Action::Answer) without, [`Release`](Action::Release) of the others | ending |
//! | lent | a lease [`ended`](Prefill::ended), others have not | | lent |
//! | lent | held for too long | [`Release`](Action::Release) | ending |
//! | asking, lent | [`abort`](Prefill::abort) | [`Release`](Action::Release) | ending |
//! | ending | a part granted only now | [`Release`](Action::Release) | ending |
//! | ending | nothing is heard for a while | [`Release`](Action::Release) once more | ending |
//! | any | the last lease ended, nothing is asked | [`Free`](Action::Free) | – |
//! | any | the agent of a shard [`restarted`](Prefill::restarted) | its leases have ended; [`Release`](Action::Release) of the others | ending |

mod action;
mod counts;
mod held;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};

pub use self::action::{Action, GrantId};
pub use self::counts::Counts;
use self::held::Held;
pub use self::settings::Settings;
use super::params::{check_parts, invalid};
use super::timers::Timers;
use super::{GrantBytes, LeaseKey, Params, Part, RequestId, Reuse};
use crate::Blocks;
use crate::lease::LeaseEnd;

/// What a request offers of one part: blocks, and where they begin.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a part's blocks begin at a token")]
pub struct Lent {
    /// Which part.
    pub part: Part,
    /// The token at which the first block begins: 0, or later where a group forgets.
    pub from_token: u32,
    /// The blocks, in the order of the tokens; the last may be partly filled.
    pub blocks: Vec<u32>,
}

/// The requests that were computed here and are to be fetched by others.
///
/// [The states](self) of a request stand in the module's page. Methods that are told of what is not held do nothing and count it.
#[derive(Debug)]
pub struct Prefill {
    settings: Settings,
    held: BTreeMap<RequestId, Held>,
    /// What agents were asked and have not answered.
    asked: BTreeMap<GrantId, (RequestId, Part)>,
    next_grant: u64,
    leases: BTreeMap<LeaseKey, RequestId>,
    /// By shard, as far as known; as many as requests have shards.
    boots: BTreeMap<u32, u64>,
    timers: Timers,
    actions: Vec<Action>,
    counts: Counts,
}

impl Prefill {
    /// Nothing is held.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for a setting that is 0, or a lease beyond [`Params::MAX_TTL`].
    pub fn new(settings: Settings) -> Result<Self> {
        settings.check()?;
        Ok(Self {
            settings,
            held: BTreeMap::new(),
            asked: BTreeMap::new(),
            next_grant: 0,
            leases: BTreeMap::new(),
            boots: BTreeMap::new(),
            timers: Timers::default(),
            actions: Vec::new(),
            counts: Counts::default(),
        })
    }

    /// A request was computed: these blocks hold its first `tokens` tokens, and each lease is finished by so many consumers. The engine
    /// keeps the blocks until [`Free`](Action::Free).
    ///
    /// # Errors
    ///
    /// Nothing is held then, and the engine does with the blocks what it likes: [`ErrorKind::Exhausted`] when as many requests are
    /// held as may be, or actions wait to be polled; [`ErrorKind::Invalid`] when the request is held already, has no tokens or no
    /// consumers, when its parts are not [in order](Params::new), and when one has no blocks, more than [`Blocks::MAX`], or begins
    /// behind the last token.
    pub fn computed(
        &mut self,
        now: Duration,
        id: &RequestId,
        tokens: u32,
        consumers: u32,
        parts: Vec<Lent>,
    ) -> Result<()> {
        self.check(id, tokens, consumers, &parts).inspect_err(|error| match error.kind() {
            ErrorKind::Exhausted => self.counts.refused += 1,
            _ => self.counts.invalid += 1,
        })?;
        self.counts.computed += 1;
        let held = Held::new(now, tokens, parts.iter().map(|lent| (lent.part, lent.from_token)), &self.settings);
        self.timers.set(id, Some(held.due()));
        self.held.insert(id.clone(), held);
        let ttl = self.settings.ttl;
        for Lent { part, blocks, .. } in parts {
            let grant = GrantId(self.next_grant);
            self.next_grant += 1;
            self.asked.insert(grant, (id.clone(), part));
            let (request, blocks) = (id.clone(), blocks.into());
            self.actions.push(Action::Grant { grant, request, part, blocks, ttl, consumers });
        }
        Ok(())
    }

    fn check(&self, id: &RequestId, tokens: u32, consumers: u32, parts: &[Lent]) -> Result<()> {
        if self.held.contains_key(id) || self.is_freed(id) {
            return Err(invalid(format!("{id} is held already: expected one that is not")));
        }
        if tokens == 0 {
            return Err(invalid(format!("{id} has 0 tokens: expected 1 or more")));
        }
        if consumers == 0 {
            return Err(invalid(format!("{id} has 0 consumers: expected 1 or more")));
        }
        if parts.is_empty() || parts.len() > Params::MAX_PARTS {
            return Err(invalid(format!("{id} has {} parts: expected 1 to {}", parts.len(), Params::MAX_PARTS)));
        }
        check_parts(parts.iter().map(|lent| lent.part))?;
        for Lent { part, from_token, blocks } in parts {
            if blocks.is_empty() || blocks.len() > Blocks::MAX {
                let expected = format!("expected 1 to {}", Blocks::MAX);
                return Err(invalid(format!("{part} has {} blocks: {expected}", blocks.len())));
            }
            if *from_token >= tokens {
                return Err(invalid(format!("{part} begins at token {from_token}: expected less than {tokens}")));
            }
        }
        if self.held.len() >= self.settings.max_held {
            return Err(Error::new(ErrorKind::Exhausted, format!("all {} requests are held", self.settings.max_held)));
        }
        if self.actions.len() >= self.settings.max_actions {
            let waiting = self.actions.len();
            return Err(Error::new(ErrorKind::Exhausted, format!("{waiting} actions wait to be polled")));
        }
        Ok(())
    }

    /// Whether that is to be polled yet.
    fn is_freed(&self, id: &RequestId) -> bool {
        self.actions.iter().any(|action| matches!(action, Action::Free { request } if request == id))
    }

    /// The agent granted what was asked. When it was another run of it than [`restarted`](Self::restarted) said, nothing comes of it.
    pub fn granted(&mut self, now: Duration, grant: GrantId, lease: LeaseKey, bytes: GrantBytes) {
        let Some((id, part)) = self.asked.remove(&grant) else { return self.counts.late += 1 };
        let Some(held) = self.held.get_mut(&id) else { return };
        held.granted(part, lease, bytes);
        self.leases.insert(lease, id.clone());
        if held.is_ending() {
            self.actions.push(Action::Release { part, lease });
        } else if self.boots.get(&part.shard).is_some_and(|boot| *boot != lease.boot) {
            held.answer_nothing(now, &id, &self.settings, &mut self.actions, &mut self.counts);
        }
        self.settle(now, &id);
    }

    /// The agent does not grant what was asked, and never will.
    pub fn refused(&mut self, now: Duration, grant: GrantId) {
        let Some((id, part)) = self.asked.remove(&grant) else { return self.counts.late += 1 };
        if let Some(held) = self.held.get_mut(&id) {
            held.refused(part);
        }
        self.settle(now, &id);
    }

    /// A lease has ended: nobody reads by it any more.
    pub fn ended(&mut self, now: Duration, lease: LeaseKey, end: LeaseEnd) {
        let Some(id) = self.leases.remove(&lease) else { return self.counts.late += 1 };
        match end {
            LeaseEnd::Finished => self.counts.finished += 1,
            LeaseEnd::Lapsed => self.counts.lapsed += 1,
            LeaseEnd::Released => self.counts.released += 1,
        }
        if let Some(held) = self.held.get_mut(&id) {
            held.ended(lease);
        }
        self.settle(now, &id);
    }

    /// The engine does not want the request to be fetched any more. [`Free`](Action::Free) follows when the answer is
    /// [`Later`](Reuse::Later).
    pub fn abort(&mut self, now: Duration, id: &RequestId) -> Reuse {
        let Some(held) = self.held.get_mut(id) else {
            return if self.is_freed(id) { Reuse::Later } else { Reuse::Now };
        };
        if !held.is_ending() {
            self.counts.aborted += 1;
            held.give_up(now, &self.settings, &mut self.actions);
            self.timers.set(id, Some(held.due()));
        }
        Reuse::Later
    }

    /// The agent of this shard is running under this boot number: told when it starts, and whenever it restarted, in that order. What
    /// it granted under another has ended: nobody reads by leases of another boot.
    pub fn restarted(&mut self, now: Duration, shard: u32, boot: u64) {
        if shard as usize >= Params::MAX_PARTS || self.boots.insert(shard, boot) == Some(boot) {
            return;
        }
        let mut dropped = Vec::new();
        let touched = self.held.iter_mut().filter_map(|(id, held)| {
            let before = dropped.len();
            held.restarted(shard, boot, &mut dropped);
            (before < dropped.len()).then(|| id.clone())
        });
        for id in touched.collect::<Vec<_>>() {
            self.counts.restarted += 1;
            if let Some(held) = self.held.get_mut(&id) {
                held.answer(now, &id, &self.settings, &mut self.actions, &mut self.counts);
                if !held.is_ending() {
                    held.give_up(now, &self.settings, &mut self.actions);
                }
            }
            self.settle(now, &id);
        }
        for lease in dropped {
            self.leases.remove(&lease);
        }
    }

    /// Answers or frees, when it is time for it.
    fn settle(&mut self, now: Duration, id: &RequestId) {
        let Some(held) = self.held.get_mut(id) else { return };
        held.answer(now, id, &self.settings, &mut self.actions, &mut self.counts);
        let due = held.due();
        if !held.is_over() {
            return self.timers.set(id, Some(due));
        }
        self.held.remove(id);
        self.timers.set(id, None);
        self.counts.freed += 1;
        self.actions.push(Action::Free { request: id.clone() });
    }

    /// Everything that is to be done, at the end of `out`.
    pub fn poll(&mut self, now: Duration, out: &mut Vec<Action>) {
        for id in self.timers.due(now) {
            if let Some(held) = self.held.get_mut(&id) {
                held.step(now, &id, &self.settings, &mut self.actions, &mut self.counts);
                self.timers.set(&id, Some(held.due()));
            }
        }
        out.append(&mut self.actions);
    }

    /// When [`poll`](Self::poll) has something to do, even if nothing happens.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.timers.next()
    }

    /// How often each thing happened.
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How many requests are held.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether no request is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}
