//! Everything that is a batch, however it is written.

use super::*;
use crate::event::{BlockStored, EventExtraKey, SpecKind};
use crate::{GroupIdx, Locality, Medium};

fn stored(event: &[u8]) -> BlockStored {
    match only_event(event) {
        KvEvent::BlockStored(stored) => stored,
        other => panic!("{other:?} is no stored event"),
    }
}

/// A stored event with another list of hashes.
fn stored_hashes(hashes: &[u8]) -> Vec<ExternalBlockHash> {
    stored(&map(4, &[STORED, b"\xacblock_hashes", hashes, TOKENS, SIZE])).block_hashes
}

#[test]
fn a_map_has_its_fields_by_name() {
    let event = stored(&map(
        15,
        &[
            STORED,
            HASHES,
            TOKENS,
            SIZE,
            b"\xb1parent_block_hash\xcd\x01\x00",
            b"\xa7lora_id\x03",
            b"\xa6medium\xa3CPU",
            b"\xa9lora_name\xa4poet",
            b"\xaaextra_keys\x91\x94\xa4poet\x92\xa1m\xfe\xa4salt\xc4\x02\xab\xcd",
            b"\xa9group_idx\x01",
            b"\xb2kv_cache_spec_kind\xaesliding_window",
            b"\xbckv_cache_spec_sliding_window\xcd\x04\x00",
            b"\xa8locality\xa6REMOTE",
            b"\xa9ownership\xa2fs",
            b"\xaasession_id\xa1s",
        ],
    ));

    let expected = BlockStored {
        block_hashes: vec![ExternalBlockHash::from_int(5)],
        parent_block_hash: Some(ExternalBlockHash::from_int(256)),
        token_ids: vec![1, 2],
        block_size: 2,
        lora_id: Some(3),
        lora_name: Some("poet".into()),
        medium: Medium::Cpu,
        locality: Locality::Remote,
        ownership: Some("fs".into()),
        cache_salt: None,
        extra_keys: vec![vec![
            EventExtraKey::Text("poet".into()),
            EventExtraKey::Multimodal { identifier: "m".into(), offset: -2 },
            EventExtraKey::Text("salt".into()),
            EventExtraKey::Digest(vec![0xab, 0xcd]),
        ]],
        group_idx: GroupIdx(1),
        spec_kind: SpecKind::SlidingWindow,
        sliding_window: Some(1024),
        session_id: Some("s".into()),
    };
    assert_eq!(event, expected);
}

#[test]
fn an_array_has_its_fields_in_order_and_stops_where_it_likes() {
    let fields: [&[u8]; 16] = [
        b"\xabBlockStored",
        b"\x91\x05",
        b"\xc0",
        b"\x92\x01\x02",
        b"\x02",
        b"\x03",
        b"\xa3CPU",
        b"\xa4poet",
        b"\x91\xc0",
        b"\x01",
        b"\xa5mamba",
        b"\x07",
        b"\xa5LOCAL",
        b"\xa2fs",
        b"\xa1s",
        b"\x82\x01\x02\x03\x91\xc0", // what a later version may add
    ];
    for len in 5..=fields.len() {
        let event = stored(&[&[0xdc, 0, len as u8], &fields[..len].concat()[..]].concat());
        assert_eq!((event.token_ids.len(), event.block_size), (2, 2));
        assert_eq!(event.lora_id, (len > 5).then_some(3));
        assert_eq!(event.medium, if len > 6 { Medium::Cpu } else { Medium::Gpu });
        assert_eq!(event.lora_name.is_some(), len > 7);
        assert_eq!(event.extra_keys.len(), usize::from(len > 8));
        assert_eq!(event.group_idx, GroupIdx(u32::from(len > 9)));
        assert_eq!(event.spec_kind == SpecKind::Mamba, len > 10);
        assert_eq!(event.sliding_window, (len > 11).then_some(7));
        assert_eq!(event.ownership.is_some(), len > 13);
        assert_eq!(event.session_id.is_some(), len > 14);
    }
}

#[test]
fn nil_is_the_default_wherever_there_is_one() {
    let nothing = stored(&map(4, &[STORED, HASHES, TOKENS, SIZE]));
    for field in [
        &b"\xb1parent_block_hash\xc0"[..],
        b"\xa7lora_id\xc0",
        b"\xa6medium\xc0",
        b"\xa9lora_name\xc0",
        b"\xaaextra_keys\xc0",
        b"\xaaextra_keys\x90",
        b"\xa9group_idx\xc0",
        b"\xb2kv_cache_spec_kind\xc0",
        b"\xbckv_cache_spec_sliding_window\xc0",
        b"\xa8locality\xc0",
        b"\xa9ownership\xc0",
        b"\xaacache_salt\xc0",
        b"\xaasession_id\xc0",
    ] {
        assert_eq!(stored(&stored_with(field).0), nothing, "{}", field.escape_ascii());
    }
}

#[test]
fn a_hash_is_an_integer_of_any_width_or_bytes_of_any_length() {
    let integers = b"\x97\x05\xff\xcc\x80\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xd3\x80\0\0\0\0\0\0\0\xd0\xfd\xd0\x05";
    let expected = [5, u64::MAX, 128, u64::MAX, 1 << 63, (-3_i64).cast_unsigned(), 5];
    assert_eq!(stored_hashes(integers), expected.map(ExternalBlockHash::from_int));

    let bytes = b"\x94\xc4\x00\xc4\x01\xaa\xa2hi\xc5\x00\x21aaaaaaaabbbbbbbbccccccccddddddddX";
    let expected: [&[u8]; 4] = [b"", b"\xaa", b"hi", b"aaaaaaaabbbbbbbbccccccccddddddddX"];
    assert_eq!(stored_hashes(bytes), expected.map(ExternalBlockHash::from_bytes));
}

#[test]
fn a_tier_that_others_read_says_so_when_it_stores_and_when_it_removes() {
    let place: [&[u8]; 3] = [b"\xa6medium\xa7STORAGE", b"\xa8locality\xa6REMOTE", b"\xa9ownership\xa2fs"];
    let offloaded = [STORED, HASHES, b"\xa9token_ids\x90", b"\xaablock_size\x00"];
    let event = stored(&map(7, &[&offloaded[..], &place[..]].concat()));
    assert_eq!((event.medium, event.locality), (Medium::Storage, Locality::Remote));
    assert_eq!(event.ownership.as_deref(), Some("fs"));

    let as_map = only_event(&map(5, &[&[REMOVED, HASHES], &place[..]].concat()));
    let as_array = only_event(b"\x96\xacBlockRemoved\x91\x05\xa7STORAGE\x00\xa6REMOTE\xa2fs");
    let KvEvent::BlockRemoved(removed) = &as_map else { panic!("{as_map:?}") };
    assert_eq!((removed.medium, removed.locality), (Medium::Storage, Locality::Remote));
    assert_eq!(removed.ownership.as_deref(), Some("fs"));
    assert_eq!(as_array, as_map);
}

#[test]
fn an_array_may_be_longer_than_any_that_we_know() {
    let longer = b"\x98\xacBlockRemoved\x91\x05\xc0\xc0\xc0\xc0\x82\x01\x92\xc0\x80\x90\xc3\x07";
    assert_eq!(only_event(longer), good().1);
    assert_eq!(only_event(b"\x93\xb0AllBlocksCleared\x07\x91\xc0"), KvEvent::AllBlocksCleared);
}

#[test]
fn a_hash_only_event_has_neither_tokens_nor_a_block_size() {
    let event = stored(&map(4, &[STORED, HASHES, b"\xa9token_ids\x90", b"\xaablock_size\x00"]));
    assert_eq!((event.token_ids.len(), event.block_size, event.block_hashes.len()), (0, 0, 1));
}

#[test]
fn what_we_do_not_know_is_skipped() {
    let nested = b"\xa3new\x82\xa1a\x92\x01\xc7\x02\x07hi\x91\xc0\xcb\x00\x00\x00\x00\x00\x00\x00\x00";
    assert_eq!(only_event(&map(3, &[nested, REMOVED, HASHES])), good().1);

    let keys_of_all_kinds = map(5, &[b"\x07\xc2", b"\xc0\xc3", b"\x91\x01\xca\0\0\0\0", REMOVED, HASHES]);
    assert_eq!(only_event(&keys_of_all_kinds), good().1);

    let field_of_another_event = map(3, &[REMOVED, HASHES, b"\xa9token_ids\xc3"]);
    assert_eq!(only_event(&field_of_another_event), good().1);

    let cleared = map(2, &[b"\xa4type\xb0AllBlocksCleared", b"\xa6medium\xa3TPU"]);
    assert_eq!(only_event(&cleared), KvEvent::AllBlocksCleared);
}

#[test]
fn the_type_may_come_last_and_what_is_said_twice_counts_the_last_time() {
    assert_eq!(only_event(&map(2, &[HASHES, REMOVED])), good().1);
    assert_eq!(only_event(&map(3, &[REMOVED, b"\xacblock_hashes\x92\x07\x08", HASHES])), good().1);
    assert_eq!(only_event(&map(3, &[STORED, HASHES, REMOVED])), good().1);
}

#[test]
fn a_kind_of_attention_that_we_do_not_know_is_unknown() {
    assert_eq!(stored(&stored_with(b"\xb2kv_cache_spec_kind\xa4warp").0).spec_kind, SpecKind::Unknown);
}

#[test]
fn the_rank_may_be_there_or_nil_or_missing_and_more_may_follow() {
    let rank = |payload: &[u8]| {
        let batch = decode_batch(payload).unwrap();
        assert_eq!((batch.timestamp, batch.events.len(), batch.errors.len()), (2.0, 0, 0));
        batch.data_parallel_rank
    };
    assert_eq!(rank(b"\x92\x02\x90"), None);
    assert_eq!(rank(b"\x93\x02\x90\xc0"), None);
    assert_eq!(rank(b"\x93\xcb\x40\0\0\0\0\0\0\0\x90\x00"), Some(0));
    assert_eq!(rank(b"\xdc\x00\x03\xca\x40\0\0\0\xdd\0\0\0\0\xcd\x01\x00"), Some(256));
    assert_eq!(rank(b"\x95\x02\x90\x07\x91\x91\xc0\xa1x"), Some(7));
}

#[test]
fn depth_costs_nothing() {
    let depth = 1_000_000;
    let deep = [&b"\xa3new"[..], &vec![0x91; depth], b"\xc0"].concat();
    assert_eq!(only_event(&map(3, &[REMOVED, &deep, HASHES])), good().1);
}
