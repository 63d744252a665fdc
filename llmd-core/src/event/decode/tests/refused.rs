//! What cannot be read: which byte, which field, and that nothing else is lost.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::ErrorKind;
use crate::event::MAX_EVENT_ERRORS;

/// A batch with this event between two good ones gives those two, and an error with `place` counted from the event's
/// own beginning.
fn refused(event: &[u8], place: usize, field: &str, message: Expect) {
    let (good_bytes, good) = good();
    let batch = decode_batch(&batch(&[&good_bytes, event, &good_bytes])).unwrap();

    assert_eq!(batch.events, [good.clone(), good], "the others are kept");
    let [error] = &batch.errors[..] else { panic!("not one error: {:?}", batch.errors) };
    message.assert_eq(&error.message);
    assert_eq!((error.event, error.byte, error.field), (1, FIRST_EVENT + good_bytes.len() + place, field));
    assert_eq!(batch.data_parallel_rank, Some(3), "and so is what follows");
}

/// The same, for a stored event whose fifth key is `field`, with a fault in its value `inner` bytes from its beginning.
fn value_refused(field: &'static str, value: &[u8], inner: usize, message: Expect) {
    let key = [&[0xa0 | field.len() as u8][..], field.as_bytes()].concat();
    let (event, place) = stored_with(&[&key, value].concat());
    refused(&event, place + key.len() + inner, field, message);
}

#[test]
fn an_event_is_an_array_or_a_map() {
    refused(b"\xc0", 0, "", expect!["expected an event, as an array or a map, found nil"]);
    refused(b"\xa2hi", 0, "", expect!["expected an event, as an array or a map, found a string"]);
}

#[test]
fn an_event_has_a_type() {
    refused(b"\x90", 0, "type", expect!["type is missing"]);
    refused(&map(1, &[HASHES]), 0, "type", expect!["type is missing"]);
    refused(b"\x91\xc0", 1, "type", expect!["expected an event type, found nil"]);
    refused(b"\x81\xa4type\x07", 6, "type", expect!["expected a string or nil, found an integer"]);
    refused(b"\x92\xadBlockTeleport\x05", 1, "type", expect![[r#"unknown event type "BlockTeleport""#]]);
    refused(b"\x81\xa4type\xa4\"\n\xc3\xa9", 6, "type", expect![[r#"unknown event type "\"\né""#]]);
    refused(b"\x91\xa1\xff", 1, "type", expect!["expected UTF-8: invalid utf-8 sequence of 1 bytes from index 0"]);
}

#[test]
fn a_long_word_is_not_quoted_whole() {
    let word = [&b"\xd9\xc8"[..], &[b'x'; 200]].concat();
    let quoted = "x".repeat(64);
    let batch = decode_batch(&batch(&[[b"\x91", &word[..]].concat()])).unwrap();
    assert_eq!(batch.errors[0].message, format!("unknown event type \"{quoted}\"…"));
}

#[test]
fn hashes_are_integers_or_bytes_in_a_list() {
    let removed = |hashes: &[u8]| map(2, &[REMOVED, b"\xacblock_hashes", hashes]);
    let place = removed(b"").len();
    refused(
        &removed(b"\x92\x05\xc3"),
        place + 2,
        "block_hashes",
        expect!["expected a block hash, as an integer or bytes, found a boolean"],
    );
    refused(
        &removed(b"\x91\xc0"),
        place + 1,
        "block_hashes",
        expect!["expected a block hash, as an integer or bytes, found nil"],
    );
    refused(&removed(b"\x05"), place, "block_hashes", expect!["expected an array, found an integer"]);
    refused(&removed(b"\xc0"), place, "block_hashes", expect!["expected an array, found nil"]);
    value_refused(
        "parent_block_hash",
        b"\x91\x05",
        0,
        expect!["expected a block hash, as an integer or bytes, found an array"],
    );
}

#[test]
fn tokens_are_numbers_of_32_bits() {
    value_refused("token_ids", b"\x92\x01\xff", 2, expect!["expected a number from 0, found -1"]);
    value_refused(
        "token_ids",
        b"\x91\xcf\0\0\0\x01\0\0\0\0",
        1,
        expect!["expected a number of at most 32 bits, found 4294967296"],
    );
    value_refused("token_ids", b"\x91\xca\0\0\0\0", 1, expect!["expected a number, found a float"]);
    value_refused("token_ids", b"\xc0", 0, expect!["expected an array, found nil"]);
}

#[test]
fn tokens_come_in_blocks_of_some_size() {
    value_refused("block_size", b"\x00", 0, expect!["a block size of 0, where there are 2 tokens"]);
    value_refused("block_size", b"\xc0", 0, expect!["expected a number, found nil"]);
}

#[test]
fn a_float_is_no_integer_even_where_it_is_whole() {
    let float = b"\xcb\x40\0\0\0\0\0\0\0";
    for field in ["block_size", "group_idx", "kv_cache_spec_sliding_window", "lora_id"] {
        value_refused(field, float, 0, expect!["expected a number, found a float"]);
    }
    value_refused("block_size", b"\xff", 0, expect!["expected a number from 0, found -1"]);
    let in_list = [b"\x91", &float[..]].concat();
    for (field, value, inner) in [("parent_block_hash", &float[..], 0), ("block_hashes", &in_list, 1)] {
        let message = expect!["expected a block hash, as an integer or bytes, found a float"];
        value_refused(field, value, inner, message);
    }
}

#[test]
fn garbage_in_a_field_costs_the_event_and_is_skipped_however_it_nests() {
    let nested = b"\x92\x81\xc0\x93\xc7\x01\x07x\xd4\x01\x02\xc4\x01\xff\x80";
    value_refused("token_ids", nested, 1, expect!["expected a number, found a map"]);
    value_refused("token_ids", b"\x91\x92\x01\x02", 1, expect!["expected a number, found an array"]);
    value_refused("medium", nested, 0, expect!["expected a string or nil, found an array"]);
    value_refused("group_idx", b"\xc7\x01\x07x", 0, expect!["expected a number, found an extension"]);
    let extra_key = "expected an extra key, as a string, bytes, or an identifier and its offset, found a map";
    let batch = decode_batch(&batch(&[stored_with(b"\xaaextra_keys\x91\x92\xa1t\x81\xc0\x90").0])).unwrap();
    assert_eq!((batch.events.len(), &batch.errors[0].message[..], batch.errors.len()), (0, extra_key, 1));
}

#[test]
fn what_an_event_cannot_do_without_is_missed() {
    refused(&map(1, &[REMOVED]), 0, "block_hashes", expect!["block_hashes is missing"]);
    refused(b"\x91\xacBlockRemoved", 0, "block_hashes", expect!["block_hashes is missing"]);
    refused(&map(3, &[STORED, TOKENS, SIZE]), 0, "block_hashes", expect!["block_hashes is missing"]);
    refused(&map(3, &[STORED, HASHES, SIZE]), 0, "token_ids", expect!["token_ids is missing"]);
    refused(b"\x94\xabBlockStored\x91\x05\xc0\x91\x01", 0, "block_size", expect!["block_size is missing"]);
}

#[test]
fn words_are_known() {
    value_refused("medium", b"\xa3TPU", 0, expect![[r#"unknown medium "TPU""#]]);
    value_refused("medium", b"\xc2", 0, expect!["expected a string or nil, found a boolean"]);
    value_refused("locality", b"\xa4NEAR", 0, expect![[r#"unknown locality "NEAR""#]]);
}

#[test]
fn texts_are_strings() {
    for field in ["lora_name", "ownership", "session_id", "cache_salt", "kv_cache_spec_kind"] {
        value_refused(field, b"\x07", 0, expect!["expected a string or nil, found an integer"]);
    }
    value_refused(
        "lora_name",
        b"\xa2a\xff",
        0,
        expect!["expected UTF-8: invalid utf-8 sequence of 1 bytes from index 1"],
    );
}

#[test]
fn numbers_fit() {
    value_refused("group_idx", b"\xff", 0, expect!["expected a number from 0, found -1"]);
    value_refused(
        "lora_id",
        b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
        0,
        expect!["expected a number of at most 63 bits, found 18446744073709551615"],
    );
    value_refused("lora_id", b"\xa1x", 0, expect!["expected a number, found a string"]);
    let (event, place) = stored_with(b"\xbckv_cache_spec_sliding_window\x91\xc0");
    refused(&event, place + 29, "kv_cache_spec_sliding_window", expect!["expected a number, found an array"]);
}

#[test]
fn extra_keys_have_one_of_their_forms() {
    value_refused("extra_keys", b"\x07", 0, expect!["expected an array or nil, found an integer"]);
    value_refused(
        "extra_keys",
        b"\x91\x07",
        1,
        expect!["expected a block's extra keys, as an array or nil, found an integer"],
    );
    value_refused(
        "extra_keys",
        b"\x91\x91\x07",
        2,
        expect!["expected an extra key, as a string, bytes, or an identifier and its offset, found an integer"],
    );
    value_refused(
        "extra_keys",
        b"\x91\x91\x93\xa1m\x01\x02",
        2,
        expect!["expected an identifier and its offset, found an array of 3"],
    );
    value_refused(
        "extra_keys",
        b"\x91\x91\x92\x07\x01",
        3,
        expect!["expected a multimodal identifier, as a string, found an integer"],
    );
    value_refused("extra_keys", b"\x91\x91\x92\xa1m\xc0", 5, expect!["expected a number, found nil"]);
    value_refused("extra_keys", b"\x92\xc0\xc0", 0, expect!["extra keys of 2 blocks, where there are 1 block hashes"]);
}

#[test]
fn a_rank_is_a_number_and_the_batch_is_all_there_is() {
    let (good_bytes, good) = good();
    let whole = batch(&[good_bytes]);
    let end = whole.len();

    let mut bad_rank = whole.clone();
    bad_rank[end - 1] = 0xc3;
    let batch = decode_batch(&bad_rank).unwrap();
    assert_eq!((&batch.events[..], batch.data_parallel_rank), (&[good.clone()][..], None));
    expect!["event 1 at byte 41, field data_parallel_rank: expected a number, found a boolean"]
        .assert_eq(&batch.errors[0].to_string());

    let batch = decode_batch(&[&whole[..], b"abc"].concat()).unwrap();
    assert_eq!((&batch.events[..], batch.data_parallel_rank), (&[good][..], Some(3)));
    expect!["event 1 at byte 42: 3 bytes after the end of the batch"].assert_eq(&batch.errors[0].to_string());
}

#[test]
fn where_the_bytes_end_the_events_before_are_kept() {
    let (good_bytes, good) = good();
    let whole = batch(&[&good_bytes, &good_bytes]);
    for end in FIRST_EVENT..whole.len() {
        let batch = decode_batch(&whole[..end]).unwrap();
        let kept = (end - FIRST_EVENT) / good_bytes.len();
        assert_eq!(batch.events, vec![good.clone(); kept], "of {end} bytes");
        let [error] = &batch.errors[..] else { panic!("not one error: {:?}", batch.errors) };
        assert_eq!((error.event, error.byte), (kept, end));
        assert!(error.message.starts_with(&format!("the payload ends at byte {end}, ")), "{error}");
    }
}

#[test]
fn behind_a_byte_that_is_never_used_nothing_can_be_read() {
    let (good_bytes, good) = good();
    let batch = decode_batch(&batch(&[&good_bytes[..], b"\x91\xc1", &good_bytes])).unwrap();
    assert_eq!((&batch.events[..], batch.errors.len()), (&[good][..], 1));
    expect!["event 1 at byte 42, field type: byte 0xc1, which msgpack never uses"]
        .assert_eq(&batch.errors[0].to_string());
}

#[test]
fn an_event_that_is_both_wrong_and_cut_off_says_both() {
    let mut payload = batch(&[&b"\x93\xacBlockRemoved\xc3\x91\x05"[..]]);
    payload.truncate(payload.len() - 2);
    let errors = decode_batch(&payload).unwrap().errors;
    let shown: Vec<_> = errors.iter().map(ToString::to_string).collect();
    expect![[r#"
        event 0 at byte 21, field block_hashes: expected an array, found a boolean
        event 0 at byte 23: the payload ends at byte 23, where a value was expected"#]]
    .assert_eq(&shown.join("\n"));
}

#[test]
fn a_claimed_length_takes_no_memory() {
    for claim in
        [&b"\xdd\xff\xff\xff\xff"[..], b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff"]
    {
        let (event, _) = stored_with(&[b"\xaaextra_keys", claim].concat());
        let batch = decode_batch(&batch(&[&event])).unwrap();
        assert!(batch.events.is_empty() && !batch.errors.is_empty(), "{}", claim.escape_ascii());
    }
    let batch = decode_batch(b"\x93\x01\xdd\xff\xff\xff\xff\x91").unwrap();
    assert_eq!((batch.events.capacity(), batch.errors.len()), (0, 1));
}

#[test]
fn errors_are_kept_up_to_a_limit_and_then_counted() {
    let count = MAX_EVENT_ERRORS as u16 + 7;
    let payload = [&b"\x93\x01\xdc"[..], &count.to_be_bytes(), &vec![0xc0; count.into()], b"\x02"].concat();
    let batch = decode_batch(&payload).unwrap();
    assert_eq!((batch.errors.len(), batch.errors_dropped), (MAX_EVENT_ERRORS, 7));
    assert_eq!(batch.data_parallel_rank, Some(2));
}

#[test]
fn what_is_no_batch_at_all_is_refused() {
    let refused = |payload: &[u8], message: Expect| {
        let error = decode_batch(payload).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        message.assert_eq(&error.to_string());
    };
    refused(b"", expect!["no batch of events: at byte 0: the payload ends at byte 0, where a value was expected"]);
    refused(b"hello", expect!["no batch of events: at byte 0: expected an array, found an integer"]);
    refused(b"\x80", expect!["no batch of events: at byte 0: expected an array, found a map"]);
    refused(
        b"\x91\x01",
        expect!["no batch of events: at byte 0: expected a timestamp and events, found an array of 1"],
    );
    refused(b"\x92\xa1x\x90", expect!["no batch of events: at byte 1: expected a timestamp, found a string"]);
    refused(b"\x92\x01\xc0", expect!["no batch of events: at byte 2: expected an array of events, found nil"]);
    refused(
        b"\x92\xcb\x01",
        expect!["no batch of events: at byte 3: the payload ends at byte 3, inside the value that begins at byte 1"],
    );
}

proptest! {
    #[test]
    fn no_bytes_panic(payload: Vec<u8>) {
        _ = decode_batch(&payload);
    }

    /// Behind a sound opening, any bytes are a batch: of events, and of errors that stand inside the payload.
    #[test]
    fn any_bytes_behind_the_opening_are_events_and_errors(bytes: Vec<u8>, count in 0..16_u8) {
        let payload = [&[0x93, 0x01, 0x90 | count], &bytes[..]].concat();
        let batch = decode_batch(&payload).unwrap();
        prop_assert!(batch.events.len() <= usize::from(count));
        for error in &batch.errors {
            prop_assert!((3..=payload.len()).contains(&error.byte) && error.event <= usize::from(count), "{}", error);
        }
        if batch.events.len() < usize::from(count) {
            prop_assert!(!batch.errors.is_empty());
        }
    }
}
