//! What cannot be read: which byte, which field, and that nothing else is lost.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::event::MAX_EVENT_ERRORS;

/// An event between two good ones is unreadable, with this error, and the others are kept.
fn refused(event: &str, error: Expect) {
    let good = removed("7");
    let events = decoder().decode(format!("[{good}, {event}, {good}]").as_bytes()).unwrap();
    let [first, middle, last] = &events.batches[..] else { panic!("{events:?}") };
    for batch in [first, last] {
        assert_eq!((batch.unreadable, batch.batch.events.len()), (false, 1));
    }
    assert_eq!((middle.seq, middle.unreadable, middle.batch.errors.len()), (5, true, 1));
    error.assert_eq(&middle.batch.errors[0].to_string());
    assert_eq!(events.errors, []);
}

#[test]
fn an_event_says_what_happened() {
    refused(r#"{"event_id": 5}"#, expect!["event 1 at byte 89, field data: data is missing"]);
    refused(&event("7"), expect!["event 1 at byte 113, field data: expected an object, found an integer"]);
    refused(&event("{}"), expect!["event 1 at byte 113, field type: type is missing"]);
    refused(
        &event(r#"{"type": "teleported"}"#),
        expect![[r#"event 1 at byte 113, field type: unknown event type "teleported""#]],
    );
    refused(
        &event(r#"{"type": "removed"}"#),
        expect!["event 1 at byte 113, field block_hashes: block_hashes is missing"],
    );
    refused(
        &event(r#"{"type": "stored", "parent_hash": 5}"#),
        expect!["event 1 at byte 113, field blocks: blocks is missing"],
    );
    refused(&event(r#"{"type": "updated"}"#), expect!["event 1 at byte 113, field block_hash: block_hash is missing"]);
}

#[test]
fn a_value_has_its_form() {
    refused(
        &removed("1, true"),
        expect![
            "event 1 at byte 153, field block_hashes: expected a block hash, as an integer or a string, found a boolean"
        ],
    );
    refused(
        &removed("1.5"),
        expect![
            "event 1 at byte 150, field block_hashes: expected a block hash, as an integer or a string, found a number that is no integer"
        ],
    );
    refused(
        &removed("18446744073709551616"),
        expect![
            "event 1 at byte 150, field block_hashes: expected a block hash of at most 64 bits, found a longer one"
        ],
    );
    refused(
        &removed(r#""xyz""#),
        expect!["event 1 at byte 150, field block_hashes: expected a block hash in hexadecimal, found another text"],
    );
    refused(
        &removed(r#""abc""#),
        expect!["event 1 at byte 150, field block_hashes: expected a block hash in hexadecimal, found another text"],
    );
    refused(
        &stored("null", &[block(1, &[1; 4], r#", "cache_level": 3"#)]),
        expect!["event 1 at byte 113, field cache_level: cache level 3, expected 0 to 2"],
    );
    refused(
        &stored("null", &[block(1, &[1; 4], r#", "cache_level": -1"#)]),
        expect!["event 1 at byte 494, field cache_level: expected a number of 32 bits without a sign, found -1"],
    );
    refused(
        &stored("null", &[block(1, &[1; 4], r#", "cache_salt": 7"#)]),
        expect!["event 1 at byte 493, field cache_salt: expected a string, found an integer"],
    );
    refused(
        &stored("null", &[block(1, &[1; 4], r#", "mm_keys": [{"start_offset": 4}]"#)]),
        expect!["event 1 at byte 491, field hash: hash is missing"],
    );
    refused(
        &stored("null", &[r#"{"tokens": []}"#.into()]),
        expect!["event 1 at byte 164, field block_hash: block_hash is missing"],
    );
    refused(
        &stored("null", &[r#"{"block_hash": 1, "tokens": [{"token_id": "cafe"}]}"#.into()]),
        expect!["event 1 at byte 206, field token_id: expected a number, found a string"],
    );
    refused(
        &stored("null", &[r#"{"block_hash": 1, "tokens": [4294967296]}"#.into()]),
        expect!["event 1 at byte 193, field tokens: expected a number of 32 bits without a sign, found 4294967296"],
    );
    refused(&moved(1, 0, 7), expect!["event 1 at byte 113, field cache_level: cache level 7, expected 0 to 2"]);
    refused(
        &event(r#"{"type": "updated", "block_hash": 1, "cache_level": {"new_value": 1}}"#),
        expect!["event 1 at byte 165, field old_value: old_value is missing"],
    );
}

#[test]
fn only_the_last_block_may_be_short_and_none_may_be_long() {
    refused(
        &stored("null", &[block(1, &[1; 5], "")]),
        expect!["event 1 at byte 113, field tokens: block 0 of 1 has 5 tokens, expected 4"],
    );
    refused(
        &stored("null", &[block(1, &[1; 3], ""), block(2, &[1; 4], "")]),
        expect!["event 1 at byte 113, field tokens: block 0 of 2 has 3 tokens, expected 4"],
    );
}

#[test]
fn blocks_before_a_fault_are_told() {
    let blocks = [block(1, &[1; 4], ""), block(2, &[1; 4], r#", "cache_level": 9"#)];
    let events = decoder().decode(stored("null", &blocks).as_bytes()).unwrap();
    assert!(events.batches[0].unreadable);
    assert!(
        matches!(&events.batches[0].batch.events[..], [KvEvent::BlockStored(stored)] if stored.block_hashes == names([1]))
    );
}

#[test]
fn what_has_no_number_or_no_rank_belongs_to_nobody() {
    let good = removed("7");
    let lost = [
        r#"{"data": {"type": "created"}}"#,
        r#"{"event_id": -1}"#,
        r#"{"event_id": 5, "attention_dp_rank": "x"}"#,
        "7",
    ];
    let events = decoder().decode(format!("[{good}, {}, {good}]", lost.join(",")).as_bytes()).unwrap();
    assert_eq!(events.batches.len(), 2);
    let shown: Vec<_> = events.errors.iter().map(ToString::to_string).collect();
    expect![[r#"
        event 1 at byte 89, field event_id: event_id is missing
        event 2 at byte 132, field event_id: expected a number of 64 bits without a sign, found -1
        event 3 at byte 173, field attention_dp_rank: expected a number, found a string
        event 4 at byte 178: expected an event, as an object, found an integer"#]]
    .assert_eq(&shown.join("\n"));
}

#[test]
fn a_window_that_was_not_announced_is_an_error_once() {
    let of_window = |event: String, window: &str| event.replace("4096", window);
    let mut decoder = decoder();
    told(&mut decoder, &[removed("1")]);
    let events = decoder.decode(of_window(removed("1"), "8192").as_bytes()).unwrap();
    expect![
        "event 0 at byte 0, field window_size: a window of 8192 tokens, where one of 4096 was taken for full attention"
    ]
    .assert_eq(&events.batches[0].batch.errors[0].to_string());
    let events = told(&mut decoder, &[of_window(removed("1"), "8192"), removed("1")]);
    let group = |event: &KvEvent| match event {
        KvEvent::BlockRemoved(removed) => removed.group_idx,
        other => panic!("{other:?}"),
    };
    assert_eq!(events.iter().map(group).collect::<Vec<_>>(), [GroupIdx(0), GroupIdx(4096)]);
}

#[test]
fn places_are_remembered_up_to_a_limit_and_then_counted() {
    let mut decoder = TrtllmDecoder::new(4).with_max_places(1);
    let blocks = [1, 2, 3].map(|name| block(name, &[1; 4], r#", "cache_level": 1"#));
    let events = decoder.decode(stored("null", &blocks).as_bytes()).unwrap();
    expect!["event 0 at byte 24, field cache_level: no room to remember where a block lies: there are 1"]
        .assert_eq(&events.batches[0].batch.errors[0].to_string());
    assert!(
        matches!(&events.batches[0].batch.events[..], [KvEvent::BlockStored(stored)] if stored.block_hashes.len() == 3)
    );
    assert_eq!((decoder.places(), decoder.places_dropped()), (1, 2));
}

#[test]
fn ranks_are_known_up_to_a_limit() {
    let of_rank = |rank: usize| {
        removed("1").replace(r#""event_id": 5"#, &format!(r#""event_id": 5, "attention_dp_rank": {rank}"#))
    };
    let events: Vec<_> = (0..=tell::MAX_RANKS).map(of_rank).collect();
    let events = decoder().decode(format!("[{}]", events.join(",")).as_bytes()).unwrap();
    let (last, others) = events.batches.split_last().unwrap();
    assert!(others.iter().all(|batch| !batch.unreadable));
    expect!["no room for another rank: there are 1024"].assert_eq(&last.batch.errors[0].message);
}

#[test]
fn where_the_bytes_end_the_events_before_are_kept() {
    let good = removed("7");
    let whole = format!("[{good},{good}]");
    for end in 1..whole.len() {
        let events = decoder().decode(&whole.as_bytes()[..end]).unwrap();
        let kept = events.batches.iter().filter(|batch| !batch.unreadable).count();
        let ended = usize::from(end > good.len()) + usize::from(end > 2 * good.len() + 1);
        assert_eq!(kept, ended, "of {end} bytes");
        let of_batches = events.batches.iter().flat_map(|batch| &batch.batch.errors);
        let errors: Vec<_> = of_batches.chain(&events.errors).collect();
        assert_eq!(errors.len(), 1, "of {end} bytes: {errors:?}");
    }
}

#[test]
fn behind_an_event_that_cannot_be_followed_nothing_can_be_read() {
    let good = removed("7");
    let events = decoder().decode(format!(r#"[{good}, {{"event_id": 6, "data": [}}, {good}]"#).as_bytes()).unwrap();
    let numbers: Vec<_> = events.batches.iter().map(|batch| (batch.seq, batch.unreadable)).collect();
    assert_eq!(numbers, [(5, false), (6, true)]);
    let shown: Vec<_> = events.batches[1].batch.errors.iter().map(ToString::to_string).collect();
    expect![[r#"
        event 1 at byte 113, field data: expected an object, found an array
        event 1 at byte 114: expected a value, found "}""#]]
    .assert_eq(&shown.join("\n"));
}

#[test]
fn what_follows_the_events_is_an_error() {
    let events = decoder().decode(format!("[{}] x", removed("7")).as_bytes()).unwrap();
    assert_eq!(events.batches.len(), 1);
    expect!["event 1 at byte 89: 1 bytes after the end of the events"].assert_eq(&events.errors[0].to_string());
}

#[test]
fn errors_are_kept_up_to_a_limit_and_then_counted() {
    let count = MAX_EVENT_ERRORS + 7;
    let events = decoder().decode(format!("[{}]", vec!["7"; count].join(",")).as_bytes()).unwrap();
    assert_eq!((events.errors.len(), events.errors_dropped), (MAX_EVENT_ERRORS, 7));
}

#[test]
fn what_is_no_list_of_events_is_refused() {
    for (answer, message) in [
        ("", expect!["no list of events: at byte 0: the payload ends at byte 0, where a value was expected"]),
        ("7", expect!["no list of events: at byte 0: expected a list of events, found an integer"]),
        ("hello", expect![[r#"no list of events: at byte 0: expected a value, found "h""#]]),
        (
            "nul",
            expect!["no list of events: at byte 3: the payload ends at byte 3, inside the value that begins at byte 0"],
        ),
    ] {
        let error = decoder().decode(answer.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        message.assert_eq(&error.to_string());
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(answer: Vec<u8>) {
        _ = decoder().decode(&answer);
    }

    #[test]
    fn no_damage_panics_and_errors_stand_inside(place: prop::sample::Index, byte: u8, end: prop::sample::Index) {
        let blocks = [block(1, &[1; 4], r#", "mm_keys": [{"hash": "é\n", "start_offset": 4}]"#), block(2, &[1; 3], "")];
        let mut answer = format!("[{}, {}, {}]", stored("null", &blocks), moved(1, 0, 1), removed("1, 2")).into_bytes();
        *place.get_mut(&mut answer) = byte;
        answer.truncate(end.index(answer.len() + 1));
        let Ok(events) = decoder().decode(&answer) else { return Ok(()) };
        let of_batches = events.batches.iter().flat_map(|batch| &batch.batch.errors);
        for error in of_batches.chain(&events.errors) {
            prop_assert!(error.byte <= answer.len() && error.event <= 3, "{} of {}", error, answer.len());
        }
    }
}
