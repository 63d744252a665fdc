//! Random choices: repeatable from a seed, otherwise from the operating system.

use parking_lot::Mutex;
use rand::rngs::{StdRng, SysRng};
use rand::{SeedableRng as _, TryRng as _};

/// Hands out generators of random numbers, one per decision.
#[derive(Debug)]
pub(crate) struct Chance {
    rng: Mutex<StdRng>,
    seeded: bool,
}

impl Chance {
    /// Repeatable from a seed, or from the operating system.
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self { rng: Mutex::new(seed.map_or_else(rand::make_rng, StdRng::seed_from_u64)), seeded: seed.is_some() }
    }

    /// A generator for one decision.
    pub(crate) fn fork(&self) -> StdRng {
        self.rng.lock().fork()
    }

    /// Begins anew, lest a forked child draw what its parent draws. What was seeded goes on as it was.
    pub(crate) fn part_from_parent(&self) {
        if !self.seeded {
            *self.rng.lock() = rand::make_rng();
        }
    }
}

/// A number that nobody could foretell.
pub(crate) fn drawn() -> u64 {
    let mut bits = [0; 8];
    SysRng.try_fill_bytes(&mut bits).expect("the operating system has randomness");
    u64::from_ne_bytes(bits)
}

/// A request id that nobody has had: 128 random bits in hexadecimal, and new ones in a forked child.
pub(crate) fn request_id() -> String {
    let mut bits = [0; 16];
    SysRng.try_fill_bytes(&mut bits).expect("the operating system has randomness");
    format!("{:032x}", u128::from_ne_bytes(bits))
}
