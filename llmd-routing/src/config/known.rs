//! The list of plugins, to which the rest of the document refers.

use super::catalogue;
use super::fault::{Fault, Result};
use super::nearest;
use super::node::{Node, Value};
use super::plugin_config::PluginConfig;

/// The plugins that there are, and what is known of those that were pruned.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) plugins: Vec<PluginConfig>,
    /// What they are called.
    pruned: Vec<String>,
    /// The types of those that are called by it.
    untyped: Vec<String>,
    /// One of them may be called anything.
    nameless: bool,
}

impl Known {
    /// Reads the list of plugins.
    pub(super) fn read(root: &Node) -> Result<Self> {
        let mut known = Self::default();
        let Some(list) = root.field("plugins") else { return Ok(known) };
        known.nameless = list.is_pruned();
        for item in list.items().unwrap_or_default() {
            known.remember(item);
        }
        root.read("plugins", |list| list.each_at(|place, item| known.add(place, item)))?;
        Ok(known)
    }

    fn add(&mut self, place: usize, item: &Node) -> Result<()> {
        let plugin = PluginConfig { place: Some(place), ..PluginConfig::read(item)? };
        if self.plugins.iter().any(|before| before.name == plugin.name) {
            return Err(Fault::invalid(format!("two plugins are called `{}`; give each a `name`", plugin.name)));
        }
        self.plugins.push(plugin);
        Ok(())
    }

    /// Remembers what a plugin may be called that was pruned, or whose name was.
    fn remember(&mut self, item: &Node) {
        let whole = if let Value::Pruned(whole) = &item.value { whole } else { item };
        let name = whole.field("name").filter(|name| !matches!(name.value, Value::Null));
        match (name, whole.field("type").and_then(Node::original_text)) {
            (Some(name), _) if name.is_pruned() || name.text().is_err() => self.nameless = true,
            _ if !item.is_pruned() => {}
            (Some(name), _) => self.pruned.extend(name.text().ok().map(str::to_owned)),
            (None, Some(kind)) => self.untyped.push(kind.to_owned()),
            (None, None) => self.nameless = true,
        }
    }

    /// Whether it may be the name of a plugin that was pruned.
    pub(super) fn may_be_pruned(&self, name: &str) -> bool {
        let meant = |kind: &String| kind == name || catalogue::meant(kind) == Some(name);
        self.nameless || self.pruned.iter().any(|pruned| pruned == name) || self.untyped.iter().any(meant)
    }

    /// Whether a plugin was pruned.
    pub(super) fn lacks(&self) -> bool {
        self.nameless || !self.pruned.is_empty() || !self.untyped.is_empty()
    }

    /// The plugin that a reference names.
    pub(super) fn reference(&self, node: &Node) -> Result<&PluginConfig> {
        self.find(node.text()?)
    }

    /// The plugin of this name.
    pub(super) fn find(&self, name: &str) -> Result<&PluginConfig> {
        if let Some(plugin) = self.plugins.iter().find(|plugin| plugin.name == name) {
            return Ok(plugin);
        }
        if self.may_be_pruned(name) {
            return Err(Fault::pruned());
        }
        let known: Vec<_> = self.plugins.iter().map(|plugin| plugin.name.as_str()).collect();
        Err(Fault::invalid(nearest::unknown("plugin", name, &known)))
    }
}
