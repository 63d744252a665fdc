//! KV events: what engines say about their caches, whatever engine and version, as one type.
//!
//! [`decode_batch`] takes the payload of one message of vLLM or SGLang, [`TrtllmDecoder`] what TensorRT-LLM answers;
//! [`Sequencer`] says whether a batch is the next one, a duplicate, or one after a gap.

mod decode;
mod doubts;
mod fault;
mod numbered;
mod sequencer;
mod silence;
mod trtllm;

use std::borrow::Cow;
use std::fmt;

pub use decode::decode_batch;
pub use doubts::Doubts;
pub use fault::MAX_EVENT_ERRORS;
pub use numbered::number_batch;
pub use sequencer::{Anchor, Numbered, ReplayId, Sequencer, SequencerCounts, SequencerSettings, Step};
pub use silence::{Silence, SilenceSettings};
pub use trtllm::{TrtllmDecoder, TrtllmEvents};

use crate::{ExternalBlockHash, GroupIdx, Locality, Medium, TokenId};

/// One message of an engine's event stream.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct KvEventBatch {
    /// When the engine made it, in seconds of the engine's clock.
    pub timestamp: f64,
    /// What happened, in order, without what could not be read.
    pub events: Vec<KvEvent>,
    /// What could not be read, each with its place, up to [`MAX_EVENT_ERRORS`]. Nothing else in the batch is lost.
    pub errors: Vec<EventError>,
    /// How many more errors there were.
    pub errors_dropped: usize,
    /// The data-parallel rank that speaks, where the engine says so.
    pub data_parallel_rank: Option<u32>,
}

/// One thing that happened to an engine's cache.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum KvEvent {
    /// Every block in GPU memory is gone.
    AllBlocksCleared,
    /// One copy of each of these blocks is gone.
    BlockRemoved(BlockRemoved),
    /// One copy of each of these blocks is there now.
    BlockStored(BlockStored),
}

/// One copy of each of some blocks is there now: consecutive blocks, first block first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct BlockStored {
    /// The engine's names. May be fewer than `token_ids` has blocks, or empty, where a cache group stores only what a
    /// later request can need.
    pub block_hashes: Vec<ExternalBlockHash>,
    /// The name of the block before the first; `None` at the start of a prompt, and in hash-only events.
    pub parent_block_hash: Option<ExternalBlockHash>,
    /// The tokens of the blocks; empty in hash-only events of offload tiers.
    pub token_ids: Vec<TokenId>,
    /// Tokens per block; 0 in hash-only events.
    pub block_size: u32,
    /// The number of the adapter, from engines that say no name.
    pub lora_id: Option<i64>,
    /// The name of the adapter.
    pub lora_name: Option<String>,
    /// What the blocks lie on.
    pub medium: Medium,
    /// Whether others read the tier too.
    pub locality: Locality,
    /// The tier that holds them, where there is more than one.
    pub ownership: Option<String>,
    /// The tenant's salt, from engines that say it here and not among the extra keys.
    pub cache_salt: Option<String>,
    /// What besides tokens entered each block's hash: one entry per name in `block_hashes`, or none at all.
    pub extra_keys: Vec<Vec<EventExtraKey>>,
    /// The KV-cache group.
    pub group_idx: GroupIdx,
    /// What kind of attention the group has; full attention unless it says otherwise.
    pub spec_kind: SpecKind,
    /// How far a sliding window reaches, in tokens.
    pub sliding_window: Option<u32>,
    /// The session of the request that stored them, for attribution only.
    pub session_id: Option<String>,
}

impl BlockStored {
    /// The name of the adapter; `lora id N` from engines that say only its number.
    pub fn adapter(&self) -> Option<Cow<'_, str>> {
        match (&self.lora_name, self.lora_id) {
            (Some(name), _) => Some(name.into()),
            (None, Some(id)) => Some(format!("lora id {id}").into()),
            (None, None) => None,
        }
    }
}

/// One copy of each of some blocks is gone.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct BlockRemoved {
    /// The engine's names.
    pub block_hashes: Vec<ExternalBlockHash>,
    /// What they lay on.
    pub medium: Medium,
    /// The KV-cache group.
    pub group_idx: GroupIdx,
    /// Whether others read the tier too.
    pub locality: Locality,
    /// The tier that held them, where there is more than one.
    pub ownership: Option<String>,
}

/// What besides tokens entered a block's hash, as events say it: without tags.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum EventExtraKey {
    /// A digest of prompt embeddings.
    Digest(Vec<u8>),
    /// A multimodal item and where it begins, counted from the block's first token.
    Multimodal {
        /// The engine's name for its content.
        identifier: String,
        /// Where it begins; negative when an earlier block has its beginning.
        offset: i64,
    },
    /// An adapter's name or a salt: the first equals the event's `lora_name` when it is an adapter.
    Text(String),
}

/// What kind of attention a cache group serves, which decides what a hit is.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum SpecKind {
    /// Attention to a chunk of the prompt.
    ChunkedLocalAttention,
    /// Attention to another sequence.
    CrossAttention,
    /// Attention of an encoder.
    EncoderOnlyAttention,
    /// Attention to everything before: a hit is a run of blocks from the start.
    #[default]
    FullAttention,
    /// A recurrent or convolution state: a hit is one block at a boundary.
    Mamba,
    /// Full attention to a compressed cache.
    MlaAttention,
    /// Full attention with sinks.
    SinkFullAttention,
    /// Attention to the last tokens: a hit is the blocks before its end.
    SlidingWindow,
    /// The same, to a compressed cache.
    SlidingWindowMla,
    /// A kind that this version does not know.
    Unknown,
}

impl SpecKind {
    /// The kind that vLLM means by `name`.
    pub fn from_wire(name: &str) -> Self {
        match name {
            "chunked_local_attention" => Self::ChunkedLocalAttention,
            "cross_attention" => Self::CrossAttention,
            "encoder_only_attention" => Self::EncoderOnlyAttention,
            "full_attention" => Self::FullAttention,
            "mamba" => Self::Mamba,
            "mla_attention" => Self::MlaAttention,
            "sink_full_attention" => Self::SinkFullAttention,
            "sliding_window" => Self::SlidingWindow,
            "sliding_window_mla" => Self::SlidingWindowMla,
            _ => Self::Unknown,
        }
    }

    /// Whether a hit in the group is a run of blocks from the start of the prompt.
    pub const fn is_full(self) -> bool {
        matches!(self, Self::FullAttention | Self::MlaAttention | Self::SinkFullAttention)
    }
}

/// One event of a batch that could not be read.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct EventError {
    /// Which event of the batch it is, counted from 0; how many events there are, when it is something behind them.
    pub event: usize,
    /// The first byte of the payload that could not be read.
    pub byte: usize,
    /// The field it stands in, as the engine names it; empty when no field had begun.
    pub field: &'static str,
    /// What was found and what was expected.
    pub message: String,
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {} at byte {}", self.event, self.byte)?;
        if !self.field.is_empty() {
            write!(f, ", field {}", self.field)?;
        }
        write!(f, ": {}", self.message)
    }
}
