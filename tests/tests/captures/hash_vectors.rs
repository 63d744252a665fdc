//! vLLM's own vectors for `sha256_cbor`, name by name.

use llmd_core::hash::{ExtraKey, ExtraKeyForm, HashScheme, Lora, Sha256Cbor, chain};
use serde_json::Value;

use crate::fixtures::{array, bytes, item, json, namespace, number, text, tokens};

/// The names of a vector's blocks. Embeddings, which are no part of a namespace, come as the digests that the vector says.
fn names(scheme: &Sha256Cbor, case: &Value) -> Vec<[u8; 32]> {
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

/// How many names there are in a file, when all are right.
fn vectors_agree(file: &str) -> usize {
    let mut count = 0;
    for run in array(&json(file)["runs"]) {
        let vectors = &run["algos"]["sha256_cbor"];
        let scheme = Sha256Cbor::new(text(&vectors["seed_string"]), ExtraKeyForm::Tagged);
        assert_eq!(hex::encode(scheme.root()), text(&vectors["none_hash"]));
        assert_eq!(Sha256Cbor::event_int(&scheme.root()), number(&vectors["none_hash_u64"]));
        for case in array(&vectors["cases"]) {
            let (names, blocks) = (names(&scheme, case), array(&case["blocks"]));
            assert_eq!(names.len(), blocks.len(), "{}", case["name"]);
            for (name, block) in names.iter().zip(blocks) {
                assert_eq!(hex::encode(name), text(&block["hash"]), "{}", case["name"]);
                assert_eq!(Sha256Cbor::event_int(name), number(&block["u64"]), "{}", case["name"]);
                count += 1;
            }
        }
    }
    count
}

#[test]
fn every_vector_of_sha256_cbor_comes_out() {
    let count = vectors_agree("vllm-0.32/hash_vectors.json");
    assert!(count > 300, "{count}");
}

#[test]
fn blocks_of_more_than_64_kib_come_out() {
    assert_eq!(vectors_agree("vllm-0.32/hash_vectors_big.json"), 2);
}

#[test]
fn the_default_seed_is_that_of_an_engine_without_one() {
    let vectors = json("vllm-0.32/hash_vectors.json");
    let run = array(&vectors["runs"]).iter().find(|run| run["PYTHONHASHSEED"].is_null()).expect("a run without a seed");
    let vectors = &run["algos"]["sha256_cbor"];
    assert_eq!(text(&vectors["seed_string"]), Sha256Cbor::DEFAULT_SEED);
    assert_eq!(hex::encode(Sha256Cbor::default().root()), text(&vectors["none_hash"]));
}

#[test]
fn older_forms_of_extra_keys_come_out() {
    let vectors = json("vllm-0.32/hash_vectors.json");
    let mut seen = Vec::new();
    for case in array(&vectors["legacy_untagged"]).iter().filter(|case| case["algo"] == "sha256_cbor") {
        let name = text(&case["name"]);
        let form = match name {
            // To 0.10, an adapter was a number, and this scheme not yet what it is.
            "lora_int_id" => continue,
            "mm_id_only" => ExtraKeyForm::UntaggedWithoutOffset,
            _ => ExtraKeyForm::Untagged,
        };
        let scheme = Sha256Cbor::new(text(&case["PYTHONHASHSEED"]), form);
        let tokens = tokens(&case["token_ids"]);
        let blocks = tokens.chunks_exact(number(&case["block_size"]) as usize);
        let mut parent = scheme.root();
        let names = blocks.zip(array(&case["extra_keys"])).enumerate().map(|(position, (block, keys))| {
            let keys: Vec<_> = array(keys).iter().map(|said| untagged_key(name, said)).collect();
            parent = scheme.next(&parent, position, block, &keys);
            hex::encode(parent)
        });
        assert_eq!(names.collect::<Vec<_>>(), array(&case["hashes"]).iter().map(text).collect::<Vec<_>>(), "{name}");
        seen.push(name);
    }
    assert_eq!(seen, ["lora_name", "salt", "lora_salt", "mm_id_only", "mm_id_offset"]);
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
