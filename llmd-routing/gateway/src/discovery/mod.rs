//! Which endpoints there are: a fixed list, or a file that is looked at again and again.

mod file;
mod watch;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

pub use file::EndpointsFile;
pub(crate) use watch::FileWatch;

/// Where the endpoints are listed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Endpoints {
    /// In a file, which may change while the gateway runs.
    File(PathBuf),
    /// Here, for good.
    Fixed(Vec<EndpointEntry>),
}

/// One endpoint, as its list describes it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct EndpointEntry {
    /// The name that people know it by.
    pub name: String,
    /// The namespace that the name is in.
    pub namespace: String,
    /// The host: an IP address or a name that resolves.
    pub address: String,
    /// The port of its OpenAI API.
    pub port: u16,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The models that it serves; `None`: it is asked.
    pub models: Option<Vec<String>>,
    /// Where it publishes KV events; `None`: the configuration's ports, or it is asked.
    pub kv_events: Option<KvEventsEntry>,
}

/// Where an endpoint publishes KV events, as its list says.
#[derive(Clone, Debug, Default, Eq, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[non_exhaustive]
pub struct KvEventsEntry {
    /// The PUB socket, as in `tcp://10.0.0.7:5557`.
    pub endpoint: String,
    /// The ROUTER socket that answers for what was missed.
    #[serde(default)]
    pub replay_endpoint: Option<String>,
    /// The topic; empty is every topic.
    #[serde(default)]
    pub topic: String,
}

impl EndpointEntry {
    /// An endpoint of this name at this host and port, in the namespace `default`.
    pub fn new(name: impl Into<String>, address: impl Into<String>, port: u16) -> Self {
        Self { name: name.into(), namespace: "default".into(), address: address.into(), port, ..Self::default() }
    }

    /// The same, serving these models.
    #[must_use]
    pub fn with_models<M: Into<String>>(self, models: impl IntoIterator<Item = M>) -> Self {
        Self { models: Some(models.into_iter().map(Into::into).collect()), ..self }
    }

    /// The same, publishing KV events here.
    #[must_use]
    pub fn with_kv_events(self, kv_events: KvEventsEntry) -> Self {
        Self { kv_events: Some(kv_events), ..self }
    }

    /// `host:port`, with brackets around an IPv6 address.
    pub fn authority(&self) -> String {
        if self.address.contains(':') && !self.address.starts_with('[') {
            return format!("[{}]:{}", self.address, self.port);
        }
        format!("{}:{}", self.address, self.port)
    }

    /// The name by which it is told from all others: with its namespace, unless that is `default`.
    pub fn full_name(&self) -> String {
        if self.namespace == "default" {
            return self.name.clone();
        }
        format!("{}/{}", self.namespace, self.name)
    }
}

/// Name and address.
impl fmt::Display for EndpointEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.full_name(), self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_stands_in_brackets() {
        assert_eq!(EndpointEntry::new("a", "fd00::1", 80).authority(), "[fd00::1]:80");
        assert_eq!(EndpointEntry::new("a", "10.0.0.1", 80).authority(), "10.0.0.1:80");
    }

    #[test]
    fn the_default_namespace_is_not_said() {
        let other = EndpointEntry { namespace: "blue".into(), ..EndpointEntry::new("a", "h", 1) };
        assert_eq!(EndpointEntry::new("a", "h", 1).full_name(), "a");
        assert_eq!(other.full_name(), "blue/a");
    }
}
