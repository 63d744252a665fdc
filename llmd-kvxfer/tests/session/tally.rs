//! How often each thing happened, over all worlds: a world in which nothing goes wrong proves nothing.

use std::collections::BTreeMap;

use llmd_kvxfer::Outcome;

use crate::world::World;

#[derive(Debug, Default)]
pub(crate) struct Tally(BTreeMap<String, u64>);

impl Tally {
    pub(crate) fn of(world: &World) -> Self {
        let mut tally = Self::default();
        for engine in &world.prefills {
            let counts = engine.machine.counts();
            tally.read("prefill", &format!("{counts:?}"));
            let ended = counts.answered + counts.not_granted;
            assert!(ended <= counts.computed && counts.computed == counts.freed, "{counts:?}");
        }
        for engine in &world.decodes {
            let counts = engine.machine.counts();
            let fields = format!("{counts:?}");
            tally.read("decode", fields.split(", outcomes").next().expect("a split has a first part"));
            for outcome in Outcome::ALL {
                tally.count(format!("decode {outcome}"), counts.outcomes[outcome.index()]);
            }
        }
        tally
    }

    /// Counts as they print themselves: `Counts { name: number, … }`.
    fn read(&mut self, side: &str, fields: &str) {
        for field in fields.trim_start_matches("Counts { ").trim_end_matches(" }").split(", ") {
            let (name, number) = field.split_once(": ").expect("a field has a name");
            self.count(format!("{side} {name}"), number.parse().expect("a count is a number"));
        }
    }

    fn count(&mut self, name: String, number: u64) {
        *self.0.entry(name).or_default() += number;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (name, number) in &other.0 {
            self.count(name.clone(), *number);
        }
    }

    pub(crate) fn get(&self, name: &str) -> u64 {
        *self.0.get(name).unwrap_or_else(|| panic!("nothing is called {name}"))
    }

    pub(crate) fn never(&self) -> Vec<&str> {
        self.0.iter().filter(|(_, number)| **number == 0).map(|(name, _)| name.as_str()).collect()
    }
}
