//! Where data about endpoints comes from, which is for the shell to fetch.

use std::time::Duration;

use serde::Deserialize;

use super::fault::{Fault, Result};
use crate::duration::GoDuration;

/// A page that every endpoint serves, and how it is fetched.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct HttpSource {
    /// What is on the page.
    pub kind: SourceKind,
    /// How it is fetched; default `http`.
    pub scheme: Scheme,
    /// Where it is; default `/metrics`, or `/v1/models` for models.
    pub path: String,
    /// The port, when it is not the endpoint's own; default 9400 for DCGM.
    pub port: Option<u16>,
    /// Whether the certificate of the server goes unchecked; default yes, as in llm-d.
    pub insecure_skip_verify: bool,
    /// The file of the authorities that the server's certificate is checked against.
    pub ca_cert_path: Option<String>,
    /// The file of the certificate that is shown to the server.
    pub client_cert_path: Option<String>,
    /// The file of its key.
    pub client_key_path: Option<String>,
    /// Whether the node of the endpoint is asked, not the endpoint.
    pub use_node_address: bool,
    /// How often; `None` where the shell knows.
    pub interval: Option<Duration>,
}

/// What is on a page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SourceKind {
    /// What NVIDIA's DCGM exporter says of GPUs; of it comes attribute `GPUUtilization`.
    Dcgm,
    /// What the engine says of itself.
    Metrics,
    /// The models that the engine serves.
    Models,
}

/// How a page is fetched.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Scheme {
    /// In the clear.
    #[default]
    Http,
    /// Over TLS.
    Https,
}

/// The parameters of `metrics-data-source`.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct MetricsSourceParameters {
    scheme: Scheme,
    path: String,
    port: Option<u16>,
    insecure_skip_verify: bool,
    ca_cert_path: Option<String>,
    client_cert_path: Option<String>,
    client_key_path: Option<String>,
    interval: Option<GoDuration>,
}

/// The parameters of `models-data-source`.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ModelsSourceParameters {
    scheme: Scheme,
    path: String,
    insecure_skip_verify: bool,
    ca_cert_path: Option<String>,
    client_cert_path: Option<String>,
    client_key_path: Option<String>,
    interval: Option<GoDuration>,
}

/// The parameters of `dcgm-data-source`.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct DcgmSourceParameters {
    scheme: Scheme,
    path: String,
    port: u16,
    insecure_skip_verify: bool,
    use_node_address: bool,
    interval: Option<GoDuration>,
}

impl HttpSource {
    /// A source of this kind, as it is when nothing is said.
    fn new(kind: SourceKind) -> Self {
        let (path, port) = match kind {
            SourceKind::Dcgm => ("/metrics", Some(9400)),
            SourceKind::Metrics => ("/metrics", None),
            SourceKind::Models => ("/v1/models", None),
        };
        Self {
            kind,
            scheme: Scheme::Http,
            path: path.to_owned(),
            port,
            insecure_skip_verify: true,
            ca_cert_path: None,
            client_cert_path: None,
            client_key_path: None,
            use_node_address: false,
            interval: None,
        }
    }

    pub(super) fn metrics(parameters: MetricsSourceParameters) -> Result<Self> {
        let source = Self {
            scheme: parameters.scheme,
            path: parameters.path,
            port: parameters.port,
            insecure_skip_verify: parameters.insecure_skip_verify,
            ca_cert_path: parameters.ca_cert_path,
            client_cert_path: parameters.client_cert_path,
            client_key_path: parameters.client_key_path,
            interval: parameters.interval.map(|interval| interval.0),
            ..Self::new(SourceKind::Metrics)
        };
        source.sound()
    }

    pub(super) fn models(parameters: ModelsSourceParameters) -> Result<Self> {
        let source = Self {
            scheme: parameters.scheme,
            path: parameters.path,
            insecure_skip_verify: parameters.insecure_skip_verify,
            ca_cert_path: parameters.ca_cert_path,
            client_cert_path: parameters.client_cert_path,
            client_key_path: parameters.client_key_path,
            interval: parameters.interval.map(|interval| interval.0),
            ..Self::new(SourceKind::Models)
        };
        source.sound()
    }

    pub(super) fn dcgm(parameters: DcgmSourceParameters) -> Result<Self> {
        let source = Self {
            scheme: parameters.scheme,
            path: parameters.path,
            port: Some(parameters.port),
            insecure_skip_verify: parameters.insecure_skip_verify,
            use_node_address: parameters.use_node_address,
            interval: parameters.interval.map(|interval| interval.0),
            ..Self::new(SourceKind::Dcgm)
        };
        source.sound()
    }

    fn sound(self) -> Result<Self> {
        if self.port == Some(0) {
            return Err(Fault::invalid("port `0` where one from 1 to 65535 was expected").within("port"));
        }
        if self.scheme == Scheme::Http {
            return Ok(self);
        }
        let (given, missing) = match (&self.client_cert_path, &self.client_key_path) {
            (Some(_), None) => ("clientCertPath", "clientKeyPath"),
            (None, Some(_)) => ("clientKeyPath", "clientCertPath"),
            _ => return Ok(self),
        };
        Err(Fault::invalid(format!("{given} is given without {missing}")).within(given))
    }
}

impl Default for MetricsSourceParameters {
    fn default() -> Self {
        let HttpSource { scheme, path, port, insecure_skip_verify, .. } = HttpSource::new(SourceKind::Metrics);
        let (ca_cert_path, client_cert_path, client_key_path, interval) = (None, None, None, None);
        Self { scheme, path, port, insecure_skip_verify, ca_cert_path, client_cert_path, client_key_path, interval }
    }
}

impl Default for ModelsSourceParameters {
    fn default() -> Self {
        let HttpSource { scheme, path, insecure_skip_verify, .. } = HttpSource::new(SourceKind::Models);
        let (ca_cert_path, client_cert_path, client_key_path, interval) = (None, None, None, None);
        Self { scheme, path, insecure_skip_verify, ca_cert_path, client_cert_path, client_key_path, interval }
    }
}

impl Default for DcgmSourceParameters {
    fn default() -> Self {
        let HttpSource { scheme, path, port, insecure_skip_verify, use_node_address, .. } =
            HttpSource::new(SourceKind::Dcgm);
        let port = port.expect("DCGM has a port of its own");
        Self { scheme, path, port, insecure_skip_verify, use_node_address, interval: None }
    }
}
