//! `trusted-prefix-cache-producer`, llmd's own: how much of a prompt each endpoint holds, as its engine says where that can be
//! trusted, and as it should where it cannot.

use std::sync::Arc;
use std::time::Duration;

use llmd_core::index::WorkerState;
use serde::Deserialize;

use crate::plugin::{Attributes, Data, Hooks, Plugin, Producer};
use crate::{Endpoint, Request};

/// Goes by one producer for every endpoint of which it knows exactly what is cached, and by another for the rest: engines
/// whose events are late, lost, or not there at all.
#[derive(Clone, Debug)]
pub struct TrustedPrefixCache {
    name: Arc<str>,
    exact: String,
    otherwise: String,
}

/// The parameters of `trusted-prefix-cache-producer`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    pub(crate) exact_producer_name: String,
    pub(crate) other_producer_name: String,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            exact_producer_name: "precise-prefix-cache-producer".to_owned(),
            other_producer_name: "approx-prefix-cache-producer".to_owned(),
        }
    }
}

impl TrustedPrefixCache {
    /// A producer of this name that goes by `exact` where that is exact, and else by `otherwise`.
    pub fn new(name: impl Into<Arc<str>>, exact: impl Into<String>, otherwise: impl Into<String>) -> Self {
        Self { name: name.into(), exact: exact.into(), otherwise: otherwise.into() }
    }
}

impl Plugin for TrustedPrefixCache {
    fn reads(&self) -> Vec<Data> {
        vec![Data::PrefixMatch(self.exact.clone()), Data::PrefixMatch(self.otherwise.clone())]
    }

    fn settings(&self) -> String {
        format!("{} where it is exact, else {}", self.exact, self.otherwise)
    }
}

impl Producer for TrustedPrefixCache {
    fn makes(&self) -> Data {
        Data::PrefixMatch(self.name.to_string())
    }

    fn produce(&self, _: &Request, _: &[Arc<Endpoint>], _: Duration, out: &mut Attributes) -> Option<Box<dyn Hooks>> {
        let exact = out.prefix_matches(&self.exact)?;
        let otherwise = out.prefix_matches(&self.otherwise).unwrap_or_default();
        let chosen = exact.iter().enumerate().map(|(place, found)| match found.state {
            WorkerState::Exact => *found,
            _ => otherwise.get(place).copied().unwrap_or(*found),
        });
        let chosen = chosen.collect();
        out.set_prefix_matches(&self.name, chosen);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::PrefixMatch;
    use crate::testing::{pool, prefix, request};

    #[test]
    fn an_engine_is_believed_where_nothing_of_what_it_said_is_missing() {
        let doubtful = |state, blocks| PrefixMatch { state, ..prefix(blocks, 8, 16) };
        let said = vec![
            prefix(5, 8, 16),
            doubtful(WorkerState::Recovering, 5),
            doubtful(WorkerState::Approximate, 0),
            prefix(0, 8, 16),
        ];
        let guessed = (1..5).map(|blocks| prefix(blocks, 2, 64)).collect();
        let mut known = Attributes::new(128, None);
        known.set_prefix_matches(&"exact".into(), said);
        known.set_prefix_matches(&"guess".into(), guessed);
        let producer = TrustedPrefixCache::new("trusted", "exact", "guess");
        assert!(producer.produce(&request(0..128), &pool(4), Duration::ZERO, &mut known).is_none());

        let trusted = known.prefix_matches("trusted").unwrap();
        assert_eq!(
            trusted.iter().map(|found| (found.cached, found.block_size)).collect::<Vec<_>>(),
            [(5, 16), (2, 64), (3, 64), (0, 16)]
        );
    }

    #[test]
    fn without_tokens_nothing_is_known() {
        let mut known = Attributes::default();
        let producer = TrustedPrefixCache::new("trusted", "exact", "guess");
        assert!(producer.produce(&request([]), &pool(4), Duration::ZERO, &mut known).is_none());
        assert_eq!(known.prefix_matches("trusted"), None);
    }
}
