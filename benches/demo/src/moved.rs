//! What engines say of the blocks that they fetched from each other.

use std::ops::AddAssign;

/// Blocks that came from other engines, as `/metrics` counts them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Moved {
    /// Those that hold what their name says, every byte.
    pub(crate) verified: u64,
    /// Those that were found to be corrupt, and were not used.
    pub(crate) corrupt: u64,
    /// Those that were said to be right and were not.
    pub(crate) corrupt_served: u64,
    /// Those that were to come, and were computed.
    pub(crate) recomputed: u64,
    pub(crate) bytes: u64,
}

impl Moved {
    /// Reads them from an engine's `/metrics`; what it does not say is 0.
    pub(crate) fn read(metrics: &str) -> Self {
        let sample = |name: &str| {
            let line = metrics.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')));
            line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).map_or(0, |value| value as u64)
        };
        Self {
            verified: sample("llmd:kv_blocks_verified_total"),
            corrupt: sample("llmd:kv_blocks_corrupt_total"),
            corrupt_served: sample("llmd:kv_blocks_corrupt_served_total"),
            recomputed: sample("llmd:kv_blocks_recomputed_total"),
            bytes: sample("llmd:kv_bytes_moved_total"),
        }
    }
}

impl AddAssign for Moved {
    fn add_assign(&mut self, other: Self) {
        self.verified += other.verified;
        self.corrupt += other.corrupt;
        self.corrupt_served += other.corrupt_served;
        self.recomputed += other.recomputed;
        self.bytes += other.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engines_counters_are_read_and_added_up() {
        let text = "# TYPE llmd:kv_blocks_verified_total counter\n\
                    llmd:kv_blocks_verified_total{engine=\"0\",model_name=\"tiny\"} 12.0\n\
                    llmd:kv_blocks_corrupt_served_total{engine=\"0\",model_name=\"tiny\"} 1.0\n\
                    llmd:kv_bytes_moved_total{engine=\"0\",model_name=\"tiny\"} 4.9152e+04\n";
        let mut moved = Moved::read(text);
        moved += Moved::read(text);
        let expected = Moved { verified: 24, corrupt_served: 2, bytes: 98_304, ..Moved::default() };
        assert_eq!(moved, expected);
        assert_eq!(Moved::read(""), Moved::default());
    }
}
