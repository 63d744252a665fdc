//! What surrounds plugins and profiles: what says no more than what is so anyway is taken, and nothing else.

use super::absent::FLOW;
use super::fault::{Fault, Result};
use super::known::Known;
use super::nearest;
use super::node::Node;

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
pub(super) fn data_layer(node: &Node, known: &Known) -> Result<()> {
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
    let sources = fields.read("sources", |node| node.each(|node| source(node, known)))?.unwrap_or_default();
    let inject = fields.read("injectDefaults", |node| node.typed::<bool>())?.unwrap_or(true);
    if !inject && !sources.contains(&"metrics-data-source") {
        let message = "metrics are read whenever a plugin reads them; leave it out";
        return Err(Fault::unsupported(message).within("injectDefaults"));
    }
    Ok(())
}

/// The type of a data source.
fn source(node: &Node, known: &Known) -> Result<&'static str> {
    const SOURCES: [&str; 2] = ["endpoint-notification-source", "metrics-data-source"];
    const EXTRACTORS: [&str; 2] = ["core-metrics-extractor", "precise-prefix-cache-producer"];
    let fields = node.section(&["pluginRef", "extractors"])?;
    let typed = |node: &Node, types: &[&str], what: &str| {
        let plugin = match node.text()? {
            // These two exist without being configured.
            "metrics-data-source" => return Ok("metrics-data-source"),
            "core-metrics-extractor" => return Ok("core-metrics-extractor"),
            _ => known.reference(node)?,
        };
        if types.contains(&plugin.type_name) {
            return Ok(plugin.type_name);
        }
        Err(Fault::invalid(format!("`{}` where a {what} was expected", plugin.name)))
    };
    fields.read("extractors", |node| {
        node.each(|node| {
            let fields = node.section(&["pluginRef"])?;
            fields.require("pluginRef", |node| typed(node, &EXTRACTORS, "extractor"))
        })
    })?;
    fields.require("pluginRef", |node| typed(node, &SOURCES, "data source"))
}

pub(super) fn request_handler(node: &Node, known: &Known) -> Result<()> {
    let parsers = node.section(&["parsers"])?;
    parsers.read("parsers", |node| node.each(|node| parser(node, known))).map(drop)
}

pub(super) fn parser(node: &Node, known: &Known) -> Result<()> {
    node.section(&["pluginRef"])?.require("pluginRef", |node| {
        let plugin = match node.text()? {
            "openai-parser" => return Ok(()),
            _ => known.reference(node)?,
        };
        let fault = || Fault::invalid(format!("`{}` where a parser was expected", plugin.name));
        if plugin.type_name == "openai-parser" { Ok(()) } else { Err(fault()) }
    })
}
