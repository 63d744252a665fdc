//! What an engine runs on, and how long its steps take.

use std::time::Duration;

use crate::Constants;

/// What an engine runs on.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    /// The published figures.
    pub constants: Constants,
    /// The experts of the model, when it has any.
    pub experts: Option<Experts>,
    /// How fast it is, measured by the published figures: 0.5 takes twice as long.
    pub speed: f64,
    /// Tokens per block.
    pub block_size: usize,
    /// Tokens that host memory holds; 0 when nothing is offloaded.
    pub host_tokens: usize,
    /// Bytes per second and GPU that come back from host memory.
    pub host_bytes_per_s: f64,
}

/// A mixture of experts: how much of the weights a step reads depends on how many tokens it computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Experts {
    /// Bytes of all experts on one GPU.
    pub bytes: f64,
    /// The share of experts that one token uses.
    pub share: f64,
}

impl Machine {
    /// A machine with these figures, vLLM's block size, and no second tier.
    pub const fn new(constants: Constants) -> Self {
        Self { constants, experts: None, speed: 1.0, block_size: 16, host_tokens: 0, host_bytes_per_s: 22.5e9 }
    }

    /// Blocks that the KV cache holds, the null block included.
    pub fn blocks(&self) -> u32 {
        (self.constants.kv_cache_tokens / self.block_size) as u32 + 1
    }

    /// How long a step takes that reads `context` tokens of KV for `decoding` sequences, computes `prefill` tokens of
    /// prompts, and brings back `restored` tokens from host memory.
    ///
    /// Formula: ADR 7, where prompts take as long as what is brought back for them, if that is longer; weights of experts
    /// that no token uses are not read.
    pub(super) fn step(&self, context: usize, decoding: usize, prefill: usize, restored: usize) -> Duration {
        let constants = self.constants.scaled(1);
        let mut seconds = constants.step_s(1, context, prefill);
        if restored > 0 {
            let restore = restored as f64 * self.constants.kv_bytes_per_token / self.host_bytes_per_s;
            let computed = prefill as f64 / self.constants.prefill_tokens_per_s;
            seconds += (restore - computed).max(0.0);
        }
        if let Some(Experts { bytes, share }) = self.experts {
            let used = 1.0 - (1.0 - share).powi((decoding + prefill).min(10_000) as i32);
            seconds += used * bytes / self.constants.memory_bytes_per_s;
        }
        Duration::from_secs_f64(seconds / self.speed)
    }
}
