//! The parameters of the session plugins.

use std::time::Duration;

use serde::Deserialize;

use super::attribute::attribute;
use super::{Affinity, Source};

const TOKEN_HEADER: &str = "x-session-token";
const SESSION_HEADER: &str = "x-session-id";

/// The parameters of the session plugins.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    strategy: StrategyName,
    encoded_endpoint_header_config: HeaderConfig,
    pub(crate) session_id_config: SessionIdConfig,
    pub(crate) session_hash_config: HashConfig,
    profile_name: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum StrategyName {
    #[default]
    EncodedEndpointHeader,
    SessionHash,
    SessionId,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
struct HeaderConfig {
    header: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct SessionIdConfig {
    pub(crate) sources: Vec<SourceConfig>,
    pub(crate) eviction_ttl_seconds: f64,
    /// Here a session is forgotten when its time has come, and nothing is swept.
    pub(crate) eviction_sweep_seconds: f64,
}

impl Default for SessionIdConfig {
    fn default() -> Self {
        Self { sources: Vec::new(), eviction_ttl_seconds: 300.0, eviction_sweep_seconds: 10.0 }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct HashConfig {
    pub(crate) header: Option<String>,
    pub(crate) sources: Vec<SourceConfig>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SourceConfig {
    header: String,
    attribute: String,
    producer: String,
}

impl Parameters {
    /// What they say.
    pub(crate) fn affinity(&self) -> Affinity {
        let affinity = match self.strategy {
            StrategyName::EncodedEndpointHeader => {
                let header = self.encoded_endpoint_header_config.header.as_deref();
                let header = header.map(str::trim).filter(|header| !header.is_empty());
                Affinity::encoded_endpoint(header.unwrap_or(TOKEN_HEADER))
            }
            StrategyName::SessionHash => {
                let header = self.session_hash_config.header.as_deref().unwrap_or(SESSION_HEADER);
                Affinity::hash(header).with_sources(sources(&self.session_hash_config.sources))
            }
            StrategyName::SessionId => {
                let SessionIdConfig { sources: from, eviction_ttl_seconds: ttl, .. } = &self.session_id_config;
                let remembered = Affinity::remembered(SESSION_HEADER).with_sources(sources(from));
                match Duration::try_from_secs_f64(*ttl) {
                    // 0 is the default, as in llm-d.
                    Ok(Duration::ZERO) => remembered,
                    Ok(ttl) => remembered.with_ttl(ttl),
                    Err(_) => remembered.with_ttl(Duration::MAX),
                }
            }
        };
        match self.profile_name.as_deref().filter(|name| !name.is_empty()) {
            Some(profile) => affinity.of_profile(profile),
            None => affinity,
        }
    }
}

impl SourceConfig {
    /// Whether it names one place and not two.
    pub(crate) fn is_one(&self) -> bool {
        self.header.trim().is_empty() != self.attribute.is_empty()
    }
}

fn sources(configured: &[SourceConfig]) -> Vec<Source> {
    let source = |source: &SourceConfig| {
        if source.attribute.is_empty() {
            Source::header(source.header.as_str())
        } else {
            Source::Attribute(attribute(&source.attribute, &source.producer))
        }
    };
    configured.iter().map(source).collect()
}
