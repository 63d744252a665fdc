//! Who takes turns, in this order, and what is measured of each.

use crate::family::{Apart, Part, Side, Subject, Wait};

const NIXL: &str = "nixl_sides.py";
const MOONCAKE: &str = "mooncake_sides.py";

const QUIET: (&str, &str) = ("NIXL_LOG_LEVEL", "FATAL");
const QUIET_UCX: (&str, &str) = ("UCX_LOG_LEVEL", "fatal");

const AS_IT_COMES: Side = Side::Script(NIXL, &[QUIET, QUIET_UCX]);
const TCP_ONLY: Side = Side::Script(NIXL, &[QUIET, QUIET_UCX, ("UCX_TLS", "tcp")]);

const SPINNING: Part = Part::Notify(Wait::Spinning);
const SLEEPING: Part = Part::Notify(Wait::Sleeping);

/// Everybody who could. Whoever is compared with another stands beside it.
pub(crate) const ALL: [Subject; 13] = [
    Subject {
        parts: &[Part::Latency, SPINNING, SLEEPING, Part::Seal, Part::Submit, Part::Sizes, Part::Idle(8)],
        ..ours("llmd.shm")
    },
    Subject { ways: &["memcpy1", "nt1", "memcpy2", "nt2"], parts: &[SPINNING, Part::Sizes], ..ours("limit.shm") },
    // No thread of its own on either side: nothing spins beside the transfer.
    Subject {
        parts: &[Part::Latency, SPINNING, Part::Submit, Part::Sizes, Part::Idle(1)],
        ..script("nixl.best", AS_IT_COMES)
    },
    // The same, in private memory on huge pages.
    script("nixl.thp", AS_IT_COMES),
    // As its Python sets it up, which is how engines do.
    Subject { parts: &[SPINNING, Part::Sizes, Part::Idle(1)], ..script("nixl.default", AS_IT_COMES) },
    // They differ in one thing: whether what came is checked.
    Subject { parts: &[Part::OneSize], ..ours("llmd.shm_checked") },
    Subject { parts: &[Part::OneSize], ..ours("llmd.shm_unchecked") },
    Subject { apart: Apart::ProcessesAndNetwork, ..ours("llmd.shm_otherns") },
    Subject { apart: Apart::Processes, ..script("nixl.otherns", AS_IT_COMES) },
    ours("llmd.tcp"),
    ours("limit.tcp"),
    script("nixl.tcp", TCP_ONLY),
    Subject {
        parts: &[Part::Sizes, Part::Idle(1)],
        ..script("mooncake.tcp", Side::Script(MOONCAKE, &[("MC_LOG_LEVEL", "ERROR")]))
    },
];

const fn ours(name: &'static str) -> Subject {
    script(name, Side::Ours)
}

const fn script(name: &'static str, side: Side) -> Subject {
    Subject { name, side, ways: &[""], apart: Apart::No, parts: &[Part::Sizes] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_different_and_everybody_is_measured_somehow() {
        for (n, subject) in ALL.iter().enumerate() {
            assert!(subject.name.contains('.') && !subject.ways.is_empty() && !subject.parts.is_empty());
            assert!(ALL[..n].iter().all(|other| other.name != subject.name), "{}", subject.name);
        }
    }
}
