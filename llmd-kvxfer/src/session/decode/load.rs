//! One request that is being fetched: pieces, each with the blocks of a group that one shard brings.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use llmd_core::GroupIdx;

use super::allocation::Allocation;
use super::offer::Offer;
use super::{Action, Counts, FailedBlock, FetchId, Settings};
use crate::session::RequestId;
use crate::{Blocks, Outcome};

/// What the machine says and counts, and which fetches belong to whom.
#[derive(Debug, Default)]
pub(super) struct Out {
    pub(super) actions: Vec<Action>,
    pub(super) counts: Counts,
    pub(super) fetches: BTreeMap<FetchId, RequestId>,
    next_fetch: u64,
}

/// One request that is being fetched.
#[derive(Debug)]
pub(super) struct Load {
    groups: Vec<Allocation>,
    pieces: Vec<Piece>,
    local_tokens: u32,
    deadline: Duration,
    cancelled: Option<Cancelled>,
}

/// What one shard brings of one group.
#[derive(Debug)]
struct Piece {
    /// Of the offer's parts.
    part: usize,
    /// Of the groups.
    group: usize,
    /// Of the group's blocks.
    got: Blocks,
    retries: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    /// It ended, in this way; `None` when there was nothing to be fetched.
    Ended(Option<Outcome>),
    /// The peer was lost; it is tried once more then.
    Pausing { until: Duration },
    /// The agent fetches the group's blocks from this one on.
    Running { fetch: FetchId, first: usize },
}

/// Why no more is fetched, and when that is said again.
#[derive(Clone, Copy, Debug)]
struct Cancelled {
    why: Why,
    ask_again: Duration,
}

/// Why no more is fetched.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Why {
    /// The engine aborted the request.
    Aborted,
    /// It took too long.
    Late,
    /// The engine took the blocks back.
    Preempted,
    /// The first block failed already.
    Useless,
}

/// What is left of a part of an offer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Left {
    /// A lease that may still be there.
    Lease,
    /// Nothing: it was fetched, or there is no lease.
    Spent,
    /// It was given up when the others were begun: no block wanted it.
    Unused,
    /// It is being fetched, or will be.
    Wanted,
}

impl Load {
    /// Begins to fetch these blocks.
    pub(super) fn begin(
        now: Duration,
        id: &RequestId,
        offer: &Offer,
        local_tokens: u32,
        groups: Vec<Allocation>,
        settings: &Settings,
        out: &mut Out,
    ) -> Self {
        let deadline = now.saturating_add(settings.fetch_within);
        let mut load = Self { groups, pieces: Vec::new(), local_tokens, deadline, cancelled: None };
        for (part, granted) in offer.params.granted().iter().enumerate() {
            let Some(group) = load.groups.iter().position(|group| group.group == granted.part.group) else { continue };
            let got = load.groups[group].none();
            let state = State::Ended(None);
            load.pieces.push(Piece { part, group, got, retries: settings.retries, state });
        }
        for piece in 0..load.pieces.len() {
            load.fetch(now, id, offer, piece, out);
        }
        out.counts.blocks_not_granted += load.not_granted(offer) as u64;
        load
    }

    /// Fetches from the first block that is not here. What was not granted stays failed.
    fn fetch(&mut self, now: Duration, id: &RequestId, offer: &Offer, piece: usize, out: &mut Out) {
        let piece = &mut self.pieces[piece];
        let (group, granted) = (&self.groups[piece.group], &offer.params.granted()[piece.part]);
        let granted_from = group.first_not_before(granted.from_token);
        let Some(first) = piece.got.failed().find(|block| *block >= granted_from) else {
            if let State::Pausing { .. } = piece.state {
                piece.state = State::Ended(Some(Outcome::PeerLost));
            }
            return;
        };
        let fetch = FetchId(out.next_fetch);
        out.next_fetch += 1;
        out.fetches.insert(fetch, id.clone());
        piece.state = State::Running { fetch, first };
        out.actions.push(Action::Fetch {
            fetch,
            request: id.clone(),
            part: granted.part,
            grant: Arc::clone(&granted.grant),
            skip_tokens: group.begin(first) - granted.from_token,
            blocks: group.blocks[first..].into(),
            within: self.deadline.saturating_sub(now),
        });
    }

    /// A fetch of this request's ended.
    #[expect(clippy::too_many_arguments, reason = "what a fetch brought, and what it is to be judged by")]
    pub(super) fn fetched(
        &mut self,
        now: Duration,
        fetch: FetchId,
        outcome: Outcome,
        blocks: &Blocks,
        offer: &Offer,
        settings: &Settings,
        out: &mut Out,
    ) {
        let running = |piece: &Piece| match piece.state {
            State::Running { fetch: running, first } if running == fetch => Some(first),
            _ => None,
        };
        let found = self.pieces.iter_mut().find_map(|piece| running(piece).map(|first| (piece, first)));
        let Some((piece, first)) = found else { return };
        // Where it was written, it counts what this fetch says: a second try may have spoilt what the first had brought.
        let fits = blocks.len() == piece.got.len() - first;
        let says_nothing = blocks.is_empty() && outcome == Outcome::Cancelled;
        out.counts.misfit += u64::from(!fits && !says_nothing);
        piece.got.replace(first, |block| fits && blocks.has(block));
        let again = now.saturating_add(settings.retry_after);
        let is_tried_again = outcome == Outcome::PeerLost
            && !piece.got.is_all()
            && piece.retries > 0
            && self.cancelled.is_none()
            && again < self.deadline.min(offer.kept_until);
        if is_tried_again {
            piece.retries -= 1;
            piece.state = State::Pausing { until: again };
            return;
        }
        piece.state = State::Ended(Some(outcome));
        if self.cancelled.is_none() && self.begin_of_failed().is_some_and(|token| token <= self.local_tokens) {
            self.cancel(now, Why::Useless, settings, out);
        }
    }

    /// What the agent fetches, and how many blocks each.
    pub(super) fn running(&self) -> impl Iterator<Item = (FetchId, usize)> + '_ {
        self.pieces.iter().filter_map(|piece| match piece.state {
            State::Running { fetch, first } => Some((fetch, piece.got.len() - first)),
            State::Ended(_) | State::Pausing { .. } => None,
        })
    }

    /// Whether nothing is written any more, and nothing will be.
    pub(super) fn is_over(&self) -> bool {
        self.pieces.iter().all(|piece| matches!(piece.state, State::Ended(_)))
    }

    /// The first token of what has failed for good.
    fn begin_of_failed(&self) -> Option<u32> {
        let ended = self.pieces.iter().filter(|piece| matches!(piece.state, State::Ended(_)));
        let failed = ended.filter_map(|piece| Some(self.groups[piece.group].begin(piece.got.failed().next()?)));
        failed.min()
    }

    /// Stops whatever runs. The first reason stays, unless the engine does not want the request any more.
    pub(super) fn cancel(&mut self, now: Duration, why: Why, settings: &Settings, out: &mut Out) {
        let is_first = self.cancelled.is_none();
        match why {
            Why::Late if is_first => out.counts.late += 1,
            Why::Useless if is_first => out.counts.useless += 1,
            Why::Aborted | Why::Late | Why::Preempted | Why::Useless => {}
        }
        let ask_again = now.saturating_add(settings.ask_again);
        match &mut self.cancelled {
            Some(cancelled) if why == Why::Aborted => cancelled.why = why,
            Some(cancelled) if why == Why::Preempted && cancelled.why != Why::Aborted => cancelled.why = why,
            Some(_) => {}
            None => self.cancelled = Some(Cancelled { why, ask_again }),
        }
        for piece in &mut self.pieces {
            match piece.state {
                State::Ended(_) => {}
                State::Pausing { .. } => piece.state = State::Ended(Some(Outcome::PeerLost)),
                State::Running { fetch, .. } if is_first => out.actions.push(Action::Cancel { fetch }),
                State::Running { .. } => {}
            }
        }
    }

    /// Why no more is fetched.
    pub(super) fn cancelled(&self) -> Option<Why> {
        self.cancelled.map(|cancelled| cancelled.why)
    }

    /// When [`step`](Self::step) has something to do.
    pub(super) fn due(&self) -> Duration {
        if let Some(cancelled) = self.cancelled {
            return cancelled.ask_again;
        }
        let pauses = self.pieces.iter().filter_map(|piece| match piece.state {
            State::Pausing { until } => Some(until),
            State::Ended(_) | State::Running { .. } => None,
        });
        pauses.fold(self.deadline, Duration::min)
    }

    /// Its time has come: what is late is cancelled, what was lost is asked for again.
    pub(super) fn step(&mut self, now: Duration, id: &RequestId, offer: &Offer, settings: &Settings, out: &mut Out) {
        if let Some(cancelled) = &mut self.cancelled {
            if cancelled.ask_again <= now {
                cancelled.ask_again = now.saturating_add(settings.ask_again);
                let running: Vec<_> = self.running().collect();
                out.counts.asked_again += running.len() as u64;
                out.actions.extend(running.into_iter().map(|(fetch, _)| Action::Cancel { fetch }));
            }
            return;
        }
        if self.deadline <= now {
            return self.cancel(now, Why::Late, settings, out);
        }
        for piece in 0..self.pieces.len() {
            if matches!(self.pieces[piece].state, State::Pausing { until } if until <= now) {
                out.counts.retried += 1;
                self.fetch(now, id, offer, piece, out);
            }
        }
    }

    /// What is left of this part of the offer.
    pub(super) fn left(&self, part: usize) -> Left {
        let Some(piece) = self.pieces.iter().find(|piece| piece.part == part) else { return Left::Unused };
        match piece.state {
            State::Ended(Some(Outcome::Denied | Outcome::Done | Outcome::Stale)) => Left::Spent,
            State::Ended(_) => Left::Lease,
            State::Pausing { .. } | State::Running { .. } => Left::Wanted,
        }
    }

    /// Says what is here and what is not.
    pub(super) fn tell(&self, id: &RequestId, out: &mut Out) {
        let (mut failed, mut from_token) = (Vec::new(), u32::MAX);
        for (at, group) in self.groups.iter().enumerate() {
            let pieces = || self.pieces.iter().filter(|piece| piece.group == at);
            for (block, allocated) in group.blocks.iter().enumerate() {
                if pieces().next().is_some() && pieces().all(|piece| piece.got.has(block)) {
                    out.counts.blocks_loaded += 1;
                    continue;
                }
                out.counts.blocks_failed += 1;
                from_token = from_token.min(group.begin(block));
                failed.push(FailedBlock { group: group.group, block: *allocated });
            }
        }
        let request = id.clone();
        if failed.is_empty() {
            out.counts.loaded += 1;
            return out.actions.push(Action::Loaded { request });
        }
        out.counts.recomputed += 1;
        out.actions.push(Action::Recompute { request, from_token, failed });
    }

    /// How many blocks nobody granted.
    fn not_granted(&self, offer: &Offer) -> usize {
        let latest = |group: GroupIdx| {
            let granted = offer.params.granted().iter().filter(|granted| granted.part.group == group);
            granted.map(|granted| granted.from_token).max()
        };
        let blocks = self.groups.iter().map(|group| {
            let len = group.blocks.len();
            latest(group.group).map_or(len, |from| group.first_not_before(from).min(len))
        });
        blocks.sum()
    }
}
