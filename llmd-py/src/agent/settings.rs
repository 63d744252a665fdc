//! What an agent is made with, from Python's keyword arguments.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use llmd_kvxfer::{Agent, Check};

/// What an agent is made with; what was not given has the crate's default.
#[derive(Debug)]
pub(super) struct Settings<'a> {
    pub(super) transports: Option<Vec<String>>,
    pub(super) tenant: Option<String>,
    pub(super) key: Option<Vec<u8>>,
    pub(super) serve: BTreeMap<String, Vec<u8>>,
    pub(super) check: &'a str,
    pub(super) folder: Option<PathBuf>,
    pub(super) copy_threads: Option<usize>,
    pub(super) spin: Option<Duration>,
    pub(super) max_leases: Option<usize>,
    pub(super) max_operations: Option<usize>,
}

impl Settings<'_> {
    /// The agent.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for settings that make no sense, and what a transport says that cannot begin.
    pub(super) fn build(self, name: String) -> Result<Agent> {
        let mut builder = Agent::builder(name).check(check(self.check)?);
        builder = match (self.tenant, self.key) {
            (None, None) => builder,
            (Some(tenant), Some(key)) => builder.tenant(tenant, &key),
            (Some(tenant), None) => return Err(invalid(format!("tenant is {tenant:?} without key, expected both"))),
            (None, Some(_)) => return Err(invalid("key is given without tenant, expected both".into())),
        };
        for (tenant, key) in &self.serve {
            builder = builder.serve(tenant, key);
        }
        if let Some(threads) = self.copy_threads {
            builder = builder.copy_threads(threads);
        }
        if let Some(spin) = self.spin {
            builder = builder.spin(spin);
        }
        if let Some(leases) = self.max_leases {
            builder = builder.max_leases(leases);
        }
        if let Some(operations) = self.max_operations {
            builder = builder.max_operations(operations);
        }
        let transports = self.transports.unwrap_or_else(|| vec!["shm".to_owned()]);
        for transport in transports {
            builder = builder.transport_named(&transport, self.folder.as_deref())?;
        }
        builder.build()
    }
}

fn check(word: &str) -> Result<Check> {
    match word {
        "always" => Ok(Check::Always),
        "off" => Ok(Check::Off),
        "remote" => Ok(Check::Remote),
        _ => Err(invalid(format!("check is {word:?}, expected \"always\", \"remote\" or \"off\""))),
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}
