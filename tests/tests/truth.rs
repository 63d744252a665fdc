//! The exact index against real engines: fed with what vLLM published, it must hold exactly what vLLM held after each
//! step, and foretell every hit.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read as _;

use flate2::read::GzDecoder;
use llmd_core::event::decode_batch;
use llmd_core::hash::{Chain, Lora, Namespace};
use llmd_core::index::{
    ExactIndex, ExactReader, ExactWriter, IndexSettings, IndexWriter as _, PrefixIndex as _, WorkerState,
};
use llmd_core::{ExternalBlockHash, GroupIdx, Medium, TokenId, WorkerId};
use serde::Deserialize;

const CAPTURES: [&str; 5] = [
    "d1-sha256-int-b32",
    "d2-sha256cbor-bytes-b32-lora-salt",
    "d3-xxhashcbor-int-b64",
    "d4-sha256-int-b32-priority-preempt",
    "d10-sha256-int-b32-async",
];

const WORKER: WorkerId = WorkerId(0);

#[derive(Deserialize)]
struct Capture {
    config: Config,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Config {
    block_size: usize,
    int_hashes: bool,
}

/// One step of the engine: what it looked up, what it published, and what it held at the end.
#[derive(Deserialize)]
struct Step {
    name: String,
    /// Topic, sequence number, payload; in hexadecimal.
    frames: Vec<(String, String, String)>,
    cached: Vec<Cached>,
    requests: Vec<Request>,
    #[serde(default)]
    resumed: Vec<Resumed>,
    /// How many events the engine has not published yet.
    #[serde(default)]
    events_pending: usize,
    /// False where the engine announced hits as if they were stored.
    #[serde(default = "yes")]
    expect_exact: bool,
}

#[derive(Deserialize)]
struct Cached {
    hash: String,
    int: Option<u64>,
    group: u32,
    copies: u32,
}

#[derive(Deserialize)]
struct Request {
    id: String,
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

#[derive(Deserialize)]
struct Adapter {
    name: String,
    path: String,
}

/// A request that was preempted and looked again.
#[derive(Deserialize)]
struct Resumed {
    id: String,
    num_tokens: usize,
    hit_tokens: usize,
    exact_before: bool,
}

const fn yes() -> bool {
    true
}

impl Capture {
    fn read(name: &str) -> Self {
        let path = format!("{}/fixtures/vllm-0.32-truth/{name}.json.gz", env!("CARGO_MANIFEST_DIR"));
        let mut text = String::new();
        GzDecoder::new(File::open(path).unwrap()).read_to_string(&mut text).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

impl Step {
    fn is_flagged(&self) -> bool {
        self.events_pending > 0 || !self.expect_exact
    }
}

impl Request {
    fn namespace(&self) -> Namespace {
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

/// What a replay found.
#[derive(Debug, Default)]
struct Found {
    steps: usize,
    batches: usize,
    lookups: usize,
    /// Lookups that came before the engine had published what it did in the step before: it clears its cache at once
    /// when it is told to, and says so with the next step.
    unannounced: usize,
    hits: usize,
    copies: u32,
    wrong: Vec<String>,
}

/// Feeds an index with a capture, but for the batch with the number `drop`, and compares.
fn replay(capture: &Capture, drop: Option<usize>) -> Found {
    let (mut writer, reader) = ExactIndex::new(IndexSettings::default().with_block_size(capture.config.block_size));
    writer.set_state(WORKER, WorkerState::Exact);
    let mut found = Found::default();
    let mut asked: HashMap<&str, &Request> = HashMap::new();
    let mut is_current = true;
    for step in &capture.steps {
        asked.extend(step.requests.iter().map(|request| (&*request.id, request)));
        if is_current {
            compare_lookups(step, &asked, &reader, &mut found);
        } else {
            let requests = step.requests.iter().map(|request| request.exact_before);
            let resumed = step.resumed.iter().map(|resumed| resumed.exact_before);
            found.unannounced += requests.chain(resumed).filter(|&exact_before| exact_before).count();
        }
        for (_, _, payload) in &step.frames {
            let batch = decode_batch(&hex::decode(payload).unwrap()).unwrap();
            assert_eq!(batch.errors, [], "{}", step.name);
            if drop != Some(found.batches) {
                writer.apply(WORKER, batch.timestamp, &batch.events);
            }
            found.batches += 1;
        }
        is_current = !step.is_flagged();
        if is_current {
            compare_cache(step, capture.config.int_hashes, &writer, &mut found);
        }
        if reader.state(WORKER) != WorkerState::Exact {
            found.wrong.push(format!("{}: {}", step.name, reader.state(WORKER)));
        }
    }
    found
}

/// Compares what the index foretells with what the engine took from its cache, where nothing came in between.
fn compare_lookups(step: &Step, asked: &HashMap<&str, &Request>, reader: &ExactReader, found: &mut Found) {
    let mut compare = |id: &str, chain: &Chain, reads: bool, hit: usize| {
        let foretold = if reads { chain.hit_tokens(reader.query(chain).leading(WORKER) as usize) } else { 0 };
        found.lookups += 1;
        found.hits += usize::from(hit > 0);
        if foretold != hit {
            found.wrong.push(format!("{}, {id}: {foretold} tokens foretold, {hit} hit", step.name));
        }
    };
    for request in step.requests.iter().filter(|request| request.exact_before) {
        let chain = reader.hasher().chain(&request.prompt_token_ids, &request.namespace());
        compare(&request.id, &chain, !request.skip_reading_prefix_cache, request.lookup_hit);
    }
    for resumed in step.resumed.iter().filter(|resumed| resumed.exact_before) {
        let request = asked[&*resumed.id];
        let tokens = [&request.prompt_token_ids[..], &request.output_token_ids].concat();
        let chain = reader.hasher().chain(&tokens[..resumed.num_tokens], &request.namespace());
        compare(&resumed.id, &chain, !request.skip_reading_prefix_cache, resumed.hit_tokens);
    }
}

/// Compares what the index holds with what the engine held, copies included.
fn compare_cache(step: &Step, int_hashes: bool, writer: &ExactWriter, found: &mut Found) {
    let name = |cached: &Cached| match cached.int.filter(|_| int_hashes) {
        Some(int) => ExternalBlockHash::from_int(int),
        None => ExternalBlockHash::from_bytes(&hex::decode(&cached.hash).unwrap()),
    };
    let key = |cached: &Cached| (GroupIdx(cached.group), Medium::Gpu, name(cached));
    let truth: BTreeMap<_, _> = step.cached.iter().map(|cached| (key(cached), cached.copies)).collect();
    let held = writer.residents(WORKER);
    let held: BTreeMap<_, _> =
        held.into_iter().map(|held| ((held.group, held.medium, held.block), held.copies)).collect();
    found.steps += 1;
    found.copies = found.copies.max(truth.values().copied().max().unwrap_or_default());
    if held != truth {
        found.wrong.push(format!("{}: {} blocks held, {} in truth", step.name, held.len(), truth.len()));
    }
}

#[test]
fn the_index_holds_what_the_engine_holds_and_foretells_every_hit() {
    for name in CAPTURES {
        let found = replay(&Capture::read(name), None);

        assert_eq!(found.wrong, [""; 0], "{name}");
        assert!(found.steps > 340, "{name}: {} steps compared", found.steps);
        assert!(found.lookups > 200, "{name}: {} lookups compared", found.lookups);
        assert_eq!(found.unannounced, 3, "{name}: one after each of three resets");
        assert!(found.hits > 50, "{name}: {} lookups hit", found.hits);
        assert!(found.copies > 1, "{name}: no block was ever there twice");
        println!("{name}: {} steps, {} batches, {} lookups", found.steps, found.batches, found.lookups);
    }
}

#[test]
fn a_batch_that_is_lost_is_noticed() {
    for name in CAPTURES {
        let capture = Capture::read(name);
        let batches = capture.steps.iter().map(|step| step.frames.len()).sum::<usize>();

        let found = replay(&capture, Some(batches / 2));

        assert_eq!(found.batches, batches);
        assert!(!found.wrong.is_empty(), "{name}: nothing was wrong without batch {}", batches / 2);
    }
}
