//! What surrounds plugins and profiles.

use super::blueprint::Blueprint;
use super::fault::{Fault, Result};
use super::known::Known;
use super::node::Node;
use super::shell::{FileDiscovery, Shell};
use crate::duration::GoDuration;

/// Where data about endpoints comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct DataLayer {
    /// Whether engines' metrics are read although no source of them is listed; default yes.
    pub inject_defaults: bool,
    /// The names of the sources that are listed.
    pub sources: Vec<String>,
    /// The file that lists the endpoints, when one is named.
    pub discovery: Option<FileDiscovery>,
}

impl Default for DataLayer {
    fn default() -> Self {
        Self { inject_defaults: true, sources: Vec::new(), discovery: None }
    }
}

impl DataLayer {
    pub(super) fn read(node: &Node, known: &Known) -> Result<Self> {
        let fields = node.section(&[
            "injectDefaults",
            "sources",
            "discovery",
            "peerDiscovery",
            "crossReplicaSyncerPluginRef",
            "crossReplicaSyncInterval",
        ])?;
        for field in ["peerDiscovery", "crossReplicaSyncerPluginRef"] {
            fields.refuse(field, "replicas do not share state yet; leave it out")?;
        }
        // Nobody is there to exchange with, neither here nor in llm-d's own tree.
        fields.read("crossReplicaSyncInterval", |node| node.typed::<GoDuration>())?;
        let sources = fields.read("sources", |node| node.each(|node| source(node, known)))?;
        let inject = fields.read("injectDefaults", |node| node.typed::<bool>())?;
        let discovery = fields.read("discovery", |node| discovery(node, known))?;
        Ok(Self { inject_defaults: inject.unwrap_or(true), sources: sources.unwrap_or_default(), discovery })
    }
}

const METRICS_SOURCE: &str = "metrics-data-source";
const SOURCES: [&str; 4] = ["dcgm-data-source", "endpoint-notification-source", METRICS_SOURCE, "models-data-source"];
const METRICS_EXTRACTOR: &str = "core-metrics-extractor";
const EXTRACTORS: [&str; 7] = [
    METRICS_EXTRACTOR,
    "dcgm-extractor",
    "mm-embeddings-cache-producer",
    "models-data-extractor",
    "precise-prefix-cache-producer",
    "precise-prefix-cache-scorer",
    "topology-extractor",
];

/// The name of a source.
fn source(node: &Node, known: &Known) -> Result<String> {
    let fields = node.section(&["pluginRef", "extractors"])?;
    fields.read("extractors", |node| {
        node.each(|node| {
            let fields = node.section(&["pluginRef"])?;
            fields.require("pluginRef", |node| typed(node, known, METRICS_EXTRACTOR, &EXTRACTORS, "extractor"))
        })
    })?;
    fields.require("pluginRef", |node| typed(node, known, METRICS_SOURCE, &SOURCES, "data source"))
}

/// The name of a plugin of one of these types; one exists without being configured.
fn typed(node: &Node, known: &Known, default: &str, types: &[&str], what: &str) -> Result<String> {
    let name = node.text()?;
    let plugin = match known.find(name) {
        Ok(plugin) => plugin,
        Err(_) if name == default => return Ok(name.to_owned()),
        Err(fault) => return Err(fault),
    };
    let fault = || Fault::invalid(format!("`{name}` where {what} was expected", what = article(what)));
    if types.contains(&plugin.type_name) { Ok(name.to_owned()) } else { Err(fault()) }
}

fn article(what: &str) -> String {
    format!("{} {what}", if what.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" })
}

fn discovery(node: &Node, known: &Known) -> Result<FileDiscovery> {
    node.section(&["pluginRef"])?.require("pluginRef", |node| {
        let plugin = known.reference(node)?;
        match &plugin.blueprint {
            Blueprint::Shell(Shell::Discovery(discovery)) => Ok(discovery.clone()),
            _ => Err(Fault::invalid(format!("`{}` where a discovery of endpoints was expected", plugin.name))),
        }
    })
}
