//! What the processes said.

use serde_json::{Value, json};

use super::job::{Ending, Job};
use crate::failure::{Failure, Result};

/// Everything that was said, in order.
#[derive(Debug, Default)]
pub(super) struct Rows(Vec<Value>);

impl Rows {
    pub(super) fn extend(&mut self, said: Vec<Value>) {
        self.0.extend(said);
    }

    /// Notes that the process of a peer did not come to an end.
    ///
    /// # Errors
    ///
    /// When it was llmd's, or that of several: then the bench itself is broken.
    pub(super) fn broken(&mut self, job: &Job, ending: Ending) -> Result {
        let (how, said) = match ending {
            Ending::Panicked(said) => ("panicked", said),
            Ending::Stuck(said) => ("stuck", said),
            Ending::Done(said) => ("done", said),
        };
        let Some((part, who)) = job.alone().filter(|(_, who)| who != "llmd") else {
            return Err(Failure::new(format!("`{job}`: {how}")));
        };
        eprintln!("{who} {how}");
        let replicas = job.value("--replicas").and_then(|replicas| replicas.parse::<u64>().ok());
        self.extend(said);
        self.0.push(json!({ "part": part, "who": who, "replicas": replicas, "broken": how }));
        Ok(())
    }

    /// The rows of a part.
    pub(super) fn of<'a>(&'a self, part: &'a str) -> impl Iterator<Item = Row<'a>> {
        self.0.iter().filter(move |row| row["part"] == part).map(Row)
    }
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a>(&'a Value);

impl<'a> Row<'a> {
    pub(super) fn text(self, field: &str) -> &'a str {
        self.0[field].as_str().unwrap_or_default()
    }

    pub(super) fn number(self, field: &str) -> f64 {
        self.0[field].as_f64().unwrap_or(f64::NAN)
    }

    pub(super) fn integer(self, field: &str) -> u64 {
        self.0[field].as_u64().unwrap_or_default()
    }

    /// How the process broke, if it did.
    pub(super) fn broken(self) -> Option<&'a str> {
        self.0["broken"].as_str()
    }

    /// The index, and how it is asked where there is more than one way.
    pub(super) fn name(self) -> String {
        match (self.text("who"), self.text("way")) {
            ("smg", way) if !way.is_empty() => format!("smg_{way}"),
            (who, _) => who.to_owned(),
        }
    }

    /// The blocks and workers of a cell.
    pub(super) fn cell(self) -> (u64, u64) {
        (self.integer("blocks"), self.integer("workers"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_peer_may_break_and_llmd_may_not() {
        let mut rows = Rows::default();
        let job = |words: &str| Job::new(words, Duration::ZERO);
        rows.broken(&job("fanout --who smg"), Ending::Panicked(vec![json!({ "part": "fanout" })])).unwrap();

        assert_eq!(rows.of("fanout").filter_map(Row::broken).collect::<Vec<_>>(), ["panicked"]);
        assert_eq!(rows.of("fanout").count(), 2);
        let failure = rows.broken(&job("fanout --who llmd"), Ending::Stuck(vec![])).unwrap_err();
        assert_eq!(failure.to_string(), "`llmd-peers fanout --who llmd`: stuck");
        assert!(rows.broken(&job("fuzz").together(), Ending::Panicked(vec![])).is_err());
    }
}
