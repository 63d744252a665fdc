//! What criterion left behind: `<group>/<function>/new/{benchmark,estimates}.json`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

use crate::failure::{OrFail as _, Result};

/// The name of llmd's own row in a case.
const OURS: &str = "llmd";

/// Something measured in several ways: llmd's own, and the limits and peers beside it.
#[derive(Debug)]
pub(crate) struct Case {
    /// `<bench>.<case>`.
    pub(crate) name: String,
    /// Ours first, the others by name.
    pub(crate) rows: Vec<Row>,
}

/// One way, and what it takes.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) who: String,
    pub(crate) nanoseconds: f64,
    /// How many things one call works on, where the bench says so.
    pub(crate) elements: Option<u64>,
}

impl Case {
    /// llmd against each of the others: how many times as long it takes.
    pub(crate) fn ratios(&self) -> Vec<(&str, f64)> {
        let Some(ours) = self.rows.iter().find(|row| row.who == OURS) else { return Vec::new() };
        let others = self.rows.iter().filter(|row| row.who != OURS);
        others.map(|row| (row.who.as_str(), ours.nanoseconds / row.nanoseconds)).collect()
    }
}

/// Every case whose estimates were written after `since`, by name.
///
/// # Errors
///
/// When a file of criterion's cannot be read.
pub(crate) fn read(folder: &Path, since: SystemTime) -> Result<Vec<Case>> {
    let mut cases = BTreeMap::<String, Vec<Row>>::new();
    for new in measurements(folder) {
        let written = fs::metadata(new.join("estimates.json")).and_then(|file| file.modified());
        if written.is_ok_and(|written| written >= since) {
            let benchmark = json(&new.join("benchmark.json"))?;
            let estimates = json(&new.join("estimates.json"))?;
            let text = |field: &str| benchmark[field].as_str().unwrap_or_default().to_owned();
            let nanoseconds = estimates["mean"]["point_estimate"].as_f64().unwrap_or(f64::NAN);
            let elements = benchmark["throughput"]["Elements"].as_u64();
            let row = Row { who: text("function_id"), nanoseconds, elements };
            cases.entry(text("group_id").replace('/', ".")).or_default().push(row);
        }
    }
    let mut cases: Vec<_> = cases.into_iter().map(|(name, rows)| Case { name, rows }).collect();
    for case in &mut cases {
        case.rows.sort_by(|a, b| (a.who != OURS, &a.who).cmp(&(b.who != OURS, &b.who)));
    }
    Ok(cases)
}

/// The folders `<group>/<function>/new` below `folder`.
fn measurements(folder: &Path) -> Vec<PathBuf> {
    let below = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect::<Vec<_>>()
    };
    let functions = below(folder).into_iter().flat_map(|group| below(&group));
    functions.map(|function| function.join("new")).filter(|new| new.join("benchmark.json").is_file()).collect()
}

fn json(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path).or_fail(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).or_fail(|| format!("{} is not JSON", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own for each test, removed when the test ends well.
    fn folder(test: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("llmd-xtask-{}-{test}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn leave(folder: &Path, function: &str, mean: f64) {
        let new = folder.join("hash_chain").join(function).join("new");
        fs::create_dir_all(&new).unwrap();
        let benchmark = format!(
            r#"{{"group_id":"hash/chain","function_id":"{function}","value_str":null,"throughput":{{"Elements":8}}}}"#
        );
        fs::write(new.join("benchmark.json"), benchmark).unwrap();
        fs::write(new.join("estimates.json"), format!(r#"{{"mean":{{"point_estimate":{mean}}}}}"#)).unwrap();
    }

    #[test]
    fn a_case_gathers_its_rows_with_ours_first() {
        let folder = folder("gathers");
        for (function, mean) in [("limit_read", 10.0), ("llmd", 30.0), ("peer_xxh3", 20.0)] {
            leave(&folder, function, mean);
        }

        let cases = read(&folder, SystemTime::UNIX_EPOCH).unwrap();

        assert_eq!(cases.len(), 1);
        assert_eq!(cases[0].name, "hash.chain");
        assert_eq!(
            cases[0].rows.iter().map(|row| row.who.as_str()).collect::<Vec<_>>(),
            ["llmd", "limit_read", "peer_xxh3"]
        );
        assert_eq!(cases[0].ratios(), [("limit_read", 3.0), ("peer_xxh3", 1.5)]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_an_earlier_run_left_is_not_taken_for_this_one() {
        let folder = folder("earlier");
        leave(&folder, "llmd", 30.0);
        let written = fs::metadata(folder.join("hash_chain/llmd/new/estimates.json")).unwrap().modified().unwrap();

        let later = written + std::time::Duration::from_secs(1);
        assert!(read(&folder, later).unwrap().is_empty());
        fs::remove_dir_all(folder).unwrap();
    }
}
