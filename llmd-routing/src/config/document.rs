//! The document: plugins, the profiles that they stand in, and what surrounds them.

use super::blueprint::{Blueprint, Part};
use super::fault::{Fault, Mark, Result};
use super::flow_control::{self, FlowControl};
use super::gates::feature_gate;
use super::known::Known;
use super::kv_events::KvEvents;
use super::nearest;
use super::node::Node;
use super::parsers::{self, Parser};
use super::plugin_config::PluginConfig;
use super::plugins::DEFAULT_PREFIX_PRODUCER;
use super::shell::Shell;
use super::sources::HttpSource;
use super::surroundings::DataLayer;
use super::tokens::TokenProducer;
use super::warnings;

/// A configuration that was read: which plugins there are, and the profiles that they stand in.
#[derive(Clone, Debug)]
pub struct EndpointPickerConfig {
    pub(super) plugins: Vec<PluginConfig>,
    pub(super) profiles: Vec<ProfileConfig>,
    parsers: Vec<Parser>,
    data_layer: DataLayer,
    flow_control: Option<FlowControl>,
    saturation_detector: Option<String>,
    warnings: Vec<String>,
}

/// One profile, as it was configured.
#[derive(Clone, Debug)]
pub(super) struct ProfileConfig {
    pub(super) name: String,
    pub(super) plugins: Vec<PluginRef>,
    pub(super) mark: Mark,
    /// Which of the list it is; `None` for what was added.
    pub(super) place: Option<usize>,
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
    /// [`Invalid`](llmd_core::ErrorKind::Invalid) for what is written wrong, with line, column, path and what was expected, and
    /// [`Unsupported`](llmd_core::ErrorKind::Unsupported) for what llm-d has and llmd has not, with what to use meanwhile.
    pub fn from_yaml(text: &str) -> llmd_core::Result<Self> {
        Ok(Self::read(&Self::tree(text)?)?.0)
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

    /// The parsers, in order; llm-d's default ones where it names none. [`Parser::of_path`] says which of them parses what.
    pub fn parsers(&self) -> &[Parser] {
        &self.parsers
    }

    /// Where data about endpoints comes from.
    pub fn data_layer(&self) -> &DataLayer {
        &self.data_layer
    }

    /// The pages that data about endpoints is read from, and how, in the order of the plugins.
    pub fn http_sources(&self) -> impl Iterator<Item = &HttpSource> {
        self.plugins.iter().filter_map(|plugin| match &plugin.blueprint {
            Blueprint::Shell(Shell::Source(source)) => Some(source),
            _ => None,
        })
    }

    /// What its section `flowControl` says; `None` when it has none.
    pub fn flow_control(&self) -> Option<&FlowControl> {
        self.flow_control.as_ref()
    }

    /// The name of the plugin that says how full the pool is; `None` when it names none.
    pub fn saturation_detector(&self) -> Option<&str> {
        self.saturation_detector.as_deref()
    }

    /// What is deprecated, or has no effect, with line, column and path, in the order of the text.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// One that names nothing.
    pub(super) fn empty() -> Self {
        Self {
            plugins: Vec::new(),
            profiles: Vec::new(),
            parsers: Parser::DEFAULT.to_vec(),
            data_layer: DataLayer::default(),
            flow_control: None,
            saturation_detector: None,
            warnings: Vec::new(),
        }
    }

    /// The tree of a text that says something.
    pub(super) fn tree(text: &str) -> Result<Node> {
        let root = Node::parse(text)?;
        let empty = || Fault::invalid("an empty document where an EndpointPickerConfig was expected");
        if root.is_nothing() { Err(empty()) } else { Ok(root) }
    }

    /// What a tree says, and whether a plugin was pruned from it.
    pub(super) fn read(root: &Node) -> Result<(Self, bool)> {
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
        for (field, what, known) in
            [("apiVersion", "version", &API_VERSIONS[..]), ("kind", "kind", &["EndpointPickerConfig"])]
        {
            if !root.field(field).is_some_and(Node::is_pruned) {
                root.require(field, |node| one_of(what, node, known))?;
            }
        }
        root.read("featureGates", |node| node.each(feature_gate))?;
        let known = Known::read(root)?;
        root.read("plugins", |node| known_producers(node, &known))?;
        let mut profiles = Vec::new();
        root.read("schedulingProfiles", |node| {
            node.each_at(|place, node| {
                ProfileConfig::read(place, node, &known, &profiles).map(|read| profiles.push(read))
            })
        })?;
        let data_layer = root.read("dataLayer", |node| DataLayer::read(node, &known))?.unwrap_or_default();
        let flow_control = root.read("flowControl", |node| FlowControl::read(node, &known))?;
        let old_detector = root.read("saturationDetector", |node| flow_control::read_detector(node, &known))?.flatten();
        let listed = root.read("requestHandler", |node| {
            let parsers = node.section(&["parsers"])?;
            parsers.read("parsers", |node| node.each(|node| parsers::parser(node, &known)))
        })?;
        let old_parser = root.read("parser", |node| parsers::parser(node, &known))?;
        let listed = listed.flatten().filter(|listed| !listed.is_empty()).or_else(|| Some(vec![old_parser?]));
        let (parsers, skipped) = parsers::in_order(listed.unwrap_or_default());
        let mut warnings = warnings::of_document(root, flow_control.as_ref());
        warnings.extend(skipped);
        warnings.extend(known.plugins.iter().flat_map(warnings::of_plugin));
        warnings.sort_by_key(|warning| warning.at);
        let lacks = known.lacks();
        let config = Self {
            plugins: known.plugins,
            profiles,
            parsers: if parsers.is_empty() { Parser::DEFAULT.to_vec() } else { parsers },
            data_layer,
            saturation_detector: flow_control
                .as_ref()
                .and_then(|flow| flow.saturation_detector.clone())
                .or(old_detector),
            flow_control,
            warnings: warnings.iter().map(Fault::to_string).collect(),
        };
        Ok((config, lacks))
    }
}

impl ProfileConfig {
    /// The profile that is added when there is none.
    pub(super) fn added(plugins: Vec<PluginRef>) -> Self {
        Self { name: "default".to_owned(), plugins, mark: Mark::default(), place: None }
    }

    fn read(place: usize, node: &Node, known: &Known, before: &[Self]) -> Result<Self> {
        let fields = node.section(&["name", "plugins"])?;
        let refs = fields.read("plugins", |node| node.each(|node| PluginRef::read(node, known)))?;
        let name = fields.require("name", |node| match node.text()? {
            "" => Err(Fault::invalid("an empty string where a name was expected")),
            name => Ok(name.to_owned()),
        })?;
        if before.iter().any(|before| before.name == name) {
            return Err(Fault::invalid(format!("two profiles are called `{name}`")));
        }
        Ok(Self { name, plugins: refs.unwrap_or_default(), mark: node.mark, place: Some(place) })
    }
}

impl PluginRef {
    fn read(node: &Node, known: &Known) -> Result<Self> {
        let fields = node.section(&["pluginRef", "weight"])?;
        let weight = fields.read("weight", |node| {
            let weight: f64 = node.typed()?;
            let message = || Fault::invalid(format!("number `{weight}` where a finite one was expected"));
            weight.is_finite().then_some(weight).ok_or_else(message)
        })?;
        let name = fields.require("pluginRef", |node| {
            let plugin = known.reference(node)?;
            let message = || format!("`{}` where a filter, a scorer or a picker was expected", plugin.name);
            if plugin.blueprint.stands_in_profiles() { Ok(plugin.name.clone()) } else { Err(Fault::invalid(message())) }
        })?;
        Ok(Self { name, weight: weight.unwrap_or(1.0) })
    }
}

/// Checks that every producer that a plugin reads from by name is there, or is the one that is added by default.
fn known_producers(node: &Node, known: &Known) -> Result<()> {
    let made = known.plugins.iter().filter(|plugin| plugin.blueprint.is(Part::PrefixProducer));
    let mut names: Vec<_> = made.map(|plugin| plugin.name.as_str()).collect();
    if !names.contains(&DEFAULT_PREFIX_PRODUCER) {
        names.push(DEFAULT_PREFIX_PRODUCER);
    }
    node.each(|node| {
        let Some(parameters) = node.field("parameters") else { return Ok(()) };
        let read = parameters.read("prefixMatchInfoProducerName", |node| match node.text() {
            Ok(name) if known.may_be_pruned(name) => Ok(()),
            _ => one_of("producer of prefix matches", node, &names),
        });
        read.map(drop).map_err(|fault| fault.within("parameters"))
    })?;
    Ok(())
}

fn one_of(what: &str, node: &Node, known: &[&str]) -> Result<()> {
    let text = node.text()?;
    if known.contains(&text) { Ok(()) } else { Err(Fault::invalid(nearest::unknown(what, text, known))) }
}
