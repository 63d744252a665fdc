//! Real batches with bytes changed, cut off and swapped: whatever comes, nothing panics, and errors stand where they say.

use std::sync::LazyLock;

use llmd_core::event::decode_batch;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::fixtures::{bytes, json, messages};

/// One payload of each length: all recorded messages, and those of every release.
static PAYLOADS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let releases = json("vllm-0.32/wire_versions.json");
    let releases = releases.as_object().expect("releases by version").values();
    let cases = releases.flat_map(|release| release["cases"].as_object().expect("cases by name").values());
    let recorded = messages().into_iter().map(|message| message.payload);
    let mut payloads: Vec<_> = cases.map(|case| bytes(&case["hex"])).chain(recorded).collect();
    payloads.sort_by_key(Vec::len);
    payloads.dedup_by_key(|payload| payload.len());
    assert!(payloads.len() > 50, "{}", payloads.len());
    payloads
});

/// A change to a payload.
#[derive(Clone, Debug)]
enum Damage {
    Byte(Index, u8),
    Cut(Index),
    Splice(Index, Index, Index),
}

fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let damage = prop_oneof![
        8 => (any::<Index>(), any::<u8>()).prop_map(|(place, byte)| Damage::Byte(place, byte)),
        1 => any::<Index>().prop_map(Damage::Cut),
        1 => any::<(Index, Index, Index)>().prop_map(|(place, other, from)| Damage::Splice(place, other, from)),
    ];
    vec(damage, 1..6)
}

fn apply(payload: &mut Vec<u8>, damage: &Damage) {
    if payload.is_empty() {
        return;
    }
    match damage {
        Damage::Byte(place, byte) => *place.get_mut(payload) = *byte,
        Damage::Cut(end) => payload.truncate(end.index(payload.len())),
        Damage::Splice(place, other, from) => {
            let other = other.get(&PAYLOADS);
            payload.truncate(place.index(payload.len()));
            payload.extend_from_slice(&other[from.index(other.len())..]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_damaged_batch_is_refused_or_gives_events_and_errors(original: Index, damages in damages()) {
        let mut payload = original.get(&PAYLOADS).clone();
        damages.iter().for_each(|damage| apply(&mut payload, damage));
        if let Ok(batch) = decode_batch(&payload) {
            for error in &batch.errors {
                prop_assert!(error.byte <= payload.len(), "{} of {}", error, payload.len());
            }
        }
    }

    /// A byte that is changed inside one event costs that event at most, as long as the lengths still hold.
    #[test]
    fn a_bad_medium_costs_one_event_and_no_more(original: Index, which: Index) {
        let payload = original.get(&PAYLOADS);
        let places: Vec<_> = (0..payload.len()).filter(|&at| payload[at..].starts_with(b"\xa6medium\xa3")).collect();
        prop_assume!(!places.is_empty());
        let whole = decode_batch(payload).unwrap();
        let mut damaged = payload.clone();
        let place = which.get(&places) + 8;
        damaged[place] = b'?';
        let batch = decode_batch(&damaged).unwrap();

        prop_assert_eq!(batch.errors.len(), 1);
        prop_assert_eq!((batch.errors[0].field, batch.errors[0].byte), ("medium", place - 1));
        let mut expected = whole.events;
        expected.remove(batch.errors[0].event);
        prop_assert_eq!(batch.events, expected);
        prop_assert_eq!(batch.data_parallel_rank, whole.data_parallel_rank);
    }
}

#[test]
fn a_batch_that_is_cut_off_keeps_the_events_before() {
    let mut cuts = 0;
    for payload in PAYLOADS.iter().filter(|payload| payload.len() < 2_000) {
        let whole = decode_batch(payload).unwrap();
        for end in 0..payload.len() {
            let Ok(batch) = decode_batch(&payload[..end]) else { continue };
            assert_eq!(batch.events[..], whole.events[..batch.events.len()]);
            let [error] = &batch.errors[..] else { panic!("not one error: {:?}", batch.errors) };
            assert_eq!((error.event, error.byte), (batch.events.len(), end));
            cuts += 1;
        }
    }
    assert!(cuts > 1_000, "{cuts}");
}
