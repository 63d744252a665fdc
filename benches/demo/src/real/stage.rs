//! What every part runs with, and a fresh gateway for each.

use std::path::PathBuf;

use llmd_core::Result;

use super::conversation::Texts;
use super::drain::drain;
use super::fleet::Fleet;
use super::relay::Relay;
use crate::args::Args;
use crate::client::Client;
use crate::clock::Clock;
use crate::gateway::{Gateway, GatewayFiles};
use crate::http::Http;
use crate::policy::{Model, Policy};
use crate::stage::{bin_dir, program, run_folder};

use super::engine::BLOCK_SIZE;

/// Tokens under way at which an engine counts as busy as can be: four of the longest prompts.
const QUEUE_TOKENS: usize = 8192;

/// What every part runs with.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub(super) clock: Clock,
    pub(super) http: Http,
    pub(super) texts: Texts,
    pub(super) seed: u64,
    /// Configurations, endpoints files and logs.
    pub(super) run: PathBuf,
    gateway_binary: PathBuf,
    model: Model,
}

/// A gateway and its client. Dropping it ends the gateway; the engines stay.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) client: Client,
    pub(super) gateway: Gateway,
}

impl Stage {
    /// Finds the programs and makes the folders, for engines whose tokenizer is the one at `tokenizer`.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](llmd_core::ErrorKind::Unavailable) when a program is missing or the folder for output cannot be
    /// written, [`Invalid`](llmd_core::ErrorKind::Invalid) when the tokenizer is none.
    pub(super) fn set(args: &Args, clock: Clock, tokenizer: PathBuf) -> Result<Self> {
        let texts = Texts::load(&tokenizer)?;
        let model = Model { tokenizer, block_size: BLOCK_SIZE, queue_tokens: QUEUE_TOKENS };
        let gateway_binary = program(&bin_dir(args)?, "llmd-gateway")?;
        Ok(Self { clock, http: Http::new(), texts, seed: args.seed, run: run_folder(args)?, gateway_binary, model })
    }

    /// A fresh gateway with this policy in front of the engines, which are idle. When it returns, the gateway knows of
    /// their caches whatever the policy wants to know. Engine n's events come by a relay where `relay` says so.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](llmd_core::ErrorKind::Unavailable) when the gateway does not come up or learns nothing.
    pub(super) async fn up(
        &self,
        fleet: &mut Fleet,
        policy: Policy,
        name: &str,
        relay: Option<(usize, &Relay)>,
    ) -> Result<Scene> {
        let relayed = relay.map(|(n, relay)| (n, relay.endpoint.as_str()));
        let files = GatewayFiles::write(&self.run, name, &policy.config(&self.model), &fleet.endpoints_file(relayed))?;
        let gateway = Gateway::start(&self.gateway_binary, &files, None, &self.http).await?;
        if policy == Policy::ExactPrefix {
            for engine in &mut fleet.engines {
                drain(&self.http, &gateway.url, engine).await?;
            }
        }
        let client = Client { http: self.http.clone(), clock: self.clock, speed: 1.0, gateway: gateway.url.clone() };
        Ok(Scene { client, gateway })
    }
}
