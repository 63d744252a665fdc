//! `agent-identity`: which agent a request is from, by the headers that agents send.

use std::time::Duration;

use serde::Deserialize;

use crate::Request;
use crate::plugin::{Attributes, HeaderProcessor, Plugin};

/// The name under which [`AgentIdentity`] says what it found.
pub const AGENT_IDENTITY: &str = "agent-identity";

/// What agents call the session: Claude Code, OpenCode, Codex, and Codex before 0.131.
const HEADERS: [&str; 4] = ["x-claude-code-session-id", "x-session-affinity", "session-id", "session_id"];

/// Says, under [`AGENT_IDENTITY`], what the first of its headers says that is there and not empty.
///
/// Semantics: llm-d's `agent-identity`, which is experimental there. Spaces around a value are not part of it, and one of
/// spaces alone is empty.
#[derive(Clone, Debug)]
pub struct AgentIdentity {
    headers: Vec<String>,
}

/// The parameters of `agent-identity`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    pub(crate) additional_session_headers: Vec<String>,
}

impl AgentIdentity {
    /// One that looks at these headers first, and then at those that agents are known to send.
    pub fn new(headers: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let first = headers.into_iter().map(|header| header.as_ref().trim().to_ascii_lowercase());
        Self { headers: first.chain(HEADERS.map(str::to_owned)).collect() }
    }
}

impl Default for AgentIdentity {
    /// By the headers that agents are known to send.
    fn default() -> Self {
        Self::new([""; 0])
    }
}

impl Plugin for AgentIdentity {
    fn settings(&self) -> String {
        format!("by the first of {}", self.headers.join(", "))
    }
}

impl HeaderProcessor for AgentIdentity {
    fn process(&self, request: &Request, _: Duration, out: &mut Attributes) {
        let values = self.headers.iter().filter_map(|header| request.headers.get(header));
        if let Some(identity) = values.map(str::trim).find(|value| !value.is_empty()) {
            out.set_text(AGENT_IDENTITY, identity);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Headers;
    use crate::testing::request;

    #[test]
    fn the_first_header_that_says_something_counts() {
        let table = [
            (vec![("session_id", "old"), ("session-id", "codex")], Some("codex")),
            (vec![("session-id", "codex"), ("x-claude-code-session-id", "claude")], Some("claude")),
            (vec![("x-claude-code-session-id", " "), ("x-session-affinity", " opencode ")], Some("opencode")),
            (vec![("x-session-affinity", "opencode"), ("x-mine", "mine")], Some("mine")),
            (vec![("x-session-id", "another")], None),
            (vec![], None),
        ];
        let processor = AgentIdentity::new(["X-Mine"]);
        for (headers, expected) in table {
            let headers: Headers = headers.into_iter().collect();
            let mut attributes = Attributes::default();
            processor.process(&request([]).with_headers(headers), Duration::ZERO, &mut attributes);
            assert_eq!(attributes.text(AGENT_IDENTITY), expected);
        }
    }
}
