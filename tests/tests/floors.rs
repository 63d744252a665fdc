//! Who may name whom, and what a part that thinks may not name: the plan, and that the sources keep to it.

use std::collections::BTreeMap;
use std::env;
use std::path::Path;
use std::process::Command;

use llmd_tests::checkout;
use llmd_tests::floors::{Plan, Thinks, dependencies, outside, two_paths, upward};
use llmd_tests::source::{Krate, words};
use serde_json::Value;

/// Every crate, lowest floor first. A module stands below those that name it.
const PLANS: [Plan; 19] = [
    Plan {
        package: "llmd-core",
        sources: "llmd-core/src",
        knows: &[],
        floors: &[
            &["block", "error", "medium", "protocol", "state", "worker"],
            &["event"],
            &["hash"],
            &["index"],
            &["feed", "testing"],
        ],
        thinks: Thinks::Everywhere,
    },
    Plan {
        package: "llmd-routing",
        sources: "llmd-routing/src",
        // Itself too: its tests use its feature `testing`.
        knows: &["llmd-core", "llmd-routing"],
        floors: &[
            &["duration", "needs", "sync"],
            &["pace"],
            &["in_flight"],
            &["endpoint", "request"],
            &["pool"],
            &["slo", "tenancy", "topology"],
            &["connector", "plugin"],
            &["session"],
            &[
                "admitter",
                "decider",
                "filter",
                "handler",
                "header_processor",
                "observer",
                "picker",
                "producer",
                "scorer",
            ],
            &["screener"],
            &["profile"],
            &["scheduler"],
            &["config"],
            &["testing"],
        ],
        thinks: Thinks::Everywhere,
    },
    Plan {
        package: "llmd-kvxfer",
        sources: "llmd-kvxfer/src",
        knows: &["llmd-core"],
        floors: &[
            &["chance", "folder", "outcome", "wire"],
            &["layout"],
            &["lease", "plan"],
            &["device", "grant"],
            &["region"],
            &["copy", "nixl"],
            &["handshake", "pool"],
            &["transport"],
            &["agent", "session"],
            &["engine"],
            &["testing"],
        ],
        thinks: Thinks::In(&["copy", "grant", "handshake", "layout", "lease", "outcome", "plan", "session", "wire"]),
    },
    Plan {
        package: "llmd-gateway",
        sources: "llmd-routing/gateway/src",
        knows: &["llmd-core", "llmd-routing"],
        floors: &[
            &["answer", "chance", "clock", "tokenize"],
            &["events"],
            &["settings"],
            &["discovery", "health", "plan", "telemetry", "upstream"],
            &["scrape"],
            &["model"],
            &["collector", "debug"],
            &["proxy"],
            &["serve"],
            &["gateway"],
            &["program"],
        ],
        thinks: Thinks::In(&[]),
    },
    Plan {
        package: "llmd-c",
        sources: "llmd-c/src",
        knows: &["llmd-core", "llmd-kvxfer", "llmd-routing"],
        floors: &[
            &["clock", "quiet", "status", "version"],
            &["bytes", "string"],
            &["error"],
            &["boundary"],
            &["filled", "given", "sized"],
            &["device", "events", "namespace"],
            &["hasher", "index", "layout", "region"],
            &["agent", "endpoint"],
            &["decision", "request"],
            &["scheduler"],
            &["check"],
        ],
        thinks: Thinks::In(&[]),
    },
    Plan {
        package: "llmd-py",
        sources: "llmd-py/src",
        knows: &["llmd-core", "llmd-gateway", "llmd-kvxfer", "llmd-routing"],
        floors: &[
            &["chance", "clock", "error", "explanation", "fork", "gateway", "headers", "runtime"],
            &["buffer", "check", "occupancy", "whole"],
            &["dlpack", "guarded"],
            &["args", "connector", "event"],
            &["agent", "hash", "index", "request"],
            &["endpoint", "engine", "stream"],
            &["pool"],
            &["stages"],
            &["decision"],
            &["scheduler"],
            &["_native"],
        ],
        thinks: Thinks::In(&[]),
    },
    Plan {
        package: "llmd-fleet",
        sources: "benches/fleet/src",
        knows: &["llmd-core", "llmd-gateway", "llmd-kvxfer", "llmd-routing"],
        floors: &[
            &["constants", "machine", "splitmix"],
            &["vocabulary"],
            &["model", "prompt", "process", "replay"],
            &["simulate", "wire"],
            &["serve", "yardstick"],
        ],
        thinks: Thinks::In(&["constants", "model", "simulate", "splitmix", "wire"]),
    },
    Plan {
        package: "llmd-demo",
        sources: "benches/demo/src",
        knows: &["llmd-core", "llmd-fleet", "llmd-kvxfer"],
        floors: &[],
        thinks: Thinks::In(&[]),
    },
    Plan {
        package: "llmd-device",
        sources: "benches/device/src",
        knows: &["llmd-core", "llmd-kvxfer"],
        floors: &[&["rig"], &["ipc", "sweep"], &["table"]],
        thinks: Thinks::In(&[]),
    },
    Plan {
        package: "llmd-heal",
        sources: "benches/heal/src",
        knows: &["llmd-core", "llmd-fleet", "llmd-gateway"],
        floors: &[
            &["cache", "clock", "http", "zmq"],
            &["relay", "sample"],
            &["checked", "follower", "load", "truth"],
            &["stage"],
            &["scenario"],
        ],
        thinks: Thinks::In(&["cache"]),
    },
    Plan {
        package: "llmd-instructions",
        sources: "benches/instructions/src",
        knows: &["llmd-core", "llmd-routing"],
        floors: &[&["prompt"], &["decide", "decode", "hash", "index"]],
        thinks: Thinks::In(&[]),
    },
    Plan {
        package: "llmd-bindings",
        sources: "benches/bindings/src",
        knows: &["llmd-core", "llmd-routing"],
        floors: &[&["job", "scenario", "stopwatch"], &["child", "figures", "rust"]],
        thinks: Thinks::In(&[]),
    },
    Plan {
        package: "llmd-chaos",
        sources: "benches/chaos/src",
        knows: &["llmd-core", "llmd-kvxfer"],
        floors: &[
            &["chance", "clock"],
            &["content"],
            &["message"],
            &["measure", "network", "pools", "process", "tally"],
            &["forge", "lender", "reader"],
            &["engine", "fuzz"],
            &["conductor"],
        ],
        thinks: Thinks::In(&["chance", "content", "forge", "lender", "message", "pools", "reader", "tally"]),
    },
    Plan {
        package: "llmd-decision",
        sources: "benches/decision/src",
        knows: &["llmd-core", "llmd-routing"],
        floors: &[&["counting", "stopwatch"], &["scenario"], &["contention", "latency"]],
        thinks: Thinks::In(&[]),
    },
    Plan {
        package: "llmd-xfer",
        sources: "benches/xfer/src",
        knows: &["llmd-core", "llmd-kvxfer"],
        floors: &[
            &["stopwatch", "work"],
            &["family", "line", "load", "memory", "scale"],
            &["child", "limit", "llmd", "side", "subjects"],
            &["pair"],
            &["rows"],
            &["measure"],
        ],
        thinks: Thinks::In(&["scale"]),
    },
    Plan {
        package: "llmd-benches",
        sources: "benches/src",
        knows: &["llmd-core", "llmd-routing"],
        floors: &[],
        thinks: Thinks::In(&[]),
    },
    Plan {
        package: "llmd-examples",
        sources: "examples/src",
        knows: &["llmd-core", "llmd-kvxfer", "llmd-routing"],
        floors: &[],
        thinks: Thinks::In(&[]),
    },
    Plan {
        package: "llmd-tests",
        sources: "tests/src",
        knows: &["llmd-core", "llmd-fleet", "llmd-gateway", "llmd-routing"],
        floors: &[],
        thinks: Thinks::In(&[]),
    },
    Plan { package: "xtask", sources: "xtask/src", knows: &[], floors: &[], thinks: Thinks::In(&[]) },
];

/// Libraries that others embed: what is public in them is somebody's interface.
const EMBEDDED: [&str; 3] = ["llmd-core", "llmd-routing", "llmd-gateway"];

/// The only files in which `unsafe` may stand: those of the modules that the design names, and what talks to NIXL. A program that
/// counts allocations has an allocator of its own, which is unsafe by nature.
const UNSAFE: &[&str] = &[
    "benches/decision/src/counting.rs",
    "benches/device/src/rig.rs",
    "benches/peers/src/system.rs",
    "benches/xfer/src/limit/copy.rs",
    "benches/xfer/src/limit/shm.rs",
    "benches/xfer/src/limit/tcp.rs",
    "benches/xfer/src/llmd.rs",
    "benches/xfer/src/memory.rs",
    "llmd-c/src/agent/counts.rs",
    "llmd-c/src/agent/event.rs",
    "llmd-c/src/agent/fetch.rs",
    "llmd-c/src/agent/lease.rs",
    "llmd-c/src/agent/mod.rs",
    "llmd-c/src/agent/pool.rs",
    "llmd-c/src/agent/settings.rs",
    "llmd-c/src/boundary.rs",
    "llmd-c/src/bytes.rs",
    "llmd-c/src/check.rs",
    "llmd-c/src/decision/headers.rs",
    "llmd-c/src/decision/mod.rs",
    "llmd-c/src/decision/report.rs",
    "llmd-c/src/decision/stages.rs",
    "llmd-c/src/decision/usage.rs",
    "llmd-c/src/device.rs",
    "llmd-c/src/endpoint.rs",
    "llmd-c/src/error.rs",
    "llmd-c/src/events/event.rs",
    "llmd-c/src/events/mod.rs",
    "llmd-c/src/events/trtllm.rs",
    "llmd-c/src/filled.rs",
    "llmd-c/src/given.rs",
    "llmd-c/src/hasher/memo.rs",
    "llmd-c/src/hasher/mod.rs",
    "llmd-c/src/index/answer.rs",
    "llmd-c/src/index/chain.rs",
    "llmd-c/src/index/doubt.rs",
    "llmd-c/src/index/ending.rs",
    "llmd-c/src/index/fed.rs",
    "llmd-c/src/index/mod.rs",
    "llmd-c/src/index/query.rs",
    "llmd-c/src/index/snapshot.rs",
    "llmd-c/src/index/stats.rs",
    "llmd-c/src/index/workers.rs",
    "llmd-c/src/layout.rs",
    "llmd-c/src/namespace.rs",
    "llmd-c/src/region.rs",
    "llmd-c/src/request.rs",
    "llmd-c/src/scheduler/mod.rs",
    "llmd-c/src/scheduler/needs.rs",
    "llmd-c/src/scheduler/settings.rs",
    "llmd-c/src/sized.rs",
    "llmd-c/src/status.rs",
    "llmd-c/src/string.rs",
    "llmd-c/src/version.rs",
    "llmd-core/src/hash/simd/avx2.rs",
    "llmd-core/src/hash/simd/avx512.rs",
    "llmd-core/src/hash/simd/mod.rs",
    "llmd-core/src/hash/simd/sse.rs",
    "llmd-core/src/index/span/memory.rs",
    "llmd-core/src/index/span/modelled.rs",
    "llmd-core/src/index/span/names/bucket.rs",
    "llmd-core/src/index/span/run.rs",
    "llmd-core/src/index/span/system.rs",
    "llmd-core/tests/allocations.rs",
    "llmd-kvxfer/rustacuda/src/lib.rs",
    "llmd-kvxfer/src/copy/blocks.rs",
    "llmd-kvxfer/src/copy/mod.rs",
    "llmd-kvxfer/src/copy/packed.rs",
    "llmd-kvxfer/src/copy/pulled.rs",
    "llmd-kvxfer/src/copy/x86.rs",
    "llmd-kvxfer/src/device/driver/calls.rs",
    "llmd-kvxfer/src/device/driver/context.rs",
    "llmd-kvxfer/src/device/driver/cuda.rs",
    "llmd-kvxfer/src/device/driver/device.rs",
    "llmd-kvxfer/src/device/driver/event.rs",
    "llmd-kvxfer/src/device/driver/hip.rs",
    "llmd-kvxfer/src/device/driver/kernel.rs",
    "llmd-kvxfer/src/device/driver/library.rs",
    "llmd-kvxfer/src/device/driver/owned.rs",
    "llmd-kvxfer/src/device/driver/rows.rs",
    "llmd-kvxfer/src/device/engine.rs",
    "llmd-kvxfer/src/device/host.rs",
    "llmd-kvxfer/src/device/memory.rs",
    "llmd-kvxfer/src/device/mod.rs",
    "llmd-kvxfer/src/device/staging/calibration.rs",
    "llmd-kvxfer/src/device/staging/lane.rs",
    "llmd-kvxfer/src/device/staging/mod.rs",
    "llmd-kvxfer/src/nixl/agent.rs",
    "llmd-kvxfer/src/nixl/capi.rs",
    "llmd-kvxfer/src/nixl/memory.rs",
    "llmd-kvxfer/src/nixl/metadata.rs",
    "llmd-kvxfer/src/nixl/mod.rs",
    "llmd-kvxfer/src/nixl/owned.rs",
    "llmd-kvxfer/src/nixl/session.rs",
    "llmd-kvxfer/src/region/device.rs",
    "llmd-kvxfer/src/region/dlpack.rs",
    "llmd-kvxfer/src/region/mapping.rs",
    "llmd-kvxfer/src/region/mod.rs",
    "llmd-kvxfer/src/region/process.rs",
    "llmd-kvxfer/src/region/words.rs",
    "llmd-kvxfer/src/testing/device.rs",
    "llmd-kvxfer/src/transport/nixl/peer.rs",
    "llmd-kvxfer/src/transport/process.rs",
    "llmd-kvxfer/src/transport/tcp/scatter.rs",
    "llmd-kvxfer/tests/device/exporting.rs",
    "llmd-kvxfer/tests/device/fake.rs",
    "llmd-kvxfer/tests/device/named.rs",
    "llmd-kvxfer/tests/device/sides.rs",
    "llmd-kvxfer/tests/nixl.rs",
    "llmd-py/src/buffer/mod.rs",
    "llmd-py/src/buffer/pinned.rs",
    "llmd-py/src/dlpack/mod.rs",
    "llmd-py/src/dlpack/region.rs",
];

fn ours() -> Vec<&'static str> {
    PLANS.iter().map(|plan| plan.package).collect()
}

fn crates() -> impl Iterator<Item = (&'static Plan, Krate)> {
    PLANS.iter().map(|plan| {
        let krate = Krate::read(plan.sources);
        assert!(!krate.modules.is_empty(), "{} has no sources in {}", plan.package, plan.sources);
        (plan, krate)
    })
}

/// Every package of the workspace, with the names of what it depends on.
fn packages() -> BTreeMap<String, Vec<String>> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut metadata = Command::new(cargo);
    metadata.current_dir(checkout::root()).args(["metadata", "--no-deps", "--offline", "--format-version", "1"]);
    let output = metadata.output().expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let packages = metadata["packages"].as_array().expect("cargo lists packages");
    let name = |value: &Value| value["name"].as_str().expect("everything has a name").to_owned();
    let depends_on = |package: &Value| package["dependencies"].as_array().into_iter().flatten().map(name).collect();
    packages.iter().map(|package| (name(package), depends_on(package))).collect()
}

fn nothing(breaches: &[String]) {
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

#[test]
fn a_lower_module_never_names_an_upper_one() {
    let mut leading_in = 0;
    let breaches = crates().flat_map(|(plan, krate)| {
        let names = krate.modules.iter().flat_map(|module| &module.names);
        leading_in += names.filter(|name| krate.top_module_of(name).is_some()).count();
        upward(plan, &krate)
    });

    nothing(&breaches.collect::<Vec<_>>());
    assert!(leading_in > 100, "only {leading_in} names lead to a module of their own crate");
}

#[test]
fn parts_that_think_name_no_clock_no_thread_and_no_socket() {
    let mut names = 0;
    let breaches = crates().flat_map(|(plan, krate)| {
        names += krate.modules.iter().map(|module| module.names.len()).sum::<usize>();
        outside(plan, &krate)
    });

    nothing(&breaches.collect::<Vec<_>>());
    assert!(names > 10_000, "only {names} names were read");
}

#[test]
fn a_crate_depends_only_on_what_stands_below_it() {
    let (ours, packages) = (ours(), packages());
    let breaches = PLANS.iter().flat_map(|plan| {
        let depends_on = packages.get(plan.package).unwrap_or_else(|| panic!("there is no package {}", plan.package));
        dependencies(plan, &ours, depends_on.iter().map(String::as_str))
    });

    nothing(&breaches.collect::<Vec<_>>());
}

#[test]
fn every_crate_has_a_plan() {
    let mut ours = ours();
    ours.sort_unstable();

    assert_eq!(packages().keys().collect::<Vec<_>>(), ours);
}

#[test]
fn a_public_name_has_one_path() {
    let ours = ours();
    let embedded = crates().filter(|(plan, _)| EMBEDDED.contains(&plan.package));

    nothing(&embedded.flat_map(|(_, krate)| two_paths(&ours, &krate)).collect::<Vec<_>>());
}

#[test]
fn unsafe_stands_only_where_the_design_names_it() {
    let is_unsafe =
        |file: &Path| words(&checkout::text(file).unwrap_or_default()).iter().any(|word| word.text == "unsafe");
    let files = checkout::files("").into_iter().filter(|file| file.extension().is_some_and(|end| end == "rs"));
    let files: Vec<_> = files.collect();
    assert!(files.len() > 60, "only {} files were read", files.len());

    let found: Vec<_> = files.iter().filter(|file| is_unsafe(file)).map(|file| file.display().to_string()).collect();
    assert_eq!(found, UNSAFE, "left: where it stands; right: where it may");
}
