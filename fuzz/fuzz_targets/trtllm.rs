//! What TensorRT-LLM answers: whatever it is, a batch or an error for each event that another JSON reader finds in it.

#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use llmd_core::event::TrtllmDecoder;
use serde_json::Value;

const MAX_PLACES: usize = 8;

fuzz_target!(|input: &[u8]| {
    // Several answers, one after the other, with a byte between them that no JSON has.
    let mut decoder = TrtllmDecoder::new(4).with_max_places(MAX_PLACES);
    for answer in input.split(|&byte| byte == 0) {
        let decoded = decoder.decode(answer);
        assert!(decoder.places() <= MAX_PLACES);
        let expected = match serde_json::from_slice::<Value>(answer) {
            Ok(Value::Array(events)) => Some(events.len()),
            Ok(Value::Null) => Some(0),
            Ok(Value::Object(_)) => Some(1),
            Ok(_) | Err(_) => None,
        };
        let Ok(events) = decoded else {
            assert_eq!(expected, None);
            continue;
        };
        let of_batches = events.batches.iter().flat_map(|batch| &batch.batch.errors);
        for error in of_batches.chain(&events.errors) {
            assert!(error.byte <= answer.len() && error.event <= answer.len(), "{error}");
        }
        if let Some(expected) = expected
            && events.errors_dropped == 0
        {
            let lost: BTreeSet<_> = events.errors.iter().map(|error| error.event).collect();
            assert_eq!(events.batches.len() + lost.len(), expected);
        }
    }
});
