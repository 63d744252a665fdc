//! Where endpoints stand, as their labels say.

use serde::Deserialize;

use crate::Endpoint;

/// How close two endpoints are: the tightest place that both stand in.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "the levels of llm-d, from the tightest")]
pub enum Level {
    /// The same machine.
    Host,
    /// The same rack.
    Rack,
    /// The same zone.
    Zone,
    /// The same region.
    Region,
}

/// The names of the labels that say where an endpoint stands. The defaults are Kubernetes' own.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "one for each level")]
pub struct TopologyLabels {
    /// The machine. Default: `kubernetes.io/hostname`.
    pub hostname: String,
    /// The rack. Default: `topology.kubernetes.io/rack`.
    pub rack: String,
    /// The zone. Default: `topology.kubernetes.io/zone`.
    pub zone: String,
    /// The region. Default: `topology.kubernetes.io/region`.
    pub region: String,
}

impl Default for TopologyLabels {
    fn default() -> Self {
        Self {
            hostname: "kubernetes.io/hostname".to_owned(),
            rack: "topology.kubernetes.io/rack".to_owned(),
            zone: "topology.kubernetes.io/zone".to_owned(),
            region: "topology.kubernetes.io/region".to_owned(),
        }
    }
}

impl TopologyLabels {
    /// How close two endpoints are; `None` when they share nothing that both say. A label that is empty says nothing.
    pub fn closeness(&self, one: &Endpoint, other: &Endpoint) -> Option<Level> {
        let same = |label: &str| {
            let value = one.labels().get(label).filter(|value| !value.is_empty());
            value.is_some() && value == other.labels().get(label)
        };
        let levels = [
            (&self.hostname, Level::Host),
            (&self.rack, Level::Rack),
            (&self.zone, Level::Zone),
            (&self.region, Level::Region),
        ];
        levels.into_iter().find(|(label, _)| same(label)).map(|(_, level)| level)
    }
}

#[cfg(test)]
mod tests {
    use llmd_core::WorkerId;

    use super::*;

    type Labels = &'static [(&'static str, &'static str)];

    fn at(labels: Labels) -> Endpoint {
        Endpoint::new("a", "a:1", WorkerId(0)).with_labels(labels.iter().copied())
    }

    #[test]
    fn the_tightest_place_that_both_stand_in_counts() {
        const HOST: &str = "kubernetes.io/hostname";
        const RACK: &str = "topology.kubernetes.io/rack";
        const ZONE: &str = "topology.kubernetes.io/zone";
        const REGION: &str = "topology.kubernetes.io/region";
        let one = at(&[(HOST, "h1"), (RACK, "r1"), (ZONE, "z1"), (REGION, "")]);
        let table: [(Labels, Option<Level>); 6] = [
            (&[(HOST, "h1"), (RACK, "r9")], Some(Level::Host)),
            (&[(HOST, "h2"), (RACK, "r1"), (ZONE, "z1")], Some(Level::Rack)),
            (&[(ZONE, "z1")], Some(Level::Zone)),
            (&[(HOST, "h2"), (ZONE, "z2")], None),
            (&[(REGION, "")], None),
            (&[], None),
        ];
        for (labels, expected) in table {
            assert_eq!(TopologyLabels::default().closeness(&one, &at(labels)), expected, "{labels:?}");
        }
        let own = TopologyLabels { region: "where".to_owned(), ..TopologyLabels::default() };
        assert_eq!(own.closeness(&at(&[("where", "eu")]), &at(&[("where", "eu")])), Some(Level::Region));
        assert!(Level::Host < Level::Rack && Level::Zone < Level::Region);
    }
}
