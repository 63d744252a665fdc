//! The settings of an engine, named as in vLLM.

use llmd_core::hash::Sha256Cbor;
use llmd_core::{Error, ErrorKind, Result};

use crate::ScaledConstants;

/// The settings of an [`Engine`](super::Engine). Token counts are simulated tokens.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EngineSettings {
    /// How long steps take.
    pub constants: ScaledConstants,
    /// Tokens per block. Default: 16.
    pub block_size: usize,
    /// Blocks of KV cache, the null block included. Default: what the constants' cache holds.
    pub num_blocks: u32,
    /// Sequences in a step. Default: 256.
    pub max_num_seqs: usize,
    /// Tokens in a step. Default: 8,192 real tokens.
    pub max_num_batched_tokens: usize,
    /// Tokens of a prompt with its output. Default: what the KV cache holds.
    pub max_model_len: usize,
    /// Requests that may wait. Default: 16,384.
    pub max_waiting: usize,
    /// What block names begin with: `PYTHONHASHSEED` in vLLM. Default: vLLM's own.
    pub hash_seed: String,
}

impl EngineSettings {
    /// vLLM's defaults for a machine with these constants.
    pub fn new(constants: ScaledConstants) -> Self {
        let blocks = constants.kv_cache_tokens() / 16;
        Self {
            constants,
            block_size: 16,
            num_blocks: blocks as u32 + 1,
            max_num_seqs: 256,
            max_num_batched_tokens: 8_192 / constants.scale(),
            max_model_len: blocks * 16,
            max_waiting: 16_384,
            hash_seed: Sha256Cbor::DEFAULT_SEED.to_owned(),
        }
    }

    /// Tokens that the cache holds.
    pub const fn kv_cache_tokens(&self) -> usize {
        self.num_blocks.saturating_sub(1) as usize * self.block_size
    }

    /// The same settings, when an engine can work with them.
    pub(super) fn checked(self) -> Result<Self> {
        let wrong = |message: String| Err(Error::new(ErrorKind::Invalid, message));
        for (name, value) in [
            ("block_size", self.block_size),
            ("max_num_seqs", self.max_num_seqs),
            ("max_num_batched_tokens", self.max_num_batched_tokens),
            ("max_model_len", self.max_model_len),
        ] {
            if value == 0 {
                return wrong(format!("{name} is 0, expected at least 1"));
            }
        }
        if self.num_blocks < 2 {
            return wrong(format!("num_blocks is {}, expected at least 2: block 0 holds nothing", self.num_blocks));
        }
        if self.max_model_len > self.kv_cache_tokens() {
            let (len, tokens) = (self.max_model_len, self.kv_cache_tokens());
            return wrong(format!("max_model_len is {len}, but the KV cache holds {tokens} tokens"));
        }
        Ok(self)
    }
}
