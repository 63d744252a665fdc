//! The document: plugins, the profiles that they stand in, and what surrounds them.

use llmd_core::{Error, ErrorKind};

use super::absent::FLOW;
use super::blueprint::{Blueprint, Part};
use super::fault::{Fault, Result};
use super::kv_events::KvEvents;
use super::nearest;
use super::node::{Node, Value};
use super::plugin_config::{PluginConfig, reference};
use super::plugins::DEFAULT_PREFIX_PRODUCER;
use super::surroundings;
use super::tokens::TokenProducer;

/// A configuration that was read: which plugins there are, and the profiles that they stand in.
#[derive(Clone, Debug)]
pub struct EndpointPickerConfig {
    pub(super) plugins: Vec<PluginConfig>,
    pub(super) profiles: Vec<ProfileConfig>,
}

/// One profile, as it was configured.
#[derive(Clone, Debug)]
pub(super) struct ProfileConfig {
    pub(super) name: String,
    pub(super) plugins: Vec<PluginRef>,
}

/// A plugin that stands in a profile.
#[derive(Clone, Debug)]
pub(super) struct PluginRef {
    pub(super) name: String,
    pub(super) weight: f64,
}

pub(super) const API_VERSIONS: [&str; 2] = ["llm-d.ai/v1alpha1", "inference.networking.x-k8s.io/v1alpha1"];

impl EndpointPickerConfig {
    /// Reads llm-d's YAML.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for what is written wrong, with line, column, path and what was expected, and
    /// [`ErrorKind::Unsupported`] for what llm-d has and llmd has not, with what to use meanwhile.
    pub fn from_yaml(text: &str) -> llmd_core::Result<Self> {
        let root = Node::parse(text)?;
        if matches!(root.value, Value::Null) {
            return Err(Error::new(ErrorKind::Invalid, "an empty document where an EndpointPickerConfig was expected"));
        }
        Ok(Self::read(&root)?)
    }

    /// Every plugin that it names, in order.
    pub fn plugins(&self) -> &[PluginConfig] {
        &self.plugins
    }

    /// How prompts become tokens: what its `token-producer` says, or the default when it names none.
    pub fn token_producer(&self) -> TokenProducer {
        let found = self.plugins.iter().find_map(|plugin| match &plugin.blueprint {
            Blueprint::Tokens(tokens) => Some(tokens.clone()),
            _ => None,
        });
        found.unwrap_or_default()
    }

    /// Where KV events come from: what its `precise-prefix-cache-producer` says, or else its `precise-prefix-cache-scorer`;
    /// `None` when it names neither.
    pub fn kv_events(&self) -> Option<&KvEvents> {
        let producer = self.plugins.iter().find_map(|plugin| match &plugin.blueprint {
            Blueprint::Precise(precise) => Some(&precise.events),
            _ => None,
        });
        let scorer = || {
            self.plugins.iter().find_map(|plugin| match &plugin.blueprint {
                Blueprint::PreciseScorer(precise) => Some(&precise.events),
                _ => None,
            })
        };
        producer.or_else(scorer)
    }

    fn read(root: &Node) -> Result<Self> {
        let root = root.section(&[
            "apiVersion",
            "kind",
            "featureGates",
            "plugins",
            "schedulingProfiles",
            "dataLayer",
            "flowControl",
            "requestHandler",
            "saturationDetector",
            "parser",
        ])?;
        root.require("apiVersion", |node| one_of("version", node, &API_VERSIONS))?;
        root.require("kind", |node| one_of("kind", node, &["EndpointPickerConfig"]))?;
        root.read("featureGates", |node| node.each(surroundings::feature_gate))?;
        root.refuse("flowControl", FLOW)?;
        root.refuse("saturationDetector", FLOW)?;
        let plugins = root.read("plugins", |node| node.each(PluginConfig::read))?.unwrap_or_default();
        let names: Vec<_> = plugins.iter().map(|plugin| plugin.name.as_str()).collect();
        if let Some(place) = (0..names.len()).find(|&place| names[..place].contains(&names[place])) {
            let fault = Fault::invalid(format!("two plugins are called `{}`; give each a `name`", names[place]));
            return Err(fault.at(plugins[place].mark).within_item(place).within("plugins"));
        }
        root.read("plugins", |node| known_producers(node, &plugins))?;
        let profiles = root.read("schedulingProfiles", |node| node.each(|node| ProfileConfig::read(node, &plugins)))?;
        let profiles = profiles.unwrap_or_default();
        if let Some(place) = (0..profiles.len())
            .find(|&place| profiles[..place].iter().any(|before| before.name == profiles[place].name))
        {
            let fault = Fault::invalid(format!("two profiles are called `{}`", profiles[place].name));
            return Err(fault.within_item(place).within("schedulingProfiles"));
        }
        root.read("dataLayer", |node| surroundings::data_layer(node, &plugins))?;
        root.read("requestHandler", |node| surroundings::request_handler(node, &plugins))?;
        root.read("parser", |node| surroundings::parser(node, &plugins))?;
        Ok(Self { plugins, profiles })
    }
}

impl ProfileConfig {
    fn read(node: &Node, plugins: &[PluginConfig]) -> Result<Self> {
        let fields = node.section(&["name", "plugins"])?;
        let name = fields.require("name", |node| node.text().map(str::to_owned))?;
        let refs = fields.read("plugins", |node| node.each(|node| PluginRef::read(node, plugins)))?;
        Ok(Self { name, plugins: refs.unwrap_or_default() })
    }
}

impl PluginRef {
    fn read(node: &Node, plugins: &[PluginConfig]) -> Result<Self> {
        let fields = node.section(&["pluginRef", "weight"])?;
        let plugin = fields.require("pluginRef", |node| reference(node, plugins))?;
        if !plugin.blueprint.stands_in_profiles() {
            let message = format!("`{}` where a filter, a scorer or a picker was expected", plugin.name);
            return Err(Fault::invalid(message).within("pluginRef"));
        }
        let weight = fields.read("weight", |node| {
            let weight: f64 = node.typed()?;
            let message = || Fault::invalid(format!("number `{weight}` where a finite one was expected"));
            weight.is_finite().then_some(weight).ok_or_else(message)
        })?;
        Ok(Self { name: plugin.name.clone(), weight: weight.unwrap_or(1.0) })
    }
}

/// Checks that every producer that a plugin reads from by name is there, or is the one that is added by default.
fn known_producers(node: &Node, plugins: &[PluginConfig]) -> Result<()> {
    let made = plugins.iter().filter(|plugin| plugin.blueprint.is(Part::PrefixProducer));
    let mut known: Vec<_> = made.map(|plugin| plugin.name.as_str()).collect();
    if !known.contains(&DEFAULT_PREFIX_PRODUCER) {
        known.push(DEFAULT_PREFIX_PRODUCER);
    }
    node.each(|node| {
        let Some(parameters) = node.field("parameters") else { return Ok(()) };
        let read = parameters.read("prefixMatchInfoProducerName", |node| match &node.value {
            Value::Null => Ok(()),
            _ => one_of("producer of prefix matches", node, &known),
        });
        read.map(drop).map_err(|fault| fault.within("parameters"))
    })?;
    Ok(())
}

fn one_of(what: &str, node: &Node, known: &[&str]) -> Result<()> {
    let text = node.text()?;
    if known.contains(&text) { Ok(()) } else { Err(Fault::invalid(nearest::unknown(what, text, known))) }
}
