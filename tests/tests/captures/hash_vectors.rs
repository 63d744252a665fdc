//! vLLM's own vectors for each of its algorithms, name by name.

use std::collections::BTreeSet;

use llmd_core::hash::{ExtraKey, ExtraKeyForm, HashScheme, Lora, VllmAlgorithm, VllmDigest, VllmHash, chain};
use serde_json::Value;

use crate::fixtures::{array, bytes, item, json, namespace, number, text, tokens};

/// An adapter whose name and path are one object to Python, which a pickle shows: nobody who loads adapters by a request
/// or a command line has one.
const SAME_OBJECT: &str = "lora_name_eq_path";

/// The names of a vector's blocks. Embeddings, which are no part of a namespace, come as the digests that the vector says.
fn names(scheme: &VllmHash, case: &Value) -> Vec<VllmDigest> {
    let (size, tokens) = (number(&case["block_size"]) as usize, tokens(&case["token_ids"]));
    let lora = &case["lora"];
    let lora = lora.is_object().then(|| Lora::new(text(&lora["name"])).with_path(text(&lora["path"])));
    let items = array(&case["mm"]).iter().map(|said| item(&said["identifier"], said));
    let namespace = namespace(lora, &case["cache_salt"], items);
    if case["prompt_embeds"].is_null() {
        return chain(scheme, size, &tokens, &namespace);
    }
    let digests = array(&case["blocks"]).iter().map(|block| bytes(&block["event_extra_keys"][0]["$hex"]));
    let mut parent = scheme.root();
    let blocks = tokens.chunks_exact(size).zip(digests).enumerate();
    blocks
        .map(|(position, (block, digest))| {
            parent = scheme.next(&parent, position, block, &[ExtraKey::PromptEmbeds(&digest)]);
            parent
        })
        .collect()
}

fn is_right(name: &VllmDigest, block: &Value) -> bool {
    hex::encode(name.as_bytes()) == text(&block["hash"]) && name.event_int() == number(&block["u64"])
}

/// How many names of a file are right, and the cases in which one is not.
fn vectors_of(file: &str) -> (usize, BTreeSet<(&'static str, String)>) {
    let (mut right, mut wrong) = (0, BTreeSet::new());
    for run in array(&json(file)["runs"]) {
        for (algorithm, vectors) in run["algos"].as_object().expect("vectors by algorithm") {
            let known = VllmAlgorithm::from_name(algorithm).expect("an algorithm of vLLM's");
            let scheme = VllmHash::new(known, text(&vectors["seed_string"]), ExtraKeyForm::Tagged);
            assert_eq!(hex::encode(scheme.root().as_bytes()), text(&vectors["none_hash"]));
            assert_eq!(scheme.root().event_int(), number(&vectors["none_hash_u64"]));
            for case in array(&vectors["cases"]) {
                let (names, blocks) = (names(&scheme, case), array(&case["blocks"]));
                assert_eq!(names.len(), blocks.len(), "{}", case["name"]);
                if names.iter().zip(blocks).all(|(name, block)| is_right(name, block)) {
                    right += names.len();
                } else {
                    wrong.insert((known.as_str(), text(&case["name"]).to_owned()));
                }
            }
        }
    }
    (right, wrong)
}

#[test]
fn every_vector_comes_out_but_that_of_an_object_that_is_there_twice() {
    let (right, wrong) = vectors_of("vllm-0.32/hash_vectors.json");
    let pickled = ["sha256", "xxhash"].map(|algorithm| (algorithm, SAME_OBJECT.to_owned()));
    assert_eq!(wrong, BTreeSet::from(pickled));
    assert!(right > 1_150, "{right}");
}

#[test]
fn blocks_of_more_than_64_kib_come_out() {
    assert_eq!(vectors_of("vllm-0.32/hash_vectors_big.json"), (8, BTreeSet::new()));
}

#[test]
fn the_default_seed_is_that_of_an_engine_without_one() {
    let vectors = json("vllm-0.32/hash_vectors.json");
    let run = array(&vectors["runs"]).iter().find(|run| run["PYTHONHASHSEED"].is_null()).expect("a run without a seed");
    for algorithm in VllmAlgorithm::ALL {
        let vectors = &run["algos"][algorithm.as_str()];
        assert_eq!(vectors.is_object(), algorithm.has_default_seed(), "{algorithm}");
        if vectors.is_object() {
            assert_eq!(text(&vectors["seed_string"]), VllmHash::DEFAULT_SEED);
        }
    }
}

#[test]
fn older_forms_of_extra_keys_come_out() {
    let vectors = json("vllm-0.32/hash_vectors.json");
    let mut seen = Vec::new();
    for case in array(&vectors["legacy_untagged"]) {
        let name = text(&case["name"]);
        let form = match name {
            // To 0.10, an adapter was a number, and not every algorithm yet what it is.
            "lora_int_id" => continue,
            "mm_id_only" => ExtraKeyForm::UntaggedWithoutOffset,
            _ => ExtraKeyForm::Untagged,
        };
        let algorithm = VllmAlgorithm::from_name(text(&case["algo"])).expect("an algorithm of vLLM's");
        let scheme = VllmHash::new(algorithm, text(&case["PYTHONHASHSEED"]), form);
        let tokens = tokens(&case["token_ids"]);
        let blocks = tokens.chunks_exact(number(&case["block_size"]) as usize);
        let mut parent = scheme.root();
        let names = blocks.zip(array(&case["extra_keys"])).enumerate().map(|(position, (block, keys))| {
            let keys: Vec<_> = array(keys).iter().map(|said| untagged_key(name, said)).collect();
            parent = scheme.next(&parent, position, block, &keys);
            hex::encode(parent.as_bytes())
        });
        let expected: Vec<_> = array(&case["hashes"]).iter().map(text).collect();
        assert_eq!(names.collect::<Vec<_>>(), expected, "{algorithm}, {name}");
        seen.push(name);
    }
    assert_eq!(seen, ["lora_name", "salt", "lora_salt", "mm_id_only", "mm_id_offset"].repeat(4));
}

fn untagged_key<'a>(case: &str, said: &'a Value) -> ExtraKey<'a> {
    match said {
        Value::String(identifier) if case == "mm_id_only" => ExtraKey::Multimodal { identifier, offset: -7 },
        Value::String(name) if name.starts_with("lora") => ExtraKey::Lora { name, path: Some("/not/written") },
        Value::String(salt) => ExtraKey::CacheSalt(salt),
        pair => {
            let offset = pair[1].as_i64().expect("an offset is a number");
            ExtraKey::Multimodal { identifier: text(&pair[0]), offset }
        }
    }
}
