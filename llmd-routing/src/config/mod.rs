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
mod estimate;
mod fault;
mod fit;
mod flow_control;
mod gates;
mod known;
mod kv_events;
mod nearest;
mod node;
mod parameters;
mod parsers;
mod plugin_config;
mod plugins;
mod problem;
mod quantity;
mod reload;
#[cfg(feature = "schema")]
mod schema;
mod shell;
mod sources;
mod surroundings;
mod tokens;
mod typed;
mod warnings;

pub use catalogue::{PluginType, plugin_types};
pub use check::Check;
pub use estimate::{
    EstimateMode, Frames, FramesMode, ImageEstimate, MediaEstimate, PixelsPerToken, Resolution, SampledFrames,
    StaticFrame, StaticImage, StridedFrames, TokensPerFrame, VideoEstimate,
};
pub use flow_control::{FlowControl, PriorityBand};
pub use kv_events::KvEvents;
pub use parsers::Parser;
pub use plugin_config::PluginConfig;
pub use problem::Problem;
pub use shell::FileDiscovery;
pub use sources::{HttpSource, Scheme, SourceKind};
pub use surroundings::DataLayer;
pub use tokens::{TokenBackend, TokenProducer};
