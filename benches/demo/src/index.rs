//! What the gateway's index and an engine's cache say they hold, as their debug endpoints tell it, and how far they agree.

use std::collections::BTreeMap;

use llmd_core::Result;
use serde::Deserialize;

use crate::http::Http;

/// What the gateway knows about each worker's event stream: `GET /debug/index`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct IndexReport {
    pub(crate) workers: Vec<WorkerReport>,
}

/// One worker's event stream.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct WorkerReport {
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) last_seq: Option<u64>,
    pub(crate) gaps: u64,
    pub(crate) replays: u64,
    /// Changes of state, oldest first.
    pub(crate) timeline: Vec<Change>,
}

/// A change of state.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub(crate) struct Change {
    /// Seconds by the gateway's clock.
    pub(crate) at: f64,
    pub(crate) state: String,
}

/// The state of a worker about which everything is known.
pub(crate) const EXACT: &str = "exact";

impl IndexReport {
    /// Asks the gateway at `gateway`.
    pub(crate) async fn ask(http: &Http, gateway: &str) -> Result<Self> {
        http.json(&format!("{gateway}/debug/index")).await
    }

    /// The worker of this name.
    pub(crate) fn worker(&self, name: &str) -> Option<&WorkerReport> {
        self.workers.iter().find(|worker| worker.name == name)
    }
}

/// The blocks that one side holds: copies by cache group and engine hash.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Blocks {
    blocks: Vec<Block>,
    /// Engine only: the number that its next batch of events will have.
    next_seq: Option<u64>,
    /// Engine only: events that wait for that batch.
    #[serde(default)]
    events_pending: u64,
}

/// The copies of one block.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Block {
    pub(crate) hash: serde_json::Value,
    #[serde(default)]
    pub(crate) group: u32,
    #[serde(default = "gpu")]
    pub(crate) medium: String,
    pub(crate) copies: u64,
}

fn gpu() -> String {
    "GPU".to_owned()
}

impl From<Vec<Block>> for Blocks {
    fn from(blocks: Vec<Block>) -> Self {
        Self { blocks, next_seq: None, events_pending: 0 }
    }
}

impl Blocks {
    /// The true cache of the engine at `url`.
    pub(crate) async fn of_engine(http: &Http, url: &str) -> Result<Self> {
        http.json(&format!("{url}/debug/cache")).await
    }

    /// What the gateway believes that engine `name` holds.
    pub(crate) async fn of_index(http: &Http, gateway: &str, name: &str) -> Result<Self> {
        http.json(&format!("{gateway}/debug/index/{name}")).await
    }

    /// Whether everything that the engine has published is in an index that has applied batches up to `last_seq`.
    pub(crate) fn is_known_up_to(&self, last_seq: Option<u64>) -> bool {
        let published = self.next_seq.and_then(|next| next.checked_sub(1));
        self.events_pending == 0 && published == last_seq
    }

    /// How many blocks there are.
    pub(crate) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Blocks of which the two sides hold different numbers of copies, none being one of them.
    pub(crate) fn differ_from(&self, other: &Self) -> usize {
        let (ours, theirs) = (self.copies(), other.copies());
        let wrong = ours.iter().filter(|(block, copies)| theirs.get(*block) != Some(copies)).count();
        wrong + theirs.keys().filter(|block| !ours.contains_key(*block)).count()
    }

    fn copies(&self) -> BTreeMap<(String, u32, &str), u64> {
        let mut copies = BTreeMap::new();
        for block in &self.blocks {
            // One side may write a hash as a number and the other as text.
            let hash = block.hash.as_str().map_or_else(|| block.hash.to_string(), str::to_owned);
            *copies.entry((hash, block.group, block.medium.as_str())).or_default() += block.copies;
        }
        copies
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn blocks(value: serde_json::Value) -> Blocks {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn blocks_are_compared_with_their_copies() {
        let engine = blocks(json!({"next_seq": 5, "events_pending": 0, "blocks": [
            {"hash": 18_446_744_073_709_551_615_u64, "group": 0, "copies": 2},
            {"hash": 7, "group": 0, "copies": 1},
        ]}));
        let same = blocks(json!({"state": "exact", "seq": 4, "blocks": [
            {"hash": "7", "group": 0, "medium": "GPU", "copies": 1},
            {"hash": 18_446_744_073_709_551_615_u64, "group": 0, "medium": "GPU", "copies": 2},
        ]}));
        let wrong = blocks(json!({"blocks": [
            {"hash": 18_446_744_073_709_551_615_u64, "group": 0, "medium": "GPU", "copies": 1},
            {"hash": 8, "group": 0, "medium": "GPU", "copies": 1},
        ]}));

        assert_eq!(engine.differ_from(&same), 0);
        assert_eq!(engine.differ_from(&wrong), 3, "one copy too few, one block missing, one too many");
        assert_eq!(engine.len(), 2);
    }

    #[test]
    fn an_engine_is_known_when_its_last_batch_is_in_and_nothing_waits() {
        let engine =
            |next: u64, pending: u64| blocks(json!({"next_seq": next, "events_pending": pending, "blocks": []}));

        assert!(engine(5, 0).is_known_up_to(Some(4)));
        assert!(!engine(5, 0).is_known_up_to(Some(3)));
        assert!(!engine(5, 1).is_known_up_to(Some(4)));
        assert!(engine(0, 0).is_known_up_to(None), "a fresh engine has said nothing");
    }
}
