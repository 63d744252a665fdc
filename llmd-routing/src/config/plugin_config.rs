//! One entry of `plugins`.

use super::blueprint::Blueprint;
use super::catalogue::{self, Stability};
use super::fault::{Mark, Result};
use super::node::Node;

/// One plugin, as it was configured.
#[derive(Clone, Debug)]
pub struct PluginConfig {
    pub(super) name: String,
    pub(super) type_name: &'static str,
    pub(super) stability: Stability,
    pub(super) blueprint: Blueprint,
    /// Its parameters, written in one way: whoever has the same is the same.
    pub(super) parameters: String,
    pub(super) mark: Mark,
    /// Which of the list it is; `None` for what was added.
    pub(super) place: Option<usize>,
}

impl PluginConfig {
    /// The name by which profiles know it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its type, as llm-d's catalogue has it.
    pub const fn type_name(&self) -> &'static str {
        self.type_name
    }

    pub(super) fn read(node: &Node) -> Result<Self> {
        let fields = node.section(&["type", "name", "parameters"])?;
        let found = fields.require("type", |node| catalogue::find(node.text()?))?;
        let name = fields.read("name", |node| node.text().map(str::to_owned))?;
        let nothing = Node { mark: node.mark, ..Node::default() };
        let parameters = fields.field("parameters").unwrap_or(&nothing);
        let blueprint = found.read(parameters).map_err(|fault| fault.at(parameters.mark).within("parameters"))?;
        Ok(Self {
            name: name.filter(|name| !name.is_empty()).unwrap_or_else(|| found.name.to_owned()),
            type_name: found.name,
            stability: found.stability,
            blueprint,
            parameters: parameters.plain(),
            mark: node.mark,
            place: None,
        })
    }
}
