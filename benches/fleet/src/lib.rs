//! A fleet of simulated engines: vLLM's caches, events and metrics, with published step times.
//!
//! - [`model`]: the engine itself, told the time: block pool, scheduler, step times. No socket, no clock.
//! - [`serve`]: the same engine as a process: OpenAI over HTTP, KV events over ZMQ, the wall clock.
//! - [`prompt`]: text whose tokens can be counted without a tokenizer.
//! - [`process`]: engines as child processes that can be killed, restarted and paused.
//! - [`replay`]: what an engine has published, asked of its replay socket.
//!
//! What is simulated is the arithmetic of a GPU: how long a step takes, and which tokens come out. Everything else that
//! a router can see is real: sockets, batching, blocks, evictions, events.

mod constants;
pub mod machine;
pub mod model;
pub mod process;
pub mod prompt;
pub mod replay;
pub mod serve;
pub mod simulate;
mod splitmix;
pub mod vocabulary;
pub mod wire;
pub mod yardstick;

pub use constants::{Constants, ScaledConstants};
