//! `topology-affinity-scorer`: the closer to the endpoint that the profile before chose, the better.

use serde::Deserialize;

use crate::plugin::{Candidates, Context, Plugin, Scorer};
use crate::topology::{Level, TopologyLabels};

/// 1 on the same machine as the endpoint that the profile before chose, 0.2 in the same rack, 0.05 in the same zone, 0.02 in
/// the same region, and 0 elsewhere, as when nobody was chosen before.
///
/// Formula: llm-d's `topology-affinity-scorer`, which is experimental there: what the scores stand for is how fast KV goes
/// from one to the other.
#[derive(Clone, Debug, Default)]
pub struct TopologyAffinityScorer(TopologyLabels);

/// The parameters of `topology-affinity-scorer`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    /// llmd's own: in llm-d, `topology-extractor` says which labels it reads.
    pub(crate) labels: TopologyLabels,
    /// Labels are read where they stand.
    #[serde(rename = "topologyProducerName")]
    _topology_producer_name: Option<String>,
}

impl TopologyAffinityScorer {
    /// A scorer by these labels.
    pub const fn new(labels: TopologyLabels) -> Self {
        Self(labels)
    }
}

impl Plugin for TopologyAffinityScorer {}

impl Scorer for TopologyAffinityScorer {
    fn score(&self, cx: &Context<'_>, candidates: &Candidates<'_>, out: &mut [f64]) {
        let Some(peer) = cx.peer() else { return };
        for (score, candidate) in out.iter_mut().zip(candidates.iter()) {
            *score = match self.0.closeness(peer, candidate.endpoint) {
                Some(Level::Host) => 1.0,
                Some(Level::Rack) => 0.2,
                Some(Level::Zone) => 0.05,
                Some(Level::Region) => 0.02,
                None => 0.0,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use llmd_core::WorkerId;

    use super::*;
    use crate::plugin::Attributes;
    use crate::testing::{request, scores, scores_beside};
    use crate::{Endpoint, Pool};

    fn at([host, rack, zone, region]: [&str; 4]) -> Endpoint {
        let labels = [
            ("kubernetes.io/hostname", host),
            ("topology.kubernetes.io/rack", rack),
            ("topology.kubernetes.io/zone", zone),
            ("topology.kubernetes.io/region", region),
        ];
        Endpoint::new(host, "a:1", WorkerId(0)).with_labels(labels)
    }

    #[test]
    fn the_closer_the_better() {
        let pool: Pool = [
            at(["h1", "r1", "z1", "eu"]),
            at(["h2", "r1", "z1", "eu"]),
            at(["h3", "r2", "z1", "eu"]),
            at(["h4", "r3", "z2", "eu"]),
            at(["h5", "r4", "z3", "us"]),
            at([""; 4]),
        ]
        .into_iter()
        .collect();
        let peer = Arc::new(at(["h1", "r1", "z1", "eu"]));
        let (scorer, known) = (TopologyAffinityScorer::default(), Attributes::default());
        let said = scores_beside(&scorer, &request([]), &pool, &known, Some(&peer));
        assert_eq!(said, [1.0, 0.2, 0.05, 0.02, 0.0, 0.0]);
        assert_eq!(scores(&scorer, &request([]), &pool, &known), [0.0; 6]);
    }
}
