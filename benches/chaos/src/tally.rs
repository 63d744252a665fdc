//! What was made, how it ended, and what must not have been.

use std::collections::BTreeMap;

use llmd_kvxfer::Outcome;
use serde_json::{Map, Value, json};

use crate::message::{Ended, Kind, Measured, Told};

/// Everything that was counted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    faults: BTreeMap<&'static str, u64>,
    /// By kind of grant and by outcome.
    ended: BTreeMap<&'static str, [u64; Outcome::ALL.len()]>,
    by_transport: BTreeMap<String, u64>,
    refused: BTreeMap<String, u64>,
    pub(crate) transfers: u64,
    bytes: u64,
    checked_blocks: u64,
    wrong_bytes: u64,
    hung: u64,
    leaks: u64,
    unauthorised: u64,
    crashes: u64,
    abandoned: u64,
    /// An impostor that a forged grant led to does it, to whoever waits for the same agent.
    denied_though_granted: u64,
    /// What to tell of what should not have been.
    pub(crate) remarks: Vec<String>,
}

/// How many remarks are kept.
const REMARKS: usize = 100;

impl Tally {
    pub(crate) fn fault(&mut self, name: &'static str, count: u64) {
        *self.faults.entry(name).or_default() += count;
    }

    /// Takes what an engine said.
    pub(crate) fn take(&mut self, life: u64, told: &Told) {
        match told {
            Told::Ended(ended) => self.ended(life, ended),
            Told::Refused { kind, why } => {
                *self.refused.entry(format!("{}: {why}", kind.name())).or_default() += 1;
            }
            Told::Hung { kind, after } => {
                self.hung += 1;
                self.remark(format!(
                    "life {life}: a {} operation did not end {after:.1} s after its deadline",
                    kind.name()
                ));
            }
            Told::Abandoned { operations } => self.abandoned += *operations as u64,
            Told::Rebuilt { failures } => self.fault("agent_builds_without_descriptors", u64::from(*failures)),
            _ => {}
        }
    }

    fn ended(&mut self, life: u64, ended: &Ended) {
        let Ended { kind, outcome, transport, bytes, checked_blocks, wrong_bytes, foreign_bytes, said } = ended;
        if let Some(count) = self.ended.entry(kind.name()).or_default().get_mut(*outcome) {
            *count += 1;
            self.transfers += 1;
            *self.by_transport.entry(transport.clone()).or_default() += 1;
        }
        self.bytes += bytes;
        self.checked_blocks += checked_blocks;
        self.wrong_bytes += wrong_bytes;
        if !kind.is_forged() && Outcome::ALL.get(*outcome) == Some(&Outcome::Denied) {
            self.denied_though_granted += 1;
        }
        let named = Outcome::ALL.get(*outcome).map_or("late", |outcome| outcome.as_str());
        if *wrong_bytes > 0 {
            self.remark(format!(
                "life {life}: {wrong_bytes} wrong bytes, {} {named} by {transport}: {said}",
                kind.name()
            ));
        }
        if *foreign_bytes > 0 {
            self.unauthorised += 1;
            self.remark(format!(
                "life {life}: {foreign_bytes} bytes read, {} {named} by {transport}: {said}",
                kind.name()
            ));
        }
    }

    pub(crate) fn crashed(&mut self, slot: usize, how: &str) {
        self.crashes += 1;
        self.remark(format!("engine {slot} ended by itself: {how}"));
    }

    /// Something that should have come and did not.
    pub(crate) fn missing(&mut self, what: String) {
        self.hung += 1;
        self.remark(what);
    }

    /// What an engine holds that it did not before.
    pub(crate) fn leak(&mut self, slot: usize, when: &str, now: &Measured, before: &Measured) {
        for (what, count) in now.beyond(before) {
            self.leaks += count as u64;
            self.remark(format!("engine {slot}, {when}: {count} more {what} ({now:?}, before {before:?})"));
        }
    }

    fn remark(&mut self, remark: String) {
        if self.remarks.len() < REMARKS {
            self.remarks.push(remark);
        }
    }

    /// All of it, as figures.
    pub(crate) fn figures(&self, seed: u64, seconds: f64) -> Map<String, Value> {
        let mut figures = Map::new();
        let mut put = |name: String, value: Value| drop(figures.insert(format!("chaos.{name}"), value));
        put("transfers".into(), json!(self.transfers));
        put("wrong_bytes".into(), json!(self.wrong_bytes));
        put("hung".into(), json!(self.hung));
        put("leaks".into(), json!(self.leaks));
        put("unauthorised_reads".into(), json!(self.unauthorised));
        put("crashes".into(), json!(self.crashes));
        put("checked_blocks".into(), json!(self.checked_blocks));
        put("fetched_bytes".into(), json!(self.bytes));
        put("abandoned".into(), json!(self.abandoned));
        put("denied_though_granted".into(), json!(self.denied_though_granted));
        put("seed".into(), json!(seed));
        put("seconds".into(), json!((seconds * 10.0).round() / 10.0));
        for (name, count) in &self.faults {
            put(format!("fault.{name}"), json!(count));
        }
        for (place, outcome) in Outcome::ALL.iter().enumerate() {
            put(format!("outcome.{outcome}"), json!(self.ended.values().map(|ended| ended[place]).sum::<u64>()));
        }
        for (kind, ended) in &self.ended {
            for (outcome, count) in Outcome::ALL.iter().zip(ended).filter(|(_, count)| **count > 0) {
                put(format!("ended.{kind}.{outcome}"), json!(count));
            }
        }
        for (transport, count) in &self.by_transport {
            put(format!("by.{transport}"), json!(count));
        }
        for (why, count) in &self.refused {
            put(format!("refused.{why}"), json!(count));
        }
        figures
    }

    /// Whether nothing was that should not have been.
    pub(crate) fn is_clean(&self) -> bool {
        self.wrong_bytes + self.hung + self.leaks + self.unauthorised + self.crashes == 0
    }

    /// For remarks: forged grants count as faults by their kind.
    pub(crate) fn forged(&mut self, kind: Kind) {
        let name = match kind {
            Kind::Address => "forged_address",
            Kind::Beyond => "forged_beyond",
            Kind::Blocks => "forged_blocks",
            Kind::Capability => "forged_capability",
            Kind::Cut => "cut_off_grant",
            Kind::Flipped => "flipped_grant",
            Kind::Lease => "forged_lease",
            Kind::Pool => "forged_pool",
            Kind::Replayed => "replayed_grant",
            Kind::WrongKey => "wrong_key",
            Kind::WrongTenant => "wrong_tenant",
            Kind::Honest | Kind::Mesh => return,
        };
        self.fault(name, 1);
    }
}
