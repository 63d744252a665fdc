//! The figures that decide how long a step takes, with their source, and how they shrink with the fleet's scale.

use std::fmt;

/// What a model on its accelerators can do, in real tokens.
///
/// The step time is `t0 + Σ context × kv_bytes / bandwidth + prefill / prefill_rate`, as ADR 7 derives it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Constants {
    /// Model and accelerators.
    pub name: &'static str,
    /// Seconds that a step takes before it reads any KV: weights through memory, kernel launches.
    pub step_s: f64,
    /// Bytes of KV cache per token on one GPU.
    pub kv_bytes_per_token: f64,
    /// Bytes per second that one GPU reads from its memory.
    pub memory_bytes_per_s: f64,
    /// Prompt tokens per second that prefill reaches at its best.
    pub prefill_tokens_per_s: f64,
    /// Tokens that the KV cache holds.
    pub kv_cache_tokens: usize,
    /// Seconds that the front end adds to the first token.
    pub front_end_s: f64,
}

impl Constants {
    /// Qwen3-32B with tensor parallelism 2 on H100 80 GB.
    ///
    /// - `step_s`: 65 GB of weights / 2 GPUs / 3.35 TB/s = 9.7 ms, and overhead; llm-d publishes 11 ms between tokens at 3
    ///   requests per second.
    /// - `kv_bytes_per_token`: 64 layers × 8 KV heads × 128 × 2 (K, V) × 2 B = 262,144 B, halved by tensor parallelism.
    /// - `prefill_tokens_per_s`: `peakPrefillThroughput` in llm-d's optimized-baseline guide.
    /// - `kv_cache_tokens`: what that guide's engines report.
    pub const QWEN3_32B_TP2_H100: Self = Self {
        name: "Qwen3-32B TP2 on H100",
        step_s: 0.011,
        kv_bytes_per_token: 131_072.0,
        memory_bytes_per_s: 3.35e12,
        prefill_tokens_per_s: 15_928.0,
        kv_cache_tokens: 307_328,
        front_end_s: 0.015,
    };

    /// The same machine for a fleet in which one token stands for `scale` real ones; 0 counts as 1.
    pub fn scaled(self, scale: usize) -> ScaledConstants {
        ScaledConstants { real: self, scale: scale.max(1) }
    }
}

impl fmt::Display for Constants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {:.0} ms per step, {:.0} KiB of KV per token and GPU, {:.2} TB/s memory, {:.0} prefill tokens/s, {} tokens of KV \
             cache, {:.0} ms front end",
            self.name,
            self.step_s * 1e3,
            self.kv_bytes_per_token / 1024.0,
            self.memory_bytes_per_s / 1e12,
            self.prefill_tokens_per_s,
            self.kv_cache_tokens,
            self.front_end_s * 1e3,
        )
    }
}

/// [`Constants`] in simulated tokens, each of which stands for `scale` real ones.
///
/// A prompt of `n` simulated tokens takes as long as one of `n × scale` real tokens: prefill throughput, KV capacity and
/// token budget are divided by the scale, KV bytes per token multiplied. A step is one real step; an output token stands for
/// `scale` real ones, so a sequence that decodes yields one every `scale` steps. Decoding neither slows prefill down nor
/// gets ahead of it more than on the real machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScaledConstants {
    real: Constants,
    scale: usize,
}

impl ScaledConstants {
    /// What one real token costs.
    pub const fn real(&self) -> &Constants {
        &self.real
    }

    /// Real tokens per simulated token.
    pub const fn scale(&self) -> usize {
        self.scale
    }

    /// Simulated tokens that the KV cache holds.
    pub const fn kv_cache_tokens(&self) -> usize {
        self.real.kv_cache_tokens / self.scale
    }

    /// The seconds that `steps` real steps in a row take, each of which reads `context_tokens` of KV for the sequences that
    /// decode, and which compute `prefill_tokens` of prompts in all, both in simulated tokens.
    pub fn step_s(&self, steps: usize, context_tokens: usize, prefill_tokens: usize) -> f64 {
        let scale = self.scale as f64;
        let read = context_tokens as f64 * scale * self.real.kv_bytes_per_token / self.real.memory_bytes_per_s;
        let prefill = prefill_tokens as f64 * scale / self.real.prefill_tokens_per_s;
        steps as f64 * (self.real.step_s + read) + prefill
    }
}

impl fmt::Display for ScaledConstants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; one simulated token stands for {}", self.real, self.scale)
    }
}
