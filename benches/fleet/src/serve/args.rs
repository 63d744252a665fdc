//! The command line of `llmd-engine`, named as in vLLM where vLLM has it.

use std::path::PathBuf;

use clap::Parser;
use llmd_core::hash::Lora;

use crate::Constants;
use crate::model::{Adapter, EngineSettings};

/// One simulated engine: OpenAI over HTTP, KV events over ZMQ, vLLM's caches and metrics, published step times.
///
/// Prints one line of JSON on standard output when it serves: {"name", "http", "kv_events", "replay", "pid"}. Logs go to
/// standard error. Ends on SIGTERM and SIGINT. Of an argument given twice the last one counts.
#[derive(Clone, Debug, Parser)]
#[command(name = "llmd-engine", version, args_override_self = true)]
#[non_exhaustive]
pub struct Args {
    /// What the engine calls itself in its ready line and topic.
    #[arg(long, default_value = "e0")]
    pub name: String,
    /// The model that requests name.
    #[arg(long, default_value = "tiny")]
    pub model: String,
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    pub host: std::net::IpAddr,
    /// The port of the OpenAI server; 0 takes any free one.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// The port that publishes KV events; 0 takes any free one.
    #[arg(long, default_value_t = 0)]
    pub kv_events_port: u16,
    /// The port that replays KV events; 0 takes any free one.
    #[arg(long, default_value_t = 0)]
    pub replay_port: u16,
    /// The topic of the events. Default: `kv@HOST:PORT@MODEL`.
    #[arg(long)]
    pub topic: Option<String>,
    /// Simulated tokens per block.
    #[arg(long, default_value_t = 16)]
    pub block_size: usize,
    /// Blocks of KV cache, the null block included. Default: what the simulated machine holds.
    #[arg(long)]
    pub num_gpu_blocks: Option<u32>,
    /// Bytes of real memory behind each block, for engines that hand over KV; with 0 there are none, and every engine computes
    /// its prompts itself.
    #[arg(long, default_value_t = 0)]
    pub kv_block_bytes: u32,
    /// Simulated tokens of a prompt with its output. Default: what the cache holds.
    #[arg(long)]
    pub max_model_len: Option<usize>,
    /// Sequences in a step.
    #[arg(long, default_value_t = 256)]
    pub max_num_seqs: usize,
    /// Real tokens in a step: divided by the scale.
    #[arg(long, default_value_t = 8192)]
    pub max_num_batched_tokens: usize,
    /// Real tokens that one simulated token stands for.
    #[arg(long, default_value_t = 1)]
    pub scale: usize,
    /// How much faster than the wall clock the engine's time runs.
    #[arg(long, default_value_t = 1.0)]
    pub speed: f64,
    /// The tokenizer.json; tokenizer_config.json beside it has the chat template.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/tokenizer/tokenizer.json"))]
    pub tokenizer: PathBuf,
    /// An adapter that requests can name as their model, as NAME or NAME=PATH. May be given several times.
    #[arg(long, value_name = "NAME[=PATH]", action = clap::ArgAction::Append)]
    pub lora: Vec<String>,
    /// What block names begin with, as PYTHONHASHSEED does for vLLM. Default: vLLM's own.
    #[arg(long)]
    pub hash_seed: Option<String>,
    /// What outputs are made from, together with each prompt.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

impl Args {
    /// The engine that these arguments describe.
    ///
    /// # Errors
    ///
    /// Says which argument is wrong.
    pub(super) fn engine_settings(&self) -> Result<EngineSettings, String> {
        if self.scale == 0 {
            return Err("--scale is 0, expected at least 1".into());
        }
        if !(self.speed.is_finite() && self.speed > 0.0) {
            return Err(format!("--speed is {}, expected a number above 0", self.speed));
        }
        if self.block_size == 0 {
            return Err("--block-size is 0, expected at least 1".into());
        }
        let mut settings = EngineSettings::new(Constants::QWEN3_32B_TP2_H100.scaled(self.scale));
        settings.block_size = self.block_size;
        settings.num_blocks =
            self.num_gpu_blocks.unwrap_or_else(|| (settings.constants.kv_cache_tokens() / self.block_size) as u32 + 1);
        settings.max_model_len = self.max_model_len.unwrap_or_else(|| settings.kv_cache_tokens());
        settings.max_num_seqs = self.max_num_seqs;
        settings.max_num_batched_tokens = self.max_num_batched_tokens / self.scale;
        if let Some(seed) = &self.hash_seed {
            settings.hash_seed.clone_from(seed);
        }
        Ok(settings)
    }

    /// The adapters, numbered from 1.
    pub(super) fn adapters(&self) -> Vec<Adapter> {
        let adapters = (1..).zip(&self.lora).map(|(id, argument)| {
            let (name, path) = argument.split_once('=').unwrap_or((argument, argument));
            Adapter { id, lora: Lora::new(name).with_path(path) }
        });
        adapters.collect()
    }
}
