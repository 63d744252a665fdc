//! The side of the engine that decodes.
//!
//! A request is in one of these states, and each way out is told by a method or by the time:
//!
//! | state | what happens | what is done | then |
//! |---|---|---|---|
//! | – | [`arrive`](Decode::arrive) | | waiting |
//! | – | params that cannot be read, too many requests | an error; it is computed here | – |
//! | waiting | it arrived, and each time that a third of a lease is over | [`Keep`](Action::Keep) for each part | waiting |
//! | waiting | it waits for too long, or [`abort`](Decode::abort), or the engine wants nothing from outside | [`Release`](Action::Release) for each part | – |
//! | waiting | [`allocated`](Decode::allocated) | [`Fetch`](Action::Fetch) for each part that the blocks want, [`Release`](Action::Release) of the others | fetching |
//! | fetching | a third of a lease is over | [`Keep`](Action::Keep) for each part that is not here | fetching |
//! | fetching | a peer is lost, tries are left, lease and deadline allow it | after a pause, [`Fetch`](Action::Fetch) from the first block that failed | fetching |
//! | fetching | the last fetch ended, every block is here | [`Loaded`](Action::Loaded) | – |
//! | fetching | the last fetch ended, blocks are missing | [`Recompute`](Action::Recompute) with each of them; [`Release`](Action::Release) of what is left | – |
//! | fetching | the deadline; or the first block failed, and the others are of no use | [`Cancel`](Action::Cancel) | cancelling |
//! | fetching | [`abort`](Decode::abort), [`preempted`](Decode::preempted) | [`Cancel`](Action::Cancel) | cancelling |
//! | cancelling | nothing is heard for a while | [`Cancel`](Action::Cancel) once more | cancelling |
//! | cancelling | the last fetch ended | as when fetching; when the engine wanted it, [`Free`](Action::Free) | –, or waiting when it was preempted and every lease is left |
//! | – | blocks [`allocated`](Decode::allocated) for what is not offered any more | [`Recompute`](Action::Recompute) with all of them | – |
//!
//! So whoever was told that tokens come from outside hears [`Loaded`](Action::Loaded), [`Recompute`](Action::Recompute) or
//! [`Free`](Action::Free), once, and not before the agent has stopped writing. The deadline is this side's own: it needs neither the
//! producer nor its leases.

mod action;
mod allocation;
mod counts;
mod load;
mod offer;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};

pub use self::action::{Action, FailedBlock, FetchId};
pub use self::allocation::Allocation;
pub use self::counts::Counts;
use self::load::{Left, Load, Out, Why};
use self::offer::Offer;
pub use self::settings::{Loading, Settings};
use super::params::invalid;
use super::timers::Timers;
use super::{Params, RequestId, Reuse};
use crate::{Blocks, Outcome};

/// The requests that others computed and that are to be decoded here.
///
/// [The states](self) of a request stand in the module's page. Methods that are told of what is not held do nothing and count it.
#[derive(Debug)]
pub struct Decode {
    settings: Settings,
    handovers: BTreeMap<RequestId, Handover>,
    timers: Timers,
    out: Out,
}

/// One request, from when it arrives until it is loaded or computed here.
#[derive(Debug)]
struct Handover {
    offer: Offer,
    /// `None` while it waits.
    load: Option<Load>,
}

impl Decode {
    /// Nothing is held.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for a setting that is 0 where that makes no sense.
    pub fn new(settings: Settings) -> Result<Self> {
        settings.check()?;
        Ok(Self { settings, handovers: BTreeMap::new(), timers: Timers::default(), out: Out::default() })
    }

    /// A request arrived whose prompt has so many tokens, with this text as [`GRANT`](llmd_core::protocol::GRANT).
    ///
    /// # Errors
    ///
    /// It is computed here then: [`ErrorKind::Invalid`] when the [text](Params::from_text) cannot be read, the prompt has no tokens,
    /// or the request is held already (and stays); [`ErrorKind::Exhausted`] when as many requests are held as may be, or actions
    /// wait to be polled.
    pub fn arrive(&mut self, now: Duration, id: &RequestId, prompt_tokens: u32, text: &str) -> Result<()> {
        let counts = &mut self.out.counts;
        if self.handovers.contains_key(id) {
            counts.duplicate += 1;
            return Err(invalid(format!("{id} is held already: expected one that is not")));
        }
        let max = self.settings.max_requests;
        if self.handovers.len() >= max {
            counts.refused += 1;
            return Err(Error::new(ErrorKind::Exhausted, format!("all {max} requests are held")));
        }
        let waiting = self.out.actions.len();
        if waiting >= self.settings.max_actions {
            counts.refused += 1;
            return Err(Error::new(ErrorKind::Exhausted, format!("{waiting} actions wait to be polled")));
        }
        if prompt_tokens == 0 {
            counts.malformed += 1;
            return Err(invalid(format!("{id} has a prompt of 0 tokens: expected 1 or more")));
        }
        let params = Params::from_text(text).inspect_err(|_| counts.malformed += 1)?;
        counts.arrived += 1;
        let offer = Offer::new(now, prompt_tokens, params, &self.settings);
        self.keep(id, Handover { offer, load: None });
        Ok(())
    }

    /// How many tokens can come from outside, behind `local_tokens` that are here: the rest of the prompt, a last block that is not
    /// full included, [as far as the engine takes it](Loading); full blocks, when the prefiller holds less than the prompt. 0 when
    /// there are too few to be worth it, or nothing is offered. Changes nothing.
    pub fn matched(&self, id: &RequestId, local_tokens: u32) -> u32 {
        let waiting = self.handovers.get(id).filter(|handover| handover.load.is_none());
        self.settings.matched(waiting.map_or(0, |waiting| waiting.offer.end(&self.settings)), local_tokens)
    }

    /// The engine allocated blocks for so many tokens from outside, behind those that are here. 0 when it wants nothing, and the
    /// producer may have its blocks back. Blocks for what is not offered any more are told to be recomputed.
    ///
    /// # Errors
    ///
    /// Nothing changes then: [`ErrorKind::Invalid`] when the request is being fetched, when these are more tokens than can come, and
    /// when the groups are not the blocks of these tokens.
    pub fn allocated(
        &mut self,
        now: Duration,
        id: &RequestId,
        local_tokens: u32,
        external_tokens: u32,
        groups: Vec<Allocation>,
    ) -> Result<()> {
        let Some(handover) = self.handovers.get_mut(id) else {
            if external_tokens > 0 {
                self.gone(id, local_tokens, &groups);
            }
            return Ok(());
        };
        if handover.load.is_some() {
            // An engine tells of the blocks once more when they are here, with nothing from outside.
            let is_said_again = external_tokens == 0;
            return if is_said_again {
                Ok(())
            } else {
                Err(invalid(format!("{id} is being fetched: expected it to wait")))
            };
        }
        if external_tokens == 0 {
            self.out.counts.not_wanted += 1;
            handover.offer.release(id, |_| true, &mut self.out);
            self.drop(id);
            return Ok(());
        }
        let most = handover.offer.end(&self.settings);
        let end = local_tokens.saturating_add(external_tokens);
        if end > most {
            return Err(invalid(format!(
                "{id} with {external_tokens} tokens behind {local_tokens}: expected at most {most} together"
            )));
        }
        Allocation::check(&groups, local_tokens, end)?;
        let load = Load::begin(now, id, &handover.offer, local_tokens, groups, &self.settings, &mut self.out);
        handover.offer.release(id, |part| load.left(part) == Left::Unused, &mut self.out);
        handover.load = Some(load);
        self.settle(id);
        Ok(())
    }

    fn gone(&mut self, id: &RequestId, local_tokens: u32, groups: &[Allocation]) {
        let failed = groups
            .iter()
            .flat_map(|group| group.blocks.iter().map(|block| FailedBlock { group: group.group, block: *block }));
        let failed: Vec<_> = failed.collect();
        let counts = &mut self.out.counts;
        (counts.gone, counts.blocks_failed) = (counts.gone + 1, counts.blocks_failed + failed.len() as u64);
        let begins = groups.iter().map(|group| group.from_token);
        let from_token = begins.min().unwrap_or(local_tokens);
        self.out.actions.push(Action::Recompute { request: id.clone(), from_token, failed });
    }

    /// A fetch ended: nothing is written by it any more, and these of its blocks are good.
    pub fn fetched(&mut self, now: Duration, fetch: FetchId, outcome: Outcome, blocks: &Blocks) {
        let Some(id) = self.out.fetches.remove(&fetch) else { return self.out.counts.unknown += 1 };
        self.out.counts.outcomes[outcome.index()] += 1;
        if let Some(Handover { offer, load: Some(load) }) = self.handovers.get_mut(&id) {
            load.fetched(now, fetch, outcome, blocks, offer, &self.settings, &mut self.out);
        }
        self.settle(&id);
    }

    /// The agent that fetches is another one: what ran has ended with its predecessor, and is tried again as if the peer was lost. Told
    /// before the new one is given anything.
    pub fn restarted(&mut self, now: Duration) {
        let running = self.handovers.values().filter_map(|handover| handover.load.as_ref()).flat_map(Load::running);
        for (fetch, len) in running.collect::<Vec<_>>() {
            if self
                .out
                .actions
                .iter()
                .any(|action| matches!(action, Action::Fetch { fetch: next, .. } if *next == fetch))
            {
                // The new one will be given it.
                continue;
            }
            self.out.counts.restarted += 1;
            self.fetched(now, fetch, Outcome::PeerLost, &Blocks::none(len));
        }
    }

    /// The engine does not want the request any more. [`Free`](Action::Free) follows when the answer is [`Later`](Reuse::Later); else
    /// the request is not heard of again.
    pub fn abort(&mut self, now: Duration, id: &RequestId) -> Reuse {
        let Some(handover) = self.handovers.get_mut(id) else { return self.retract(id) };
        let Some(load) = &mut handover.load else {
            self.out.counts.aborted += 1;
            handover.offer.release(id, |_| true, &mut self.out);
            self.drop(id);
            return self.retract(id);
        };
        self.out.counts.aborted += u64::from(load.cancelled() != Some(Why::Aborted));
        load.cancel(now, Why::Aborted, &self.settings, &mut self.out);
        self.settle(id);
        Reuse::Later
    }

    /// The engine takes the blocks back, and may ask for the request again: it waits once more, if every lease is left.
    /// [`Free`](Action::Free) follows when the answer is [`Later`](Reuse::Later).
    pub fn preempted(&mut self, now: Duration, id: &RequestId) -> Reuse {
        let Some(Handover { load: Some(load), .. }) = self.handovers.get_mut(id) else { return self.retract(id) };
        let is_first = !matches!(load.cancelled(), Some(Why::Aborted | Why::Preempted));
        self.out.counts.preempted += u64::from(is_first);
        load.cancel(now, Why::Preempted, &self.settings, &mut self.out);
        self.settle(id);
        Reuse::Later
    }

    /// Nothing is fetched for this request. How it ended does not matter any more, if that was not polled yet.
    fn retract(&mut self, id: &RequestId) -> Reuse {
        let is_freed = |action: &Action| matches!(action, Action::Free { request } if request == id);
        if self.out.actions.iter().any(is_freed) {
            return Reuse::Later;
        }
        self.out.actions.retain(|action| match action {
            Action::Loaded { request } | Action::Recompute { request, .. } => request != id,
            _ => true,
        });
        Reuse::Now
    }

    /// Ends the request, when nothing is fetched any more.
    fn settle(&mut self, id: &RequestId) {
        let Some(mut handover) = self.handovers.remove(id) else { return };
        let Some(load) = handover.load.take_if(|load| load.is_over()) else { return self.keep(id, handover) };
        let parts = 0..handover.offer.params.granted().len();
        match load.cancelled() {
            Some(why @ (Why::Aborted | Why::Preempted)) => {
                self.out.actions.push(Action::Free { request: id.clone() });
                if why == Why::Preempted && parts.into_iter().all(|part| load.left(part) == Left::Lease) {
                    return self.keep(id, handover);
                }
            }
            Some(Why::Late | Why::Useless) | None => load.tell(id, &mut self.out),
        }
        handover.offer.release(id, |part| load.left(part) == Left::Lease, &mut self.out);
        self.timers.set(id, None);
    }

    fn keep(&mut self, id: &RequestId, handover: Handover) {
        let Handover { offer, load } = &handover;
        let due = load.as_ref().map_or(offer.wait_until, Load::due);
        self.timers.set(id, Some(due.min(offer.keep_at())));
        self.handovers.insert(id.clone(), handover);
    }

    fn drop(&mut self, id: &RequestId) {
        self.handovers.remove(id);
        self.timers.set(id, None);
    }

    /// Everything that is to be done, at the end of `out`.
    pub fn poll(&mut self, now: Duration, out: &mut Vec<Action>) {
        for id in self.timers.due(now) {
            self.step(now, &id);
        }
        out.append(&mut self.out.actions);
    }

    fn step(&mut self, now: Duration, id: &RequestId) {
        let Some(Handover { offer, load }) = self.handovers.get_mut(id) else { return };
        match load {
            Some(load) => {
                offer.keep(now, id, |part| load.left(part) == Left::Wanted, &mut self.out);
                load.step(now, id, offer, &self.settings, &mut self.out);
            }
            None if offer.wait_until <= now => {
                self.out.counts.waited_out += 1;
                offer.release(id, |_| true, &mut self.out);
                return self.drop(id);
            }
            None => offer.keep(now, id, |_| true, &mut self.out),
        }
        self.settle(id);
    }

    /// When [`poll`](Self::poll) has something to do, even if nothing happens.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.timers.next()
    }

    /// How often each thing happened.
    pub const fn counts(&self) -> &Counts {
        &self.out.counts
    }

    /// The requests for which nothing was allocated yet.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &RequestId> + '_ {
        self.handovers.iter().filter(|(_, handover)| handover.load.is_none()).map(|(id, _)| id)
    }

    /// Whether nothing was allocated for this one yet.
    pub(crate) fn is_waiting(&self, id: &RequestId) -> bool {
        self.handovers.get(id).is_some_and(|handover| handover.load.is_none())
    }

    /// How many requests are held.
    pub fn len(&self) -> usize {
        self.handovers.len()
    }

    /// Whether no request is held.
    pub fn is_empty(&self) -> bool {
        self.handovers.is_empty()
    }
}
