//! A memo answers as the hasher behind it, within its bound.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::ErrorKind;
use crate::hash::{HashKey, Lora, MultimodalItem};

fn ours() -> BlockHasher {
    BlockHasher::new(HashKey::from_bytes([7; 32]), 4)
}

fn engines() -> [EngineHasher; 3] {
    ["vllm-sha256_cbor", "vllm-sha256", "sglang"].map(|scheme| EngineHasher::new(scheme, 4).unwrap())
}

fn namespaces() -> impl Strategy<Value = Namespace> {
    let salt = proptest::option::of("[a-b]");
    let item = ("[a-b]", 0..40_usize, 0..12_usize);
    let item = item.prop_map(|(identifier, offset, len)| MultimodalItem { identifier, offset, len });
    (salt, vec(item, 0..3)).prop_map(|(cache_salt, multimodal)| Namespace {
        cache_salt,
        multimodal,
        ..Namespace::default()
    })
}

/// A prompt of one of three sessions that often begins as the last one did.
fn turns() -> impl Strategy<Value = Vec<(usize, Vec<TokenId>, Namespace)>> {
    let tokens = vec(prop_oneof![9 => Just(1), 1 => Just(2_u32)], 0..60);
    vec((0..3_usize, tokens, namespaces()), 0..20)
}

fn same<H: PromptHasher<Names: PartialEq>>(memo: &mut SessionMemo<H>, turn: &(usize, Vec<TokenId>, Namespace)) {
    let (session, tokens, namespace) = turn;
    let (mut expected, mut names) = (H::Names::default(), H::Names::default());
    let alone = memo.hasher.go_on(tokens, namespace, 0, &mut expected);
    let remembered = memo.hash_into(&session.to_string(), tokens, namespace, &mut names);
    assert_eq!(alone.is_ok(), remembered.is_ok());
    assert!(names == expected, "{session} {tokens:?} {namespace:?}");
    assert!(remembered.is_err() || remembered.unwrap() <= tokens.len() / 4);
    assert!(memo.tokens() <= memo.max_tokens);
    assert_eq!(memo.sessions.len(), memo.order.len());
    assert_eq!(memo.sessions.values().map(|session| session.weight).sum::<usize>(), memo.kept);
}

proptest! {
    #[test]
    fn a_memo_answers_as_its_hasher_does(turns in turns(), max_tokens in 0..400_usize) {
        let mut memo = SessionMemo::new(ours(), max_tokens);
        turns.iter().for_each(|turn| same(&mut memo, turn));
        for hasher in engines() {
            let mut memo = SessionMemo::new(hasher, max_tokens);
            turns.iter().for_each(|turn| same(&mut memo, turn));
        }
    }
}

#[test]
fn what_is_the_same_is_remembered_up_to_the_first_difference() {
    let mut memo = SessionMemo::new(ours(), 10_000);
    let plain = Namespace::default();
    let mut ask = |tokens: &[TokenId], namespace: &Namespace| {
        memo.hash_into("one", tokens, namespace, &mut Chain::default()).unwrap()
    };
    let image = |offset| MultimodalItem { identifier: "cafe".into(), offset, len: 4 };
    assert_eq!(ask(&[1; 40], &plain), 0);
    assert_eq!(ask(&[1; 40], &plain), 10);
    assert_eq!(ask(&[1; 43], &plain), 10);
    assert_eq!(ask(&[1; 21], &plain), 5);
    assert_eq!(ask(&[&[1; 13][..], &[2; 30]].concat(), &plain), 3);
    assert_eq!(ask(&[1; 40], &plain), 3);
    assert_eq!(ask(&[1; 40], &plain.clone().with_multimodal([image(17)])), 4);
    assert_eq!(ask(&[1; 40], &plain.clone().with_multimodal([image(17), image(30)])), 7);
    assert_eq!(ask(&[1; 40], &plain.clone().with_cache_salt("tenant-7")), 0);
    assert_eq!(ask(&[1; 40], &plain.with_lora(Lora::new("poet"))), 0);
}

#[test]
fn who_was_asked_for_longest_ago_makes_room() {
    let mut memo = SessionMemo::new(ours(), 3 * (64 + 40));
    let ask = |memo: &mut SessionMemo<_>, session: &str, len| {
        memo.hash_into(session, &vec![1; len], &Namespace::default(), &mut Chain::default()).unwrap()
    };
    for session in ["a", "b", "c", "a"] {
        ask(&mut memo, session, 40);
    }
    assert_eq!((memo.sessions(), memo.tokens(), memo.dropped()), (3, 312, 0));
    ask(&mut memo, "d", 40);
    assert_eq!((memo.sessions(), memo.dropped()), (3, 1));
    assert_eq!(ask(&mut memo, "a", 40), 10);
    assert_eq!(ask(&mut memo, "b", 40), 0);

    // One that is too long by itself leaves nothing behind.
    ask(&mut memo, "long", 1000);
    assert_eq!((memo.sessions(), memo.tokens(), memo.dropped()), (0, 0, 6));
    ask(&mut memo, "a", 40);
    memo.forget("a");
    memo.forget("a");
    assert_eq!((memo.sessions(), memo.tokens(), memo.dropped()), (0, 0, 6));
}

#[test]
fn what_is_refused_changes_nothing() {
    let mut memo = SessionMemo::new(EngineHasher::new("sglang", 4).unwrap(), 10_000);
    let (plain, mut names) = (Namespace::default(), Vec::new());
    memo.hash_into("one", &[1; 40], &plain, &mut names).unwrap();
    let before = names.clone();
    for session in ["one", "other"] {
        let adapted = plain.clone().with_lora(Lora::new("poet"));
        let error = memo.hash_into(session, &[1; 80], &adapted, &mut names).unwrap_err();
        assert_eq!((error.kind(), memo.sessions(), &names), (ErrorKind::Unsupported, 1, &before));
    }
    assert_eq!(memo.hash_into("one", &[1; 80], &plain, &mut names).unwrap(), 10);
    assert_eq!(format!("{memo:?}"), "SessionMemo { sessions: 1, tokens: 144, dropped: 0, .. }");
}
