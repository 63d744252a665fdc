//! What surrounds plugins and profiles: what says no more than what is so anyway is taken, and nothing else.

use super::absent::FLOW;
use super::fault::{Fault, Result};
use super::nearest;
use super::node::Node;
use super::plugin_config::{PluginConfig, reference};

/// `name`, `name=true` or `name=false`.
pub(super) fn feature_gate(node: &Node) -> Result<()> {
    let text = node.text()?;
    let (name, value) = text.split_once('=').unwrap_or((text, "true"));
    let on = match value {
        "true" => true,
        "false" => false,
        _ => return Err(Fault::invalid(format!("`{value}` where `true` or `false` was expected, in `{text}`"))),
    };
    match name {
        "flowControl" if on => Err(Fault::unsupported(format!("feature gate flowControl: {FLOW}"))),
        // Standbys are not there, so there is nothing that they could be kept ready with.
        "flowControl" | "haPopulateNonLeaderDatastore" => Ok(()),
        _ => {
            let known = ["flowControl", "haPopulateNonLeaderDatastore"];
            Err(Fault::invalid(nearest::unknown("feature gate", name, &known)))
        }
    }
}

/// Where data comes from follows from what the plugins read; what says the same is taken, and nothing else.
pub(super) fn data_layer(node: &Node, plugins: &[PluginConfig]) -> Result<()> {
    let fields = node.section(&[
        "injectDefaults",
        "sources",
        "discovery",
        "peerDiscovery",
        "crossReplicaSyncerPluginRef",
        "crossReplicaSyncInterval",
    ])?;
    fields.refuse("discovery", "give the gateway an endpoints file")?;
    let replicas = "replicas do not share state yet; leave it out";
    for field in ["peerDiscovery", "crossReplicaSyncerPluginRef", "crossReplicaSyncInterval"] {
        fields.refuse(field, replicas)?;
    }
    let sources = fields.read("sources", |node| node.each(|node| source(node, plugins)))?.unwrap_or_default();
    let inject = fields.read("injectDefaults", |node| node.typed::<bool>())?.unwrap_or(true);
    if !inject && !sources.contains(&"metrics-data-source") {
        let message = "metrics are read whenever a plugin reads them; leave it out";
        return Err(Fault::unsupported(message).within("injectDefaults"));
    }
    Ok(())
}

/// The type of a data source.
fn source(node: &Node, plugins: &[PluginConfig]) -> Result<&'static str> {
    const SOURCES: [&str; 2] = ["endpoint-notification-source", "metrics-data-source"];
    const EXTRACTORS: [&str; 2] = ["core-metrics-extractor", "precise-prefix-cache-producer"];
    let fields = node.section(&["pluginRef", "extractors"])?;
    let typed = |node: &Node, known: &[&str], what: &str| {
        let plugin = match node.text()? {
            // These two exist without being configured.
            "metrics-data-source" => return Ok("metrics-data-source"),
            "core-metrics-extractor" => return Ok("core-metrics-extractor"),
            _ => reference(node, plugins)?,
        };
        if known.contains(&plugin.type_name) {
            return Ok(plugin.type_name);
        }
        Err(Fault::invalid(format!("`{}` where a {what} was expected", plugin.name)))
    };
    let source = fields.require("pluginRef", |node| typed(node, &SOURCES, "data source"))?;
    fields.read("extractors", |node| {
        node.each(|node| {
            let fields = node.section(&["pluginRef"])?;
            fields.require("pluginRef", |node| typed(node, &EXTRACTORS, "extractor"))
        })
    })?;
    Ok(source)
}

pub(super) fn request_handler(node: &Node, plugins: &[PluginConfig]) -> Result<()> {
    let parsers = node.section(&["parsers"])?;
    parsers.read("parsers", |node| node.each(|node| parser(node, plugins))).map(drop)
}

pub(super) fn parser(node: &Node, plugins: &[PluginConfig]) -> Result<()> {
    node.section(&["pluginRef"])?.require("pluginRef", |node| {
        let plugin = match node.text()? {
            "openai-parser" => return Ok(()),
            _ => reference(node, plugins)?,
        };
        let fault = || Fault::invalid(format!("`{}` where a parser was expected", plugin.name));
        if plugin.type_name == "openai-parser" { Ok(()) } else { Err(fault()) }
    })
}
