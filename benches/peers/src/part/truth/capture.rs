//! A capture: what an engine published, what it held after each step, and what it hit.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use llmd_core::hash::EngineHasher;
use llmd_core::{Error, ErrorKind, ExternalBlockHash, Result, TokenId};
use serde::Deserialize;

/// The captures of a folder, by name.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] when the folder cannot be read or holds none.
pub(super) fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let unavailable = |line| Error::new(ErrorKind::Unavailable, line);
    let entries = fs::read_dir(folder)
        .map_err(|error| unavailable(format!("cannot read the folder {}", folder.display())).with_source(error))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let mut paths: Vec<_> = paths.filter(|path| path.to_string_lossy().ends_with(".json.gz")).collect();
    paths.sort_unstable();
    if paths.is_empty() {
        return Err(unavailable(format!("{} holds no capture: expected *.json.gz", folder.display())));
    }
    Ok(paths)
}

#[derive(Debug, Deserialize)]
pub(super) struct Capture {
    vllm: String,
    pub(super) config: Config,
    pub(super) steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Config {
    /// Tokens for each hash of a request.
    pub(super) hash_block_size: usize,
    pub(super) int_hashes: bool,
    algo: String,
    #[serde(rename = "PYTHONHASHSEED")]
    seed: Option<String>,
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
struct Group {
    kind: String,
    block_size: usize,
}

/// One step of the engine: what it looked up, what it published, and what it held at the end.
#[derive(Debug, Deserialize)]
pub(super) struct Step {
    pub(super) name: String,
    /// Topic, sequence number, payload; in hexadecimal.
    frames: Vec<(String, String, String)>,
    pub(super) cached: Vec<Cached>,
    pub(super) requests: Vec<Request>,
    #[serde(default)]
    resumed: Vec<Resumed>,
    /// How many events the engine has not published yet.
    #[serde(default)]
    events_pending: usize,
    /// False where the engine announced hits as if they were stored.
    #[serde(default = "yes")]
    expect_exact: bool,
}

/// A block that the engine held.
#[derive(Debug, Deserialize)]
pub(super) struct Cached {
    hash: String,
    int: Option<u64>,
    pub(super) group: u32,
    pub(super) copies: u32,
}

#[derive(Debug, Deserialize)]
pub(super) struct Request {
    pub(super) id: String,
    prompt_token_ids: Vec<TokenId>,
    output_token_ids: Vec<TokenId>,
    lora: Option<Adapter>,
    salt: Option<String>,
    lookup_hit: usize,
    /// Whether the engine held what it held at the end of the step before when it looked.
    exact_before: bool,
    #[serde(default)]
    skip_reading_prefix_cache: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Adapter {
    pub(super) name: String,
    pub(super) path: String,
}

/// A request that was preempted and looked again.
#[derive(Debug, Deserialize)]
struct Resumed {
    id: String,
    num_tokens: usize,
    hit_tokens: usize,
    exact_before: bool,
}

const fn yes() -> bool {
    true
}

/// A lookup of the engine.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) tokens: Vec<TokenId>,
    pub(super) lora: Option<&'a Adapter>,
    pub(super) salt: Option<&'a str>,
    /// False when the request does not read the cache.
    pub(super) reads: bool,
    /// Tokens that the engine took from its cache.
    pub(super) hit: usize,
}

impl Capture {
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when the file cannot be read; [`ErrorKind::Invalid`] when it is no capture.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let mut text = String::new();
        File::open(path).and_then(|file| GzDecoder::new(file).read_to_string(&mut text)).map_err(|error| {
            Error::new(ErrorKind::Unavailable, format!("cannot read {}", path.display())).with_source(error)
        })?;
        serde_json::from_str(&text).map_err(|error| {
            Error::new(ErrorKind::Invalid, format!("{} is no capture", path.display())).with_source(error)
        })
    }

    /// What names blocks as the engine does.
    ///
    /// # Errors
    ///
    /// Those of [`EngineHasher`], when it knows no such engine.
    pub(super) fn hasher(&self) -> Result<EngineHasher> {
        let Config { algo, seed, hash_block_size, .. } = &self.config;
        let hasher = EngineHasher::new(&format!("vllm-{algo}"), *hash_block_size)?.with_engine_version(&self.vllm)?;
        match seed {
            Some(seed) => hasher.with_seed(seed),
            None => Ok(hasher),
        }
    }
}

impl Config {
    pub(super) fn is_hybrid(&self) -> bool {
        self.groups.iter().any(|group| group.kind != "FullAttentionSpec")
    }

    /// Tokens in a block of full attention.
    pub(super) fn full_block_size(&self) -> usize {
        let full = self.groups.iter().find(|group| group.kind == "FullAttentionSpec");
        full.map_or(self.hash_block_size, |group| group.block_size)
    }
}

impl Step {
    pub(super) const fn is_flagged(&self) -> bool {
        self.events_pending > 0 || !self.expect_exact
    }

    pub(super) fn payloads(&self) -> impl Iterator<Item = Result<Vec<u8>>> {
        self.frames.iter().map(|(_, _, payload)| bytes(payload))
    }

    /// Those that saw what the step before left behind.
    pub(super) fn lookups<'a>(&self, requests: &HashMap<&'a str, &'a Request>) -> Vec<Asked<'a>> {
        let new = self.requests.iter().filter(|request| request.exact_before);
        let new = new.filter_map(|request| Some(requests.get(&*request.id)?.asked(None, request.lookup_hit)));
        let again = self.resumed.iter().filter(|resumed| resumed.exact_before);
        let again =
            again.filter_map(|again| Some(requests.get(&*again.id)?.asked(Some(again.num_tokens), again.hit_tokens)));
        new.chain(again).collect()
    }
}

impl Request {
    /// A lookup of the prompt, or of so many tokens of it and the output.
    fn asked(&self, tokens: Option<usize>, hit: usize) -> Asked<'_> {
        let all = self.prompt_token_ids.iter().chain(&self.output_token_ids).copied();
        Asked {
            tokens: all.take(tokens.unwrap_or(self.prompt_token_ids.len())).collect(),
            lora: self.lora.as_ref(),
            salt: self.salt.as_deref(),
            reads: !self.skip_reading_prefix_cache,
            hit,
        }
    }
}

impl Cached {
    /// The name that events use.
    pub(super) fn name(&self, int_hashes: bool) -> Option<ExternalBlockHash> {
        match self.int.filter(|_| int_hashes) {
            Some(int) => Some(ExternalBlockHash::from_int(int)),
            None => bytes(&self.hash).ok().map(|bytes| ExternalBlockHash::from_bytes(&bytes)),
        }
    }
}

fn bytes(text: &str) -> Result<Vec<u8>> {
    hex::decode(text)
        .map_err(|error| Error::new(ErrorKind::Invalid, "bytes that are not hexadecimal").with_source(error))
}
