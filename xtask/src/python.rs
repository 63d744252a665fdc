//! The Python environments of the tests and of the wheel's tools, made from pinned lists; and what every environment
//! begins with.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{OrFail as _, Result};
use crate::kept;
use crate::run::{capture, run};
use crate::workspace::Workspace;

/// What the tests need, with versions.
const REQUIREMENTS: &str = "tests/python/requirements.txt";

/// What builds the wheel, with versions.
const TOOLS: &str = "llmd-py/requirements-dev.txt";

/// Where the Python of an environment is in its folder.
pub(crate) const PROGRAM: &str = "bin/python";

/// The Python of the tests.
///
/// # Errors
///
/// Those of [`of_list`].
pub(crate) fn environment(workspace: &Workspace) -> Result<PathBuf> {
    of_list(workspace, REQUIREMENTS)
}

/// The Python that has maturin and zig.
///
/// # Errors
///
/// Those of [`of_list`].
pub(crate) fn tools(workspace: &Workspace) -> Result<PathBuf> {
    of_list(workspace, TOOLS)
}

/// The Python of an environment that holds exactly what `list` says; it is made when it is not there.
///
/// # Errors
///
/// When there is no Python with its `venv` module, or a package cannot be had.
fn of_list(workspace: &Workspace, list: &str) -> Result<PathBuf> {
    let list = workspace.root.join(list);
    let pinned = fs::read(&list).or_fail(|| format!("cannot read {}", list.display()))?;
    let base = Base::find()?;
    let folder = kept::folder("python", &[base.version.as_bytes(), &pinned], PROGRAM, |folder| {
        let python = base.environment(folder)?;
        run(pip(&python).arg("--requirement").arg(&list))
    })?;
    Ok(folder.join(PROGRAM))
}

/// The Python of this machine: `PYTHON`, or `python3`.
#[derive(Debug)]
pub(crate) struct Base {
    program: OsString,
    /// As it says it: `Python 3.11.7`.
    pub(crate) version: String,
}

impl Base {
    /// # Errors
    ///
    /// When it does not start.
    pub(crate) fn find() -> Result<Self> {
        let program = env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
        let version = capture(Command::new(&program).arg("--version"))?;
        Ok(Self { program, version })
    }

    /// Makes an environment that holds pip and nothing else, and gives its Python.
    ///
    /// # Errors
    ///
    /// When the `venv` module is not there.
    pub(crate) fn environment(&self, folder: &Path) -> Result<PathBuf> {
        run(Command::new(&self.program).args(["-m", "venv"]).arg(folder)).or_fail(|| {
            "no Python environment; on Debian and Ubuntu `apt install python3-venv` gives what it takes".into()
        })?;
        Ok(folder.join(PROGRAM))
    }
}

/// `pip install`, to which the caller says what.
pub(crate) fn pip(python: &Path) -> Command {
    let mut install = Command::new(python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    install
}

/// What a list of packages pins, a line each.
#[cfg(test)]
pub(crate) fn pins(list: &str) -> Vec<&str> {
    list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_a_list_pins_a_version() {
        for list in [REQUIREMENTS, TOOLS] {
            let list = Workspace::load().unwrap().root.join(list);
            let text = fs::read_to_string(list).unwrap();
            let pins = pins(&text);

            assert!(!pins.is_empty());
            assert!(pins.iter().all(|line| line.contains("==")), "{pins:?}");
        }
    }
}
