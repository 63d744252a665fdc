//! What is for the shell to do, or is so anyway, from its parameters.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Blueprint, Fault, NoParameters, Result};
use crate::config::absent::FLOW;

pub(in crate::config) fn nothing(_: NoParameters) -> Result<Blueprint> {
    Ok(Blueprint::Nothing)
}

/// The parameters of `static-usage-limit-policy`.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct UsageLimitParameters {
    threshold: Option<f64>,
}

/// A ceiling of 1, the default, limits nothing.
pub(in crate::config) fn static_usage_limit_policy(parameters: UsageLimitParameters) -> Result<Blueprint> {
    match parameters.threshold {
        Some(threshold) if threshold < 1.0 => Err(Fault::unsupported(FLOW).within("threshold")),
        _ => Ok(Blueprint::Nothing),
    }
}

/// The parameters of `metrics-data-source`.
#[derive(Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::config) struct MetricsSourceParameters {
    #[serde(rename = "scheme")]
    _scheme: Option<Scheme>,
    path: Option<String>,
    #[cfg_attr(feature = "schema", schemars(skip))]
    port: Option<IgnoredAny>,
    #[cfg_attr(feature = "schema", schemars(skip))]
    interval: Option<IgnoredAny>,
    #[cfg_attr(feature = "schema", schemars(skip))]
    insecure_skip_verify: Option<IgnoredAny>,
    #[cfg_attr(feature = "schema", schemars(skip))]
    ca_cert_path: Option<IgnoredAny>,
    #[cfg_attr(feature = "schema", schemars(skip))]
    client_cert_path: Option<IgnoredAny>,
    #[cfg_attr(feature = "schema", schemars(skip))]
    client_key_path: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
enum Scheme {
    Http,
}

/// Where metrics come from is the shell's to say; what llm-d has by default is so here too.
pub(in crate::config) fn metrics_data_source(parameters: MetricsSourceParameters) -> Result<Blueprint> {
    let settings = [
        ("port", parameters.port),
        ("interval", parameters.interval),
        ("insecureSkipVerify", parameters.insecure_skip_verify),
        ("caCertPath", parameters.ca_cert_path),
        ("clientCertPath", parameters.client_cert_path),
        ("clientKeyPath", parameters.client_key_path),
    ];
    if let Some((field, _)) = settings.iter().find(|(_, given)| given.is_some()) {
        let instead = "the gateway has settings for how it reads metrics; leave it out";
        return Err(Fault::not_supported(instead).within(field));
    }
    match parameters.path.as_deref() {
        None | Some("/metrics") => Ok(Blueprint::Nothing),
        Some(other) => {
            let message = format!("metrics are read from /metrics, not from {other}");
            Err(Fault::unsupported(message).within("path"))
        }
    }
}
