//! What is for the shell to do, and is read for it.

use serde::Deserialize;

use super::fault::{Fault, Result};
use super::parsers::Parser;
use super::sources::HttpSource;

/// A plugin that the shell is.
#[derive(Clone, Debug)]
pub(super) enum Shell {
    Discovery(FileDiscovery),
    Parser(Parser),
    Source(HttpSource),
}

/// `file-discovery`: the endpoints are listed in a file.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct FileDiscovery {
    /// The file.
    pub path: String,
    /// Whether it is read again when it changes; not by default.
    pub watch: bool,
}

/// The parameters of `file-discovery`.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct FileDiscoveryParameters {
    path: String,
    #[serde(default)]
    watch_file: bool,
}

impl FileDiscovery {
    pub(super) fn new(parameters: FileDiscoveryParameters) -> Result<Self> {
        let FileDiscoveryParameters { path, watch_file: watch } = parameters;
        if path.is_empty() {
            return Err(Fault::invalid("an empty string where a file was expected").within("path"));
        }
        Ok(Self { path, watch })
    }
}
