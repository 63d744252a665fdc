//! Why a prompt is, or is not, in a worker's cache.

use std::fmt;

use super::{WorkerOverlap, WorkerState};
use crate::hash::Chain;
use crate::{GroupIdx, Medium, WorkerId};

/// Where each worker's prefix of a prompt ends, and why.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// Full blocks of the prompt.
    pub blocks: usize,
    /// Tokens per block.
    pub block_size: usize,
    /// Every worker that the index knows, by id.
    pub workers: Vec<WorkerExplanation>,
}

/// Where one worker's prefix ends, and why.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WorkerExplanation {
    /// How many leading blocks it holds, per medium.
    pub overlap: WorkerOverlap,
    /// How far that can be trusted.
    pub state: WorkerState,
    /// What became of the first block behind the prefix; `None` when there is none, or it is held all the same.
    pub next: Option<BlockFate>,
    /// Of a hybrid model, the first cache group that did not allow a longer hit; `None` when the prompt ends there.
    pub limited_by: Option<GroupIdx>,
    /// Which block that is: as many as are leading, unless the index counts others too
    /// ([`Counting`](super::Counting)).
    pub ends: u32,
    /// How many blocks behind the end of the prefix are held all the same, and are of no use.
    pub held_behind: usize,
    /// How many blocks the worker holds of which the index does not know where in which prompt they stand.
    pub unplaced: usize,
}

/// What became of a block that a worker does not hold, or why it is not found there. An index that does not know a more
/// particular reason says [`NeverStored`](Self::NeverStored).
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum BlockFate {
    /// It was stored once, and removed.
    Evicted {
        /// The timestamp of the batch that removed it, in seconds of the engine's clock.
        at: f64,
    },
    /// It was gone with all others, when the engine cleared its cache or was started anew.
    Cleared,
    /// Nothing says that it was ever stored; or it was so long ago that it is forgotten.
    NeverStored,
    /// The worker's blocks are of another size: the prompt does not fill the one that this would be a part of, or the index
    /// cannot put such blocks together to its own.
    OtherBlockSize {
        /// Tokens per block there.
        block_size: u32,
    },
    /// The worker holds a block of these tokens and all before them, under another adapter or another tenant's salt, or with
    /// another image in the first block. An index knows some namespaces only, those that were stored in lately.
    OtherNamespace,
    /// Nothing says that it was ever stored, but events are missing that may: the worker is
    /// [`Recovering`](WorkerState::Recovering).
    Unheard,
}

impl BlockFate {
    /// A block of which nothing is known at a worker in this state.
    pub const fn unknown(state: WorkerState) -> Self {
        match state {
            WorkerState::Recovering => Self::Unheard,
            _ => Self::NeverStored,
        }
    }
}

impl Explanation {
    /// What there is to say about `chain`, worker by worker, in any order.
    pub fn new(chain: &Chain, workers: impl IntoIterator<Item = WorkerExplanation>) -> Self {
        let mut workers: Vec<_> = workers.into_iter().collect();
        workers.sort_unstable_by_key(WorkerExplanation::worker);
        Self { blocks: chain.blocks().len(), block_size: chain.block_size(), workers }
    }

    /// The same as text, with the workers' names, where `name` knows one.
    pub fn named<'a, N: fmt::Display>(&'a self, name: impl Fn(WorkerId) -> Option<N> + 'a) -> impl fmt::Display + 'a {
        fmt::from_fn(move |f| self.write(f, &name))
    }

    fn write<N: fmt::Display>(&self, f: &mut fmt::Formatter<'_>, name: &impl Fn(WorkerId) -> Option<N>) -> fmt::Result {
        writeln!(f, "{} full blocks of {} tokens", self.blocks, self.block_size)?;
        for worker in &self.workers {
            match name(worker.worker()) {
                Some(name) => write!(f, "{name} {worker}")?,
                None => write!(f, "{} {worker}", worker.worker())?,
            }
            writeln!(f)?;
        }
        Ok(())
    }

    /// What there is to say about one worker; `None` when the index does not know it.
    pub fn get(&self, worker: WorkerId) -> Option<&WorkerExplanation> {
        self.workers.iter().find(|explained| explained.worker() == worker)
    }
}

impl WorkerExplanation {
    /// A worker that holds this much; the rest is filled in by whoever knows it.
    pub const fn new(overlap: WorkerOverlap, state: WorkerState) -> Self {
        Self { overlap, state, next: None, ends: overlap.leading, limited_by: None, held_behind: 0, unplaced: 0 }
    }

    /// Who.
    pub const fn worker(&self) -> WorkerId {
        self.overlap.worker
    }
}

/// One line.
impl fmt::Display for BlockFate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Evicted { at } => write!(f, "evicted at {at:.3} s of the engine's clock"),
            Self::Cleared => f.write_str("cleared with the whole cache"),
            Self::NeverStored => f.write_str("never stored, or long ago"),
            Self::OtherBlockSize { block_size } => write!(f, "stored in blocks of {block_size} tokens only"),
            Self::OtherNamespace => f.write_str("stored under another adapter or salt only"),
            Self::Unheard => f.write_str("not heard of, and events are missing that may tell"),
        }
    }
}

/// One line per worker.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, &|_| None::<WorkerId>)
    }
}

/// One line without the worker.
impl fmt::Display for WorkerExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}): holds {} leading", self.state, self.overlap.leading)?;
        write_media(f, &self.overlap)?;
        if let Some(fate) = &self.next {
            write!(f, "; block {} was {fate}", self.ends)?;
        }
        if let Some(GroupIdx(group)) = self.limited_by {
            write!(f, "; cache group {group} allows no more")?;
        }
        if self.held_behind > 0 {
            write!(f, "; {} behind it are held but cannot be reached", self.held_behind)?;
        }
        if self.overlap.shared > 0 {
            write!(f, "; {} lie on the storage that all share", self.overlap.shared)?;
        }
        if self.unplaced > 0 {
            write!(f, "; {} blocks are held whose place is not known", self.unplaced)?;
        }
        Ok(())
    }
}

/// Which media the leading blocks lie on, where there is more to say than that all lie on the GPU.
fn write_media(f: &mut fmt::Formatter<'_>, overlap: &WorkerOverlap) -> fmt::Result {
    if overlap.on(Medium::Gpu) == overlap.leading && Medium::ALL[1..].iter().all(|&medium| overlap.on(medium) == 0) {
        return Ok(());
    }
    let mut before = " (";
    for medium in Medium::ALL {
        write!(f, "{before}{} on {medium}", overlap.on(medium))?;
        before = ", ";
    }
    f.write_str(")")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::{BlockHasher, HashKey, Namespace};

    fn ending(fate: BlockFate) -> String {
        let chain = BlockHasher::new(HashKey::from_bytes([7; 32]), 2).chain(&[1; 7], &Namespace::default());
        let mut worker = WorkerExplanation::new(WorkerOverlap::none(WorkerId(4)), WorkerState::Exact);
        (worker.next, worker.ends, worker.held_behind) = (Some(fate), 1, 2);
        Explanation::new(&chain, [worker]).named(|worker| Some(format!("decode-{}", worker.0))).to_string()
    }

    #[test]
    fn every_reason_is_a_sentence() {
        let reasons = [
            (BlockFate::Evicted { at: 12.5 }, "evicted at 12.500 s of the engine's clock"),
            (BlockFate::Cleared, "cleared with the whole cache"),
            (BlockFate::NeverStored, "never stored, or long ago"),
            (BlockFate::OtherBlockSize { block_size: 64 }, "stored in blocks of 64 tokens only"),
            (BlockFate::OtherNamespace, "stored under another adapter or salt only"),
            (BlockFate::Unheard, "not heard of, and events are missing that may tell"),
        ];
        for (fate, text) in reasons {
            let expected = format!(
                "3 full blocks of 2 tokens\ndecode-4 (exact): holds 0 leading; block 1 was {text}; 2 behind it are held but \
                 cannot be reached\n"
            );
            assert_eq!(ending(fate), expected);
        }
    }

    #[test]
    fn what_is_unknown_while_events_are_missing_may_have_been_stored() {
        assert_eq!(BlockFate::unknown(WorkerState::Recovering), BlockFate::Unheard);
        for state in [WorkerState::Exact, WorkerState::Approximate] {
            assert_eq!(BlockFate::unknown(state), BlockFate::NeverStored);
        }
    }
}
