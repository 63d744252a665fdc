//! The simulated engine beside real ones: the same requests give the same blocks, the same events, the same bytes.

#![expect(clippy::unwrap_used, reason = "what fails in a test says where")]

use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use llmd_core::event::{EventExtraKey, KvEvent, decode_batch};
use llmd_core::hash::Lora;
use llmd_core::{ExternalBlockHash, TokenId};
use llmd_fleet::Constants;
use llmd_fleet::model::{Adapter, CacheEvent, Digest, Engine, EngineSettings, NewRequest, StepReport, StoredBlocks};
use llmd_fleet::wire::{HashForm, encode_batch};
use serde::Deserialize;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// A batch without its timestamp, which stands in the bytes 2 to 9.
fn without_time(payload: &[u8]) -> Vec<u8> {
    [&payload[..2], &payload[10..]].concat()
}

// ---- captured bytes, decoded and encoded again

#[derive(Deserialize)]
struct Capture {
    scenarios: Vec<Scenario>,
}

#[derive(Deserialize)]
struct Scenario {
    scenario: String,
    #[serde(default)]
    note: String,
    #[serde(default)]
    requests: Vec<CapturedRequest>,
    #[serde(default)]
    messages: Vec<CapturedMessage>,
}

#[derive(Deserialize)]
struct CapturedMessage {
    payload_hex: String,
}

#[derive(Deserialize)]
struct CapturedRequest {
    prompt_token_ids: Vec<TokenId>,
    output_token_ids: Vec<TokenId>,
    max_tokens: usize,
    #[serde(default)]
    params: Params,
}

#[derive(Default, Deserialize)]
struct Params {
    model: Option<String>,
    cache_salt: Option<String>,
}

fn capture(name: &str) -> Capture {
    serde_json::from_slice(&std::fs::read(fixture("vllm-0.32").join(name)).unwrap()).unwrap()
}

/// A digest that is published as this name.
fn digest(name: &ExternalBlockHash) -> Digest {
    let mut digest = [0; 32];
    match (name.as_bytes(), name.as_int()) {
        (Some(bytes), _) => digest.copy_from_slice(bytes),
        (_, Some(int)) => digest[24..].copy_from_slice(&int.to_be_bytes()),
        _ => panic!("{name} is neither bytes nor a number"),
    }
    digest
}

fn as_cache_event(event: &KvEvent) -> CacheEvent {
    match event {
        KvEvent::AllBlocksCleared => CacheEvent::Cleared,
        KvEvent::BlockRemoved(removed) => {
            let [hash] = removed.block_hashes.as_slice() else { panic!("vLLM removes one block per event") };
            CacheEvent::Removed(digest(hash))
        }
        KvEvent::BlockStored(event) => {
            let mut stored = StoredBlocks::default();
            stored.hashes = event.block_hashes.iter().map(digest).collect();
            stored.parent = event.parent_block_hash.as_ref().map(digest);
            stored.tokens.clone_from(&event.token_ids);
            stored.block_size = event.block_size as usize;
            stored.session_id.clone_from(&event.session_id);
            if let (Some(id), Some(name)) = (event.lora_id, &event.lora_name) {
                stored.adapter = Some(Adapter { id, lora: Lora::new(name.clone()) });
            }
            let keys = event.extra_keys.first().into_iter().flatten();
            stored.cache_salt = keys
                .filter_map(|key| match key {
                    EventExtraKey::Text(text) if Some(text) != event.lora_name.as_ref() => Some(text.clone()),
                    _ => None,
                })
                .next();
            CacheEvent::Stored(stored)
        }
        other => panic!("{other:?} is new"),
    }
}

#[test]
fn captured_batches_come_out_of_our_encoder_byte_for_byte() {
    let mut batches = 0;
    for (name, form) in [
        ("capture-sha256_cbor-int-seed0.json", HashForm::Int),
        ("capture-sha256-int-seed0.json", HashForm::Int),
        ("capture-sha256-bytes-seednone.json", HashForm::Digest),
        ("capture2-dup-restart.json", HashForm::Int),
    ] {
        for scenario in capture(name).scenarios {
            for message in scenario.messages {
                let payload = hex::decode(message.payload_hex).unwrap();
                let batch = decode_batch(&payload).unwrap();
                assert!(batch.errors.is_empty(), "{name}, {}: {:?}", scenario.scenario, batch.errors);
                let events: Vec<_> = batch.events.iter().map(as_cache_event).collect();
                let rank = batch.data_parallel_rank.unwrap();
                let ours = encode_batch(batch.timestamp, &events, rank, form);
                assert_eq!(hex::encode(ours), hex::encode(payload), "{name}, {}", scenario.scenario);
                batches += 1;
            }
        }
    }
    assert!(batches > 50, "{batches} batches");
}

// ---- the same requests, one engine real and one simulated

/// An engine of ours in the place of a real one: it is told the tokens that came out.
struct Twin {
    engine: Engine,
    now: Duration,
    report: StepReport,
    form: HashForm,
    /// What it published, without times.
    published: Vec<Vec<u8>>,
}

impl Twin {
    /// An engine whose request with seed `n` produces the nth of `outputs`.
    fn new(settings: EngineSettings, form: HashForm, outputs: Vec<Vec<TokenId>>) -> Self {
        let sampler = move |seed: u64, position: usize| outputs[seed as usize].get(position).copied().unwrap_or(0);
        let engine = Engine::new(settings, sampler).unwrap();
        Self { engine, now: Duration::ZERO, report: StepReport::default(), form, published: Vec::new() }
    }

    /// Steps once, if there is anything to do.
    fn step(&mut self) -> bool {
        let Some(takes) = self.engine.begin_step(self.now) else { return false };
        self.now += takes;
        self.engine.end_step(self.now, &mut self.report);
        let events = self.engine.take_events();
        if !events.is_empty() {
            self.published.push(without_time(&encode_batch(0.0, &events, 0, self.form)));
        }
        true
    }

    fn take_published(&mut self) -> Vec<String> {
        self.published.drain(..).map(hex::encode).collect()
    }
}

/// vLLM's defaults without a front end: requests are there at once.
fn settings(block_size: usize, num_blocks: u32, max_num_seqs: usize, max_tokens: usize) -> EngineSettings {
    let mut constants = Constants::QWEN3_32B_TP2_H100;
    constants.front_end_s = 0.0;
    let mut settings = EngineSettings::new(constants.scaled(1));
    settings.block_size = block_size;
    settings.num_blocks = num_blocks;
    settings.max_num_seqs = max_num_seqs;
    settings.max_num_batched_tokens = max_tokens;
    settings.max_model_len = 640;
    settings
}

#[test]
fn a_server_and_its_twin_publish_the_same_bytes() {
    let mut settings = settings(32, 24, 8, 2048);
    settings.hash_seed = "0".into();
    let capture = capture("capture-sha256_cbor-int-seed0.json");
    let outputs = capture.scenarios.iter().flat_map(|scenario| &scenario.requests);
    let mut twin =
        Twin::new(settings, HashForm::Int, outputs.map(|request| request.output_token_ids.clone()).collect());
    let mut seed = 0;
    let mut compared = 0;
    for scenario in capture.scenarios {
        // Full reports announce hits again, which a simulated engine does not.
        if scenario.scenario.contains("full_report") {
            continue;
        }
        if scenario.note.contains("reset_prefix_cache") {
            assert!(twin.engine.reset_prefix_cache());
        }
        let at_once = scenario.scenario.contains("concurrent");
        for request in scenario.requests {
            let mut new = NewRequest::new(request.prompt_token_ids, request.max_tokens);
            (new.seed, new.cache_salt) = (seed, request.params.cache_salt);
            new.adapter = request.params.model.map(|name| match name.as_str() {
                "lora-a" => Adapter { id: 1, lora: Lora::new("lora-a").with_path("/models/lora1") },
                "lora-b" => Adapter { id: 2, lora: Lora::new("lora-b").with_path("/models/lora2") },
                other => panic!("no adapter {other}"),
            });
            twin.engine.submit(twin.now, new).unwrap();
            seed += 1;
            while !at_once && twin.step() {}
        }
        while twin.step() {}
        let real: Vec<_> = scenario
            .messages
            .iter()
            .map(|message| hex::encode(without_time(&hex::decode(&message.payload_hex).unwrap())))
            .collect();
        assert_eq!(twin.take_published(), real, "{}", scenario.scenario);
        compared += real.len();
    }
    assert!(compared > 10, "{compared} batches");
}

// ---- the same requests, step by step, with the true cache

#[derive(Deserialize)]
struct Truth {
    config: TruthConfig,
    steps: Vec<TruthStep>,
}

#[derive(Deserialize)]
struct TruthConfig {
    block_size: usize,
    num_gpu_blocks: u32,
    max_seqs: usize,
    max_num_batched_tokens: usize,
}

#[derive(Deserialize)]
struct TruthStep {
    name: String,
    requests: Vec<TruthRequest>,
    frames: Vec<[String; 3]>,
    cached: Vec<TruthBlock>,
    #[serde(default)]
    aborted: Vec<String>,
    #[serde(default)]
    resumed: Vec<Resumed>,
    #[serde(default)]
    preempted: Vec<String>,
    action: Option<String>,
    result: Option<bool>,
}

#[derive(Clone, Deserialize)]
struct TruthRequest {
    id: String,
    prompt_token_ids: Vec<TokenId>,
    output_token_ids: Vec<TokenId>,
    lora: Option<TruthLora>,
    salt: Option<String>,
    session_id: Option<String>,
    lookup_hit: usize,
    #[serde(default)]
    aborted: bool,
    #[serde(default)]
    skip_reading_prefix_cache: bool,
}

#[derive(Clone, Deserialize)]
struct TruthLora {
    name: String,
    path: String,
    id: i64,
}

#[derive(Deserialize)]
struct TruthBlock {
    hash: String,
    copies: usize,
}

#[derive(Deserialize)]
struct Resumed {
    hit_tokens: usize,
}

fn truth(name: &str) -> Truth {
    let file = std::fs::File::open(fixture("vllm-0.32-truth").join(name)).unwrap();
    let mut json = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut json).unwrap();
    serde_json::from_slice(&json).unwrap()
}

/// The steps before the random traffic: there a step of the file is one of the engine, or one until the engine is idle.
const SCRIPTED: usize = 106;

#[test]
fn a_twin_has_the_same_cache_after_every_step() {
    let truth = truth("d2-sha256cbor-bytes-b32-lora-salt.json.gz");
    let config = &truth.config;
    let settings = settings(config.block_size, config.num_gpu_blocks, config.max_seqs, config.max_num_batched_tokens);
    let requests: Vec<TruthRequest> = truth.steps.iter().flat_map(|step| step.requests.clone()).collect();
    let outputs = requests.iter().map(|request| request.output_token_ids.clone()).collect();
    let seeds: HashMap<String, u64> = requests.iter().map(|request| request.id.clone()).zip(0..).collect();
    let mut twin = Twin::new(settings, HashForm::Digest, outputs);
    let mut ids = HashMap::new();
    let mut lookups = 0;

    let steps = &truth.steps[..SCRIPTED];
    for (at, step) in steps.iter().enumerate() {
        let begins = at == 0 || steps[at - 1].name != step.name;
        let ends = steps.get(at + 1).is_none_or(|next| next.name != step.name);
        if begins {
            // Whatever belongs to a scenario comes at once, at its beginning.
            for request in steps[at..].iter().take_while(|other| other.name == step.name).flat_map(|s| &s.requests) {
                let max_tokens = if request.aborted { 100 } else { request.output_token_ids.len() };
                let mut new = NewRequest::new(request.prompt_token_ids.clone(), max_tokens);
                new.seed = seeds[&request.id];
                new.cache_salt.clone_from(&request.salt);
                new.session_id.clone_from(&request.session_id);
                new.skip_cache = request.skip_reading_prefix_cache;
                new.adapter = request.lora.as_ref().map(|lora| Adapter {
                    id: lora.id,
                    lora: Lora::new(lora.name.clone()).with_path(lora.path.clone()),
                });
                ids.insert(request.id.clone(), twin.engine.submit(twin.now, new).unwrap());
            }
        }
        for id in step.aborted.iter().filter_map(|id| ids.get(id)) {
            assert!(twin.engine.abort(*id), "{}", step.name);
        }
        match step.action.as_deref() {
            None => {}
            Some("reset_prefix_cache") => assert_eq!(Some(twin.engine.reset_prefix_cache()), step.result),
            Some(_) => {
                twin.engine.preempt_all();
                assert_eq!(Some(twin.engine.reset_prefix_cache()), step.result);
            }
        }
        let engine_steps = match step.name.as_str() {
            // Six steps altogether, the first two of which are seen.
            "abort: running" if ends => 5,
            "abort: running" => 1,
            "abort: first aborted" => 0,
            "reset while running: before" => 4,
            "reset while running: goes on" => 1,
            _ if step.action.is_some() => 0,
            _ => usize::MAX,
        };
        let mut hits = Vec::new();
        let (mut preempted, mut taken) = (0, 0);
        while taken < engine_steps {
            let seen = twin.published.len() >= step.frames.len()
                && hits.len() >= step.requests.len() + step.resumed.len()
                && preempted >= step.preempted.len();
            if (engine_steps == usize::MAX && !ends && seen) || !twin.step() {
                break;
            }
            taken += 1;
            hits.extend(twin.report.admitted.iter().map(|admission| admission.cached_tokens));
            preempted += twin.report.preempted;
        }
        let real: Vec<_> = step
            .frames
            .iter()
            .map(|[_, _, payload]| hex::encode(without_time(&hex::decode(payload).unwrap())))
            .collect();
        assert_eq!(twin.take_published(), real, "step {at}, {}: what was published", step.name);
        let cached: BTreeMap<_, _> =
            twin.engine.pool().cached().map(|(hash, copies)| (hex::encode(hash), copies)).collect();
        let real: BTreeMap<_, _> = step.cached.iter().map(|block| (block.hash.clone(), block.copies)).collect();
        assert_eq!(cached, real, "step {at}, {}: what is cached", step.name);
        let mut real: Vec<_> = step.requests.iter().map(|request| request.lookup_hit).collect();
        real.extend(step.resumed.iter().map(|resumed| resumed.hit_tokens));
        assert_eq!(hits, real, "step {at}, {}: hits", step.name);
        lookups += hits.len();
    }
    assert!(lookups > 60, "{lookups} lookups");
}
