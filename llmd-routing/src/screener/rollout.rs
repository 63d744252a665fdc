//! `disaggregatedset-rollout-screener`: while a deployment is rolled out, a request stays within one revision of it.

use std::sync::Arc;

use rand::RngExt as _;
use serde::Deserialize;

use super::shares::{Gating, GatingMode, draw};
use crate::filter::LabelSelector;
use crate::plugin::{Attributes, Candidates, Context, Hooks, Plugin, Screener};
use crate::{Endpoint, Headers, Request};

/// Leaves the endpoints of one revision, drawn anew for each request: a prefill and a decode of different revisions must never
/// meet, since their KV need not fit.
///
/// A revision that has no pod of a role that is needed gets nothing. Of the others each is drawn with a chance in
/// proportion to its share of the pods ([`GatingMode`]). A request whose header selects a revision strictly gets that one,
/// and nobody where it is not there. What is selected is told to the client, by the labels of the endpoint that answers, so
/// that the next step of the request can ask for it.
///
/// Semantics: llm-d's `disaggregatedset-rollout-screener`, which is experimental there and counts the ready pods that Kubernetes
/// tells it of; here those of the pool count, the ranks of a pod once. In llm-d, any strict header ends the draw; here
/// one that selects by another label than the revision's narrows what is drawn from, so that no request is served by two
/// revisions.
#[derive(Debug)]
pub struct RolloutScreener(Arc<RolloutSettings>);

/// How a [`RolloutScreener`] works.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "llm-d's parameters, which are these three")]
pub struct RolloutSettings {
    /// The pods that are counted.
    pub scope: LabelSelector,
    /// What requests can ask for, and clients are told.
    pub selectors: Vec<HeaderSelector>,
    /// Which revisions get requests.
    pub gating: Gating,
}

/// A header that asks for the value of a label, and tells it.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "llm-d's header selector, which has these four fields")]
pub struct HeaderSelector {
    /// What it is called.
    pub name: String,
    /// The header, of requests and of responses.
    pub header_name: String,
    /// The label.
    pub label_key: String,
    /// Whether it must be so.
    pub mode: SelectorMode,
}

/// What a header that asks for a label does.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum SelectorMode {
    /// Nothing here: the value is told, and `header-label-affinity-scorer` prefers it.
    Prefer,
    /// Endpoints whose label has another value are taken out.
    Strict,
}

/// The parameters of `disaggregatedset-rollout-screener`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    pub(crate) scope: Scope,
    #[serde(default)]
    pub(crate) header_selectors: Vec<HeaderSelector>,
    pub(crate) revision_gating: RevisionGating,
}

#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Scope {
    pub(crate) label_selector: String,
}

#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RevisionGating {
    mode: GatingMode,
    #[serde(default)]
    require_roles: RequireRoles,
    #[serde(default)]
    revision_label_key: String,
    #[serde(default)]
    role_label_key: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RequireRoles {
    values: Vec<String>,
}

/// The labels of a DisaggregatedSet's pods.
const REVISION_LABEL: &str = "disaggregatedset.x-k8s.io/revision";
const ROLE_LABEL: &str = "disaggregatedset.x-k8s.io/role";

impl From<RevisionGating> for Gating {
    fn from(gating: RevisionGating) -> Self {
        let or = |label: String, default: &str| if label.is_empty() { default.to_owned() } else { label };
        Self {
            mode: gating.mode,
            roles: gating.require_roles.values,
            revision_label: or(gating.revision_label_key, REVISION_LABEL),
            role_label: or(gating.role_label_key, ROLE_LABEL),
        }
    }
}

impl RolloutScreener {
    /// A screener with these settings.
    pub fn new(mut settings: RolloutSettings) -> Self {
        settings.selectors.iter_mut().for_each(|selector| selector.header_name.make_ascii_lowercase());
        Self(Arc::new(settings))
    }
}

impl RolloutSettings {
    /// What a request asks for strictly: labels, and the values that they must have.
    fn asked<'a>(&'a self, request: &'a Request) -> impl Iterator<Item = (&'a str, &'a str)> + Clone {
        let strict = self.selectors.iter().filter(|selector| selector.mode == SelectorMode::Strict);
        strict.filter_map(|selector| {
            let value = request.headers.get(&selector.header_name).filter(|value| !value.is_empty())?;
            Some((selector.label_key.as_str(), value))
        })
    }
}

impl Plugin for RolloutScreener {
    fn follow(&self, _: &Request, _: &Attributes) -> Option<Box<dyn Hooks>> {
        if self.0.selectors.is_empty() { None } else { Some(Box::new(Tell(Arc::clone(&self.0)))) }
    }

    fn settings(&self) -> String {
        let RolloutSettings { selectors, gating, .. } = &*self.0;
        let selectors = selectors.iter().map(|HeaderSelector { header_name, label_key, mode, .. }| match mode {
            SelectorMode::Prefer => format!("header {header_name} tells label {label_key}"),
            SelectorMode::Strict => format!("header {header_name} selects label {label_key}"),
        });
        let gating = match gating.mode {
            GatingMode::Disabled => "no revision is drawn".to_owned(),
            GatingMode::MaxRole => format!("a revision is drawn by its largest role of {}", gating.roles.join(", ")),
            GatingMode::Sum => format!("a revision is drawn by its pods of {}", gating.roles.join(", ")),
        };
        [gating].into_iter().chain(selectors).collect::<Vec<_>>().join("; ")
    }
}

impl Screener for RolloutScreener {
    fn screen(&self, cx: &mut Context<'_>, candidates: &mut Candidates<'_>) {
        let RolloutSettings { scope, gating, .. } = &*self.0;
        let asked = self.0.asked(cx.request);
        candidates.retain(|candidate| {
            let labels = candidate.endpoint.labels();
            asked.clone().all(|(label, value)| labels.get(label).is_some_and(|has| has == value))
        });
        if !gating.is_active() {
            return;
        }
        let mut shares = gating.shares(candidates.pool().iter().filter(|endpoint| scope.matches(endpoint.labels())));
        let left: Vec<_> = candidates.iter().filter_map(|candidate| gating.revision(candidate.endpoint)).collect();
        shares.retain(|revision, _| left.contains(revision));
        let drawn = match shares.len() {
            0 | 1 => shares.keys().next().copied(),
            _ => draw(&shares, cx.rng.random()),
        };
        candidates.retain(|candidate| drawn.is_some() && gating.revision(candidate.endpoint) == drawn);
    }
}

/// Tells the client what was selected.
#[derive(Debug)]
struct Tell(Arc<RolloutSettings>);

impl Hooks for Tell {
    fn response_headers(&self, endpoint: &Endpoint, headers: &mut Headers) {
        for selector in &self.0.selectors {
            if let Some(value) = endpoint.labels().get(&selector.label_key).filter(|value| !value.is_empty()) {
                headers.insert(selector.header_name.clone(), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use llmd_core::WorkerId;

    use super::*;
    use crate::Pool;
    use crate::plugin::Snapshot;
    use crate::testing::{Chance, request};

    const REVISION_HEADER: &str = "x-disagg-revision";
    const SLICE_HEADER: &str = "x-disagg-slice";

    fn screener(mode: GatingMode) -> RolloutScreener {
        let roles = ["prefill", "decode"].map(str::to_owned).into();
        let selector = |header: &str, label: &str, mode| HeaderSelector {
            name: header.to_owned(),
            header_name: header.to_owned(),
            label_key: label.to_owned(),
            mode,
        };
        RolloutScreener::new(RolloutSettings {
            scope: "app=ours".parse().expect("it is a selector"),
            selectors: vec![
                selector("X-Disagg-Revision", "revision", SelectorMode::Strict),
                selector(SLICE_HEADER, "slice", SelectorMode::Strict),
                selector("x-disagg-zone", "zone", SelectorMode::Prefer),
            ],
            gating: Gating { mode, roles, revision_label: "revision".to_owned(), role_label: "role".to_owned() },
        })
    }

    /// Revision, role, slice and how many there are.
    fn pool(of: &[(&str, &str, &str, u32)]) -> Pool {
        let pod = |revision: &str, role: &str, slice: &str, number: u32| {
            let labels = [("app", "ours"), ("revision", revision), ("role", role), ("slice", slice), ("zone", "z")];
            Endpoint::new(format!("{revision}{role}{slice}{number}"), "10.0.0.1:8000", WorkerId(number))
                .with_labels(labels)
        };
        let pods = of.iter().flat_map(|&(revision, role, slice, count)| {
            (0..count).map(move |number| pod(revision, role, slice, number))
        });
        pods.collect()
    }

    /// How often requests with these headers were left with each set of revisions, of 2,000.
    fn left(mode: GatingMode, pool: &Pool, headers: &[(&'static str, &str)]) -> BTreeMap<Vec<String>, u32> {
        let (screener, snapshot, mut chance) = (screener(mode), Snapshot::of(pool), Chance::new(7));
        let (request, attributes) =
            (request([]).with_headers(headers.iter().copied().collect()), Attributes::default());
        let mut counts = BTreeMap::new();
        for _ in 0..2000 {
            let mut candidates = Candidates::new(pool, &snapshot);
            screener.screen(&mut Context::new(&request, &attributes, Duration::ZERO, &mut chance), &mut candidates);
            let mut revisions: Vec<_> =
                candidates.iter().map(|candidate| candidate.endpoint.labels()["revision"].clone()).collect();
            revisions.dedup();
            *counts.entry(revisions).or_insert(0) += 1;
        }
        counts
    }

    fn rollout() -> Pool {
        pool(&[("a", "prefill", "1", 2), ("a", "decode", "1", 9), ("b", "prefill", "2", 1), ("b", "decode", "2", 1)])
    }

    #[test]
    fn each_request_stays_within_one_revision_drawn_by_its_share() {
        for (mode, expected) in [(GatingMode::MaxRole, 1720..1880), (GatingMode::Sum, 1610..1770)] {
            let counts = left(mode, &rollout(), &[]);
            assert_eq!(counts.keys().collect::<Vec<_>>(), [&["a"], &["b"]]);
            assert!(expected.contains(&counts[&vec!["a".to_owned()]]), "{mode:?} {counts:?}");
        }
        assert_eq!(left(GatingMode::Disabled, &rollout(), &[]), BTreeMap::from([(vec!["a".into(), "b".into()], 2000)]));
    }

    #[test]
    fn a_revision_that_lacks_a_role_gets_nothing_and_pods_without_revision_neither() {
        let lacking =
            pool(&[("a", "prefill", "", 1), ("a", "decode", "", 1), ("b", "decode", "", 9), ("", "decode", "", 9)]);
        assert_eq!(left(GatingMode::Sum, &lacking, &[]), BTreeMap::from([(vec!["a".into()], 2000)]));
        assert_eq!(left(GatingMode::Sum, &lacking, &[(REVISION_HEADER, "b")]), BTreeMap::from([(vec![], 2000)]));
        let none = pool(&[("b", "decode", "", 9)]);
        assert_eq!(left(GatingMode::Sum, &none, &[]), BTreeMap::from([(vec![], 2000)]));
    }

    #[test]
    fn what_is_asked_for_strictly_is_not_drawn() {
        for mode in [GatingMode::MaxRole, GatingMode::Sum, GatingMode::Disabled] {
            let asked = |revision| left(mode, &rollout(), &[(REVISION_HEADER, revision)]);
            assert_eq!(asked("b"), BTreeMap::from([(vec!["b".into()], 2000)]), "{mode:?}");
            assert_eq!(asked("c"), BTreeMap::from([(vec![], 2000)]), "{mode:?}");
        }
        // Another label narrows what is drawn from; a header that only prefers changes nothing.
        let by_slice = left(GatingMode::Sum, &rollout(), &[(SLICE_HEADER, "2")]);
        assert_eq!(by_slice, BTreeMap::from([(vec!["b".into()], 2000)]));
        assert_eq!(left(GatingMode::Sum, &rollout(), &[("x-disagg-zone", "y")]).len(), 2);
    }

    #[test]
    fn pods_out_of_scope_do_not_count() {
        let mut pods: Vec<_> = rollout().iter().cloned().collect();
        let alien = |name: &str, role| {
            Arc::new(
                Endpoint::new(name, "10.0.0.9:8000", WorkerId(99)).with_labels([("revision", "c"), ("role", role)]),
            )
        };
        pods.extend([alien("x", "prefill"), alien("y", "decode")]);
        assert!(!left(GatingMode::Sum, &Pool::new(pods), &[]).contains_key(&vec!["c".to_owned()]));
    }

    #[test]
    fn the_client_is_told_what_was_selected() {
        let (screener, pool) = (screener(GatingMode::Sum), rollout());
        let hooks = screener.follow(&request([]), &Attributes::default()).expect("there are selectors");
        let mut headers = Headers::default();
        hooks.response_headers(&pool[11], &mut headers);
        let told: Vec<_> = headers.iter().collect();
        assert_eq!(told, [(REVISION_HEADER, "b"), (SLICE_HEADER, "2"), ("x-disagg-zone", "z")]);
    }
}
