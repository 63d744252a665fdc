//! Feature gates.

use super::absent::FLOW;
use super::fault::{Fault, Result};
use super::nearest;
use super::node::Node;

/// `name`, `name=true` or `name=false`.
pub(super) fn feature_gate(node: &Node) -> Result<()> {
    let text = node.text()?;
    let (name, value) = text.split_once('=').unwrap_or((text, "true"));
    // As Go reads a bool.
    let on = match value.trim().to_ascii_lowercase().as_str() {
        "1" | "t" | "true" => true,
        "0" | "f" | "false" => false,
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
