//! How long the engine's loop waits for a grant.

use std::time::{Duration, Instant};

use super::fleet::{Make, id, lent};

/// `cargo test --release -p llmd-kvxfer --features testing --test engine latency -- --ignored --nocapture`
#[test]
#[ignore = "measures, which takes a release build: the command stands above"]
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn how_long_an_answer_takes() {
    for (shards, pause) in [(1, 0), (1, 5), (2, 0), (2, 5)] {
        let engine = Make::sharded(shards).start();
        let mut took: Vec<_> = (0..2000)
            .map(|number| {
                let request = id(&format!("cmpl-{number}"));
                std::thread::sleep(Duration::from_millis(pause));
                let begun = Instant::now();
                engine.scheduler.computed(&request, 48, lent(&[1, 2, 3])).unwrap().unwrap();
                let took = begun.elapsed();
                let _reuse = engine.scheduler.abort(&request).unwrap();
                for worker in &engine.workers {
                    worker.take().unwrap();
                }
                took
            })
            .collect();
        took.sort();
        let at = |share: usize| took[took.len() * share / 1000];
        println!("{shards} workers, {pause} ms apart: p50 {:?}, p90 {:?}, p99 {:?}", at(500), at(900), at(990));
    }
}
