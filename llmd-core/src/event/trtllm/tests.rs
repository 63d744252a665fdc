//! What becomes of TensorRT-LLM's events. Every text here is written by hand after the source of its serializer; none was
//! recorded from an engine.

mod json;
mod refused;

use super::*;
use crate::event::{BlockRemoved, BlockStored, EventExtraKey, SpecKind};
use crate::{ExternalBlockHash, GroupIdx, Medium};

/// Four tokens a block.
fn decoder() -> TrtllmDecoder {
    TrtllmDecoder::new(4)
}

/// What each event of a list means, when all of it can be read.
fn told(decoder: &mut TrtllmDecoder, events: &[String]) -> Vec<KvEvent> {
    let decoded = decoder.decode(format!("[{}]", events.join(",")).as_bytes()).unwrap();
    assert_eq!((&decoded.errors[..], decoded.errors_dropped), (&[][..], 0));
    let batches = decoded.batches.into_iter();
    batches.inspect(|batch| assert_eq!(batch.batch.errors, [])).flat_map(|batch| batch.batch.events).collect()
}

/// An event with the number 5, of the window 4,096.
fn event(data: &str) -> String {
    format!(r#"{{"event_id": 5, "data": {data}, "window_size": 4096}}"#)
}

fn stored(parent: &str, blocks: &[String]) -> String {
    event(&format!(r#"{{"type": "stored", "parent_hash": {parent}, "blocks": [{}]}}"#, blocks.join(",")))
}

fn removed(blocks: &str) -> String {
    event(&format!(r#"{{"type": "removed", "block_hashes": [{blocks}]}}"#))
}

fn moved(block: u64, old: u32, new: u32) -> String {
    let level = format!(r#"{{"type": "event_diff", "new_value": {new}, "old_value": {old}}}"#);
    event(&format!(r#"{{"type": "updated", "block_hash": {block}, "cache_level": {level}, "priority": null}}"#))
}

/// A block of tokens, all alike, as the engine writes it.
fn block(name: u64, tokens: &[u32], more: &str) -> String {
    let token = |id: &u32| format!(r#"{{"type": "unique_token", "token_id": {id}, "token_extra_id": 0}}"#);
    let tokens: Vec<_> = tokens.iter().map(token).collect();
    let tokens = tokens.join(",");
    format!(r#"{{"type": "stored_block", "block_hash": {name}, "tokens": [{tokens}], "priority": 35{more}}}"#)
}

fn names<const N: usize>(names: [u64; N]) -> Vec<ExternalBlockHash> {
    names.map(ExternalBlockHash::from_int).into()
}

fn plain_removal(medium: Medium, blocks: Vec<ExternalBlockHash>) -> KvEvent {
    KvEvent::BlockRemoved(BlockRemoved { block_hashes: blocks, medium, ..BlockRemoved::default() })
}

#[test]
fn an_answer_has_a_batch_per_event_with_the_number_and_the_rank_that_it_says() {
    let answer = r#"[
        {"event_id": 0, "data": {"type": "created", "num_blocks_per_cache_level": [101230, 0]}, "window_size": 4096},
        {"event_id": 1, "data": {"type": "removed", "block_hashes": [7]}, "window_size": 4096, "attention_dp_rank": 3},
        {"event_id": 2, "data": {"type": "updated", "block_hash": 7, "cache_level": null, "priority":
            {"type": "event_diff", "new_value": 1, "old_value": 35}}, "window_size": 4096}
    ]"#;
    let events = decoder().decode(answer.as_bytes()).unwrap();

    let of = |batch: &Numbered<KvEventBatch>| (batch.seq, batch.batch.data_parallel_rank, batch.batch.events.len());
    let batches: Vec<_> = events.batches.iter().map(of).collect();
    assert_eq!(batches, [(0, None, 0), (1, Some(3), 1), (2, None, 0)]);
    assert!(events.batches.iter().all(|batch| !batch.unreadable && batch.made_at.is_none()));
    assert_eq!(events.errors, []);
}

#[test]
fn an_event_may_stand_alone_and_nothing_may_have_happened() {
    let alone = decoder().decode(removed("7").as_bytes()).unwrap();
    assert_eq!(alone.batches[0].batch.events, [plain_removal(Medium::Gpu, names([7]))]);

    for nothing in ["[]", "null", " [ ] "] {
        assert_eq!(decoder().decode(nothing.as_bytes()).unwrap(), TrtllmEvents::default(), "{nothing}");
    }
}

#[test]
fn the_same_event_has_the_same_fingerprint_and_another_has_another() {
    let fingerprint = |event: String| decoder().decode(event.as_bytes()).unwrap().batches[0].fingerprint;
    assert_eq!(fingerprint(removed("7")), fingerprint(format!("  {}", removed("7"))));
    assert_ne!(fingerprint(removed("7")), fingerprint(removed("8")));
}

#[test]
fn blocks_of_a_chain_are_one_event() {
    let blocks = [block(17446744073709551615, &[1, 2, 3, 4], r#", "cache_level": 0"#), block(9, &[5, 6, 7, 8], "")];
    let events = told(&mut decoder(), &[stored("-1", &blocks)]);

    let expected = BlockStored {
        block_hashes: names([17446744073709551615, 9]),
        parent_block_hash: Some(ExternalBlockHash::from_int(u64::MAX)),
        token_ids: vec![1, 2, 3, 4, 5, 6, 7, 8],
        block_size: 4,
        ..BlockStored::default()
    };
    assert_eq!(events, [KvEvent::BlockStored(expected)]);
}

#[test]
fn names_in_hexadecimal_are_bytes_and_tokens_may_be_bare() {
    let name = "00ff".repeat(16);
    let block = format!(r#"{{"block_hash": "{name}", "tokens": [1, 2, 3, 4]}}"#);
    let events = told(&mut decoder(), &[stored("null", &[block]), removed(&format!("\"{name}\""))]);

    let name = ExternalBlockHash::from_bytes(&[0, 255].repeat(16));
    let [KvEvent::BlockStored(stored), removal] = &events[..] else { panic!("{events:?}") };
    assert_eq!((&stored.block_hashes[..], &stored.token_ids[..]), (&[name.clone()][..], &[1, 2, 3, 4][..]));
    assert_eq!(*removal, plain_removal(Medium::Gpu, vec![name]));
}

#[test]
fn blocks_that_differ_in_more_than_tokens_are_events_of_their_own() {
    let blocks = [
        block(1, &[1; 4], r#", "lora_id": 3, "cache_salt": "t""#),
        block(2, &[2; 4], r#", "lora_id": 3, "cache_salt": "t""#),
        block(3, &[3; 4], r#", "lora_id": 3, "cache_salt": "t", "cache_level": 1"#),
        block(4, &[4; 4], r#", "lora_id": 3, "cache_salt": "u", "cache_level": 1"#),
        block(5, &[5; 4], r#", "lora_id": 4, "cache_salt": "u", "cache_level": 2"#),
    ];
    let events = told(&mut decoder(), &[stored("null", &blocks)]);

    let of = |event: &KvEvent| match event {
        KvEvent::BlockStored(stored) => {
            let parent = stored.parent_block_hash.as_ref().and_then(ExternalBlockHash::as_int);
            (parent, stored.block_hashes.len(), stored.medium, stored.lora_id, stored.cache_salt.clone())
        }
        other => panic!("{other:?}"),
    };
    let (t, u) = (Some("t".into()), Some("u".into()));
    assert_eq!(
        events.iter().map(of).collect::<Vec<_>>(),
        [
            (None, 2, Medium::Gpu, Some(3), t.clone()),
            (Some(2), 1, Medium::Cpu, Some(3), t),
            (Some(3), 1, Medium::Cpu, Some(3), u.clone()),
            (Some(4), 1, Medium::Storage, Some(4), u),
        ]
    );
}

#[test]
fn an_adapter_may_be_said_once_for_all_blocks() {
    let data = format!(r#"{{"type": "stored", "lora_name": "poet", "blocks": [{}]}}"#, block(1, &[1; 4], ""));
    let events = told(&mut decoder(), &[event(&data)]);
    assert!(matches!(&events[..], [KvEvent::BlockStored(stored)] if stored.lora_name.as_deref() == Some("poet")));
}

#[test]
fn what_besides_tokens_makes_a_block_is_among_its_keys() {
    let image =
        |begins: u32| format!(r#", "mm_keys": [{{"type": "mm_key", "hash": "cafe", "start_offset": {begins}}}]"#);
    let blocks = [
        block(1, &[1; 4], &format!(r#", "lora_id": 3, "cache_salt": "t"{}"#, image(0))),
        block(2, &[2; 4], &format!(r#", "lora_id": 3, "cache_salt": "t"{}"#, image(4))),
        block(3, &[3; 4], r#", "lora_id": 3, "cache_salt": "t""#),
    ];
    let events = told(&mut decoder(), &[stored("null", &blocks)]);

    let [KvEvent::BlockStored(keyed), KvEvent::BlockStored(plain)] = &events[..] else { panic!("{events:?}") };
    let text = |text: &str| EventExtraKey::Text(text.into());
    let cafe = |offset| EventExtraKey::Multimodal { identifier: "cafe".into(), offset };
    let keys = [vec![text("lora id 3"), cafe(0), text("t")], vec![text("lora id 3"), cafe(-4)]];
    assert_eq!(keyed.extra_keys, keys);
    assert_eq!((plain.extra_keys.len(), plain.block_hashes.len()), (0, 1));
}

#[test]
fn a_token_that_is_more_than_its_id_keeps_a_block_apart() {
    let token = |extra: u64| format!(r#"{{"token_id": 1, "token_extra_id": {extra}}}"#);
    let block =
        format!(r#"{{"block_hash": 1, "tokens": [{},{},{},{}]}}"#, token(0), token(258), token(0), token(u64::MAX));
    let events = told(&mut decoder(), &[stored("null", &[block])]);

    let [KvEvent::BlockStored(stored)] = &events[..] else { panic!("{events:?}") };
    let [EventExtraKey::Digest(digest)] = &stored.extra_keys[0][..] else { panic!("{stored:?}") };
    assert_eq!(digest[..], [&[0; 8][..], &[2, 1, 0, 0, 0, 0, 0, 0], &[0; 8], &[255; 8]].concat());
}

#[test]
fn a_block_that_is_not_full_is_left_out_and_so_is_its_removal() {
    let mut decoder = decoder();
    let blocks = [block(1, &[1; 4], ""), block(2, &[2; 3], "")];
    let events = told(&mut decoder, &[stored("null", &blocks), moved(2, 0, 1), removed("1, 2, 3")]);

    assert!(matches!(&events[0], KvEvent::BlockStored(stored) if stored.block_hashes == names([1])));
    assert_eq!(events[1..], [plain_removal(Medium::Gpu, names([1, 3]))]);
    assert_eq!(decoder.places(), 0);
}

#[test]
fn a_block_that_moves_is_stored_there_before_it_is_removed_here() {
    let mut decoder = decoder();
    told(&mut decoder, &[stored("null", &[block(1, &[1; 4], "")])]);
    let events = told(&mut decoder, &[moved(1, 0, 1)]);

    let there = BlockStored { block_hashes: names([1]), medium: Medium::Cpu, ..BlockStored::default() };
    assert_eq!(events, [KvEvent::BlockStored(there), plain_removal(Medium::Gpu, names([1]))]);
    assert_eq!(decoder.places(), 1);
    assert_eq!(told(&mut decoder, &[moved(1, 1, 1)]), []);
}

#[test]
fn a_block_is_removed_from_where_it_lies() {
    let mut decoder = decoder();
    let blocks = [1, 2, 3].map(|name| block(name, &[1; 4], ""));
    told(&mut decoder, &[stored("null", &blocks), moved(2, 0, 1), moved(3, 0, 1), moved(3, 1, 0)]);
    let events = told(&mut decoder, &[removed("1, 2, 3, 4")]);

    let gpu = |blocks| plain_removal(Medium::Gpu, blocks);
    assert_eq!(events, [gpu(names([1])), plain_removal(Medium::Cpu, names([2])), gpu(names([3, 4]))]);
    assert_eq!(decoder.places(), 0);
}

#[test]
fn an_event_beyond_the_gpu_says_so_to_the_sequencer() {
    let mut decoder = decoder();
    let events = [stored("null", &[block(1, &[1; 4], "")]), moved(1, 0, 1), removed("1")];
    let events = decoder.decode(format!("[{}]", events.join(",")).as_bytes()).unwrap();
    assert_eq!(events.batches.iter().map(|batch| batch.beyond_gpu).collect::<Vec<_>>(), [false, true, true]);
}

#[test]
fn a_cache_that_is_made_anew_holds_nothing() {
    let mut decoder = decoder();
    let of_rank = |event: String| event.replace(r#""event_id": 5"#, r#""event_id": 5, "attention_dp_rank": 1"#);
    let block = [block(1, &[1; 4], r#", "cache_level": 1"#)];
    told(&mut decoder, &[stored("null", &block), of_rank(stored("null", &block))]);
    assert_eq!(decoder.places(), 2);

    told(&mut decoder, &[event(r#"{"type": "created", "num_blocks_per_cache_level": [8, 8]}"#)]);
    assert_eq!(decoder.places(), 1);
    let events = told(&mut decoder, &[removed("1"), of_rank(removed("1"))]);
    assert_eq!(events, [plain_removal(Medium::Gpu, names([1])), plain_removal(Medium::Cpu, names([1]))]);
}

#[test]
fn the_longest_window_is_full_attention_and_shorter_ones_are_groups_of_their_own() {
    let of_window = |event: String, window: u32| event.replace("4096", &window.to_string());
    let created = |window| of_window(event(r#"{"type": "created", "num_blocks_per_cache_level": [8, 8]}"#), window);
    let block = [block(1, &[1; 4], "")];
    let mut decoder = decoder();
    told(&mut decoder, &[created(512), created(4096)]);
    let events = told(
        &mut decoder,
        &[stored("null", &block), of_window(stored("null", &block), 512), of_window(removed("1"), 512), removed("1")],
    );

    let group = |event: &KvEvent| match event {
        KvEvent::BlockStored(stored) => (stored.group_idx, Some((stored.spec_kind, stored.sliding_window))),
        KvEvent::BlockRemoved(removed) => (removed.group_idx, None),
        KvEvent::AllBlocksCleared => panic!("nothing was cleared"),
    };
    let (full, sliding) = ((SpecKind::FullAttention, None), (SpecKind::SlidingWindow, Some(512)));
    let expected =
        [(GroupIdx(0), Some(full)), (GroupIdx(512), Some(sliding)), (GroupIdx(512), None), (GroupIdx(0), None)];
    assert_eq!(events.iter().map(group).collect::<Vec<_>>(), expected);
}

#[test]
fn a_group_that_has_a_number_keeps_it() {
    let numbered = |event: String| event.replace(r#""event_id": 5"#, r#""event_id": 5, "layer_group_id": 2"#);
    let events = told(&mut decoder(), &[numbered(stored("null", &[block(1, &[1; 4], "")])), numbered(removed("1"))]);
    let [KvEvent::BlockStored(stored), KvEvent::BlockRemoved(removed)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((stored.group_idx, removed.group_idx), (GroupIdx(2), GroupIdx(2)));
}

#[test]
fn an_engine_that_starts_anew_may_have_shorter_windows() {
    let created = |window: u32| format!(r#"{{"event_id": 0, "data": {{"type": "created"}}, "window_size": {window}}}"#);
    let mut decoder = decoder();
    told(&mut decoder, &[created(8192), created(4096)]);
    let events = told(&mut decoder, &[stored("null", &[block(1, &[1; 4], "")])]);
    assert!(matches!(&events[..], [KvEvent::BlockStored(stored)] if stored.spec_kind.is_full()));
}

#[test]
fn what_we_do_not_know_is_skipped() {
    let event = r#"{"new": [{}, {"a": [1e5, "\u00e9\"]"]}], "event_id": 5, "hash_algo": "v1_block_key",
        "data": {"new": null, "block_hashes": [7], "type": "removed", "is_eagle": true}}"#;
    assert_eq!(told(&mut decoder(), &[event.into()]), [plain_removal(Medium::Gpu, names([7]))]);
}
