//! Where the gateway's random choices come from.

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// Hands out generators of random numbers, one per request.
#[derive(Debug)]
pub(crate) struct Chance(Mutex<StdRng>);

impl Chance {
    /// From the operating system's randomness, or repeatable from a seed.
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self(Mutex::new(seed.map_or_else(rand::make_rng, StdRng::seed_from_u64)))
    }

    /// A generator for one request.
    pub(crate) fn fork(&self) -> StdRng {
        self.0.lock().fork()
    }

    /// A request id that nobody has had: 128 random bits in hexadecimal.
    pub(crate) fn id(&self) -> String {
        let mut rng = self.0.lock();
        format!("{:016x}{:016x}", rng.next_u64(), rng.next_u64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_chance_repeatable() {
        let draw = |chance: &Chance| (chance.id(), chance.fork().next_u64());

        assert_eq!(draw(&Chance::new(Some(7))), draw(&Chance::new(Some(7))));
        assert_ne!(draw(&Chance::new(None)), draw(&Chance::new(None)));
    }

    #[test]
    fn ids_are_32_digits_and_differ() {
        let chance = Chance::new(Some(1));
        let (one, other) = (chance.id(), chance.id());
        assert_eq!(one.len(), 32);
        assert_ne!(one, other);
    }
}
