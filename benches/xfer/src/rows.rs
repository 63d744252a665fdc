//! What was measured, the best of the passes, and the figures it comes to.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::pair::Took;
use crate::scale::SIZES;

/// What was measured of everybody.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    /// By subject, way and size of block.
    transfers: BTreeMap<(&'static str, &'static str, usize), Timed>,
    /// Other numbers of a subject, by name: the less the better.
    numbers: BTreeMap<(&'static str, String), f64>,
    /// Cores that others kept busy meanwhile.
    others: f64,
}

/// What transfers took, and what each moved.
#[derive(Clone, Copy, Debug)]
struct Timed {
    took: Took,
    bytes: usize,
}

impl Timed {
    fn gbps(self) -> f64 {
        self.bytes as f64 / self.took.p50_us / 1e3
    }
}

/// Ours, as figures name it, and with whom it is compared.
const COMPARED: [(&str, &str, &str); 5] = [
    ("llmd.shm", "xfer.shm.ratio_to_nixl_best", "nixl.best"),
    ("llmd.shm", "xfer.shm.ratio_to_nixl_thp", "nixl.thp"),
    ("llmd.shm_otherns", "xfer.shm_otherns.ratio_to_nixl", "nixl.otherns"),
    ("llmd.tcp", "xfer.tcp.ratio_to_nixl_read", "nixl.tcp"),
    ("llmd.tcp", "xfer.tcp.ratio_to_mooncake", "mooncake.tcp"),
];
const LIMITED: [(&str, &str, &str); 2] =
    [("llmd.shm", "xfer.ratio_to_limit.shm", "limit.shm"), ("llmd.tcp", "xfer.ratio_to_limit.tcp", "limit.tcp")];
/// What making a gigabyte ready takes, in microseconds: told as gigabytes a second.
pub(crate) const SEAL: &str = "seal_us_per_gb";
/// With a checksum over what came, and without.
const CHECKSUM: [&str; 2] = ["llmd.shm_checked", "llmd.shm_unchecked"];

impl Rows {
    /// Transfers of a pass; the pass with the better median counts.
    pub(crate) fn transfers(&mut self, who: &'static str, way: &'static str, size: usize, bytes: usize, took: Took) {
        let row = Timed { took, bytes };
        let best = self.transfers.entry((who, way, size)).or_insert(row);
        if took.p50_us < best.took.p50_us {
            *best = row;
        }
    }

    /// Another number of a pass; the least counts.
    pub(crate) fn number(&mut self, who: &'static str, name: impl Into<String>, value: f64) {
        let best = self.numbers.entry((who, name.into())).or_insert(value);
        *best = best.min(value);
    }

    /// Cores that others kept busy meanwhile.
    pub(crate) const fn others(&mut self, cores: f64) {
        self.others = cores;
    }

    /// Every figure that there is enough for.
    pub(crate) fn figures(&self) -> Value {
        let mut figures = Map::new();
        let mut put = |name: String, value: f64| {
            if value.is_finite() {
                figures.insert(name, rounded(value));
            }
        };
        for (&(who, way, size), row) in &self.transfers {
            let kib = size >> 10;
            if !way.is_empty() {
                put(format!("{who}.{way}.gbps.{kib}"), row.gbps());
            }
        }
        for who in self.whos() {
            for (size, row) in SIZES.into_iter().filter_map(|size| Some((size, self.best(who, size)?))) {
                let kib = size >> 10;
                put(format!("{}.gbps.{kib}", shown(who)), row.gbps());
                put(format!("{}.p99_us.{kib}", shown(who)), row.took.p99_us);
                put(parted("cpu_s_per_gb", who, kib), row.took.cpu_s_per_gb);
            }
        }
        for (ours, figure, theirs) in COMPARED.into_iter().chain(LIMITED) {
            for size in SIZES {
                if let (Some(ours), Some(theirs)) = (self.best(ours, size), self.best(theirs, size)) {
                    put(format!("{figure}.{}", size >> 10), ours.gbps() / theirs.gbps());
                }
            }
        }
        if let [Some(checked), Some(unchecked)] = CHECKSUM.map(|who| self.best(who, SIZES[1])) {
            put("xfer.checksum_cost".into(), checked.took.p50_us / unchecked.took.p50_us);
        }
        for ((who, name), value) in &self.numbers {
            match name.as_str() {
                SEAL => put(numbered(who, "seal_gbps"), 1e6 / value),
                name => put(numbered(who, name), *value),
            }
        }
        put("xfer.others_cores".into(), self.others);
        Value::Object(figures)
    }

    fn whos(&self) -> Vec<&'static str> {
        let mut whos: Vec<_> = self.transfers.keys().map(|(who, ..)| *who).collect();
        whos.dedup();
        whos
    }

    /// The best of a subject's ways.
    fn best(&self, who: &str, size: usize) -> Option<Timed> {
        let rows = self.transfers.iter().filter(|((of, _, at), _)| *of == who && *at == size);
        rows.map(|(_, row)| *row).min_by(|a, b| a.took.p50_us.total_cmp(&b.took.p50_us))
    }
}

/// A subject as figures name it: ours have no `llmd` before them.
fn shown(who: &str) -> String {
    who.strip_prefix("llmd.").map_or_else(|| who.to_owned(), |form| format!("xfer.{form}"))
}

/// A figure that ours says by form.
fn parted(figure: &str, who: &str, kib: usize) -> String {
    match who.strip_prefix("llmd.") {
        Some(form) => format!("xfer.{figure}.{form}.{kib}"),
        None => format!("{who}.{figure}.{kib}"),
    }
}

/// A figure that ours has in its main form only.
fn numbered(who: &str, figure: &str) -> String {
    if who == "llmd.shm" { format!("xfer.{figure}") } else { format!("{}.{figure}", shown(who)) }
}

/// Four digits that say something.
fn rounded(value: f64) -> Value {
    let digits = 3 - value.abs().max(1e-6).log10().floor() as i32;
    let scale = 10_f64.powi(digits);
    json!((value * scale).round() / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn took(p50_us: f64) -> Took {
        Took { p50_us, p99_us: 2.0 * p50_us, post_p50_us: 1.0, cpu_s_per_gb: 0.125 }
    }

    #[test]
    fn the_best_pass_and_the_best_way_count() {
        let mut rows = Rows::default();
        for (way, p50_us) in [("nt1", 300.0), ("nt1", 200.0), ("nt1", 250.0), ("memcpy1", 400.0)] {
            rows.transfers("limit.shm", way, 4096, 4 << 20, took(p50_us));
        }
        rows.transfers("llmd.shm", "", 4096, 4 << 20, took(250.0));

        let figures = rows.figures();

        assert_eq!(figures["limit.shm.gbps.4"], 20.97);
        assert_eq!(figures["limit.shm.nt1.gbps.4"], figures["limit.shm.gbps.4"]);
        assert_eq!(figures["limit.shm.memcpy1.gbps.4"], 10.49);
        assert_eq!(figures["xfer.shm.gbps.4"], 16.78);
        assert_eq!(figures["xfer.ratio_to_limit.shm.4"], 0.8);
        assert_eq!(figures["xfer.cpu_s_per_gb.shm.4"], 0.125);
        assert_eq!(figures["limit.shm.cpu_s_per_gb.4"], 0.125);
    }

    #[test]
    fn ours_is_compared_with_each_peer() {
        let mut rows = Rows::default();
        let whos = ["llmd.shm", "llmd.shm_otherns", "llmd.tcp", "nixl.best", "nixl.thp", "nixl.otherns", "nixl.tcp"];
        for who in whos.into_iter().chain(["mooncake.tcp"]) {
            let p50_us = if who.starts_with("llmd") { 1000.0 } else { 4000.0 };
            rows.transfers(who, "", 65536, 64 << 20, took(p50_us));
        }

        let figures = rows.figures();

        for (_, figure, _) in COMPARED {
            assert_eq!(figures[format!("{figure}.64")], 4.0, "{figure}");
        }
        assert!(figures.get("xfer.shm.ratio_to_nixl_best.4").is_none());
    }

    #[test]
    fn a_checksum_costs_what_it_adds_and_numbers_are_the_least() {
        let mut rows = Rows::default();
        rows.transfers("llmd.shm_checked", "", 65536, 1, took(110.0));
        rows.transfers("llmd.shm_unchecked", "", 65536, 1, took(100.0));
        for value in [3.0, 2.0, 2.5] {
            rows.number("llmd.shm", "notify_us.spinning", value);
            rows.number("nixl.best", "notify_us.spinning", 10.0 * value);
            rows.number("llmd.shm", SEAL, 50_000.0 * value);
        }

        let figures = rows.figures();

        assert_eq!(figures["xfer.checksum_cost"], 1.1);
        assert_eq!(figures["xfer.notify_us.spinning"], 2.0);
        assert_eq!(figures["nixl.best.notify_us.spinning"], 20.0);
        assert_eq!(figures["xfer.seal_gbps"], 10.0);
    }
}
