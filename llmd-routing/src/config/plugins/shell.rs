//! What is for the shell to do, or is so anyway, from its parameters.

use serde::Deserialize;

use super::{Blueprint, Fault, NoParameters, Result};
use crate::config::parsers::Parser;
use crate::config::shell::{FileDiscovery, FileDiscoveryParameters, Shell};
use crate::config::sources::{DcgmSourceParameters, HttpSource, MetricsSourceParameters, ModelsSourceParameters};
use crate::topology::TopologyLabels;

pub(in crate::config) fn nothing(_: NoParameters) -> Result<Blueprint> {
    Ok(Blueprint::Nothing)
}

/// The parameters of `static-usage-limit-policy`.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct UsageLimitParameters {
    #[serde(rename = "threshold")]
    _threshold: f64,
}

impl Default for UsageLimitParameters {
    fn default() -> Self {
        Self { _threshold: 1.0 }
    }
}

/// It limits what flow control lets through, which is off.
pub(in crate::config) fn static_usage_limit_policy(_: UsageLimitParameters) -> Result<Blueprint> {
    Ok(Blueprint::Nothing)
}

pub(in crate::config) fn file_discovery(parameters: FileDiscoveryParameters) -> Result<Blueprint> {
    FileDiscovery::new(parameters).map(Shell::Discovery).map(Blueprint::Shell)
}

pub(in crate::config) fn metrics_data_source(parameters: MetricsSourceParameters) -> Result<Blueprint> {
    HttpSource::metrics(parameters).map(Shell::Source).map(Blueprint::Shell)
}

pub(in crate::config) fn models_data_source(parameters: ModelsSourceParameters) -> Result<Blueprint> {
    HttpSource::models(parameters).map(Shell::Source).map(Blueprint::Shell)
}

pub(in crate::config) fn dcgm_data_source(parameters: DcgmSourceParameters) -> Result<Blueprint> {
    HttpSource::dcgm(parameters).map(Shell::Source).map(Blueprint::Shell)
}

/// Whoever asks how close endpoints are reads their labels itself.
pub(in crate::config) fn topology_extractor(labels: TopologyLabels) -> Result<Blueprint> {
    let usual = TopologyLabels::default();
    let levels = [
        ("hostname", labels.hostname, usual.hostname),
        ("rack", labels.rack, usual.rack),
        ("zone", labels.zone, usual.zone),
        ("region", labels.region, usual.region),
    ];
    match levels.iter().find(|(_, label, usual)| !label.is_empty() && label != usual) {
        Some((level, ..)) => {
            let instead = "the plugins that read labels are told theirs; give them `labels`";
            Err(Fault::not_supported(instead).within(level))
        }
        None => Ok(Blueprint::Nothing),
    }
}

pub(in crate::config) fn anthropic_parser(_: NoParameters) -> Result<Blueprint> {
    Ok(Blueprint::Shell(Shell::Parser(Parser::Anthropic)))
}

pub(in crate::config) fn openai_parser(_: NoParameters) -> Result<Blueprint> {
    Ok(Blueprint::Shell(Shell::Parser(Parser::OpenAi)))
}

pub(in crate::config) fn passthrough_parser(_: NoParameters) -> Result<Blueprint> {
    Ok(Blueprint::Shell(Shell::Parser(Parser::Passthrough)))
}

pub(in crate::config) fn sglanghttp_parser(_: NoParameters) -> Result<Blueprint> {
    Ok(Blueprint::Shell(Shell::Parser(Parser::SglangHttp)))
}

pub(in crate::config) fn vertexai_parser(_: NoParameters) -> Result<Blueprint> {
    Ok(Blueprint::Shell(Shell::Parser(Parser::VertexAi)))
}

pub(in crate::config) fn vllmgrpc_parser(_: NoParameters) -> Result<Blueprint> {
    Ok(Blueprint::Shell(Shell::Parser(Parser::VllmGrpc)))
}

pub(in crate::config) fn vllmhttp_parser(_: NoParameters) -> Result<Blueprint> {
    Ok(Blueprint::Shell(Shell::Parser(Parser::VllmHttp)))
}
