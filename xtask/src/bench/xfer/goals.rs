//! What llmd's figures should come to.

use std::fmt;

/// A bound of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

use Goal::{AtLeast, AtMost};

impl Goal {
    pub(super) fn is_met(self, value: f64) -> bool {
        match self {
            AtLeast(bound) => value >= bound,
            AtMost(bound) => value <= bound,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, bound) = match self {
            AtLeast(bound) => ('≥', bound),
            AtMost(bound) => ('≤', bound),
        };
        f.pad(&format!("{sign} {bound}"))
    }
}

/// Of blocks of 4 KiB, 64 KiB and 1 MiB.
const BY_SIZE: [(&str, [f64; 3]); 4] = [
    ("xfer.shm.ratio_to_nixl_best", [3.5, 2.5, 2.5]),
    ("xfer.tcp.ratio_to_nixl_read", [5.0, 4.0, 3.0]),
    ("xfer.ratio_to_limit.shm", [0.8; 3]),
    ("xfer.ratio_to_limit.tcp", [0.8; 3]),
];
const ALONE: [(&str, Goal); 7] = [
    ("xfer.shm_otherns.ratio_to_nixl.64", AtLeast(10.0)),
    ("xfer.latency_us.4kib", AtMost(1.5)),
    ("xfer.notify_us.spinning", AtMost(2.0)),
    ("xfer.notify_us.sleeping", AtMost(40.0)),
    ("xfer.submit_us.256mib", AtMost(100.0)),
    ("xfer.checksum_cost", AtMost(1.15)),
    ("xfer.idle_cpu_percent", AtMost(0.5)),
];

/// Each figure that has one.
pub(super) fn goals() -> Vec<(String, Goal)> {
    let sized = BY_SIZE.into_iter().flat_map(|(figure, bounds)| {
        let sizes = ["4", "64", "1024"].into_iter().zip(bounds);
        sizes.map(move |(kib, bound)| (format!("{figure}.{kib}"), AtLeast(bound)))
    });
    sized.chain(ALONE.map(|(figure, goal)| (figure.to_owned(), goal))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_itself_is_met() {
        assert!(AtLeast(0.8).is_met(0.8) && !AtLeast(0.8).is_met(0.79));
        assert!(AtMost(1.5).is_met(1.5) && !AtMost(1.5).is_met(1.51));
        assert!(!AtLeast(1.0).is_met(f64::NAN) && !AtMost(1.0).is_met(f64::NAN));
        assert_eq!(format!("{:>6}|{}", AtLeast(0.8), AtMost(40.0)), " ≥ 0.8|≤ 40");
    }
}
