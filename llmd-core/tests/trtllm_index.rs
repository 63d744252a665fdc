//! An index that is fed what TensorRT-LLM says, written by hand after the source of its serializer.

use llmd_core::event::TrtllmDecoder;
use llmd_core::hash::Namespace;
use llmd_core::index::{ExactIndex, IndexSettings, IndexWriter as _, PrefixIndex as _, WorkerState};
use llmd_core::{Medium, WorkerId};

#[test]
fn a_block_is_followed_from_the_gpu_to_the_host_and_away() {
    let (mut writer, reader) = ExactIndex::new(IndexSettings::default().with_block_size(2));
    let (worker, prompt) = (WorkerId(0), reader.hasher().chain(&[1, 2, 3, 4, 5], &Namespace::default()));
    writer.set_state(worker, WorkerState::Exact);
    let mut decoder = TrtllmDecoder::new(2);
    let mut leading_by_medium = |event: &str| {
        for numbered in decoder.decode(event.as_bytes()).expect("an event").batches {
            let applied = writer.apply(worker, 0.0, &numbered.batch.events);
            assert_eq!((numbered.unreadable, applied.unknown_removals, applied.orphaned), (false, 0, 0), "{event}");
        }
        assert_eq!(reader.state(worker), WorkerState::Exact);
        let overlap = reader.query(&prompt);
        let held = (&overlap).into_iter().next().map(|held| held.leading_by_medium);
        held.unwrap_or_default()
    };

    let stored = r#"{"event_id": 0, "window_size": 64, "data": {"type": "stored", "parent_hash": null, "blocks": [
        {"block_hash": 10, "cache_level": 0, "tokens": [{"token_id": 1}, {"token_id": 2}]},
        {"block_hash": 11, "cache_level": 0, "tokens": [{"token_id": 3}, {"token_id": 4}]},
        {"block_hash": 12, "cache_level": 0, "tokens": [{"token_id": 5}]}]}}"#;
    assert_eq!(leading_by_medium(stored)[Medium::Gpu.index()], 2);

    let offloaded = r#"{"event_id": 1, "window_size": 64, "data": {"type": "updated", "block_hash": 10,
        "cache_level": {"type": "event_diff", "old_value": 0, "new_value": 1}, "priority": null}}"#;
    let leading = leading_by_medium(offloaded);
    assert_eq!((leading[Medium::Gpu.index()], leading[Medium::Cpu.index()]), (0, 1));

    let removed = r#"{"event_id": 2, "window_size": 64, "data": {"type": "removed", "block_hashes": [12, 11, 10]}}"#;
    assert_eq!(leading_by_medium(removed), [0; 3]);
    assert_eq!(writer.residents(worker), []);
}
