//! The machines of the published tables, each figure with its source.

use crate::Constants;
use crate::simulate::engine::{Experts, Machine};

/// Qwen3-32B TP2 on H100, as in llm-d's optimized-baseline guide: [`Constants::QWEN3_32B_TP2_H100`].
pub(super) const QWEN3_32B: Machine = Machine::new(Constants::QWEN3_32B_TP2_H100);

/// The same with vLLM's blocks of 64 tokens, as llm-d's guides set them where KV events are used.
pub(super) const fn with_blocks_of(machine: Machine, block_size: usize) -> Machine {
    Machine { block_size, ..machine }
}

/// The same as in the tiered-prefix-cache guide: 2,384,000 tokens of GPU cache on 8 engines, and host memory that comes back
/// at 22.5 GB/s and GPU, as the GLM-5.2 blog measured.
pub(super) const fn tiered(host_tokens: usize) -> Machine {
    let mut machine = QWEN3_32B;
    machine.constants.kv_cache_tokens = 298_000;
    machine.host_tokens = host_tokens;
    machine
}

/// Llama-3.1-70B TP4 on H100, as in the 37 % report.
///
/// - `step_s`: 141 GB of weights / 4 GPUs / 3.35 TB/s = 10.5 ms, and the overhead of Qwen3-32B's, 1.3 ms.
/// - `kv_bytes_per_token`: 80 layers × 8 KV heads × 128 × 2 × 2 B / 4 GPUs.
/// - `prefill_tokens_per_s`: not published as such. llm-d's storage guide has 18,962 tokens/s on 4 of these engines with
///   prompts of 50,000 tokens and no second tier: 4,740 each, which attention over 25,000 tokens on average makes 1.46 times as
///   dear as short prompts (2 × 70.6 G against 4 × 80 × 8192 × 25,000 operations per token). 1.46 × 4,740 = 6,900.
pub(super) const LLAMA_70B: Machine = with_blocks_of(
    Machine::new(Constants {
        name: "Llama-3.1-70B TP4 on H100",
        step_s: 0.0118,
        kv_bytes_per_token: 81_920.0,
        memory_bytes_per_s: 3.35e12,
        prefill_tokens_per_s: 6_900.0,
        kv_cache_tokens: 461_376,
        front_end_s: 0.015,
    }),
    64,
);

/// What of gpt-oss-120b is read in a step by the tokens that are computed: 114.7 B parameters of experts in MXFP4, 4.25 bits
/// each, of which a token uses 4 of 128 (model card).
const GPT_OSS_EXPERTS: Experts = Experts { bytes: 60.9e9, share: 4.0 / 128.0 };

/// gpt-oss-120b TP1 on H100, as in the optimized-baseline guide.
///
/// - `step_s`: 3.1 GB of other weights (bf16, model card) / 3.35 TB/s = 0.9 ms, and the overhead of Qwen3-32B's, 1.3 ms.
/// - `kv_bytes_per_token`: 41.5 KB, as the P2P guide measured.
/// - `prefill_tokens_per_s`: `peakPrefillThroughput` of the guide.
/// - `kv_cache_tokens`: not published; at 0.9 of the memory the cache is just too small for one request of 131,072 tokens,
///   as the guide says, and 0.05 × 79.6 GiB more are given to it: 103,000 tokens.
pub(super) const GPT_OSS_H100: Machine = Machine {
    experts: Some(GPT_OSS_EXPERTS),
    ..with_blocks_of(
        Machine::new(Constants {
            name: "gpt-oss-120b TP1 on H100",
            step_s: 0.0022,
            kv_bytes_per_token: 41_500.0,
            memory_bytes_per_s: 3.35e12,
            prefill_tokens_per_s: 39_065.0,
            kv_cache_tokens: 234_000,
            front_end_s: 0.015,
        }),
        128,
    )
};

/// gpt-oss-120b TP1 on H200, as in the P2P guide: 1.22 M tokens of GPU cache, 88 GiB of host memory (2.22 M tokens), about
/// 29,000 prefill tokens per second.
pub(super) const GPT_OSS_H200: Machine = Machine {
    experts: Some(GPT_OSS_EXPERTS),
    host_tokens: 2_220_000,
    ..with_blocks_of(
        Machine::new(Constants {
            name: "gpt-oss-120b TP1 on H200",
            step_s: 0.0019,
            kv_bytes_per_token: 41_500.0,
            memory_bytes_per_s: 4.8e12,
            prefill_tokens_per_s: 29_000.0,
            kv_cache_tokens: 1_220_000,
            front_end_s: 0.015,
        }),
        64,
    )
};

/// Seconds to pull a prefix of gpt-oss-120b from a peer, by its tokens: the P2P guide's table.
pub(super) const GPT_OSS_PULL_S: &[(f64, f64)] =
    &[(2_048.0, 0.0490), (8_192.0, 0.1201), (16_384.0, 0.1962), (32_768.0, 0.3763), (49_152.0, 0.5505)];
