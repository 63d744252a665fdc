//! Which endpoint, and when: llm-d's endpoint picker as a library.
//!
//! A [`Scheduler`] is made from the YAML that llm-d's endpoint picker reads. It is told which endpoints there are, asked
//! where a request goes, and says why:
//!
//! ```
//! use std::time::Duration;
//! use llmd_core::WorkerId;
//! use llmd_core::index::{ExactIndex, IndexSettings};
//! use llmd_routing::{Endpoint, Pool, Request, Scheduler, Usage};
//!
//! let yaml = "
//! apiVersion: llm-d.ai/v1alpha1
//! kind: EndpointPickerConfig
//! plugins:
//! - type: precise-prefix-cache-producer
//! - type: prefix-cache-scorer
//!   parameters: {prefixMatchInfoProducerName: precise-prefix-cache-producer}
//! - type: active-request-scorer
//! schedulingProfiles:
//! - name: default
//!   plugins:
//!   - {pluginRef: prefix-cache-scorer, weight: 3}
//!   - {pluginRef: active-request-scorer, weight: 2}
//! ";
//! let (_writer, reader) = ExactIndex::new(IndexSettings::default());
//! let scheduler = Scheduler::from_yaml(yaml)?.with_index(reader).build()?;
//! assert!(scheduler.needs().tokens && !scheduler.needs().metrics);
//!
//! let endpoints = [0, 1].map(|n| Endpoint::new(format!("vllm-{n}"), format!("10.0.0.{n}:8000"), WorkerId(n)));
//! let pool: Pool = endpoints.into_iter().collect();
//! let request = Request::new("request-1", "Qwen/Qwen3-32B").with_tokens([1, 2, 3]);
//! # use rand::SeedableRng as _;
//! # let mut rng = rand::rngs::StdRng::seed_from_u64(1);
//! # let (now, later) = (Duration::from_secs(1), Duration::from_secs(2));
//!
//! let mut decision = scheduler.decide(&request, &pool, now, &mut rng)?;       // reserves a place there
//! assert_eq!(decision.endpoint().in_flight().requests(), 1);
//! println!("{} because\n{}", decision.endpoint(), decision.explain());
//!
//! decision.advance(now);                                                      // that one failed: the next best
//! decision.first_token(later);                                                // its prompt has been computed
//! decision.end(later, &Usage::default());                                     // without an end, it was aborted
//! assert_eq!(decision.endpoint().in_flight().requests(), 0);
//! # Ok::<(), llmd_core::Error>(())
//! ```
//!
//! Nothing here does I/O, owns a thread or reads a clock. Whoever embeds it reads metrics, feeds an index with KV events and
//! makes tokens, as far as [`Scheduler::needs`] asks for them.
//!
//! - [`plugin`]: the traits. Plugins of your own stand in a [`Profile`] beside llm-d's: see [`Scheduler::new`].
//! - [`filter`], [`scorer`], [`picker`], [`producer`], [`admitter`], [`screener`], [`observer`], [`header_processor`],
//!   [`handler`], [`decider`]: llm-d's plugins, one file each, with their formulas.
//! - [`config`]: the YAML; every field is in `docs/configuration.md`.
//! - [`connector`]: the two bodies of a request that one engine prefills and another decodes.

#![warn(clippy::exhaustive_enums, clippy::exhaustive_structs)]

pub mod admitter;
pub mod config;
pub mod connector;
pub mod decider;
mod duration;
mod endpoint;
pub mod filter;
pub mod handler;
pub mod header_processor;
mod in_flight;
mod needs;
pub mod observer;
mod pace;
pub mod picker;
pub mod plugin;
mod pool;
pub mod producer;
mod profile;
mod request;
mod scheduler;
pub mod scorer;
pub mod screener;
pub mod session;
mod slo;
mod sync;
mod tenancy;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod topology;

pub use config::build::SchedulerBuilder;
pub use config::document::EndpointPickerConfig;
pub use endpoint::{Endpoint, EngineMetrics, LoraMetrics};
pub use in_flight::{InFlight, InFlightGuard, Load};
pub use needs::Needs;
pub use plugin::hooks::Usage;
pub use pool::Pool;
pub use profile::Profile;
pub use request::{Headers, Request};
pub use scheduler::{
    Components, Decision, Description, EndpointExplanation, Explanation, Fate, NextStep, ProfileExplanation, Scheduler,
    StageRoute, Turn,
};
