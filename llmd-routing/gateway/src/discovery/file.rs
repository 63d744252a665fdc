//! The endpoints file: llm-d's `file-discovery` format, and what llmd adds to it.
//!
//! ```yaml
//! endpoints:
//! - name: vllm-0
//!   address: 10.0.0.7            # IPv4, IPv6, or a name
//!   port: "8000"                 # or 8000
//!   namespace: default           # the default
//!   labels: {llm-d.ai/role: decode}
//!   models: [llama]              # llmd's own; without it, GET /v1/models is asked
//!   kvEvents: {endpoint: "tcp://10.0.0.7:5557", replayEndpoint: "tcp://10.0.0.7:5558", topic: ""}   # llmd's own
//! ```

use std::collections::{BTreeMap, BTreeSet};

use llmd_core::{Error, ErrorKind, Result};
use serde::Deserialize;
use serde_json::Value;

use super::{EndpointEntry, KvEventsEntry};

/// The most that an endpoints file may hold, in bytes, as in llm-d.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// What an endpoints file says: the entries that are right, and what is wrong with the others.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct EndpointsFile {
    /// The entries that are right, in the order of the file.
    pub entries: Vec<EndpointEntry>,
    /// One line for each entry that is wrong: which, and why.
    pub problems: Vec<String>,
}

impl EndpointsFile {
    /// Reads YAML or JSON. An entry that is wrong costs the others nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when it is no list of endpoints at all, or larger than 1 MiB.
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > MAX_BYTES {
            let message = format!("{} bytes, and at most {MAX_BYTES} are read", text.len());
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let listed: Listed =
            serde_saphyr::from_str(text).map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))?;
        let (mut file, mut names) = (Self::default(), BTreeSet::new());
        for (place, value) in listed.endpoints.into_iter().enumerate() {
            let entry = entry(value).and_then(|entry| match names.insert(entry.full_name()) {
                true => Ok(entry),
                false => Err(format!("the name {:?} is taken by an entry before it", entry.full_name())),
            });
            match entry {
                Ok(entry) => file.entries.push(entry),
                Err(problem) => file.problems.push(format!("endpoints[{place}]: {problem}")),
            }
        }
        Ok(file)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    endpoints: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ListedEndpoint {
    name: String,
    #[serde(default)]
    namespace: Option<String>,
    address: String,
    port: Port,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    models: Option<Vec<String>>,
    #[serde(default)]
    kv_events: Option<KvEventsEntry>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Port {
    Number(u64),
    Text(String),
}

fn entry(value: Value) -> Result<EndpointEntry, String> {
    let listed: ListedEndpoint = serde_json::from_value(value).map_err(|error| error.to_string())?;
    let port = match &listed.port {
        Port::Number(port) => u16::try_from(*port).ok(),
        Port::Text(port) => port.parse().ok(),
    };
    let port = port.filter(|&port| port > 0).ok_or_else(|| match &listed.port {
        Port::Number(port) => format!("port {port} is none: expected 1 to 65535"),
        Port::Text(port) => format!("port {port:?} is none: expected 1 to 65535"),
    })?;
    if listed.name.is_empty() {
        return Err("the name is empty".into());
    }
    if listed.address.is_empty() || listed.address.contains(['/', ' ', '@', '?', '#']) {
        return Err(format!("address {:?} is none: expected an IP address or a host name", listed.address));
    }
    Ok(EndpointEntry {
        name: listed.name,
        namespace: listed.namespace.unwrap_or_else(|| "default".into()),
        address: listed.address,
        port,
        labels: listed.labels,
        models: listed.models,
        kv_events: listed.kv_events,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llm_ds_own_file_is_read() {
        let text = r#"
endpoints:
- {name: a, address: 10.0.0.1, port: "8000", labels: {llm-d.ai/role: decode}}
- {name: b, namespace: blue, address: 10.0.0.2, port: 8001}
"#;
        let file = EndpointsFile::parse(text).unwrap();

        assert!(file.problems.is_empty(), "{:?}", file.problems);
        let [a, b] = &file.entries[..] else { panic!("two entries") };
        assert_eq!((a.authority(), a.labels["llm-d.ai/role"].as_str()), ("10.0.0.1:8000".into(), "decode"));
        assert_eq!((b.full_name(), b.port), ("blue/b".into(), 8001));
    }

    #[test]
    fn an_entry_that_is_wrong_costs_the_others_nothing() {
        let text = r#"{"endpoints": [
            {"name": "a", "address": "h", "port": "http"},
            {"name": "b", "address": "h", "port": 80},
            {"name": "b", "address": "h", "port": 81},
            {"name": "c", "address": "h", "port": 70000},
            {"name": "d", "address": "h", "port": 1, "colour": "red"},
            {"name": "e", "address": "http://h", "port": 1},
            "f",
            {"name": "g", "address": "h", "port": "82"}
        ]}"#;
        let file = EndpointsFile::parse(text).unwrap();

        let names: Vec<_> = file.entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["b", "g"]);
        let expected = [
            (0, "port \"http\" is none"),
            (2, "the name \"b\" is taken"),
            (3, "port 70000 is none"),
            (4, "colour"),
            (5, "address \"http://h\" is none"),
            (6, "invalid type: string \"f\""),
        ];
        assert_eq!(file.problems.len(), expected.len(), "{:?}", file.problems);
        for ((place, what), problem) in expected.into_iter().zip(&file.problems) {
            assert!(problem.starts_with(&format!("endpoints[{place}]: ")) && problem.contains(what), "{problem}");
        }
    }

    #[test]
    fn what_is_no_list_is_an_error() {
        for text in ["", "endpoints: 7", "pods: []", "endpoints: [\n  {"] {
            assert_eq!(EndpointsFile::parse(text).unwrap_err().kind(), ErrorKind::Invalid, "{text}");
        }
    }

    #[test]
    fn a_file_that_is_too_large_is_not_read() {
        let error = EndpointsFile::parse(&" ".repeat(MAX_BYTES + 1)).unwrap_err();
        assert_eq!(error.to_string(), "1048577 bytes, and at most 1048576 are read");
    }
}
