//! The subjects that are others' libraries, which their scripts drive from Python.

use crate::family::{Apart, Part, Side, Subject, Wait};

const NIXL: &str = "nixl_sides.py";
const MOONCAKE: &str = "mooncake_sides.py";

const QUIET: (&str, &str) = ("NIXL_LOG_LEVEL", "FATAL");
const QUIET_UCX: (&str, &str) = ("UCX_LOG_LEVEL", "fatal");

const AS_IT_COMES: Side = Side::Script(NIXL, &[QUIET, QUIET_UCX]);
const TCP_ONLY: Side = Side::Script(NIXL, &[QUIET, QUIET_UCX, ("UCX_TLS", "tcp")]);

const SPINNING: Part = Part::Notify(Wait::Spinning);

/// NIXL and Mooncake, in the forms that are compared with.
pub(crate) fn subjects() -> Vec<Subject> {
    let nixl = |name, side, parts| Subject { name, side, ways: &[""], apart: Apart::No, parts };
    vec![
        // No thread of its own on either side: nothing spins beside the transfer.
        nixl("nixl.best", AS_IT_COMES, &[Part::Sizes, Part::Latency, Part::Submit, SPINNING, Part::Idle(1)]),
        // The same, in private memory on huge pages.
        nixl("nixl.thp", AS_IT_COMES, &[Part::Sizes]),
        // As its Python sets it up, which is how engines do.
        nixl("nixl.default", AS_IT_COMES, &[Part::Sizes, SPINNING, Part::Idle(1)]),
        nixl("nixl.tcp", TCP_ONLY, &[Part::Sizes]),
        Subject { apart: Apart::Processes, ..nixl("nixl.otherns", AS_IT_COMES, &[Part::Sizes]) },
        Subject {
            name: "mooncake.tcp",
            side: Side::Script(MOONCAKE, &[("GLOG_minloglevel", "2"), ("MC_LOG_LEVEL", "ERROR")]),
            ways: &[""],
            apart: Apart::No,
            parts: &[Part::Sizes, Part::Idle(1)],
        },
    ]
}
