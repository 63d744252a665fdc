//! What bounds the prefiller's side.

use std::time::Duration;

use llmd_core::Result;

use crate::session::Params;
use crate::session::params::invalid;

/// What bounds the prefiller's side.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// How long a lease lasts from when it is granted or kept. Default: 30 s.
    pub ttl: Duration,
    /// After how long a request's leases are given up, however often they were kept. Default: 480 s.
    pub hold_at_most: Duration,
    /// After how long without an answer a lease is given up once more. Default: 1 s.
    pub ask_again: Duration,
    /// At most how many requests are held. Default: 4096.
    pub max_held: usize,
    /// At most how many actions wait to be polled while new requests are taken. Default: 65 536.
    pub max_actions: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(30),
            hold_at_most: Duration::from_secs(480),
            ask_again: Duration::from_secs(1),
            max_held: 4096,
            max_actions: 65_536,
        }
    }
}

impl Settings {
    pub(super) fn check(&self) -> Result<()> {
        if self.ttl < Duration::from_millis(1) || self.ttl > Params::MAX_TTL {
            return Err(invalid(format!("ttl {:?}: expected 1ms to {:?}", self.ttl, Params::MAX_TTL)));
        }
        for (name, time) in [("hold_at_most", self.hold_at_most), ("ask_again", self.ask_again)] {
            if time < Duration::from_millis(1) {
                return Err(invalid(format!("{name} {time:?}: expected 1ms or more")));
            }
        }
        for (name, number) in [("max_held", self.max_held), ("max_actions", self.max_actions)] {
            if number == 0 {
                return Err(invalid(format!("{name} 0: expected 1 or more")));
            }
        }
        Ok(())
    }
}
