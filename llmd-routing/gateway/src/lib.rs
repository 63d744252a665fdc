//! The async shell around llmd-routing: an OpenAI-shaped reverse proxy that knows the caches of its engines.
//!
//! The program `llmd-gateway` is one way to use it; embedding it is the other:
//!
//! ```
//! use llmd_gateway::{EndpointEntry, Endpoints, Gateway, Settings};
//!
//! # #[tokio::main]
//! # async fn main() -> llmd_core::Result<()> {
//! let engines = vec![EndpointEntry::new("vllm-0", "10.0.0.7", 8000).with_models(["llama"])];
//! let gateway = Gateway::builder(Settings::default()).endpoints(Endpoints::Fixed(engines)).start().await?;
//! println!("listening on {}", gateway.local_addr());
//! gateway.shutdown().await; // what has begun may end
//! # Ok(())
//! # }
//! ```
//!
//! - [`events`]: KV events of running engines, from their sockets into an index.
//! - [`program`]: the program, for those who start it from a program of their own.
//! - [`tokenize`]: prompts and conversations into tokens, as engines do it.

mod answer;
mod chance;
mod clock;
mod collector;
mod debug;
mod discovery;
pub mod events;
mod gateway;
mod health;
mod model;
mod plan;
pub mod program;
mod proxy;
mod scrape;
mod serve;
mod settings;
mod telemetry;
pub mod tokenize;
mod upstream;

pub use clock::{Clock, Hand};
pub use discovery::{EndpointEntry, Endpoints, EndpointsFile, KvEventsEntry};
pub use gateway::{Gateway, GatewayBuilder, RunningGateway};
pub use settings::{CountTokens, Disaggregation, Drain, Ejection, Limits, Polling, Requests, Settings, Timeouts};
