//! What is measured upon: a fleet's events and a prompt, in files that every language can read.

use std::fs;
use std::path::Path;

use llmd_core::{Error, ErrorKind, Result, TokenId};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Serialize;
use tempfile::TempDir;

/// Tokens per block.
pub(crate) const BLOCK_SIZE: usize = 16;
/// Workers that hold some of the prompt.
pub(crate) const WORKERS: usize = 64;
/// Tokens of the prompt.
pub(crate) const PROMPT: usize = 1024;
/// Events in a batch that stores or removes.
pub(crate) const EVENTS_PER_BATCH: usize = 64;
/// Endpoints that a decision chooses from.
pub(crate) const ENDPOINTS: usize = 8;

/// Blocks that each worker holds for others, so that the tables are as large as real ones.
const OTHER_BLOCKS: usize = 1024;

/// Exact prefix scores and load.
const CONFIG: &str = include_str!("../../exact_prefix.yaml");

/// The scenario, and the folder with its files, which goes away with it:
///
/// - `worker-NN.msgpack`, a batch each: what the worker holds;
/// - `store.msgpack`, `remove.msgpack`: batches that undo each other;
/// - `prompt.u32`: the tokens of the prompt, little-endian;
/// - `epp.yaml`: the scheduler's configuration.
#[derive(Debug)]
pub(crate) struct Scenario {
    folder: TempDir,
    pub(crate) workers: Vec<Vec<u8>>,
    pub(crate) store: Vec<u8>,
    pub(crate) remove: Vec<u8>,
    pub(crate) prompt: Vec<TokenId>,
}

impl Scenario {
    /// Writes the files.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when there is no room for them.
    pub(crate) fn write() -> Result<Self> {
        let prompt = tokens(1, PROMPT);
        let workers = (0..WORKERS).map(|worker| batch(&held(worker, &prompt))).collect();
        let (store, remove) = undone();
        let folder = TempDir::new().map_err(unwritable)?;
        let scenario = Self { folder, workers, store: batch(&store), remove: batch(&remove), prompt };
        scenario.write_files().map_err(unwritable)?;
        Ok(scenario)
    }

    /// Where the files are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The scheduler's configuration.
    pub(crate) const fn config() -> &'static str {
        CONFIG
    }

    fn write_files(&self) -> std::io::Result<()> {
        let write = |name: &str, bytes: &[u8]| fs::write(self.folder().join(name), bytes);
        for (worker, payload) in self.workers.iter().enumerate() {
            write(&format!("worker-{worker:02}.msgpack"), payload)?;
        }
        write("store.msgpack", &self.store)?;
        write("remove.msgpack", &self.remove)?;
        write("prompt.u32", &self.prompt.iter().flat_map(|token| token.to_le_bytes()).collect::<Vec<_>>())?;
        write("epp.yaml", CONFIG.as_bytes())
    }
}

/// An event as vLLM 0.32 writes it.
#[derive(Debug, Serialize)]
#[serde(tag = "type")]
enum Event {
    BlockStored {
        block_hashes: Vec<u64>,
        parent_block_hash: Option<u64>,
        token_ids: Vec<TokenId>,
        block_size: usize,
        lora_id: Option<u32>,
        medium: &'static str,
        lora_name: Option<&'static str>,
    },
    BlockRemoved {
        block_hashes: Vec<u64>,
        medium: &'static str,
    },
}

fn stored(first: u64, parent: Option<u64>, tokens: &[TokenId]) -> Event {
    let blocks = (tokens.len() / BLOCK_SIZE) as u64;
    Event::BlockStored {
        block_hashes: (first..first + blocks).collect(),
        parent_block_hash: parent,
        token_ids: tokens.to_vec(),
        block_size: BLOCK_SIZE,
        lora_id: None,
        medium: "GPU",
        lora_name: None,
    }
}

/// From one block of the prompt to all of it, and what others asked for.
fn held(worker: usize, prompt: &[TokenId]) -> Vec<Event> {
    let leading = (worker + 1) * (PROMPT / BLOCK_SIZE) / WORKERS;
    let others = tokens(100 + worker as u64, OTHER_BLOCKS * BLOCK_SIZE);
    vec![stored(1, None, &prompt[..leading * BLOCK_SIZE]), stored(1_000_000, None, &others)]
}

/// A chain that is stored block by block, and removed block by block from its end, as vLLM evicts.
fn undone() -> (Vec<Event>, Vec<Event>) {
    let chain = tokens(2, EVENTS_PER_BATCH * BLOCK_SIZE);
    let name = |place: usize| 5_000_000 + place as u64;
    let blocks = chain.chunks(BLOCK_SIZE).enumerate();
    let store = blocks.map(|(place, tokens)| stored(name(place), place.checked_sub(1).map(name), tokens)).collect();
    let remove = (0..EVENTS_PER_BATCH).rev();
    let remove = remove.map(|place| Event::BlockRemoved { block_hashes: vec![name(place)], medium: "GPU" }).collect();
    (store, remove)
}

fn batch(events: &[Event]) -> Vec<u8> {
    let named = rmp_serde::to_vec_named(events).expect("events are plain values");
    // An array of timestamp, events and rank, as every version has it.
    let mut payload = vec![0x93, 0xcb];
    payload.extend(1_000.0_f64.to_be_bytes());
    payload.extend(named);
    payload.push(0);
    payload
}

fn tokens(seed: u64, len: usize) -> Vec<TokenId> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(0..150_000)).collect()
}

fn unwritable(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "the files of the scenario cannot be written").with_source(error)
}

#[cfg(test)]
mod tests {
    use llmd_core::event::{KvEvent, decode_batch};

    use super::*;

    #[test]
    fn every_batch_is_one_that_an_engine_could_send() {
        let scenario = Scenario::write().unwrap();
        for payload in scenario.workers.iter().chain([&scenario.store, &scenario.remove]) {
            let batch = decode_batch(payload).unwrap();
            assert_eq!((batch.errors.as_slice(), batch.data_parallel_rank), (&[][..], Some(0)));
        }
        assert_eq!(decode_batch(&scenario.store).unwrap().events.len(), EVENTS_PER_BATCH);
        let KvEvent::BlockStored(last) = &decode_batch(&scenario.workers[WORKERS - 1]).unwrap().events[0] else {
            panic!("a worker's first event stores the prompt")
        };
        assert_eq!(last.token_ids, scenario.prompt);
    }
}
