//! Whether plugins fit together: what is wrong with a configuration of which every part is right.

use super::blueprint::{Blueprint, Part};
use super::catalogue::Stability;
use super::document::{EndpointPickerConfig, ProfileConfig};
use super::fault::Fault;
use super::plugin_config::PluginConfig;

/// What there is beside the configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given {
    pub(super) index: bool,
    pub(super) experimental: bool,
}

/// The types of handlers that run one profile only.
const SINGLE: [&str; 2] = ["data-parallel-profile-handler", "single-profile-handler"];

impl EndpointPickerConfig {
    /// What does not fit together, once [`complete`](Self::complete).
    pub(super) fn misfits(&self, given: Given) -> Vec<Fault> {
        let plugins = self.plugins.iter().flat_map(|plugin| plugin.misfits(given));
        let second = self.second_in_flight().into_iter();
        let pickers = self.profiles.iter().filter_map(|profile| self.second_picker(profile));
        plugins.chain(second).chain(pickers).chain(self.handler()).collect()
    }

    fn second_in_flight(&self) -> Option<Fault> {
        let mut counters = self.plugins.iter().filter(|plugin| matches!(plugin.blueprint, Blueprint::InFlight(_)));
        let second = counters.nth(1)?;
        let message = format!("`{}` is a second inflight-load-producer, and requests are counted once", second.name);
        Some(second.fault(message))
    }

    fn second_picker(&self, profile: &ProfileConfig) -> Option<Fault> {
        let mut pickers = profile.plugins.iter().filter(|plugin| {
            let of = self.plugins.iter().find(|known| known.name == plugin.name);
            of.is_some_and(|known| known.blueprint.is(Part::Picker))
        });
        let (first, second) = (pickers.next()?, pickers.next()?);
        let message = format!("profile `{}` has two pickers, `{}` and `{}`", profile.name, first.name, second.name);
        Some(profile.fault(message))
    }

    /// There must be one handler, for as many profiles as there are.
    fn handler(&self) -> Option<Fault> {
        let profiles = self.profiles.len();
        let handlers: Vec<_> = self.plugins.iter().filter(|plugin| plugin.blueprint.is(Part::Handler)).collect();
        match handlers[..] {
            [handler] if profiles > 1 && SINGLE.contains(&handler.type_name) => {
                let message = format!("{} runs one profile, and there are {profiles}", handler.type_name);
                Some(handler.fault(message))
            }
            [_] => None,
            [] => {
                let message = format!("there are {profiles} profiles and no profile handler that chooses between them");
                self.profiles.get(1).map(|second| second.fault(message).lacking("profile handler"))
            }
            [first, second, ..] => {
                let message = format!("there are two profile handlers, `{}` and `{}`", first.name, second.name);
                Some(second.fault(message))
            }
        }
    }
}

impl PluginConfig {
    fn misfits(&self, given: Given) -> impl Iterator<Item = Fault> {
        let experimental = (self.stability == Stability::Experimental && !given.experimental).then(|| {
            self.fault(format!("plugin `{}` is experimental; allow experimental plugins to use it", self.name))
        });
        let index = (matches!(self.blueprint, Blueprint::Precise(_) | Blueprint::PreciseScorer(_)) && !given.index)
            .then(|| {
                self.fault(format!(
                    "`{}` asks an index of KV events, and the scheduler was built without one",
                    self.name
                ))
            });
        experimental.into_iter().chain(index)
    }

    pub(super) fn fault(&self, message: String) -> Fault {
        match self.place {
            Some(place) => Fault::invalid(message).at(self.mark).within_item(place).within("plugins"),
            None => Fault::invalid(message),
        }
    }
}

impl ProfileConfig {
    fn fault(&self, message: String) -> Fault {
        match self.place {
            Some(place) => Fault::invalid(message).at(self.mark).within_item(place).within("schedulingProfiles"),
            None => Fault::invalid(message),
        }
    }
}
