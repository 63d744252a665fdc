//! The async shell around llmd-routing: an OpenAI-shaped reverse proxy that knows the caches of its engines.

mod clock;
pub mod events;
pub mod tokenize;

pub use clock::{Clock, Hand};
