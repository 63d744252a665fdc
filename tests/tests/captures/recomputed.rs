//! From the requests' tokens to the names in the events: vLLM's by its own scheme, ours by both ways that lead to them.

use std::collections::{BTreeMap, HashMap};

use llmd_core::event::{BlockStored, KvEvent, decode_batch};
use llmd_core::hash::{AdditiveDigest, EngineHasher, HashKey, HashScheme, chain, event_extra_keys};
use llmd_core::{BlockHash, ExternalBlockHash};

use crate::fixtures::{Request, Scenario, files, json, number, scenarios, text};

fn stored_events(scenario: &Scenario) -> Vec<BlockStored> {
    let batches = scenario.messages.iter().map(|message| decode_batch(&message.payload).expect("a batch"));
    let events = batches.flat_map(|batch| batch.events);
    events.filter_map(|event| if let KvEvent::BlockStored(stored) = event { Some(stored) } else { None }).collect()
}

/// Whether the request's chain has the event's blocks, under these names, right behind its parent.
fn holds(names: &[ExternalBlockHash], request: &Request, stored: &BlockStored) -> bool {
    let start = match &stored.parent_block_hash {
        None => Some(0),
        Some(parent) => names.iter().position(|name| name == parent).map(|place| place + 1),
    };
    start.is_some_and(|start| {
        let size = stored.block_size as usize;
        names[start..].starts_with(&stored.block_hashes)
            && request.tokens[start * size..].starts_with(&stored.token_ids)
    })
}

/// The hasher of the engine that was recorded, and whether its events say integers.
fn recorded(file: &str) -> (EngineHasher, bool) {
    let meta = &json(file)["meta"];
    let hasher = EngineHasher::new(&format!("vllm-{}", text(&meta["hash_algo"])), number(&meta["block_size"]) as usize);
    let hasher = hasher.and_then(|hasher| hasher.with_engine_version(text(&meta["vllm"]))).expect("a known engine");
    let seeded = match meta["PYTHONHASHSEED"].as_str() {
        Some(seed) => hasher.with_seed(seed).expect("every algorithm has a seed"),
        None => hasher,
    };
    (seeded, meta["int_block_hashes"].as_bool().unwrap_or(true))
}

#[test]
fn every_hash_of_every_recorded_engine_follows_from_the_tokens() {
    let mut hashes = BTreeMap::<_, usize>::new();
    for file in files("capture") {
        let (hasher, says_integers) = recorded(&file);
        let name = |digest: &[u8]| match says_integers {
            true => ExternalBlockHash::from_int(hasher.event_int(digest).expect("a whole name")),
            false => ExternalBlockHash::from_bytes(digest),
        };
        let names = |request: &Request| -> Vec<_> {
            let mut digests = Vec::new();
            hasher.hash_into(&request.tokens, &request.namespace, &mut digests).expect("all is known of it");
            digests.chunks_exact(hasher.digest_len()).map(name).collect()
        };
        for scenario in scenarios(&file) {
            let chains: Vec<_> = scenario.requests.iter().map(|request| (names(request), request)).collect();
            for stored in stored_events(&scenario) {
                let explained = chains.iter().any(|(names, request)| holds(names, request, &stored));
                assert!(explained, "{}: no request gives {stored:?}", scenario.name);
                *hashes.entry(hasher.scheme()).or_default() += stored.block_hashes.len();
            }
        }
    }
    assert_eq!(hashes.keys().copied().collect::<Vec<_>>(), ["vllm-sha256", "vllm-sha256_cbor", "vllm-xxhash_cbor"]);
    assert!(hashes.values().all(|&hashes| hashes >= 45) && hashes.values().sum::<usize>() >= 300, "{hashes:?}");
}

/// An index gives a stored block the name that a request for it has, whatever the engine's own names are made of.
#[test]
fn a_stored_block_and_a_request_for_it_have_the_same_name_of_ours() {
    let key = HashKey::from_bytes(*b"any key will do, all must agree.");
    let (mut blocks, mut with_keys, mut images) = (0, 0, 0);
    for file in files("capture") {
        let size = number(&json(&file)["meta"]["block_size"]) as usize;
        let scheme = AdditiveDigest::new(key, size);
        let mut ours = HashMap::<ExternalBlockHash, (BlockHash, usize)>::new();
        for scenario in scenarios(&file) {
            let asked: Vec<Vec<BlockHash>> = scenario
                .requests
                .iter()
                .map(|request| chain(&scheme, size, &request.tokens, &request.namespace))
                .collect();
            for stored in stored_events(&scenario) {
                let adapter = stored.adapter();
                let before = stored.parent_block_hash.as_ref().map(|parent| ours[parent]);
                let (mut name, mut position) = before.unwrap_or_else(|| (scheme.root(), 0));
                for (block, tokens) in stored.token_ids.chunks_exact(size).enumerate() {
                    let keys = event_extra_keys(&stored, block, adapter.as_deref());
                    name = scheme.next(&name, position, tokens, &keys);
                    position += 1;
                    assert!(asked.iter().any(|chain| chain.contains(&name)), "{}: block {block}", scenario.name);
                    ours.insert(stored.block_hashes[block].clone(), (name, position));
                    blocks += 1;
                    with_keys += usize::from(!keys.is_empty());
                    images += usize::from(file.contains("-mm-"));
                }
            }
        }
    }
    assert!(
        blocks > 300 && with_keys > 40 && images > 10,
        "{blocks} blocks, {with_keys} with keys, {images} of images"
    );
}
