//! The end of what was applied: which number is next, and what the last batches were.

use std::collections::VecDeque;
use std::time::Duration;

/// How many fingerprints are kept, to tell a batch that comes again from one of another engine.
const MAX_RECENT: usize = 256;

/// The end of what was applied.
#[derive(Debug, Default)]
pub(super) struct Applied {
    next: u64,
    /// The fingerprint of batch 0, if it was applied: the engine's first word, by which it is known for good.
    first: Option<u64>,
    /// The newest time at which the engine made one of them.
    newest: Option<Duration>,
    /// The fingerprints of the batches just before `next`, in order.
    recent: VecDeque<u64>,
}

/// Where a batch stands relative to what was applied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Place {
    /// After the next one.
    Ahead,
    /// Its number was applied, with other content.
    Differs,
    /// It was applied.
    Known,
    /// It is the next one.
    Next,
    /// Its number was applied, or passed over, too long ago to tell with which content.
    Past,
}

impl Applied {
    /// Nothing is applied, and `next` is awaited.
    pub(super) const fn from(next: u64) -> Self {
        Self { next, first: None, newest: None, recent: VecDeque::new() }
    }

    /// Everything up to the batch of this number and fingerprint is applied.
    pub(super) fn up_to((seq, fingerprint): (u64, u64), first: Option<u64>, newest: Option<Duration>) -> Self {
        Self { next: seq.saturating_add(1), first, newest, recent: VecDeque::from([fingerprint]) }
    }

    /// The number that is next.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// The number and the fingerprint of the last batch.
    pub(super) fn last(&self) -> Option<(u64, u64)> {
        self.recent.back().map(|&fingerprint| (self.next - 1, fingerprint))
    }

    /// The fingerprint of batch 0, if it was applied.
    pub(super) const fn first(&self) -> Option<u64> {
        self.first
    }

    /// The newest time at which the engine made a batch.
    pub(super) const fn newest(&self) -> Option<Duration> {
        self.newest
    }

    /// Where a batch stands.
    pub(super) fn place(&self, seq: u64, fingerprint: u64) -> Place {
        let Some(back) = self.next.checked_sub(seq) else { return Place::Ahead };
        if back == 0 {
            return Place::Next;
        }
        if seq == 0
            && let Some(first) = self.first
        {
            return if first == fingerprint { Place::Known } else { Place::Differs };
        }
        let known = usize::try_from(back).ok().and_then(|back| self.recent.len().checked_sub(back));
        match known.map(|place| self.recent[place] == fingerprint) {
            Some(true) => Place::Known,
            Some(false) => Place::Differs,
            None => Place::Past,
        }
    }

    /// Appends the next batch.
    pub(super) fn push(&mut self, seq: u64, fingerprint: u64, made_at: Option<Duration>) {
        debug_assert_eq!(seq, self.next, "batches are applied in order");
        if self.recent.len() == MAX_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(fingerprint);
        if seq == 0 {
            self.first = Some(fingerprint);
        }
        self.newest = self.newest.max(made_at);
        self.next = seq.saturating_add(1);
    }
}
