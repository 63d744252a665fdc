//! The table that closes a run: who moves how much, what else was measured, and the goals.

use std::fmt;

use serde_json::{Map, Value};

use super::goals::goals;

/// Who has a line, as figures begin and as readers know it.
pub(super) const WHO: [(&str, &str); 11] = [
    ("xfer.shm", "llmd, shared memory"),
    ("xfer.shm_otherns", "llmd, shared memory, other pod"),
    ("limit.shm", "limit: plain copy"),
    ("nixl.best", "NIXL, no threads, memfd"),
    ("nixl.thp", "NIXL, no threads, huge pages"),
    ("nixl.default", "NIXL as it comes"),
    ("nixl.otherns", "NIXL, other pod"),
    ("xfer.tcp", "llmd, TCP"),
    ("limit.tcp", "limit: two plain streams"),
    ("nixl.tcp", "NIXL, TCP read"),
    ("mooncake.tcp", "Mooncake, TCP read"),
];

/// Sizes of a block in KiB, as figures end.
pub(super) const KIB: [u64; 3] = [4, 64, 1024];

/// Numbers of one subject, as figures end, and what they are.
const ALONE: [(&str, &str); 5] = [
    ("latency_us.4kib", "one 4 KiB block, µs"),
    ("notify_us.spinning", "notification there and back, µs"),
    ("notify_us.sleeping", "the same, of a side that sleeps, µs"),
    ("submit_us.256mib", "posting 256 MiB, µs"),
    ("idle_cpu_percent", "doing nothing, % of a core"),
];

/// Cores that others may use before figures say little.
const BUSY: f64 = 0.1;
const BUSY_SAYS: &str = ": the machine was not idle, and these figures say little";

#[derive(Debug)]
pub(super) struct Table<'a>(pub(super) &'a Map<String, Value>);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:32} {:>8} {:>8} {:>8} {:>14}", "GB/s, blocks of", "4 KiB", "64 KiB", "1 MiB", "core·s/GB")?;
        for (who, name) in WHO {
            let moved = KIB.map(|kib| self.figure(&format!("{who}.gbps.{kib}")));
            if moved.iter().all(Option::is_none) {
                continue;
            }
            write!(f, "{name:32}")?;
            moved.iter().try_for_each(|value| write!(f, " {:>8}", shown(*value)))?;
            writeln!(f, " {:>14}", shown(self.figure(&worked(who))))?;
        }
        for (figure, what) in ALONE {
            let values = self.0.iter().filter_map(|(name, value)| {
                let who = name.strip_suffix(figure)?.trim_end_matches('.');
                Some(format!("{} {}", if who == "xfer" { "llmd" } else { who }, shown(value.as_f64())))
            });
            let values = values.collect::<Vec<_>>().join(", ");
            if !values.is_empty() {
                writeln!(f, "{what:38} {values}")?;
            }
        }
        if let Some(cores) = self.figure("xfer.others_cores") {
            writeln!(
                f,
                "{:38} {cores:.2}{}",
                "cores that others used meanwhile",
                if cores > BUSY { BUSY_SAYS } else { "" }
            )?;
        }
        writeln!(f, "\n{:38} {:>8} {:>8}", "goals", "is", "goal")?;
        for (figure, goal) in goals() {
            let value = self.figure(&figure);
            let verdict = match value {
                None => "not measured",
                Some(value) if goal.is_met(value) => "met",
                Some(_) => "missed",
            };
            writeln!(f, "{figure:38} {:>8} {goal:>8}  {verdict}", shown(value))?;
        }
        Ok(())
    }
}

impl Table<'_> {
    fn figure(&self, name: &str) -> Option<f64> {
        self.0.get(name).and_then(Value::as_f64)
    }
}

/// The figure of what both sides of `who` work, with blocks of 1 MiB.
fn worked(who: &str) -> String {
    let figure = "cpu_s_per_gb";
    who.strip_prefix("xfer.")
        .map_or_else(|| format!("{who}.{figure}.1024"), |form| format!("xfer.{figure}.{form}.1024"))
}

/// Three digits that say something.
fn shown(value: Option<f64>) -> String {
    match value {
        None => "-".into(),
        Some(value) if value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everybody_has_a_line_and_every_goal_a_verdict() {
        let Value::Object(figures) = json!({
            "xfer.shm.gbps.4": 9.5, "xfer.shm.gbps.64": 15.25, "xfer.shm.gbps.1024": 120.4,
            "xfer.cpu_s_per_gb.shm.1024": 0.0625, "nixl.best.gbps.64": 4.25, "nixl.best.cpu_s_per_gb.1024": 0.2,
            "xfer.shm.ratio_to_nixl_best.64": 3.588, "xfer.latency_us.4kib": 1.75, "nixl.best.latency_us.4kib": 4.4,
            "xfer.others_cores": 0.3,
        }) else {
            panic!("an object was written")
        };

        let table = Table(&figures).to_string();

        let words: Vec<_> = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for line in [
            "llmd, shared memory 9.50 15.2 120 0.06",
            "NIXL, no threads, memfd - 4.25 - 0.20",
            "one 4 KiB block, µs llmd 1.75, nixl.best 4.40",
            "cores that others used meanwhile 0.30: the machine was not idle, and these figures say little",
            "xfer.shm.ratio_to_nixl_best.64 3.59 ≥ 2.5 met",
            "xfer.latency_us.4kib 1.75 ≤ 1.5 missed",
            "xfer.idle_cpu_percent - ≤ 0.5 not measured",
        ] {
            assert!(words.iter().any(|one| one == line), "{line}\n{table}");
        }
        assert!(!table.contains("Mooncake"), "{table}");
    }
}
