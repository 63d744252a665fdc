//! What this process holds, as the system says it.

use std::fs;

use crate::message::Measured;

/// File descriptors, mappings of shared memory and threads of this process.
pub(crate) fn process() -> Measured {
    // The folder itself is open while it is read.
    let fds = entries("/proc/self/fd").saturating_sub(1);
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mappings = maps.lines().filter(|line| line.contains("/memfd:llmd")).count();
    Measured { fds, mappings, threads: entries("/proc/self/task"), leases: 0, operations: 0 }
}

fn entries(folder: &str) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}
