//! The Python package as a development build has it: the extension that cargo built for the tests, beside the package's
//! own files, in a folder of this checkout. Nothing is installed, and nothing is built twice.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, OrFail as _, Result};
use crate::workspace::Workspace;

/// Where the package's own files are.
pub(crate) const SOURCES: &str = "llmd-py/python/llmd_py";

/// The extension's name where Python looks for it.
const EXTENSION: &str = "_native.abi3.so";

/// Stages the package as the development profile has it, and gives the folder to put into `PYTHONPATH`. Links lead to the
/// files, so that an edit of one is seen at once.
///
/// # Errors
///
/// When cargo has not built the extension with that profile, or a folder cannot be written.
pub(crate) fn stage(workspace: &Workspace) -> Result<PathBuf> {
    stage_of(workspace, "debug", "xtask/python")
}

/// The same as the release profile has it.
///
/// # Errors
///
/// Those of [`stage`].
pub(crate) fn stage_released(workspace: &Workspace) -> Result<PathBuf> {
    stage_of(workspace, "release", "xtask/python-release")
}

fn stage_of(workspace: &Workspace, built_in: &str, folder: &str) -> Result<PathBuf> {
    // Among the dependencies, where building the tests leaves it too.
    let built = workspace.target.join(built_in).join("deps").join(format!("{DLL_PREFIX}_native{DLL_SUFFIX}"));
    if !built.is_file() {
        return Err(Failure::new(format!("{} is not there: `cargo build -p llmd-py` makes it", built.display())));
    }
    let folder = workspace.target.join(folder);
    stage_in(&folder, &workspace.root.join(SOURCES), &built)
        .or_fail(|| format!("cannot stage the package in {}", folder.display()))?;
    Ok(folder)
}

fn stage_in(folder: &Path, sources: &Path, built: &Path) -> std::io::Result<()> {
    let package = folder.join("llmd_py");
    if package.exists() {
        fs::remove_dir_all(&package)?;
    }
    fs::create_dir_all(&package)?;
    for entry in fs::read_dir(sources)? {
        let file = entry?.path();
        let Some(name) = file.file_name() else { continue };
        // An extension that `maturin develop` left there, and `__pycache__`, stay behind.
        let is_source = file.extension().is_some_and(|end| end == "py" || end == "pyi" || end == "typed");
        if is_source || (file.is_dir() && file.join("__init__.py").is_file()) {
            symlink(&file, package.join(name))?;
        }
    }
    symlink(built, package.join(EXTENSION))
}

#[cfg(test)]
mod tests {
    use std::{env, process};

    use super::*;

    #[test]
    fn a_stage_holds_the_package_and_the_extension_that_was_built() {
        let scratch = env::temp_dir().join(format!("llmd-xtask-stage-{}", process::id()));
        let (sources, built) = (scratch.join("sources"), scratch.join("built.so"));
        fs::create_dir_all(sources.join("__pycache__")).unwrap();
        fs::create_dir_all(sources.join("vllm")).unwrap();
        for (file, text) in
            [("__init__.py", "new"), ("vllm/__init__.py", ""), ("py.typed", ""), ("_native.abi3.so", "old")]
        {
            fs::write(sources.join(file), text).unwrap();
        }
        fs::write(&built, "new").unwrap();

        stage_in(&scratch.join("stage"), &sources, &built).unwrap();
        stage_in(&scratch.join("stage"), &sources, &built).unwrap();

        let staged = scratch.join("stage/llmd_py");
        let mut names: Vec<_> = fs::read_dir(&staged).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["__init__.py", "_native.abi3.so", "py.typed", "vllm"]);
        assert_eq!(fs::read_to_string(staged.join(EXTENSION)).unwrap(), "new");
        fs::remove_dir_all(&scratch).unwrap();
    }
}
