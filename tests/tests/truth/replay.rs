//! A capture through an index: what it foretells, and what it holds, beside what the engine took and held.

use std::collections::{BTreeMap, HashMap};

use llmd_core::event::decode_batch;
use llmd_core::hash::{Chain, EngineHasher, Namespace};
use llmd_core::index::{IndexWriter, PrefixIndex, WorkerState};
use llmd_core::{ExternalBlockHash, GroupIdx, Medium, TokenId, WorkerId};

use crate::capture::{Cached, Capture, Request, Step};

const WORKER: WorkerId = WorkerId(0);

/// What a replay found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Steps after which contents were compared.
    pub(crate) steps: usize,
    pub(crate) batches: usize,
    pub(crate) lookups: usize,
    /// Lookups that came before the engine had published what it did in the step before: it clears its cache at once
    /// when it is told to, and says so with the next step.
    pub(crate) unannounced: usize,
    pub(crate) hits: usize,
    /// Lookups of prompts that begin with blocks on shared storage.
    pub(crate) shared: usize,
    /// The most copies of a block in a group.
    pub(crate) copies: u32,
    /// Steps after which the index does not claim to be exact.
    pub(crate) inexact: usize,
    /// Lookups foretold too short by an index that does not claim to be exact.
    pub(crate) short: Vec<String>,
    /// Anything else that differs.
    pub(crate) wrong: Vec<String>,
}

/// How a capture is replayed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct How {
    /// The number of a batch that is lost.
    pub(crate) lost: Option<usize>,
    /// Whether the engine's own names are asked for too.
    pub(crate) by_name: bool,
}

/// Feeds an empty index with a capture, and compares.
pub(crate) fn replay<W: IndexWriter, R: PrefixIndex>(
    capture: &Capture,
    (mut writer, reader): (W, R),
    how: How,
) -> Found {
    let named = how.by_name.then(|| capture.hasher());
    let ask = |tokens: &[TokenId], request: &Request| {
        let chain = reader.hasher().chain(tokens, &request.namespace());
        match &named {
            Some(hasher) => chain.with_names(names(hasher, capture.config.int_hashes, tokens, &request.namespace())),
            None => chain,
        }
    };
    writer.set_state(WORKER, WorkerState::Exact);
    let mut found = Found::default();
    let mut asked: HashMap<&str, &Request> = HashMap::new();
    let mut is_current = true;
    for step in &capture.steps {
        asked.extend(step.requests.iter().map(|request| (&*request.id, request)));
        if is_current {
            compare_lookups(step, &asked, &reader, &ask, &mut found);
        } else {
            let requests = step.requests.iter().map(|request| request.exact_before);
            let resumed = step.resumed.iter().map(|resumed| resumed.exact_before);
            found.unannounced += requests.chain(resumed).filter(|&exact_before| exact_before).count();
        }
        for (_, _, payload) in &step.frames {
            let batch = decode_batch(&hex::decode(payload).expect("frames are hexadecimal")).expect("a batch");
            assert_eq!(batch.errors, [], "{}", step.name);
            if how.lost != Some(found.batches) {
                let applied = writer.apply(WORKER, batch.timestamp, &batch.events);
                if applied.unknown_removals > 0 || applied.dropped > 0 {
                    found.wrong.push(format!("{}: {applied:?}", step.name));
                }
            }
            found.batches += 1;
        }
        is_current = !step.is_flagged();
        if is_current {
            compare_cache(step, capture.config.int_hashes, &writer, &mut found);
        }
        found.inexact += usize::from(reader.state(WORKER) != WorkerState::Exact);
    }
    found
}

/// Compares what the index foretells with what the engine took from its cache, where nothing came in between.
fn compare_lookups(
    step: &Step,
    asked: &HashMap<&str, &Request>,
    reader: &impl PrefixIndex,
    ask: &impl Fn(&[TokenId], &Request) -> Chain,
    found: &mut Found,
) {
    let mut compare = |id: &str, chain: &Chain, reads: bool, hit: usize| {
        let foretold = if reads { chain.hit_tokens(reader.query(chain).leading(WORKER) as usize) } else { 0 };
        found.lookups += 1;
        found.hits += usize::from(hit > 0);
        if foretold != hit {
            let is_known = foretold < hit && reader.state(WORKER) != WorkerState::Exact;
            let differs = if is_known { &mut found.short } else { &mut found.wrong };
            differs.push(format!("{}, {id}: {foretold} tokens foretold, {hit} hit", step.name));
        }
    };
    for request in step.requests.iter().filter(|request| request.exact_before) {
        let chain = ask(&request.prompt_token_ids, request);
        compare(&request.id, &chain, !request.skip_reading_prefix_cache, request.lookup_hit);
    }
    for resumed in step.resumed.iter().filter(|resumed| resumed.exact_before) {
        let request = asked[&*resumed.id];
        let tokens = [&request.prompt_token_ids[..], &request.output_token_ids].concat();
        let chain = ask(&tokens[..resumed.num_tokens], request);
        compare(&resumed.id, &chain, !request.skip_reading_prefix_cache, resumed.hit_tokens);
    }
}

/// What the engine calls the full blocks of a prompt.
fn names(hasher: &EngineHasher, are_ints: bool, tokens: &[TokenId], namespace: &Namespace) -> Vec<ExternalBlockHash> {
    let mut digests = Vec::new();
    hasher.hash_into(tokens, namespace, &mut digests).expect("all is known of it");
    let name = |digest: &[u8]| match are_ints {
        true => ExternalBlockHash::from_int(hasher.event_int(digest).expect("a whole name")),
        false => ExternalBlockHash::from_bytes(digest),
    };
    digests.chunks_exact(hasher.digest_len()).map(name).collect()
}

/// Compares what the index holds with what the engine held, copies included, in every group.
fn compare_cache(step: &Step, int_hashes: bool, writer: &impl IndexWriter, found: &mut Found) {
    let name = |cached: &Cached| match cached.int.filter(|_| int_hashes) {
        Some(int) => ExternalBlockHash::from_int(int),
        None => ExternalBlockHash::from_bytes(&hex::decode(&cached.hash).expect("hashes are hexadecimal")),
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
