//! An index against real engines: fed with what vLLM published, it must hold exactly what vLLM held after each step, and
//! foretell every hit.

#![expect(clippy::print_stdout, reason = "a replay says how much it compared")]

mod capture;
mod folder;
mod messages;
mod replay;

use llmd_core::index::{ExactIndex, IndexSettings};
use llmd_core::testing::ModelIndex;

use crate::capture::{Capture, fixture};
use crate::replay::{Found, How, replay};

const DENSE: [&str; 5] = [
    "d1-sha256-int-b32",
    "d2-sha256cbor-bytes-b32-lora-salt",
    "d3-xxhashcbor-int-b64",
    "d4-sha256-int-b32-priority-preempt",
    "d10-sha256-int-b32-async",
];

const HYBRID: [&str; 4] =
    ["d5-hybrid-swa64-retention0", "d6-hybrid-swa64-dense-bytes", "d7-hybrid-mixed-block-sizes", "d8-hybrid-shortconv"];

/// The engine names parts of blocks too, in events whose parents are parts that it never names.
const PARTS: &str = "d9-hybrid-shortconv-partial-blocks";

fn read(name: &str) -> Capture {
    Capture::read(&fixture(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn settings(capture: &Capture) -> IndexSettings {
    IndexSettings::default().with_block_size(capture.config.hash_block_size)
}

fn model(capture: &Capture, how: How) -> Found {
    let model = ModelIndex::new(settings(capture));
    replay(capture, (model.clone(), model), how)
}

fn exact(capture: &Capture, how: How) -> Found {
    replay(capture, ExactIndex::new(settings(capture)), how)
}

/// Holds what the engine held, foretells every hit, and that after enough of each.
fn is_right(name: &str, found: &Found) {
    assert_eq!(found.wrong, [""; 0], "{name}");
    assert!(found.steps > 340, "{name}: {} steps compared", found.steps);
    assert!(found.lookups > 150, "{name}: {} lookups compared", found.lookups);
    assert!(found.hits > 40, "{name}: {} lookups hit", found.hits);
    assert!(found.copies > 1, "{name}: no block was ever there twice");
    println!("{name}: {} steps, {} batches, {} lookups", found.steps, found.batches, found.lookups);
}

#[test]
fn the_index_holds_what_a_dense_engine_holds_and_foretells_every_hit() {
    for name in DENSE {
        let found = exact(&read(name), How::default());
        is_right(name, &found);
        assert_eq!(
            (found.unannounced, found.inexact, found.short.len()),
            (3, 0, 0),
            "{name}: one after each of three resets"
        );
    }
}

#[test]
fn the_index_holds_what_a_hybrid_engine_holds_and_foretells_every_hit() {
    for name in HYBRID {
        let found = exact(&read(name), How::default());
        is_right(name, &found);
        assert_eq!((found.inexact, found.short.len()), (0, 0), "{name}");
    }
}

#[test]
fn the_model_holds_what_every_engine_holds_and_foretells_every_hit() {
    for name in DENSE.into_iter().chain(HYBRID) {
        let found = model(&read(name), How::default());
        is_right(name, &found);
        assert_eq!((found.inexact, found.short.len()), (0, 0), "{name}");
    }
}

#[test]
fn parts_of_blocks_that_cannot_be_placed_are_missed_and_nothing_exact() {
    let capture = read(PARTS);
    for found in [exact(&capture, How::default()), model(&capture, How::default())] {
        is_right(PARTS, &found);
        assert!(found.inexact > 0, "the index never said that it misses something");
        assert_eq!(found.short.len(), 18, "{:?}", found.short);
    }
}

#[test]
fn the_engines_own_names_find_such_parts() {
    let (capture, how) = (read(PARTS), How { by_name: true, ..How::default() });
    for found in [exact(&capture, how), model(&capture, how)] {
        is_right(PARTS, &found);
        assert_eq!(found.short, [""; 0]);
    }
}

#[test]
fn a_batch_that_is_lost_is_noticed() {
    for name in DENSE.into_iter().chain(HYBRID).chain([PARTS]) {
        let capture = read(name);
        let batches = capture.batches();
        let how = How { lost: Some(batches / 2), ..How::default() };
        for found in [exact(&capture, how), model(&capture, how)] {
            assert_eq!(found.batches, batches);
            assert!(!found.wrong.is_empty(), "{name}: nothing was wrong without batch {}", batches / 2);
        }
    }
}
