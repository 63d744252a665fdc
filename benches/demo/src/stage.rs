//! The stage: programs, folders and settings that every part runs with, and a fleet with its gateway for each part.

use std::fs;
use std::path::{Path, PathBuf};

use llmd_core::{Error, ErrorKind, Result};

use crate::args::Args;
use crate::client::Client;
use crate::clock::Clock;
use crate::fleet::{BLOCK_SIZE, Fleet, FleetSettings};
use crate::gateway::{Gateway, GatewayFiles};
use crate::http::Http;
use crate::policy::{Model, Policy};

/// The tokenizer of the fleet's model, in the repository.
const TOKENIZER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fleet/tokenizer/tokenizer.json");

/// Tokens under way at which an engine counts as busy as can be.
const QUEUE_TOKENS: usize = 65_536;

/// How engines are told of each other's KV, where they hand it over.
const CONNECTOR: &str = "nixlv2";

/// What every part runs with.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub(crate) clock: Clock,
    pub(crate) http: Http,
    pub(crate) fleet: FleetSettings,
    gateway_binary: PathBuf,
    /// Configurations, endpoints files and logs.
    run: PathBuf,
}

/// A fleet that serves behind a gateway. Dropping it ends both.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) client: Client,
    pub(crate) gateway: Gateway,
    pub(crate) fleet: Fleet,
}

impl Stage {
    /// Finds the programs and makes the folders.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when a program is missing or the folder for output cannot be written.
    pub(crate) fn set(args: &Args, engines: usize, clock: Clock, blocks: usize) -> Result<Self> {
        let (bin_dir, run) = (bin_dir(args)?, run_folder(args)?);
        let fleet = FleetSettings {
            binary: program(&bin_dir, "llmd-engine")?,
            tokenizer: PathBuf::from(TOKENIZER),
            engines,
            blocks,
            speed: args.speed,
            seed: args.seed,
            second_half: None,
        };
        Ok(Self { clock, http: Http::new(), fleet, gateway_binary: program(&bin_dir, "llmd-gateway")?, run })
    }

    /// Engine time per wall time.
    pub(crate) fn speed(&self) -> f64 {
        self.fleet.speed
    }

    /// The same stage with engines that run `slowdown` times slower.
    pub(crate) fn slowed(&self, slowdown: f64) -> Self {
        let mut stage = self.clone();
        stage.fleet.speed /= slowdown;
        stage
    }

    /// A fresh fleet with empty caches, and a fresh gateway with this policy in front of it. Its files are called `name`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when one of them does not come up; what had come up is ended.
    pub(crate) async fn up(&self, policy: Policy, name: &str) -> Result<Scene> {
        let fleet = Fleet::start(&FleetSettings { second_half: policy.second_half(), ..self.fleet.clone() }).await?;
        let model =
            Model { tokenizer: self.fleet.tokenizer.clone(), block_size: BLOCK_SIZE, queue_tokens: QUEUE_TOKENS };
        let config = policy.config(&model);
        let files = GatewayFiles::write(&self.run, name, &config, &fleet.endpoints_file())?;
        let gateway =
            Gateway::start(&self.gateway_binary, &files, policy.second_half().map(|_| CONNECTOR), &self.http).await?;
        let client = Client {
            http: self.http.clone(),
            clock: self.clock,
            speed: self.fleet.speed,
            gateway: gateway.url.clone(),
        };
        Ok(Scene { client, gateway, fleet })
    }
}

/// Where the programs are.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] when this program does not know where it lies.
pub(crate) fn bin_dir(args: &Args) -> Result<PathBuf> {
    if let Some(folder) = &args.bin_dir {
        return Ok(folder.clone());
    }
    let own = std::env::current_exe().map_err(|error| {
        Error::new(ErrorKind::Unavailable, "where this program lies is not known: say --bin-dir").with_source(error)
    })?;
    Ok(own.parent().map_or_else(PathBuf::new, Path::to_path_buf))
}

/// The folder for configurations, endpoints files and logs, which is made.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] when it cannot be written.
pub(crate) fn run_folder(args: &Args) -> Result<PathBuf> {
    let run = args.out.join("run");
    fs::create_dir_all(&run).map_err(|error| {
        let advice = "choose another folder with --out";
        Error::new(ErrorKind::Unavailable, format!("cannot make the folder {}: {error}; {advice}", run.display()))
    })?;
    Ok(run)
}

/// The program of this name.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] when it is missing.
pub(crate) fn program(folder: &Path, name: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    if path.is_file() {
        return Ok(path);
    }
    let advice = "build it with `cargo xtask demo`, or say where it is with --bin-dir";
    Err(Error::new(ErrorKind::Unavailable, format!("{} is missing: {advice}", path.display())))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn a_missing_program_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let (bin, out) = (folder.path().join("bin"), folder.path().join("out"));
        let line = ["llmd-demo".as_ref(), "--bin-dir".as_ref(), bin.as_os_str(), "--out".as_ref(), out.as_os_str()];
        let error = Stage::set(&Args::parse_from(line), 4, Clock::start(), 100).unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let expected = "llmd-engine is missing: build it with `cargo xtask demo`, or say where it is with --bin-dir";
        assert!(error.to_string().ends_with(expected), "{error}");
    }
}
