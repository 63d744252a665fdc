//! The files: what an engine looked up, published and held, step by step.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use llmd_core::TokenId;
use llmd_core::hash::{EngineHasher, Lora, Namespace};
use serde::Deserialize;

/// One engine, from its start.
#[derive(Deserialize)]
pub(crate) struct Capture {
    vllm: String,
    pub(crate) config: Config,
    pub(crate) steps: Vec<Step>,
}

#[derive(Deserialize)]
pub(crate) struct Config {
    /// How many tokens one hash covers: the index's block size.
    pub(crate) hash_block_size: usize,
    pub(crate) int_hashes: bool,
    algo: String,
    #[serde(rename = "PYTHONHASHSEED")]
    seed: Option<String>,
}

/// One step of the engine: what it looked up, what it published, and what it held at the end.
#[derive(Deserialize)]
pub(crate) struct Step {
    pub(crate) name: String,
    /// Topic, sequence number, payload; in hexadecimal.
    pub(crate) frames: Vec<(String, String, String)>,
    pub(crate) cached: Vec<Cached>,
    pub(crate) requests: Vec<Request>,
    #[serde(default)]
    pub(crate) resumed: Vec<Resumed>,
    /// How many events the engine has not published yet.
    #[serde(default)]
    events_pending: usize,
    /// False where the engine announced hits as if they were stored.
    #[serde(default = "yes")]
    expect_exact: bool,
}

#[derive(Deserialize)]
pub(crate) struct Cached {
    pub(crate) hash: String,
    pub(crate) int: Option<u64>,
    pub(crate) group: u32,
    pub(crate) copies: u32,
}

#[derive(Deserialize)]
pub(crate) struct Request {
    pub(crate) id: String,
    pub(crate) prompt_token_ids: Vec<TokenId>,
    pub(crate) output_token_ids: Vec<TokenId>,
    lora: Option<Adapter>,
    salt: Option<String>,
    pub(crate) lookup_hit: usize,
    /// Whether the engine held what it held at the end of the step before when it looked.
    pub(crate) exact_before: bool,
    #[serde(default)]
    pub(crate) skip_reading_prefix_cache: bool,
}

#[derive(Deserialize)]
struct Adapter {
    name: String,
    path: String,
}

/// A request that was preempted and looked again.
#[derive(Deserialize)]
pub(crate) struct Resumed {
    pub(crate) id: String,
    pub(crate) num_tokens: usize,
    pub(crate) hit_tokens: usize,
    pub(crate) exact_before: bool,
}

const fn yes() -> bool {
    true
}

/// The file of a capture in `tests/fixtures`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/vllm-0.32-truth/{name}.json.gz"))
}

impl Capture {
    /// Reads a file, packed as all of them are.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let mut text = String::new();
        let file = File::open(path).map_err(|error| error.to_string())?;
        GzDecoder::new(file).read_to_string(&mut text).map_err(|error| error.to_string())?;
        serde_json::from_str(&text).map_err(|error| error.to_string())
    }

    /// What names the engine's blocks.
    pub(crate) fn hasher(&self) -> EngineHasher {
        let Config { algo, seed, hash_block_size, .. } = &self.config;
        let hasher = EngineHasher::new(&format!("vllm-{algo}"), *hash_block_size)
            .and_then(|hasher| hasher.with_engine_version(&self.vllm))
            .expect("a known engine");
        match seed {
            Some(seed) => hasher.with_seed(seed).expect("every algorithm has a seed"),
            None => hasher,
        }
    }

    pub(crate) fn batches(&self) -> usize {
        self.steps.iter().map(|step| step.frames.len()).sum()
    }
}

impl Step {
    /// Whether what was published may differ from what is held.
    pub(crate) fn is_flagged(&self) -> bool {
        self.events_pending > 0 || !self.expect_exact
    }
}

impl Request {
    pub(crate) fn namespace(&self) -> Namespace {
        let namespace = match &self.lora {
            Some(lora) => Namespace::default().with_lora(Lora::new(&lora.name).with_path(&lora.path)),
            None => Namespace::default(),
        };
        match &self.salt {
            Some(salt) => namespace.with_cache_salt(salt),
            None => namespace,
        }
    }
}
