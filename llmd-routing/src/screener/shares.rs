//! Which revisions of a deployment can serve a request, and which share of the requests each gets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;

use crate::Endpoint;

/// What a revision's share is measured by.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum GatingMode {
    /// Nothing: no revision is taken out, and none drawn.
    Disabled,
    /// Its pods of the role that has the most pods over all revisions that can serve; of several, the first.
    MaxRole,
    /// Its pods of all roles that are needed.
    Sum,
}

/// Which revisions get requests.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "llm-d's revisionGating, which has these four fields")]
pub struct Gating {
    /// What shares are measured by.
    pub mode: GatingMode,
    /// The roles of which a revision needs a pod to serve anything.
    pub roles: Vec<String>,
    /// The label that names a pod's revision.
    pub revision_label: String,
    /// The label that names its role.
    pub role_label: String,
}

/// The shares of revisions, by name.
pub(super) type Shares<'a> = BTreeMap<&'a str, u32>;

impl Gating {
    /// Whether anything is taken out.
    pub(super) fn is_active(&self) -> bool {
        self.mode != GatingMode::Disabled
    }

    /// The revision of an endpoint.
    pub(super) fn revision<'a>(&self, endpoint: &'a Endpoint) -> Option<&'a str> {
        endpoint.labels().get(&self.revision_label).map(String::as_str).filter(|revision| !revision.is_empty())
    }

    /// The share of each revision that has a pod of every role that is needed, as a number of pods.
    pub(super) fn shares<'a>(&self, pods: impl Iterator<Item = &'a Arc<Endpoint>>) -> Shares<'a> {
        let mut seen: BTreeMap<&str, Vec<BTreeSet<&str>>> = BTreeMap::new();
        for endpoint in pods {
            let role = endpoint.labels().get(&self.role_label);
            let role = role.and_then(|role| self.roles.iter().position(|needed| needed == role));
            if let Some((revision, role)) = self.revision(endpoint).zip(role) {
                let roles = seen.entry(revision).or_insert_with(|| vec![BTreeSet::new(); self.roles.len()]);
                roles[role].insert(pod(endpoint));
            }
        }
        let counts = seen.into_iter().map(|(revision, roles)| {
            let counts: Vec<_> = roles.iter().map(|pods| pods.len() as u32).collect();
            (revision, counts)
        });
        let covered: BTreeMap<_, _> = counts.filter(|(_, counts)| !counts.contains(&0)).collect();
        let total = |role: usize| covered.values().map(|counts| counts[role]).sum::<u32>();
        // Of equal ones, `max_by_key` gives the last.
        let largest = (0..self.roles.len()).rev().max_by_key(|&role| total(role)).unwrap_or(0);
        let share = |counts: &[u32]| match self.mode {
            GatingMode::MaxRole => counts[largest],
            GatingMode::Disabled | GatingMode::Sum => counts.iter().sum(),
        };
        covered.iter().map(|(&revision, counts)| (revision, share(counts))).collect()
    }
}

/// The revision that a number from 0 to 1 draws; the larger its share, the likelier.
pub(super) fn draw<'a>(shares: &Shares<'a>, chance: f64) -> Option<&'a str> {
    let total: u32 = shares.values().sum();
    let mut rest = chance * f64::from(total);
    let drawn = shares.iter().find(|&(_, &share)| {
        rest -= f64::from(share);
        rest < 0.0
    });
    // Rounding may leave a little at the end.
    drawn.or_else(|| shares.last_key_value()).map(|(&revision, _)| revision)
}

/// The name of the pod that an endpoint is in: data-parallel ranks of one pod are one.
fn pod(endpoint: &Endpoint) -> &str {
    let name = endpoint.name();
    let of_rank = endpoint.rank().and_then(|rank| name.strip_suffix(&format!("-rank-{rank}")));
    of_rank.unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use llmd_core::WorkerId;

    use super::*;
    use crate::Pool;

    fn gating(mode: GatingMode) -> Gating {
        let roles = ["prefill", "decode"].map(str::to_owned).into();
        Gating { mode, roles, revision_label: "revision".to_owned(), role_label: "role".to_owned() }
    }

    /// Pods of a revision and a role, and how many they are.
    type Pods = (&'static str, &'static str, u32);

    fn pods(of: &[Pods]) -> Pool {
        let pod = |revision: &str, role: &str, number: u32| {
            Endpoint::new(format!("{revision}-{role}-{number}"), "10.0.0.1:8000", WorkerId(number))
                .with_labels([("revision", revision), ("role", role)])
        };
        of.iter()
            .flat_map(|&(revision, role, count)| (0..count).map(move |number| pod(revision, role, number)))
            .collect()
    }

    #[test]
    fn a_share_is_measured_by_the_largest_role_or_by_all() {
        // llm-d's own example.
        let rollout = vec![("a", "prefill", 2), ("a", "decode", 9), ("b", "prefill", 1), ("b", "decode", 1)];
        let table = [
            (GatingMode::MaxRole, rollout.clone(), vec![("a", 9), ("b", 1)]),
            (GatingMode::Sum, rollout, vec![("a", 11), ("b", 2)]),
            // A revision without one of the roles gets nothing, and does not say which role is the largest.
            (GatingMode::MaxRole, vec![("a", "prefill", 2), ("a", "decode", 1), ("b", "decode", 9)], vec![("a", 2)]),
            (GatingMode::Sum, vec![("a", "prefill", 2), ("b", "decode", 9)], vec![]),
            // Of equal roles the first: prefill.
            (
                GatingMode::MaxRole,
                vec![("a", "prefill", 3), ("a", "decode", 1), ("b", "prefill", 1), ("b", "decode", 3)],
                vec![("a", 3), ("b", 1)],
            ),
            (
                GatingMode::Sum,
                vec![("a", "prefill", 1), ("a", "decode", 1), ("a", "encode", 5), ("", "decode", 1)],
                vec![("a", 2)],
            ),
        ];
        for (mode, of, expected) in table {
            let pods = pods(&of);
            assert_eq!(gating(mode).shares(pods.iter()).into_iter().collect::<Vec<_>>(), expected, "{mode:?} {of:?}");
        }
    }

    #[test]
    fn the_ranks_of_a_pod_are_one() {
        let ranks = Endpoint::ranks("pod", "10.0.0.1:8000", (0..4).map(WorkerId));
        let labels = [("revision", "a"), ("role", "decode")];
        let prefill = pods(&[("a", "prefill", 1)]);
        let pool = Pool::new(ranks.map(|rank| Arc::new(rank.with_labels(labels))).chain(prefill.iter().cloned()));
        assert_eq!(gating(GatingMode::Sum).shares(pool.iter()), Shares::from([("a", 2)]));
    }

    #[test]
    fn a_revision_is_drawn_by_its_share() {
        let shares = Shares::from([("a", 9), ("b", 1)]);
        for (chance, drawn) in [(0.0, "a"), (0.899, "a"), (0.901, "b"), (1.0, "b")] {
            assert_eq!(draw(&shares, chance), Some(drawn), "{chance}");
        }
        assert_eq!(draw(&Shares::new(), 0.5), None);
    }
}
