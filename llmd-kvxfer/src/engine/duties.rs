//! What a worker does with its agent: it carries out what the two machines of a hand-over want, and tells them what came of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, GroupIdx, Result};

use super::answer::{Done, Failed};
use super::message::{Command, Computed, Reply};
use crate::agent::{Agent, Event, Fetch, Kept, OpId};
use crate::grant::Grant;
use crate::lease::{Lease, LeaseId};
use crate::outcome::{Blocks, Outcome};
use crate::pool::Pool;
use crate::session::decode::{self, Allocation, Decode, FailedBlock, FetchId};
use crate::session::prefill::{self, Lent, Prefill};
use crate::session::{GrantBytes, LeaseKey, Part, RequestId, Reuse};

/// What a worker does with its agent.
#[derive(Debug)]
pub(super) struct Duties {
    agent: Agent,
    pools: HashMap<GroupIdx, Pool>,
    block_tokens: u32,
    consumers: u32,
    boot: u64,
    prefill: Prefill,
    decode: Decode,
    /// Requests that were computed, by what is known of their answers.
    lent: HashMap<RequestId, Answering>,
    /// Requests whose blocks were allocated to be fetched into, and that have not been told to be received.
    awaited: HashMap<RequestId, Vec<Allocation>>,
    leases: HashMap<LeaseId, LeaseKey>,
    fetching: HashMap<OpId, (FetchId, Grant)>,
    fetches: HashMap<FetchId, OpId>,
    kept: HashMap<RequestId, Vec<(Part, Kept)>>,
    /// What is to be said to the scheduler.
    pub(super) replies: Vec<Reply>,
    pub(super) counts: Counts,
}

/// What is known of the answer to a request that was computed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Answering {
    /// Nothing was granted yet, under this number.
    Asked(u64),
    /// It went to the scheduler.
    Told,
    /// The engine waits until its blocks are free.
    Confirmed,
    /// They are, and the engine does not wait for it yet.
    Free,
    /// The engine does not wait for it.
    Revoked,
}

/// What happened beside what the machines count.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Counts {
    pub(super) not_kept: u64,
    pub(super) not_finished: u64,
    pub(super) not_begun: u64,
    pub(super) refused_commands: u64,
}

/// What the machines are made with.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) prefill: prefill::Settings,
    pub(super) decode: decode::Settings,
    pub(super) consumers: u32,
}

impl Duties {
    pub(super) fn new(agent: Agent, groups: &[(GroupIdx, Pool)], terms: Terms) -> Result<Self> {
        let Terms { prefill, decode, consumers } = terms;
        if consumers == 0 || consumers > u32::from(u16::MAX) {
            let message = format!("{consumers} consumers of each part, expected 1 to {}", u16::MAX);
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let boot = agent.id().to_bytes();
        let boot = u64::from_le_bytes(std::array::from_fn(|place| boot[place]));
        Ok(Self {
            agent,
            pools: groups.iter().cloned().collect(),
            block_tokens: decode.block_tokens,
            consumers,
            boot,
            prefill: Prefill::new(prefill)?,
            decode: Decode::new(decode)?,
            lent: HashMap::new(),
            awaited: HashMap::new(),
            leases: HashMap::new(),
            fetching: HashMap::new(),
            fetches: HashMap::new(),
            kept: HashMap::new(),
            replies: Vec::new(),
            counts: Counts::default(),
        })
    }

    pub(super) const fn agent(&self) -> &Agent {
        &self.agent
    }

    pub(super) const fn machines(&self) -> (&prefill::Counts, &decode::Counts) {
        (self.prefill.counts(), self.decode.counts())
    }

    pub(super) fn held(&self) -> usize {
        self.prefill.len() + self.decode.len()
    }

    /// When there is something to do even if nothing happens.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.prefill.next_deadline().into_iter().chain(self.decode.next_deadline()).min()
    }

    /// Does what the scheduler says.
    pub(super) fn take(&mut self, now: Duration, command: Command, done: &mut Done) {
        let taken = match command {
            Command::Computed { number, request, tokens, groups } => {
                self.computed(now, number, &request, tokens, groups);
                Ok(())
            }
            Command::Confirm { request } => {
                self.confirm(request, done);
                Ok(())
            }
            Command::Revoke { request } => {
                self.revoke(now, &request);
                Ok(())
            }
            Command::Arrive { request, prompt_tokens, text } => self.decode.arrive(now, &request, prompt_tokens, &text),
            Command::Allocated { request, local_tokens, external_tokens, groups } => {
                self.allocated(now, &request, local_tokens, external_tokens, groups, done)
            }
            Command::Abort { request } => {
                self.abort(now, &request, done);
                Ok(())
            }
            Command::Preempted { request } => {
                if self.decode.preempted(now, &request) == Reuse::Now {
                    self.received(&request, &[], done);
                }
                Ok(())
            }
        };
        self.counts.refused_commands += u64::from(taken.is_err());
    }

    fn computed(&mut self, now: Duration, number: u64, request: &RequestId, tokens: u32, groups: Vec<Computed>) {
        let lent = groups.into_iter().map(|Computed { group, from_token, blocks }| Lent {
            part: Part { group, shard: 0 },
            from_token,
            blocks,
        });
        match self.prefill.computed(now, request, tokens, self.consumers, lent.collect()) {
            Ok(()) => drop(self.lent.insert(request.clone(), Answering::Asked(number))),
            Err(error) => self.replies.push(Reply::Granted { number, granted: Err(error.to_string()) }),
        }
    }

    fn confirm(&mut self, request: RequestId, done: &mut Done) {
        match self.lent.get_mut(&request) {
            Some(answering @ (Answering::Told | Answering::Asked(_))) => *answering = Answering::Confirmed,
            Some(Answering::Free) => {
                self.lent.remove(&request);
                done.sent.push(request);
            }
            Some(Answering::Confirmed | Answering::Revoked) | None => self.counts.refused_commands += 1,
        }
    }

    fn revoke(&mut self, now: Duration, request: &RequestId) {
        match self.lent.get_mut(request) {
            None => {}
            Some(Answering::Free) => drop(self.lent.remove(request)),
            Some(answering) => {
                *answering = Answering::Revoked;
                if self.prefill.abort(now, request) == Reuse::Now {
                    self.lent.remove(request);
                }
            }
        }
    }

    /// The scheduler is gone: what it was not told of, or did not confirm, nobody will fetch.
    pub(super) fn orphan(&mut self, now: Duration) {
        let unconfirmed = |answering: &Answering| *answering != Answering::Confirmed;
        let orphans =
            self.lent.iter().filter(|(_, answering)| unconfirmed(answering)).map(|(request, _)| request.clone());
        for request in orphans.collect::<Vec<_>>() {
            self.revoke(now, &request);
        }
        self.replies.clear();
    }

    fn allocated(
        &mut self,
        now: Duration,
        request: &RequestId,
        local_tokens: u32,
        external_tokens: u32,
        groups: Vec<Allocation>,
        done: &mut Done,
    ) -> Result<()> {
        if external_tokens > 0 {
            self.awaited.insert(request.clone(), groups.clone());
        }
        let allocated = self.decode.allocated(now, request, local_tokens, external_tokens, groups);
        if allocated.is_err() {
            // The engine waits for them all the same.
            self.lose(request, done);
        }
        allocated
    }

    fn abort(&mut self, now: Duration, request: &RequestId, done: &mut Done) {
        if self.decode.abort(now, request) == Reuse::Now {
            self.received(request, &[], done);
        }
        self.kept.remove(request);
    }

    /// None of the blocks of a request is here.
    fn lose(&mut self, request: &RequestId, done: &mut Done) {
        let groups = self.awaited.get(request).cloned().unwrap_or_default();
        let blocks =
            groups.iter().flat_map(|group| group.blocks.iter().map(|&block| FailedBlock { group: group.group, block }));
        self.received(request, &blocks.collect::<Vec<_>>(), done);
    }

    /// Nothing is written to a request's blocks any more. The engine is told once, if it waits.
    fn received(&mut self, request: &RequestId, failed: &[FailedBlock], done: &mut Done) {
        self.kept.remove(request);
        if self.awaited.remove(request).is_none() {
            return;
        }
        done.received.push(request.clone());
        if !failed.is_empty() {
            done.failed.push(Failed { request: request.clone(), blocks: failed.to_vec() });
        }
    }

    /// Everything that is under way is lost: each request that the engine waits for is told to be.
    pub(super) fn lose_all(&mut self, done: &mut Done) {
        for request in self.awaited.keys().cloned().collect::<Vec<_>>() {
            self.lose(&request, done);
        }
        let lent = self.lent.drain().filter(|(_, answering)| *answering == Answering::Confirmed);
        done.sent.extend(lent.map(|(request, _)| request));
    }

    /// Tells the machines what came of what they wanted, and does what they want next.
    ///
    /// # Errors
    ///
    /// When the agent is over.
    pub(super) fn go_on(&mut self, now: Duration, done: &mut Done) -> Result<()> {
        let mut events = Vec::new();
        self.agent.poll(&mut events)?;
        for event in events {
            match event {
                Event::Fetched(fetched) => {
                    let Some((fetch, grant)) = self.fetching.remove(&fetched.op) else { continue };
                    self.fetches.remove(&fetch);
                    if fetched.outcome == Outcome::Done && self.agent.finish(&grant).is_err() {
                        // Its lease lapses then.
                        self.counts.not_finished += 1;
                    }
                    self.decode.fetched(now, fetch, fetched.outcome, &fetched.blocks);
                }
                Event::LeaseEnded(ended) => {
                    if let Some(key) = self.leases.remove(&ended.lease) {
                        self.prefill.ended(now, key, ended.end);
                    }
                }
                Event::Notified(_) => {}
            }
        }
        // What is done may have ended by the time that it is.
        for _ in 0..ROUNDS {
            let (mut of_prefill, mut of_decode) = (Vec::new(), Vec::new());
            self.prefill.poll(now, &mut of_prefill);
            self.decode.poll(now, &mut of_decode);
            if of_prefill.is_empty() && of_decode.is_empty() {
                break;
            }
            of_prefill.into_iter().for_each(|action| self.lend(now, action, done));
            of_decode.into_iter().for_each(|action| self.bring(now, action, done));
        }
        Ok(())
    }

    fn lend(&mut self, now: Duration, action: prefill::Action, done: &mut Done) {
        match action {
            prefill::Action::Grant { grant, part, blocks, ttl, consumers, .. } => {
                let terms = Lease::new(ttl).consumers(u16::try_from(consumers).unwrap_or(u16::MAX));
                let granted = self.pools.get(&part.group).map(|pool| self.agent.grant(pool, &blocks, terms));
                let Some(Ok(lent)) = granted else { return self.prefill.refused(now, grant) };
                let key = LeaseKey { boot: self.boot, number: lent.lease().generation };
                self.leases.insert(lent.lease(), key);
                self.prefill.granted(now, grant, key, lent.to_bytes().into());
            }
            prefill::Action::Release { lease, .. } => {
                let known = self.leases.iter().find(|(_, key)| **key == lease).map(|(lease, _)| *lease);
                let is_released = known.is_some_and(|known| self.agent.release(known).unwrap_or(false));
                if !is_released {
                    self.prefill.ended(now, lease, crate::lease::LeaseEnd::Released);
                }
            }
            prefill::Action::Answer { request, params } => {
                let Some(Answering::Asked(number)) = self.lent.get(&request).copied() else { return };
                let granted = params.map(|params| params.to_text());
                if granted.is_none() {
                    self.lent.insert(request, Answering::Revoked);
                } else {
                    self.lent.insert(request, Answering::Told);
                }
                let granted = granted.ok_or_else(|| "the agent did not grant its blocks".to_owned());
                self.replies.push(Reply::Granted { number, granted });
            }
            prefill::Action::Free { request } => match self.lent.get_mut(&request) {
                Some(Answering::Confirmed) => {
                    self.lent.remove(&request);
                    done.sent.push(request);
                }
                Some(Answering::Revoked) => drop(self.lent.remove(&request)),
                Some(answering) => *answering = Answering::Free,
                None => {}
            },
        }
    }

    fn bring(&mut self, now: Duration, action: decode::Action, done: &mut Done) {
        match action {
            decode::Action::Fetch { fetch, part, grant, skip_tokens, blocks, within, .. } => {
                let begun = self.begin(part, &grant, skip_tokens, &blocks, within);
                match begun {
                    Ok((op, grant)) => {
                        self.fetching.insert(op, (fetch, grant));
                        self.fetches.insert(fetch, op);
                    }
                    Err(error) => {
                        self.counts.not_begun += 1;
                        let outcome = match error.kind() {
                            ErrorKind::Stale => Outcome::Stale,
                            ErrorKind::Denied => Outcome::Denied,
                            ErrorKind::Unavailable | ErrorKind::Exhausted => Outcome::PeerLost,
                            _ => Outcome::Io,
                        };
                        self.decode.fetched(now, fetch, outcome, &Blocks::none(blocks.len()));
                    }
                }
            }
            decode::Action::Cancel { fetch } => {
                if let Some(op) = self.fetches.get(&fetch) {
                    // When the agent is over, so is this.
                    let _cancelled = self.agent.cancel(*op);
                }
            }
            decode::Action::Keep { request, part, grant } => {
                let kept = self.kept.entry(request).or_default();
                if kept.iter().any(|(known, _)| *known == part) {
                    return;
                }
                match Grant::from_bytes(&grant).and_then(|grant| self.agent.keep(&grant)) {
                    Ok(keeping) => kept.push((part, keeping)),
                    Err(_) => self.counts.not_kept += 1,
                }
            }
            decode::Action::Release { request, part, grant } => {
                if let Some(kept) = self.kept.get_mut(&request) {
                    kept.retain(|(known, _)| *known != part);
                }
                let finished = Grant::from_bytes(&grant).and_then(|grant| self.agent.finish(&grant));
                self.counts.not_finished += u64::from(finished.is_err());
            }
            decode::Action::Loaded { request } | decode::Action::Free { request } => self.received(&request, &[], done),
            decode::Action::Recompute { request, failed, .. } => self.received(&request, &failed, done),
        }
    }

    /// Begins to fetch blocks of a part, behind so many of its tokens.
    fn begin(
        &self,
        part: Part,
        grant: &GrantBytes,
        skip_tokens: u32,
        blocks: &Arc<[u32]>,
        within: Duration,
    ) -> Result<(OpId, Grant)> {
        let pool = self.pools.get(&part.group);
        let pool =
            pool.ok_or_else(|| Error::new(ErrorKind::Invalid, format!("{part}, of which there is no pool here")))?;
        let granted = Grant::from_bytes(grant)?;
        let (theirs, ours) =
            (self.tokens_of(granted.layout().shape().tokens), self.tokens_of(pool.layout().shape().tokens));
        let first = (skip_tokens / theirs) as usize;
        let wanted = (blocks.len() * ours as usize).div_ceil(theirs as usize);
        let end = (first + wanted).min(granted.blocks().len());
        let grant = granted.part(first..end)?;
        let op = self.agent.submit(&Fetch::new(&grant, pool, blocks).within(within).and_hold())?;
        Ok((op, grant))
    }

    /// How many tokens a block has: where its inside is the backend's own matter, as many as the engine's.
    const fn tokens_of(&self, said: u32) -> u32 {
        if said > 1 { said } else { self.block_tokens }
    }
}

/// How often it is looked for more to be done in one go.
const ROUNDS: usize = 8;
