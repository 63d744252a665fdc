//! The payload of one message of vLLM or SGLang: whatever it is, events, and errors that stand inside it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use llmd_core::event::{KvEvent, MAX_EVENT_ERRORS, decode_batch, number_batch};

fuzz_target!(|payload: &[u8]| {
    let numbered = number_batch(7, payload);
    let Ok(batch) = numbered.batch else {
        assert!(numbered.unreadable && decode_batch(payload).is_err());
        return;
    };
    assert_eq!(numbered.unreadable, !batch.errors.is_empty());
    assert!(batch.errors.len() <= MAX_EVENT_ERRORS);
    assert!(batch.errors_dropped == 0 || batch.errors.len() == MAX_EVENT_ERRORS);
    for error in &batch.errors {
        assert!(error.byte <= payload.len() && error.event <= payload.len(), "{error}");
    }
    for event in &batch.events {
        // Every value takes a byte, so nothing can hold more than there are.
        let held = match event {
            KvEvent::AllBlocksCleared => 0,
            KvEvent::BlockRemoved(removed) => removed.block_hashes.len(),
            KvEvent::BlockStored(stored) => {
                assert!(stored.token_ids.is_empty() || stored.block_size > 0);
                assert!([0, stored.block_hashes.len()].contains(&stored.extra_keys.len()));
                stored.block_hashes.len() + stored.token_ids.len()
            }
            other => panic!("{other:?} is not known here"),
        };
        assert!(held < payload.len());
    }
});
