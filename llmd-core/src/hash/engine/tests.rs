//! What the front refuses, and that it says the same as the schemes behind it. The vectors are in `tests/tests/captures`.

use super::*;
use crate::hash::{Lora, MultimodalItem, chain};

const TOKENS: [TokenId; 11] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];

fn names(hasher: &EngineHasher, namespace: &Namespace) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let blocks = hasher.hash_into(&TOKENS, namespace, &mut out)?;
    assert_eq!((blocks, out.len()), (2, 2 * hasher.digest_len()));
    Ok(out)
}

fn refused<T: fmt::Debug>(result: Result<T>) -> (ErrorKind, String) {
    let error = result.unwrap_err();
    (error.kind(), error.to_string())
}

#[test]
fn every_scheme_is_found_by_its_name() {
    for name in EngineHasher::SCHEMES {
        let hasher = EngineHasher::new(name, 4).unwrap();
        assert_eq!((hasher.scheme(), hasher.block_size()), (name, 4));
        let seeded = if name == "sglang" { hasher } else { hasher.with_seed("0").unwrap() };
        let names = names(&seeded, &Namespace::default()).unwrap();
        let (first, second) = names.split_at(seeded.digest_len());
        assert_ne!(seeded.event_int(first).unwrap(), seeded.event_int(second).unwrap());
    }
}

#[test]
fn names_are_those_of_the_scheme_behind() {
    let namespace = Namespace::default().with_cache_salt("tenant-7").with_lora(Lora::new("poet").with_path("/poet"));
    for algorithm in VllmAlgorithm::ALL {
        let hasher = EngineHasher::new(&format!("vllm-{algorithm}"), 4).unwrap().with_seed("7").unwrap();
        let expected = chain(&VllmHash::new(algorithm, "7", ExtraKeyForm::Tagged), 4, &TOKENS, &namespace);
        let expected: Vec<u8> = expected.iter().flat_map(|name| name.as_bytes().to_vec()).collect();
        assert_eq!(names(&hasher, &namespace).unwrap(), expected);
    }
}

#[test]
fn what_is_not_known_is_named_with_what_is() {
    let (kind, message) = refused(EngineHasher::new("vllm-md5", 16));
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(message.contains("\"vllm-md5\"") && EngineHasher::SCHEMES.iter().all(|name| message.contains(name)));

    let (kind, message) = refused(EngineHasher::new("llmd", 16));
    assert_eq!(kind, ErrorKind::Unsupported);
    assert!(message.contains("never leave the index"), "{message}");

    assert_eq!(refused(EngineHasher::new("sglang", 0)).0, ErrorKind::Invalid);
}

#[test]
fn a_seed_that_is_drawn_by_chance_must_be_said() {
    for name in ["vllm-xxhash", "vllm-xxhash_cbor"] {
        let hasher = EngineHasher::new(name, 4).unwrap();
        let (kind, message) = refused(names(&hasher, &Namespace::default()));
        assert_eq!(kind, ErrorKind::Invalid);
        assert!(message.contains(name) && message.contains("PYTHONHASHSEED"), "{message}");
    }
    let old = EngineHasher::new("vllm-sha256", 4).unwrap().with_engine_version("0.28.1").unwrap();
    assert_eq!(refused(names(&old, &Namespace::default())).0, ErrorKind::Invalid);
    names(&old.with_seed("0").unwrap(), &Namespace::default()).unwrap();
    assert_eq!(refused(EngineHasher::new("sglang", 4).unwrap().with_seed("0")).0, ErrorKind::Invalid);
}

#[test]
fn a_version_decides_the_form_whenever_it_is_said() {
    let hasher = || EngineHasher::new("vllm-sha256_cbor", 4).unwrap();
    let namespace = Namespace::default().with_lora(Lora::new("poet"));
    let older = hasher().with_engine_version("0.30").unwrap().with_seed("3").unwrap();
    let other_way = hasher().with_seed("3").unwrap().with_engine_version("0.30.2").unwrap();
    let expected =
        chain(&VllmHash::new(VllmAlgorithm::Sha256Cbor, "3", ExtraKeyForm::Untagged), 4, &TOKENS, &namespace);
    assert_eq!(names(&older, &namespace).unwrap()[32..], *expected[1].as_bytes());
    assert_eq!(names(&older, &namespace).unwrap(), names(&other_way, &namespace).unwrap());

    let newer = hasher().with_engine_version("0.31.0rc1").unwrap();
    let (kind, message) = refused(names(&newer, &namespace));
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(message.contains("\"poet\" needs its path"), "{message}");
}

#[test]
fn versions_without_such_names_are_refused() {
    let with = |scheme, version| EngineHasher::new(scheme, 4).unwrap().with_engine_version(version).map(drop);
    assert_eq!(refused(with("vllm-sha256", "0.10.2")).0, ErrorKind::Unsupported);
    assert_eq!(refused(with("vllm-xxhash", "0.12.0")).0, ErrorKind::Invalid);
    assert_eq!(refused(with("vllm-sha256", "newest")).0, ErrorKind::Invalid);
    assert_eq!(refused(with("sglang", "0.5.23")).0, ErrorKind::Invalid);
    with("vllm-xxhash", "0.13.0").unwrap();
    with("vllm-sha256", "1.0").unwrap();
}

#[test]
fn what_only_sglang_knows_is_not_guessed() {
    let hasher = EngineHasher::new("sglang", 4).unwrap();
    let image = MultimodalItem { identifier: "cafe".into(), offset: 1, len: 2 };
    for namespace in
        [Namespace::default().with_lora(Lora::new("poet")), Namespace::default().with_multimodal(vec![image])]
    {
        let mut out = vec![7];
        assert_eq!(refused(hasher.hash_into(&TOKENS, &namespace, &mut out)).0, ErrorKind::Unsupported);
        assert_eq!(out, [7]);
    }
    let plain = names(&hasher, &Namespace::default()).unwrap();
    assert_eq!(names(&hasher, &Namespace::default().with_cache_salt("")).unwrap(), plain);
    assert_ne!(names(&hasher, &Namespace::default().with_cache_salt("a")).unwrap(), plain);
}

#[test]
fn the_integer_of_an_event_is_cut_from_a_whole_name() {
    let name: Vec<u8> = (0..32).collect();
    let int = |scheme, name: &[u8]| EngineHasher::new(scheme, 4).unwrap().event_int(name);
    assert_eq!(int("vllm-sha256", &name).unwrap(), 0x1819_1a1b_1c1d_1e1f);
    assert_eq!(int("vllm-xxhash", &name[..16]).unwrap(), 0x0809_0a0b_0c0d_0e0f);
    assert_eq!(int("sglang", &name).unwrap(), 0x0001_0203_0405_0607);
    assert_eq!(refused(int("sglang", &name[..31])).0, ErrorKind::Invalid);
    assert!(EngineHasher::new("sglang", 4).unwrap().event_int_is_signed());
}

#[test]
fn names_are_told_as_events_carry_them() {
    for scheme in EngineHasher::SCHEMES {
        let hasher = EngineHasher::new(scheme, 4).unwrap();
        let hasher = if scheme == "sglang" { hasher } else { hasher.with_seed("0").unwrap() };
        let digests = names(&hasher, &Namespace::default()).unwrap();
        let digests = digests.chunks_exact(hasher.digest_len());

        let ints = hasher.event_names(&TOKENS, &Namespace::default(), true).unwrap();
        let expected = digests.clone().map(|digest| Some(hasher.event_int(digest).unwrap()));
        assert!(ints.iter().map(ExternalBlockHash::as_int).eq(expected), "{scheme}");
        let bytes = hasher.event_names(&TOKENS, &Namespace::default(), false).unwrap();
        assert!(bytes.iter().map(ExternalBlockHash::as_bytes).eq(digests.map(Some)), "{scheme}");
    }
}
