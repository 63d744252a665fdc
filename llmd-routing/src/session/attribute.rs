//! What a session's id is called where producers say it.

/// What a session's id is called.
const ATTRIBUTE: &str = "session-id";

/// What llm-d's sources call it.
const LLMD_ATTRIBUTE: &str = "SessionIDDataKey";

/// The producer whose ids need no name beside them.
const DEFAULT_PRODUCER: &str = "session-id-producer";

/// The name under which something is said of a request: `attribute`, and for the id of a session also who of several said it.
pub(crate) fn attribute(attribute: &str, producer: &str) -> String {
    match (attribute, producer) {
        (ATTRIBUTE | LLMD_ATTRIBUTE, "" | DEFAULT_PRODUCER) => ATTRIBUTE.to_owned(),
        (ATTRIBUTE | LLMD_ATTRIBUTE, producer) => format!("{ATTRIBUTE}/{producer}"),
        (other, _) => other.to_owned(),
    }
}

/// The name under which `producer` says a session's id.
pub(crate) fn session_id(producer: &str) -> String {
    attribute(ATTRIBUTE, producer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_several_producers_is_told_by_its_name() {
        assert_eq!(session_id("mine"), "session-id/mine");
        assert_eq!(attribute("SessionIDDataKey", "mine"), "session-id/mine");
        assert_eq!(attribute("SessionIDDataKey", "session-id-producer"), "session-id");
        assert_eq!(attribute("agent-identity", "whoever"), "agent-identity");
    }
}
