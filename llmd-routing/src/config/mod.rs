//! llm-d's `EndpointPickerConfig`: the YAML that says which plugins run, read strictly.
//!
//! What is written wrong is an error that names the line, the path, and what was expected there; what llm-d has and llmd
//! has not is refused by name. Nothing is silently ignored. `docs/configuration.md` lists every field.

mod absent;
mod blueprint;
pub(crate) mod build;
mod catalogue;
mod check;
mod defaults;
pub(crate) mod document;
mod fault;
mod fit;
mod known;
mod kv_events;
mod nearest;
mod node;
mod parameters;
mod plugin_config;
mod plugins;
mod problem;
mod reload;
#[cfg(feature = "schema")]
mod schema;
mod surroundings;
mod tokens;
mod typed;

pub use catalogue::{PluginType, plugin_types};
pub use check::Check;
pub use kv_events::KvEvents;
pub use plugin_config::PluginConfig;
pub use problem::Problem;
pub use tokens::{TokenBackend, TokenProducer};
