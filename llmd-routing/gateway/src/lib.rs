//! The async shell around llmd-routing: an OpenAI-shaped reverse proxy that knows the caches of its engines.

mod chance;
mod clock;
mod debug;
pub mod discovery;
pub mod events;
mod gateway;
mod health;
mod model;
mod plan;
mod proxy;
mod scrape;
mod serve;
pub mod settings;
mod telemetry;
pub mod tokenize;
mod upstream;

pub use clock::{Clock, Hand};
pub use discovery::{EndpointEntry, Endpoints};
pub use gateway::{Gateway, GatewayBuilder, RunningGateway};
pub use settings::Settings;
