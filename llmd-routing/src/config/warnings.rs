//! What is right, and better said otherwise.

use super::blueprint::Blueprint;
use super::document::API_VERSIONS;
use super::fault::Fault;
use super::flow_control::FlowControl;
use super::node::Node;
use super::plugin_config::PluginConfig;

/// Plugin types that llm-d deprecates, and what to use instead.
static DEPRECATED: &[(&str, &str)] = &[
    ("by-label", "use label-selector-filter"),
    ("by-label-selector", "use label-selector-filter"),
    ("data-parallel-profile-handler", "list each rank as an endpoint and use single-profile-handler"),
    ("disagg-headers-handler", "leave it out; disagg-profile-handler does it"),
    ("pd-profile-handler", "use disagg-profile-handler"),
    ("precise-prefix-cache-scorer", "use precise-prefix-cache-producer with prefix-cache-scorer"),
    ("prefill-header-handler", "leave it out; disagg-profile-handler does it"),
    ("tokenizer", "use token-producer"),
];

/// What is deprecated of a document, and what has no effect.
pub(super) fn of_document(root: &Node, flow_control: Option<&FlowControl>) -> Vec<Fault> {
    let mut warnings = Vec::new();
    let mut say = |field: &str, message: String| {
        if let Some(node) = root.field(field).filter(|node| !node.is_nothing()) {
            warnings.push(Fault::warning(message).at(node.mark).within(field));
        }
    };
    let [current, old] = API_VERSIONS;
    if root.field("apiVersion").is_some_and(|node| node.text().is_ok_and(|version| version == old)) {
        say("apiVersion", format!("`{old}` is deprecated; use `{current}`"));
    }
    say(
        "saturationDetector",
        "is deprecated; use `flowControl.saturationDetector`, which counts where both are".to_owned(),
    );
    say("parser", "is deprecated; use `requestHandler.parsers`, which counts where both are".to_owned());
    if flow_control.is_some_and(FlowControl::says_more) {
        let message = "has no effect while feature gate flowControl is off, but for saturationDetector";
        say("flowControl", message.to_owned());
    }
    warnings
}

/// What is deprecated of a plugin.
pub(super) fn of_plugin(plugin: &PluginConfig) -> impl Iterator<Item = Fault> {
    let known = DEPRECATED.iter().find(|(name, _)| *name == plugin.type_name);
    let of_type = known.map(|(name, instead)| format!("plugin type `{name}` is deprecated; {instead}"));
    let of_parameters = match &plugin.blueprint {
        Blueprint::Tokens(tokens) => tokens.deprecated().map(str::to_owned),
        _ => None,
    };
    of_type.into_iter().chain(of_parameters).map(|message| plugin.fault(message))
}
