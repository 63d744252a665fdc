//! The engines of a world, without what they do: their blocks, their requests, and the agent that fetches.

use std::collections::BTreeMap;

use llmd_kvxfer::session::decode::{Allocation, Decode, FetchId};
use llmd_kvxfer::session::prefill::Prefill;
use llmd_kvxfer::{Blocks, Outcome};

use crate::lender::{Key, Lender};
use crate::pool::Pool;

#[derive(Debug)]
pub(crate) struct PrefillEngine {
    pub(crate) machine: Prefill,
    pub(crate) max_held: usize,
    pub(crate) polls_at: Option<u64>,
    pub(crate) pool: Pool,
    /// By shard, group and block.
    pub(crate) memory: BTreeMap<(u32, u32, u32), u64>,
    /// By shard.
    pub(crate) lenders: Vec<Lender>,
    /// When each shard's next restart may be told: in the order in which they happened.
    pub(crate) told_at: Vec<u64>,
    /// The blocks of each request, by group, until they may be reused.
    pub(crate) held: BTreeMap<usize, Vec<(u32, Vec<u32>)>>,
    pub(crate) answered: BTreeMap<usize, bool>,
}

#[derive(Debug)]
pub(crate) struct DecodeEngine {
    pub(crate) machine: Decode,
    pub(crate) max_requests: usize,
    pub(crate) polls_at: Option<u64>,
    pub(crate) in_step: bool,
    pub(crate) fetch_within: std::time::Duration,
    pub(crate) pool: Pool,
    /// By group and block.
    pub(crate) memory: BTreeMap<(u32, u32), Cell>,
    pub(crate) jobs: BTreeMap<usize, Job>,
    pub(crate) boot: u64,
    pub(crate) ops: BTreeMap<FetchId, Op>,
    pub(crate) ended: BTreeMap<FetchId, (Outcome, Blocks)>,
}

/// A block: who it was allocated for, and what each shard wrote there.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) owner: (usize, u32),
    pub(crate) shards: Vec<Option<u64>>,
}

/// A request at a decoding engine.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) state: JobState,
    pub(crate) prompt: u32,
    /// How often blocks were allocated.
    pub(crate) epoch: u32,
    pub(crate) tries: u32,
    pub(crate) blocks: Vec<Allocation>,
    pub(crate) since: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum JobState {
    Ended,
    /// `Free` is awaited; then it ends, or is queued again.
    Freeing {
        again: bool,
    },
    Loading,
    Queued,
    Running,
}

/// A fetch, in the agent.
#[derive(Debug)]
pub(crate) struct Op {
    pub(crate) request: usize,
    pub(crate) epoch: u32,
    pub(crate) key: Key,
    pub(crate) group: u32,
    pub(crate) skip: usize,
    pub(crate) blocks: Vec<u32>,
    pub(crate) good: Blocks,
    pub(crate) left: usize,
    /// How it ends, when all reads have ended and nothing else happened.
    pub(crate) fate: Fate,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    Ends(Outcome),
    Hangs,
}
