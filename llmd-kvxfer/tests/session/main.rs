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

const WORLDS: u64 = 3000;

fn run(seed: u64) -> Tally {
    let mut world = World::new(seed);
    let ended = catch_unwind(AssertUnwindSafe(|| {
        world.run();
        Tally::of(&world)
    }));
    ended.unwrap_or_else(|_| {
        let World { now, shape, faults, .. } = &world;
        panic!("world {seed} at {now} ms, {shape:?}, {faults:?}: repeat it with LLMD_SEED={seed}");
    })
}

#[test]
fn whatever_goes_wrong_nothing_wrong_is_served_and_everything_ends() {
    if let Ok(seed) = std::env::var("LLMD_SEED") {
        run(seed.parse().expect("LLMD_SEED is a number"));
        return;
    }
    let mut tally = Tally::default();
    for seed in 0..WORLDS {
        tally.add(&run(seed));
    }
    let never = tally.never();
    assert!(never.is_empty(), "in {WORLDS} worlds this never happened: {never:?}");
}
