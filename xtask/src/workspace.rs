//! Where things are: the checkout, what cargo builds, the user's cache.

use std::env;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::failure::{Failure, OrFail as _, Result};
use crate::run::{capture, cargo};

/// This checkout, as cargo sees it.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    metadata: Value,
}

impl Workspace {
    /// Asks cargo.
    ///
    /// # Errors
    ///
    /// When a manifest cannot be read.
    pub(crate) fn load() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_owned();
        let said = capture(&mut cargo(&root, ["metadata", "--no-deps", "--format-version", "1"]))?;
        let metadata: Value = serde_json::from_str(&said).or_fail(|| "cargo metadata wrote no JSON".into())?;
        let target = metadata["target_directory"].as_str().ok_or_else(|| Failure::new("cargo names no target"))?.into();
        Ok(Self { root, target, metadata })
    }

    /// The features of `package`, without `default`.
    pub(crate) fn features(&self, package: &str) -> Vec<&str> {
        let packages = self.metadata["packages"].as_array().into_iter().flatten();
        let features = packages.filter(|each| each["name"] == package).filter_map(|each| each["features"].as_object());
        features.flat_map(|features| features.keys()).map(String::as_str).filter(|name| *name != "default").collect()
    }
}

/// The folder for what is large and can always be made again: `LLMD_CACHE`, or `llmd` in the user's cache folder.
///
/// # Errors
///
/// When the environment names none.
pub(crate) fn cache() -> Result<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("LLMD_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|folder| folder.join("llmd")))
        .or_else(|| set("HOME").map(|home| home.join(".cache").join("llmd")))
        .ok_or_else(|| Failure::new("no folder for caches: set HOME, XDG_CACHE_HOME or LLMD_CACHE"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_says_which_features_a_package_has() {
        let workspace = Workspace::load().unwrap();

        assert!(workspace.features("llmd-core").contains(&"testing"));
        assert!(workspace.features("no-such-package").is_empty());
        assert!(workspace.root.join("xtask").is_dir());
    }
}
