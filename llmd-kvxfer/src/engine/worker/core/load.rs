//! What is fetched from prefillers, into blocks that were allocated.

use std::time::Duration;

use llmd_core::{ErrorKind, Result};

use super::Core;
use crate::agent::{Fetch, Fetched, OpId};
use crate::engine::message::Notice;
use crate::engine::worker::invalid;
use crate::grant::Grant;
use crate::outcome::{Blocks, Outcome};
use crate::session::decode::{Action, Allocation, FailedBlock, FetchId};
use crate::session::{Part, RequestId};

/// Blocks that were allocated.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) number: u64,
    pub(super) groups: Vec<Allocation>,
}

/// A fetch, in the agent.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) fetch: FetchId,
    pub(super) request: RequestId,
    pub(super) part: Part,
    pub(super) grant: Grant,
    pub(super) is_cancelled: bool,
}

impl Core {
    pub(super) fn allocated(
        &mut self,
        now: Duration,
        number: u64,
        id: RequestId,
        local_tokens: u32,
        external_tokens: u32,
        groups: Vec<Allocation>,
    ) {
        if external_tokens == 0 {
            // It says so twice of one that is being fetched; and what it does not know, it does not mind.
            let _released = self.decode.allocated(now, &id, local_tokens, 0, groups);
            return;
        }
        if self.ended.known.contains(&number) {
            return self.notices.push(Notice::Ended { number, is_waiting: false });
        }
        if self.loads.get(&id).is_some_and(|load| load.number == number) {
            // A scheduler that was away says again what it does not know to have been heard.
            return;
        }
        if self.loads.contains_key(&id) {
            self.stats.misunderstood += 1;
            return;
        }
        self.loads.insert(id.clone(), Load { number, groups: groups.clone() });
        if self.decode.allocated(now, &id, local_tokens, external_tokens, groups).is_err() {
            self.stats.misunderstood += 1;
            let _reuse = self.decode.abort(now, &id);
            let failed = self.all_blocks(&id);
            self.end_load(&id, failed);
        }
    }

    pub(super) fn fetched(&mut self, now: Duration, fetched: Fetched) {
        if let Some(id) = self.left.ops.remove(&fetched.op) {
            return self.settle_load(&id);
        }
        let Some(Running { fetch, request, part, grant, .. }) = self.ops.remove(&fetched.op) else { return };
        self.fetches.remove(&fetch);
        if fetched.outcome == Outcome::Done {
            // The session takes this lease for spent.
            self.kept.remove(&(request, part));
            self.stats.unheard += u64::from(self.agent.finish(&grant).is_err());
        }
        self.decode.fetched(now, fetch, fetched.outcome, &fetched.blocks);
    }

    pub(super) fn load(&mut self, now: Duration, action: Action) {
        match action {
            Action::Cancel { fetch } => self.cancel(now, fetch),
            Action::Fetch { fetch, request, part, grant, skip_tokens, blocks, within } => {
                let begun = self.begin(&request, part, &grant, skip_tokens, &blocks, within);
                match begun {
                    Ok((op, grant)) => {
                        self.fetches.insert(fetch, op);
                        self.ops.insert(op, Running { fetch, request, part, grant, is_cancelled: false });
                    }
                    Err(error) => {
                        self.stats.refused_fetches += 1;
                        let may_go_again = matches!(error.kind(), ErrorKind::Exhausted | ErrorKind::Unavailable);
                        let outcome = if may_go_again { Outcome::PeerLost } else { Outcome::Io };
                        self.decode.fetched(now, fetch, outcome, &Blocks::none(blocks.len()));
                    }
                }
            }
            Action::Keep { request, part, grant } => {
                if self.kept.contains_key(&(request.clone(), part)) {
                    // The agent goes on by itself.
                    return;
                }
                match Grant::from_bytes(&grant).and_then(|grant| self.agent.keep(&grant)) {
                    Ok(kept) => drop(self.kept.insert((request, part), kept)),
                    Err(_) => self.stats.unheard += 1,
                }
            }
            Action::Release { request, part, grant } => {
                self.kept.remove(&(request, part));
                self.finish(&grant);
            }
            Action::Free { request } | Action::Loaded { request } => self.end_load(&request, Vec::new()),
            Action::Recompute { request, failed, .. } => self.end_load(&request, failed),
        }
    }

    /// Has the agent fetch these blocks.
    fn begin(
        &self,
        request: &RequestId,
        part: Part,
        grant: &[u8],
        skip_tokens: u32,
        blocks: &[u32],
        within: Duration,
    ) -> Result<(OpId, Grant)> {
        let group = part.group;
        let pool = self.pools.get(&group).ok_or_else(|| invalid(format!("group {} is not here", group.0)))?;
        let whole = Grant::from_bytes(grant)?;
        let allocated = self.loads.get(request).and_then(|load| load.groups.iter().find(|there| there.group == group));
        let ours = allocated.map_or(1, |allocation| allocation.block_tokens.max(1));
        // Of the inside of blocks that their backend packs nothing is known: they hold what ours do, or they cannot be moved.
        let said = whole.layout().shape().tokens;
        let theirs = if whole.layout().is_opaque() || said <= 1 { ours } else { said };
        if !skip_tokens.is_multiple_of(theirs) {
            return Err(invalid(format!("{skip_tokens} tokens to be left out of blocks of {theirs}")));
        }
        let skip = (skip_tokens / theirs) as usize;
        let wanted = (blocks.len() as u64 * u64::from(ours)).div_ceil(theirs.into()) as usize;
        let end = skip.saturating_add(wanted).min(whole.blocks().len());
        let wanted = whole.part(skip..end)?;
        let op = self.agent.submit(&Fetch::new(&wanted, pool, blocks).within(within).and_hold())?;
        Ok((op, whole))
    }

    fn cancel(&mut self, now: Duration, fetch: FetchId) {
        let Some(&op) = self.fetches.get(&fetch) else {
            return self.decode.fetched(now, fetch, Outcome::Cancelled, &Blocks::none(0));
        };
        // In a forked child nothing of this runs.
        let _cancelled = self.agent.cancel(op);
        let Some(running) = self.ops.get_mut(&op) else { return };
        if !std::mem::replace(&mut running.is_cancelled, true) {
            return;
        }
        // That was a while ago: its end was heard by somebody else, if the agent does not know it.
        match self.agent.wait(op, Duration::ZERO) {
            Ok(fetched) => self.fetched(now, fetched),
            Err(error) if error.kind() == ErrorKind::Invalid => {
                self.ops.remove(&op);
                self.fetches.remove(&fetch);
                self.decode.fetched(now, fetch, Outcome::Cancelled, &Blocks::none(0));
            }
            Err(_) => {}
        }
    }

    pub(super) fn finish(&mut self, grant: &[u8]) {
        let told = Grant::from_bytes(grant).and_then(|grant| self.agent.finish(&grant));
        self.stats.unheard += u64::from(told.is_err());
    }

    /// Nothing is written into these blocks any more.
    pub(super) fn end_load(&mut self, id: &RequestId, failed: Vec<FailedBlock>) {
        let Some(Load { number, .. }) = self.loads.remove(id) else { return };
        let is_waiting = self.decode.is_waiting(id);
        if !is_waiting {
            let kept = self.kept.keys().filter(|(request, _)| request == id).cloned().collect::<Vec<_>>();
            kept.iter().for_each(|key| drop(self.kept.remove(key)));
        }
        self.ended.add(number);
        self.notices.push(Notice::Ended { number, is_waiting });
        if !failed.is_empty() {
            self.done.failed.push((id.clone(), failed));
        }
        self.done.received.push(id.clone());
    }

    pub(super) fn all_blocks(&self, id: &RequestId) -> Vec<FailedBlock> {
        let groups = self.loads.get(id).into_iter().flat_map(|load| &load.groups);
        groups.flat_map(|group| group.blocks.iter().map(|&block| FailedBlock { group: group.group, block })).collect()
    }
}
