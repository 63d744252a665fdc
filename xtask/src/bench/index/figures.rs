//! From what was said to figures.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Figures;
use super::rows::{Row, Rows};

const OURS: &str = "llmd";

/// Every figure of the parts that were run.
pub(super) fn of(rows: &Rows) -> Figures {
    let mut figures = Figures::new();
    grid(rows, "grid", ["index.query_us", "index.p99_us", "index.query_geomean_ratio"], &mut figures);
    grid(rows, "e2e", ["index.e2e_us", "index.e2e_p99_us", "index.geomean_ratio"], &mut figures);
    hash(rows, &mut figures);
    events(rows, &mut figures);
    memory(rows, &mut figures);
    fanout(rows, &mut figures);
    growth(rows, &mut figures);
    for row in rows.of("readers") {
        figures.insert(whose("index.reader_ratio_under_writes", row.text("who")), json!(row.number("ratio")));
    }
    for row in rows.of("fuzz") {
        let name = format!("index.fuzz_wrong.{}.{}", row.text("who"), row.text("mode"));
        figures.insert(name, json!(row.integer("wrong")));
    }
    truth(rows, &mut figures);
    figures
}

/// llmd's own figure has no name at its end.
fn whose(figure: &str, who: &str) -> String {
    if who == OURS { figure.to_owned() } else { format!("{figure}.{who}") }
}

fn grid(rows: &Rows, part: &str, [mean, p99, ratio]: [&str; 3], figures: &mut Figures) {
    for row in rows.of(part) {
        let ((blocks, workers), name) = (row.cell(), row.name());
        let name = if row.text("who") == OURS { OURS } else { &name };
        figures.insert(whose(&format!("{mean}.{blocks}x{workers}"), name), json!(row.number("mean_us")));
        figures.insert(whose(&format!("{p99}.{blocks}x{workers}"), name), json!(row.number("p99_us")));
    }
    let ratios = ratios(rows, part);
    let least = |family: &str| {
        let family = ratios.iter().filter(|(name, _)| name.starts_with(family));
        family.map(|(_, ratio)| *ratio).min_by(f64::total_cmp)
    };
    for (name, family) in [("dynamo", "dynamo"), ("smg", "smg"), ("best_peer", "")] {
        if let Some(least) = least(family) {
            figures.insert(format!("{ratio}.{name}"), json!(least));
        }
    }
    for (name, mean) in &ratios {
        figures.insert(format!("{ratio}.{name}"), json!(mean));
    }
}

/// For each way of asking a peer: the geometric mean over all cells of how many times as long it takes.
fn ratios(rows: &Rows, part: &str) -> BTreeMap<String, f64> {
    let ours: BTreeMap<_, _> =
        rows.of(part).filter(|row| row.text("who") == OURS).map(|row| (row.cell(), row)).collect();
    let mut logs = BTreeMap::<_, Vec<f64>>::new();
    for row in rows.of(part).filter(|row| row.text("who") != OURS) {
        if let Some(ours) = ours.get(&row.cell()) {
            let times = row.number("mean_us") / ours.number("mean_us");
            logs.entry(row.name()).or_default().push(times.ln());
        }
    }
    logs.into_iter().map(|(name, logs)| (name, (logs.iter().sum::<f64>() / logs.len() as f64).exp())).collect()
}

fn hash(rows: &Rows, figures: &mut Figures) {
    let of = |who: &str| rows.of("hash").find(|row| row.text("who") == who).map(|row| row.number("us"));
    for row in rows.of("hash") {
        figures.insert(whose(&format!("hash.us.{}", row.integer("tokens")), row.text("who")), json!(row.number("us")));
    }
    if let (Some(ours), Some(xxh3)) = (of(OURS), of("xxh3")) {
        figures.insert("hash.ratio_to_xxh3".into(), json!(ours / xxh3));
    }
}

fn events(rows: &Rows, figures: &mut Figures) {
    for removals in ["grouped", "single"] {
        let of = |who: &str| {
            let mut rows = rows.of("events").filter(|row| row.text("removals") == removals);
            rows.find(|row| row.text("who") == who).map(|row| row.number("mblocks_s"))
        };
        for row in rows.of("events").filter(|row| row.text("removals") == removals) {
            let name = whose(&format!("index.events_mblocks_s.{removals}"), row.text("who"));
            figures.insert(name, json!(row.number("mblocks_s")));
        }
        if let (Some(ours), Some(smg)) = (of(OURS), of("smg")) {
            figures.insert(format!("index.events_ratio.{removals}"), json!(ours / smg));
        }
    }
}

fn memory(rows: &Rows, figures: &mut Figures) {
    for row in rows.of("memory") {
        let what = if row.integer("replicas") == 1 {
            "distinct".into()
        } else {
            format!("replicated{}", row.integer("replicas"))
        };
        let name = whose(&format!("index.bytes_per_entry.{what}"), row.text("who"));
        figures.insert(name, measured(row, "bytes_per_entry"));
    }
}

/// The number in a field, or how the process broke.
fn measured(row: Row<'_>, field: &str) -> Value {
    row.broken().map_or_else(|| json!(row.number(field)), |how| json!(how))
}

const FANOUT: [(&str, &str); 4] = [
    ("index.fanout_us", "hit_us"),
    ("index.fanout_miss_us", "miss_us"),
    ("index.fanout_evict_us", "evict_us"),
    ("index.fanout_store_us", "store_us"),
];

fn fanout(rows: &Rows, figures: &mut Figures) {
    let measured = || rows.of("fanout").filter(|row| row.broken().is_none());
    for row in measured() {
        for (figure, field) in FANOUT {
            let name = format!("{figure}.{}", short(row.integer("children")));
            figures.insert(whose(&name, row.text("who")), json!(row.number(field)));
        }
    }
    // Where a peer broke, it has no number for what others were measured at.
    let all: Vec<_> = measured().map(|row| row.integer("children")).collect();
    for (who, how) in rows.of("fanout").filter_map(|row| Some((row.text("who"), row.broken()?))) {
        for children in &all {
            for (figure, _) in FANOUT {
                figures.entry(format!("{figure}.{}.{who}", short(*children))).or_insert_with(|| json!(how));
            }
        }
    }
    for (figure, field) in [("index.fanout_spread", "hit_us"), ("index.fanout_evict_spread", "evict_us")] {
        let ours = measured().filter(|row| row.text("who") == OURS).map(|row| row.number(field));
        let (least, most) = ours.fold((f64::MAX, 0.0_f64), |(least, most), us| (us.min(least), us.max(most)));
        if most > 0.0 {
            figures.insert(figure.into(), json!(most / least));
        }
    }
}

/// `10000` is `10k`, a million `1m`.
fn short(number: u64) -> String {
    match number {
        _ if number > 0 && number.is_multiple_of(1_000_000) => format!("{}m", number / 1_000_000),
        _ if number > 0 && number.is_multiple_of(1_000) => format!("{}k", number / 1_000),
        _ => number.to_string(),
    }
}

fn growth(rows: &Rows, figures: &mut Figures) {
    let mut stalls = BTreeMap::<_, Vec<f64>>::new();
    for row in rows.of("growth") {
        let figure = whose("index.growth_stall_us", row.text("who"));
        match row.broken() {
            Some(how) => _ = figures.insert(figure, json!(how)),
            None => stalls.entry(figure).or_default().push(row.number("stall_us")),
        }
    }
    for (figure, mut stalls) in stalls {
        stalls.sort_by(f64::total_cmp);
        figures.entry(figure).or_insert_with(|| json!(stalls[stalls.len() / 2]));
    }
}

fn truth(rows: &Rows, figures: &mut Figures) {
    let mut sums = BTreeMap::<_, u64>::new();
    for row in rows.of("truth") {
        let (who, kind) = (row.text("who"), row.text("kind"));
        let wrong = row.integer("over") + row.integer("under");
        *sums.entry(format!("truth.hits_wrong.{kind}.{who}")).or_default() += wrong;
        if who == OURS {
            *sums.entry(format!("truth.lookups.{kind}")).or_default() += row.integer("lookups");
            *sums.entry("truth.steps".into()).or_default() += row.integer("steps");
            *sums.entry("truth.steps_wrong".into()).or_default() += row.integer("steps_wrong");
        }
    }
    figures.extend(sums.into_iter().map(|(figure, sum)| (figure, json!(sum))));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::index::FIGURES;

    fn figures(said: Value) -> Figures {
        let mut rows = Rows::default();
        rows.extend(said.as_array().unwrap().clone());
        of(&rows)
    }

    fn cell(blocks: u64, who: &str, way: &str, mean: f64) -> Value {
        json!({ "part": "grid", "blocks": blocks, "workers": 8, "who": who, "way": way, "mean_us": mean, "p99_us": 9.0 })
    }

    #[test]
    fn a_peer_counts_with_its_best_way() {
        let figures = figures(json!([
            cell(8, "llmd", "query_into", 1.0),
            cell(64, "llmd", "query_into", 2.0),
            cell(8, "smg", "score_into", 2.0),
            cell(64, "smg", "score_into", 16.0),
            cell(8, "smg", "find_matches", 32.0),
            cell(64, "smg", "find_matches", 64.0),
            cell(8, "dynamo_crtc", "find_matches", 9.0),
            cell(64, "dynamo_crtc", "find_matches", 18.0),
        ]));

        assert_eq!(figures["index.query_us.64x8"], json!(2.0));
        assert_eq!(figures["index.query_us.64x8.smg_score_into"], json!(16.0));
        let ratio = |who: &str| figures[&format!("index.query_geomean_ratio.{who}")].as_f64().unwrap();
        assert!((ratio("smg") - 4.0).abs() < 1e-9 && (ratio("best_peer") - 4.0).abs() < 1e-9);
        assert!((ratio("smg_find_matches") - 32.0).abs() < 1e-9 && (ratio("dynamo") - 9.0).abs() < 1e-9);
    }

    #[test]
    fn what_a_broken_peer_was_not_measured_at_says_so() {
        let row = |who: &str, children: u64| {
            json!({
                "part": "fanout", "who": who, "children": children, "hit_us": children as f64 / 1e4, "miss_us": 1.0,
                "evict_us": 2.0, "store_us": 3.0,
            })
        };
        let broken = json!({ "part": "fanout", "who": "smg", "broken": "panicked" });
        let figures = figures(json!([row("llmd", 10_000), row("llmd", 1_000_000), row("smg", 10_000), broken]));

        assert_eq!(figures["index.fanout_us.10k.smg"], json!(1.0));
        assert_eq!(figures["index.fanout_us.1m.smg"], json!("panicked"));
        assert_eq!(figures["index.fanout_us.1m"], json!(100.0));
        assert_eq!(
            (&figures["index.fanout_spread"], &figures["index.fanout_evict_spread"]),
            (&json!(100.0), &json!(1.0))
        );
    }

    #[test]
    fn a_stall_is_the_median_and_wrong_lookups_are_summed() {
        let growth = |us: f64| json!({ "part": "growth", "who": "llmd", "stall_us": us });
        let truth = |who: &str, over: u64, under: u64| {
            json!({
                "part": "truth", "kind": "hybrid", "who": who, "lookups": 10, "over": over, "under": under, "steps": 5,
                "steps_wrong": 1,
            })
        };
        let figures = figures(json!([
            growth(9.0),
            growth(1.0),
            growth(3.0),
            truth("llmd", 0, 0),
            truth("smg", 2, 1),
            truth("llmd", 0, 1),
            truth("smg", 3, 0),
        ]));

        assert_eq!(figures["index.growth_stall_us"], json!(3.0));
        assert_eq!(figures["truth.hits_wrong.hybrid.smg"], json!(6));
        assert_eq!(figures["truth.hits_wrong.hybrid.llmd"], json!(1));
        assert_eq!(figures["truth.lookups.hybrid"], json!(20));
        assert_eq!((&figures["truth.steps"], &figures["truth.steps_wrong"]), (&json!(10), &json!(2)));
    }

    #[test]
    fn the_help_names_every_figure() {
        let said = json!([
            cell(8, "llmd", "query_into", 1.0),
            cell(8, "smg", "score_into", 1.0),
            { "part": "hash", "who": "llmd", "tokens": 131_072, "us": 1.0 },
            { "part": "hash", "who": "xxh3", "tokens": 131_072, "us": 2.0 },
            { "part": "events", "who": "llmd", "removals": "single", "mblocks_s": 1.0 },
            { "part": "events", "who": "smg", "removals": "single", "mblocks_s": 2.0 },
            { "part": "memory", "who": "llmd", "replicas": 8, "bytes_per_entry": 1.0 },
            { "part": "fanout", "who": "llmd", "children": 10_000, "hit_us": 1.0, "miss_us": 1.0, "evict_us": 1.0, "store_us": 1.0 },
            { "part": "growth", "who": "llmd", "stall_us": 1.0 },
            { "part": "readers", "who": "llmd", "ratio": 1.0 },
            { "part": "fuzz", "who": "llmd", "mode": "tail", "wrong": 0 },
            { "part": "truth", "who": "llmd", "kind": "dense", "lookups": 1, "over": 0, "under": 0, "steps": 1, "steps_wrong": 0 },
        ]);
        let figures = figures(said);
        assert!(figures.len() > 15, "{figures:?}");
        for name in figures.keys() {
            let first_two = name.split('.').take(2).collect::<Vec<_>>().join(".");
            assert!(FIGURES.contains(&first_two), "{name}");
        }
        assert_eq!(figures["hash.ratio_to_xxh3"], json!(0.5));
        assert_eq!(figures["index.events_ratio.single"], json!(0.5));
    }
}
