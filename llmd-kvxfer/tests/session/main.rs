//! The hand-over in thousands of worlds: engines that abort and preempt, agents that restart, messages that are lost, late and told
//! twice, leases that lapse. Nothing is reused while somebody may read or write it, nothing wrong is served, everything ends, and
//! nothing is left.
//!
//! A world follows from its seed. `LLMD_SEED=1234 cargo test -p llmd-kvxfer --test session` repeats one.

mod engine;
mod faults;
mod fetching;
mod lender;
mod lending;
mod pool;
mod rng;
mod tally;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use tally::Tally;
use world::World;

const WORLDS: u64 = 2000;

fn run(seed: u64, mut world: World) -> Tally {
    let ended = catch_unwind(AssertUnwindSafe(|| {
        world.run();
        Tally::of(&world)
    }));
    ended.unwrap_or_else(|_| {
        let World { now, shape, faults, .. } = &world;
        panic!("world {seed} at {now} ms, {shape:?}, {faults:?}: repeat it with LLMD_SEED={seed}");
    })
}

/// The one world that is asked for, or as many as are usual.
fn seeds(worlds: u64) -> std::ops::Range<u64> {
    std::env::var("LLMD_SEED").map_or(0..worlds, |seed| {
        let seed = seed.parse().expect("LLMD_SEED is a number");
        seed..seed + 1
    })
}

#[test]
fn whatever_goes_wrong_nothing_wrong_is_served_and_everything_ends() {
    let (seeds, mut tally) = (seeds(WORLDS), Tally::default());
    for seed in seeds.clone() {
        tally.add(&run(seed, World::foul(seed)));
    }
    if seeds == (0..WORLDS) {
        let never = tally.never();
        assert!(never.is_empty(), "in {WORLDS} worlds this never happened: {never:?}");
    }
}

#[test]
fn where_nothing_goes_wrong_everything_is_loaded_and_no_lease_lapses() {
    for seed in seeds(WORLDS / 10) {
        let tally = run(seed, World::calm(seed));
        for name in ["lapsed", "released", "overdue", "asked_again", "not_granted", "late"] {
            assert_eq!(tally.get(&format!("prefill {name}")), 0, "{name} in world {seed}");
        }
        for name in ["recomputed", "gone", "late", "unknown", "waited_out", "stale", "retried", "blocks_failed"] {
            assert_eq!(tally.get(&format!("decode {name}")), 0, "{name} in world {seed}");
        }
        let ended = ["loaded", "not_wanted", "aborted"].map(|name| tally.get(&format!("decode {name}")));
        assert_eq!(tally.get("decode arrived"), ended.iter().sum(), "in world {seed}");
        assert_eq!(tally.get("decode arrived"), tally.get("prefill computed"), "in world {seed}");
    }
}
