//! SGLang's own vectors, name by name.

use llmd_core::hash::{EngineHasher, Namespace, Sglang};
use serde_json::Value;

use crate::fixtures::{array, json, number, text, tokens};

fn signed(said: &Value) -> Vec<i64> {
    array(said).iter().map(|int| int.as_i64().expect("an event's integer is signed")).collect()
}

#[test]
fn every_vector_of_sglang_comes_out() {
    let vectors = json("sglang-0.5.23/sglang_hash_vectors.json");
    let mut count = 0;
    for case in array(&vectors["cases"]) {
        let (extra_key, salt) = (case["extra_key"].as_str(), case["cache_salt"].as_str());
        let (size, tokens) = (number(&case["page_size"]) as usize, tokens(&case["tokens"]));

        // The vectors name the rest that fills no page too, which the hierarchical cache does not keep.
        let keys = Sglang::chain(Sglang::storage_seed(extra_key, salt), size, &tokens).map(hex::encode);
        let keys: Vec<_> = keys.collect();
        let expected: Vec<_> = array(&case["storage_keys_hex"]).iter().map(text).take(keys.len()).collect();
        assert_eq!(keys, expected, "{case}");
        assert_eq!(keys.len(), tokens.len() / size);

        let ints = Sglang::chain(Sglang::event_seed(salt), size, &tokens).map(|name| Sglang::event_int(&name));
        let ints: Vec<_> = ints.collect();
        let as_signed = |ints: &[u64]| ints.iter().map(|int| int.cast_signed()).collect::<Vec<_>>();
        assert_eq!(as_signed(&ints), signed(&case["event_hashes_default_i64"])[..ints.len()], "{case}");

        let dynamo: Vec<_> = ints.iter().map(|&int| Sglang::namespaced_int(int, extra_key, salt)).collect();
        assert_eq!(as_signed(&dynamo), signed(&case["event_hashes_dynamo_i64"])[..dynamo.len()], "{case}");

        let mut namespace = Namespace::default();
        namespace.cache_salt = salt.map(Into::into);
        let (hasher, mut names) = (EngineHasher::new("sglang", size).expect("it is known"), Vec::new());
        assert_eq!(hasher.hash_into(&tokens, &namespace, &mut names).expect("a salt is no trouble"), ints.len());
        let said = names.chunks_exact(hasher.digest_len()).map(|name| hasher.event_int(name).expect("a whole name"));
        assert_eq!(said.collect::<Vec<_>>(), ints, "{case}");
        count += ints.len();
    }
    assert_eq!(count, 4 * (70 + 4 + 1));
}
