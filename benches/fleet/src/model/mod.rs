//! One engine, told the time: vLLM's block pool and scheduler, with a published formula in place of the GPU.
//!
//! ```
//! use std::time::Duration;
//! use llmd_fleet::Constants;
//! use llmd_fleet::model::{Engine, EngineSettings, NewRequest, StepReport};
//!
//! let mut engine = Engine::new(EngineSettings::new(Constants::QWEN3_32B_TP2_H100.scaled(1)), |_, position| position as u32)?;
//! let id = engine.submit(Duration::ZERO, NewRequest::new([7; 40], 2))?;
//!
//! let (mut now, mut report) = (engine.next_arrival().unwrap(), StepReport::default());
//! while let Some(takes) = engine.begin_step(now) {
//!     now += takes;
//!     engine.end_step(now, &mut report);
//! }
//! assert_eq!(report.outputs[0].request, id);
//! assert!(report.outputs[0].finish.is_some());
//! # Ok::<(), llmd_core::Error>(())
//! ```
//!
//! Nothing here sleeps, so the same engine runs in wall-clock time behind sockets and in virtual time in a simulation.

mod engine;
mod event;
mod free_queue;
mod handover;
mod name;
mod pool;
mod report;
mod request;
mod schedule;
mod settings;

pub use engine::Engine;
pub use event::{CacheEvent, StoredBlocks};
pub(crate) use free_queue::FreeQueue;
pub use handover::{Expected, Kept};
pub use name::{Adapter, BlockId, Digest, RequestId};
pub use pool::BlockPool;
pub use report::{Admission, Finish, Output, StepReport, Timeline};
pub use request::NewRequest;
pub use settings::EngineSettings;
