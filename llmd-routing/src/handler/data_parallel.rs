//! `data-parallel-profile-handler`: requests go to one port, and a header says for which rank they are.

use serde::Deserialize;

use crate::plugin::{Context, HeaderChanges, Hooks, Plugin, ProfileHandler, Ran, Refusal, Route};
use crate::{Request, plugin::Attributes, plugin::Stage};

/// Runs the one profile. The request then goes to the chosen host's primary port, and `x-data-parallel-host-port` says which
/// port was meant: for gateways that cannot send to the port of a rank.
///
/// Semantics: llm-d's `data-parallel-profile-handler`, which is deprecated there.
#[derive(Clone, Copy, Debug)]
pub struct DataParallelProfileHandler {
    primary_port: u16,
}

/// The parameters of `data-parallel-profile-handler`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    pub(crate) primary_port: u16,
}

const HEADER: &str = "x-data-parallel-host-port";

impl Default for Parameters {
    fn default() -> Self {
        Self { primary_port: 8000 }
    }
}

impl DataParallelProfileHandler {
    /// A handler by which requests go to this port.
    pub const fn new(primary_port: u16) -> Self {
        Self { primary_port }
    }
}

impl Plugin for DataParallelProfileHandler {
    fn follow(&self, _: &Request, _: &Attributes) -> Option<Box<dyn Hooks>> {
        Some(Box::new(*self))
    }

    fn settings(&self) -> String {
        format!("requests go to port {}", self.primary_port)
    }
}

impl ProfileHandler for DataParallelProfileHandler {
    fn next(&self, _: &Context<'_>, _: &[String], ran: &[Ran]) -> Result<Option<usize>, Refusal> {
        Ok(ran.is_empty().then_some(0))
    }

    fn primary(&self, _: &[Ran]) -> usize {
        0
    }
}

impl Hooks for DataParallelProfileHandler {
    fn request_headers(&self, route: &Route<'_>, changes: &mut HeaderChanges) {
        let Some(endpoint) = route.endpoint(Stage::Decode) else { return };
        let Some((host, _)) = endpoint.address().rsplit_once(':') else { return };
        changes.set.insert(HEADER, endpoint.address());
        changes.destination = Some(format!("{host}:{}", self.primary_port));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::picker::MaxScorePicker;
    use crate::testing::{Chance, pool, request};
    use crate::{Components, Profile, Scheduler};
    use std::sync::Arc;

    #[test]
    fn a_request_goes_to_the_primary_port_and_says_which_was_meant() {
        let profile = Profile::new("default", "max", Arc::new(MaxScorePicker::new(1)));
        let handler = Arc::new(DataParallelProfileHandler::new(9000));
        let scheduler = Scheduler::new(Components::new("dp", handler).profile(profile)).unwrap();
        let decision = scheduler.decide(&request([]), &pool(1), Duration::ZERO, &mut Chance::new(1)).unwrap();

        let changes = decision.request_headers();
        assert!(changes.remove.contains(&HEADER.into()));
        assert_eq!(changes.set.get(HEADER), Some("10.0.0.0:8000"));
        assert_eq!(changes.destination.as_deref(), Some("10.0.0.0:9000"));
    }
}
