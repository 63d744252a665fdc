//! `disagg-profile-handler`: encode, prefill and decode at endpoints of their own, where that pays.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::duration::GoDuration;
use crate::plugin::{
    Attributes, Context, Data, Decider, Fallback, HeaderChanges, Hooks, Plugin, ProfileHandler, Ran, Refusal, Route,
    Stage, StagePolicy,
};
use crate::{Endpoint, Request};

const PREFILLER_HEADER: &str = "x-prefiller-host-port";
const ENCODERS_HEADER: &str = "x-encoder-hosts-ports";

/// The label by which the endpoints of one rollout know each other: those of different revisions must not hand over KV.
const REVISION_LABEL: &str = "disaggregatedset.x-k8s.io/revision";

/// Runs a profile per stage: decode first, then, where their deciders say so, encode and prefill; or prefill first.
///
/// The headers `x-prefiller-host-port` and `x-encoder-hosts-ports` say where the stages before the decode are done; what a
/// client sent under these names is removed.
///
/// Semantics: llm-d's `disagg-profile-handler`. Beyond it: what becomes of a request when nobody is left for a stage is
/// configured for each ([`StagePolicy`]; llm-d always goes on without), a fallback profile may choose when nobody is left to
/// decode, and endpoints whose revision label differs are never paired.
#[derive(Clone, Debug)]
pub struct DisaggProfileHandler {
    settings: DisaggSettings,
    prefill_decider: Option<Arc<dyn Decider>>,
    encode_decider: Option<Arc<dyn Decider>>,
}

/// How a [`DisaggProfileHandler`] works. The defaults are llm-d's.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DisaggSettings {
    /// Which stage is chosen for first. Default: decode.
    pub order: StageOrder,
    /// The profile that chooses who decodes. Default: `decode`.
    pub decode: String,
    /// The profile that chooses who prefills. Default: `prefill`.
    pub prefill: String,
    /// The profile that chooses who encodes. Default: `encode`.
    pub encode: String,
    /// The profile that chooses when nobody is left to decode: its endpoint does everything. Default: none, and the request
    /// is refused.
    pub fallback: Option<String>,
    /// What becomes of a request when nobody is left for a stage, and how long each may take. Default: the endpoint of the
    /// next stage does it, without a deadline.
    pub policies: BTreeMap<Stage, StagePolicy>,
    /// The label that must be the same at all endpoints of a request; `None` pairs any. Default:
    /// `disaggregatedset.x-k8s.io/revision`.
    pub pairing: Option<String>,
}

/// Which stage is chosen for first.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum StageOrder {
    /// Decode, then encode and prefill, as their deciders say.
    #[default]
    DecodeFirst,
    /// Prefill always, then encode as its decider says, then decode.
    PrefillFirst,
}

/// The parameters of `disagg-profile-handler`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    pub(crate) stage_order: StageOrder,
    pub(crate) profiles: Profiles,
    pub(crate) deciders: Deciders,
    /// llmd's own.
    pub(crate) fallbacks: Fallbacks,
    /// llmd's own.
    pub(crate) fallback_profile: Option<String>,
    /// llmd's own.
    pub(crate) deadlines: Deadlines,
    /// llmd's own.
    pub(crate) pairing: Pairing,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Profiles {
    pub(crate) decode: Option<String>,
    pub(crate) prefill: Option<String>,
    pub(crate) encode: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Deciders {
    pub(crate) prefill: Option<String>,
    pub(crate) encode: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Fallbacks {
    prefill: FallbackName,
    encode: FallbackName,
}

/// What becomes of a request when nobody is left for a stage: the next stage's endpoint does it, or the request fails.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
enum FallbackName {
    #[default]
    NextStage,
    Fail,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Deadlines {
    encode: Option<GoDuration>,
    prefill: Option<GoDuration>,
    decode: Option<GoDuration>,
}

#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Pairing {
    /// An empty one pairs any.
    label: String,
}

impl Default for Pairing {
    fn default() -> Self {
        Self { label: REVISION_LABEL.to_owned() }
    }
}

impl Default for DisaggSettings {
    fn default() -> Self {
        Parameters::default().settings()
    }
}

impl Parameters {
    pub(crate) fn settings(&self) -> DisaggSettings {
        let or = |name: &Option<String>, default: &str| name.as_deref().unwrap_or(default).to_owned();
        let policy = |fallback: Fallback, deadline: Option<GoDuration>| StagePolicy {
            deadline: deadline.map(|GoDuration(deadline)| deadline),
            ..StagePolicy::new(fallback)
        };
        let Deadlines { encode, prefill, decode } = self.deadlines;
        DisaggSettings {
            order: self.stage_order,
            decode: or(&self.profiles.decode, "decode"),
            prefill: or(&self.profiles.prefill, "prefill"),
            encode: or(&self.profiles.encode, "encode"),
            fallback: self.fallback_profile.clone(),
            policies: BTreeMap::from([
                (Stage::Encode, policy(self.fallbacks.encode.into(), encode)),
                (Stage::Prefill, policy(self.fallbacks.prefill.into(), prefill)),
                (Stage::Decode, policy(Fallback::Fail, decode)),
            ]),
            pairing: Some(self.pairing.label.clone()).filter(|label| !label.is_empty()),
        }
    }
}

impl From<FallbackName> for Fallback {
    fn from(name: FallbackName) -> Self {
        match name {
            FallbackName::Fail => Self::Fail,
            FallbackName::NextStage => Self::NextStage,
        }
    }
}

impl DisaggProfileHandler {
    /// A handler with these settings, and no decider: nothing is encoded elsewhere, and nothing prefilled unless that comes
    /// first.
    pub const fn new(settings: DisaggSettings) -> Self {
        Self { settings, prefill_decider: None, encode_decider: None }
    }

    /// The same, prefilling elsewhere what this decider says.
    #[must_use]
    pub fn with_prefill_decider(self, decider: Arc<dyn Decider>) -> Self {
        Self { prefill_decider: Some(decider), ..self }
    }

    /// The same, encoding elsewhere what this decider says.
    #[must_use]
    pub fn with_encode_decider(self, decider: Arc<dyn Decider>) -> Self {
        Self { encode_decider: Some(decider), ..self }
    }

    /// The stages in the order in which they are chosen for.
    const fn stages(&self) -> [Stage; 3] {
        match self.settings.order {
            StageOrder::DecodeFirst => [Stage::Decode, Stage::Encode, Stage::Prefill],
            StageOrder::PrefillFirst => [Stage::Prefill, Stage::Encode, Stage::Decode],
        }
    }

    fn profile(&self, stage: Stage) -> &str {
        match stage {
            Stage::Decode => &self.settings.decode,
            Stage::Encode => &self.settings.encode,
            Stage::Prefill => &self.settings.prefill,
        }
    }

    /// Whether a stage gets an endpoint of its own, for a request that is decoded at this place.
    fn wants(&self, stage: Stage, cx: &Context<'_>, decode: Option<usize>) -> bool {
        let says = |decider: &Option<Arc<dyn Decider>>| {
            decider.as_ref().is_some_and(|decider| decider.disaggregates(cx, decode))
        };
        match stage {
            Stage::Decode => true,
            Stage::Encode => says(&self.encode_decider),
            Stage::Prefill => self.settings.order == StageOrder::PrefillFirst || says(&self.prefill_decider),
        }
    }
}

impl Plugin for DisaggProfileHandler {
    fn reads(&self) -> Vec<Data> {
        let deciders = [&self.prefill_decider, &self.encode_decider];
        deciders.into_iter().flatten().flat_map(|decider| decider.reads()).collect()
    }

    fn follow(&self, _: &Request, _: &Attributes) -> Option<Box<dyn Hooks>> {
        Some(Box::new(StageHeaders))
    }

    fn settings(&self) -> String {
        let order = match self.settings.order {
            StageOrder::DecodeFirst => "decode first",
            StageOrder::PrefillFirst => "prefill first",
        };
        let fallback = |stage| match self.policy(stage).fallback {
            Fallback::Fail => "fails",
            Fallback::NextStage => "goes on without",
        };
        let (prefill, encode) = (fallback(Stage::Prefill), fallback(Stage::Encode));
        let decode = self
            .settings
            .fallback
            .as_ref()
            .map_or_else(|| "fails".to_owned(), |profile| format!("runs profile {profile}"));
        format!("{order}; with nobody to prefill {prefill}, to encode {encode}, to decode {decode}")
    }
}

impl ProfileHandler for DisaggProfileHandler {
    fn next(&self, cx: &Context<'_>, profiles: &[String], ran: &[Ran]) -> Result<Option<usize>, Refusal> {
        let place = |name: &str| profiles.iter().position(|profile| profile == name);
        let outcome = |profile: Option<usize>| ran.iter().find(|ran| Some(ran.profile) == profile);
        let decode = outcome(place(&self.settings.decode));
        if decode.is_some_and(|decode| decode.picked.is_none()) {
            let fallback = self.settings.fallback.as_deref().and_then(place);
            return Ok(fallback.filter(|_| outcome(fallback).is_none()));
        }
        let decode = decode.and_then(|decode| decode.place);
        // Every stage is asked for once, in order: what ran before has been passed.
        let last = ran.last().map(|ran| ran.profile);
        let after = self.stages().iter().position(|&stage| place(self.profile(stage)) == last && last.is_some());
        let rest = self.stages().into_iter().skip(after.map_or(0, |after| after + 1));
        let mut wanted = rest.filter(|&stage| self.wants(stage, cx, decode));
        Ok(wanted.find_map(|stage| place(self.profile(stage))))
    }

    /// Where nobody was left to decode, the fallback profile chooses who does everything.
    fn alone(&self, profiles: &[String], ran: &[Ran]) -> bool {
        let decode = profiles.iter().position(|profile| *profile == self.settings.decode);
        ran.iter().any(|ran| Some(ran.profile) == decode && ran.picked.is_none())
    }

    fn primary(&self, ran: &[Ran]) -> usize {
        // Decode runs first, or last; after a fallback profile nothing runs.
        match self.settings.order {
            StageOrder::DecodeFirst if ran.first().is_some_and(|decode| decode.picked.is_some()) => 0,
            _ => ran.len() - 1,
        }
    }

    fn stage(&self, profile: &str) -> Stage {
        let stages = [Stage::Prefill, Stage::Encode];
        stages.into_iter().find(|&stage| self.profile(stage) == profile).unwrap_or(Stage::Decode)
    }

    fn policy(&self, stage: Stage) -> StagePolicy {
        self.settings.policies.get(&stage).copied().unwrap_or_default()
    }

    fn pairs(&self, peer: &Endpoint, candidate: &Endpoint) -> bool {
        let same = |label: &String| peer.labels().get(label) == candidate.labels().get(label);
        self.settings.pairing.as_ref().is_none_or(same)
    }
}

/// Says in headers where the stages before the decode are done.
#[derive(Debug)]
struct StageHeaders;

impl Hooks for StageHeaders {
    fn request_headers(&self, route: &Route<'_>, changes: &mut HeaderChanges) {
        if let Some(prefill) = route.endpoint(Stage::Prefill) {
            changes.set.insert(PREFILLER_HEADER, prefill.address());
        }
        let encoders = route.stages.iter().filter(|(stage, ..)| *stage == Stage::Encode);
        let encoders: Vec<_> = encoders.map(|(_, endpoint, _)| endpoint.address()).collect();
        if !encoders.is_empty() {
            changes.set.insert(ENCODERS_HEADER, encoders.join(","));
        }
    }
}
