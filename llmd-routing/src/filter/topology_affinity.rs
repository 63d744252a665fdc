//! `topology-affinity-filter`: endpoints close to the one that the profile before chose.

use serde::Deserialize;

use crate::plugin::{Candidates, Context, Filter, Plugin};
use crate::topology::{Level, TopologyLabels};

/// Keeps the candidates that stand as close to the endpoint that the profile before chose as asked for, or closer. It keeps
/// all when nobody was chosen before, or nobody stands so close.
///
/// Semantics: llm-d's `topology-affinity-filter`, which is experimental there.
#[derive(Clone, Debug)]
pub struct TopologyAffinityFilter {
    min_affinity: Level,
    labels: TopologyLabels,
}

/// The parameters of `topology-affinity-filter`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    pub(crate) min_affinity: Level,
    /// llmd's own: in llm-d, `topology-extractor` says which labels it reads.
    pub(crate) labels: TopologyLabels,
    /// Labels are read where they stand.
    #[serde(rename = "topologyProducerName")]
    _topology_producer_name: Option<String>,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { min_affinity: Level::Host, labels: TopologyLabels::default(), _topology_producer_name: None }
    }
}

impl TopologyAffinityFilter {
    /// A filter that keeps those that stand as close as this, or closer, as these labels say.
    pub const fn new(min_affinity: Level, labels: TopologyLabels) -> Self {
        Self { min_affinity, labels }
    }
}

impl Plugin for TopologyAffinityFilter {
    fn settings(&self) -> String {
        format!("the same {:?}", self.min_affinity).to_lowercase()
    }
}

impl Filter for TopologyAffinityFilter {
    fn filter(&self, cx: &mut Context<'_>, candidates: &mut Candidates<'_>) {
        let Some(peer) = cx.peer() else { return };
        super::retain_or_all(candidates, true, |candidate| {
            self.labels.closeness(peer, candidate.endpoint).is_some_and(|level| level <= self.min_affinity)
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use llmd_core::WorkerId;

    use super::*;
    use crate::plugin::Attributes;
    use crate::testing::{kept_beside, request};
    use crate::{Endpoint, Pool};

    fn at(number: u32, host: &str, zone: &str) -> Endpoint {
        let labels = [("kubernetes.io/hostname", host), ("topology.kubernetes.io/zone", zone)];
        Endpoint::new(format!("engine-{number}"), "a:1", WorkerId(number)).with_labels(labels)
    }

    #[test]
    fn those_close_enough_are_kept_and_all_when_nobody_is() {
        let pool: Pool = [at(0, "h1", "z1"), at(1, "h2", "z1"), at(2, "h3", "z2")].into_iter().collect();
        let table: [(Level, Option<Endpoint>, &[&str]); 5] = [
            (Level::Host, Some(at(9, "h1", "z1")), &["engine-0"]),
            (Level::Zone, Some(at(9, "h1", "z1")), &["engine-0", "engine-1"]),
            (Level::Host, Some(at(9, "h9", "z2")), &["engine-0", "engine-1", "engine-2"]),
            (Level::Zone, Some(at(9, "", "")), &["engine-0", "engine-1", "engine-2"]),
            (Level::Zone, None, &["engine-0", "engine-1", "engine-2"]),
        ];
        for (level, peer, expected) in table {
            let filter = TopologyAffinityFilter::new(level, TopologyLabels::default());
            let peer = peer.map(Arc::new);
            let kept = kept_beside(&filter, &request([]), &pool, &Attributes::default(), peer.as_ref());
            assert_eq!(kept, expected, "{level:?} {peer:?}");
        }
    }
}
