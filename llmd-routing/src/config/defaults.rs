//! What a configuration means that leaves something out.

use super::blueprint::{Blueprint, Part};
use super::catalogue;
use super::document::{EndpointPickerConfig, PluginRef, ProfileConfig};
use super::fault::Mark;
use super::node::Node;
use super::plugin_config::PluginConfig;
use crate::scorer::PrefixCacheScorer;

/// llm-d's own default: short queues and empty caches count twice, cached prefixes three times.
const DEFAULT: [(&str, f64); 3] =
    [("queue-scorer", 2.0), ("kv-cache-utilization-scorer", 2.0), ("prefix-cache-scorer", 3.0)];

/// What llm-d runs when it is given no configuration: `queue-scorer` (weight 2), `kv-cache-utilization-scorer` (2) and
/// `prefix-cache-scorer` (3).
impl Default for EndpointPickerConfig {
    fn default() -> Self {
        let plugins = DEFAULT.iter().map(|&(name, _)| PluginConfig::default_of(name)).collect();
        let refs = DEFAULT.iter().map(|&(name, weight)| PluginRef { name: name.to_owned(), weight }).collect();
        let mut config = Self::empty();
        config.plugins = plugins;
        config.profiles = vec![ProfileConfig::added(refs)];
        config
    }
}

impl PluginConfig {
    /// The plugin of this type, called like it, with no parameters.
    pub(super) fn default_of(type_name: &str) -> Self {
        let found = catalogue::find(type_name).expect("defaults are in the catalogue");
        let blueprint = found.read(&Node::default()).expect("defaults need no parameters");
        Self {
            name: found.name.to_owned(),
            type_name: found.name,
            stability: found.stability,
            blueprint,
            parameters: Node::default().plain(),
            mark: Mark::default(),
            place: None,
        }
    }
}

impl EndpointPickerConfig {
    /// The same with everything said that it leaves out, and a sentence for each thing that was added.
    ///
    /// In this order, as in llm-d, which leaves the order within the first open: one profile of every filter, scorer and
    /// picker when there is none; the profile handler; a picker for each profile without one, the first there is or
    /// `max-score-picker`.
    pub(super) fn complete(mut self) -> (Self, Vec<String>) {
        let mut added = Vec::new();
        self.share_precise_producer();
        if self.profiles.is_empty() {
            let refs = self.plugins.iter().filter(|plugin| plugin.blueprint.stands_in_profiles());
            let plugins = refs.map(|plugin| PluginRef { name: plugin.name.clone(), weight: 1.0 }).collect();
            self.profiles.push(ProfileConfig::added(plugins));
            added.push("profile default, of every filter, scorer and picker, since there is no profile".to_owned());
        }
        if self.profiles.len() == 1 && !self.plugins.iter().any(|plugin| plugin.blueprint.is(Part::Handler)) {
            self.plugins.push(PluginConfig::default_of("single-profile-handler"));
            added.push("single-profile-handler, since there is one profile and no handler".to_owned());
        }
        let pickers = |plugins: &[PluginConfig]| -> Vec<String> {
            let pickers = plugins.iter().filter(|plugin| plugin.blueprint.is(Part::Picker));
            pickers.map(|plugin| plugin.name.clone()).collect()
        };
        for place in 0..self.profiles.len() {
            let known = pickers(&self.plugins);
            let profile = &mut self.profiles[place];
            if profile.plugins.iter().any(|plugin| known.contains(&plugin.name)) {
                continue;
            }
            let picker = known.into_iter().next().unwrap_or_else(|| {
                self.plugins.push(PluginConfig::default_of("max-score-picker"));
                "max-score-picker".to_owned()
            });
            added.push(format!("{picker} to profile {}, which has no picker", profile.name));
            profile.plugins.push(PluginRef { name: picker, weight: 1.0 });
        }
        (self, added)
    }

    /// Lets scorers that would bring a precise producer of their own read the one that there is, as in llm-d.
    fn share_precise_producer(&mut self) {
        let precise = self.plugins.iter().find(|plugin| matches!(plugin.blueprint, Blueprint::Precise(_)));
        let Some(producer) = precise.map(|plugin| plugin.name.clone()) else { return };
        for plugin in &mut self.plugins {
            if let Blueprint::PreciseScorer(_) = plugin.blueprint {
                let producer = producer.clone();
                // One that reads another producer is another plugin.
                plugin.parameters += &format!(" reads {producer}");
                plugin.blueprint = Blueprint::scorer(move || PrefixCacheScorer::new(producer.clone()));
            }
        }
    }
}
