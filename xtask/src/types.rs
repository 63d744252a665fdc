//! What type checkers say: of the Python files as they stand, and of the stubs beside the extension.

use std::env::join_paths;
use std::path::Path;
use std::process::Command;

use crate::extension::SOURCES;
use crate::failure::{OrFail as _, Result};
use crate::run::run;
use crate::workspace::Workspace;

/// Folders with nothing left untyped.
const STRICT: [&str; 3] = [SOURCES, "llmd-py/tests", "tests/python"];

/// Examples are written as their readers would write them: what they call is checked, what they define need not be typed.
const LENIENT: [&str; 1] = ["examples/python"];

/// Where modules are found that others name.
const PATH: [&str; 2] = ["llmd-py/python", "tests/python"];

/// What else mypy is told.
const SETTINGS: &str = "llmd-py/pyproject.toml";

/// Where stub and extension may differ, and why.
const ALLOWED: &str = "llmd-py/stubtest.txt";

/// Checks every folder by itself: names such as `conftest` stand in several.
///
/// # Errors
///
/// When mypy finds something.
pub(crate) fn check(workspace: &Workspace, python: &Path) -> Result {
    let folders = STRICT.iter().map(|folder| (folder, true)).chain(LENIENT.iter().map(|folder| (folder, false)));
    for (folder, strict) in folders {
        let mut mypy = mypy(workspace, python, &["mypy"])?;
        mypy.args(["--config-file", SETTINGS]).arg("--cache-dir").arg(workspace.target.join("xtask/mypy"));
        mypy.args(if strict { ["--strict"].as_slice() } else { &["--check-untyped-defs", "--allow-untyped-globals"] });
        mypy.arg(folder);
        run(&mut mypy)?;
    }
    Ok(())
}

/// Compares the stubs with the package in `stage`, as it is when it is imported.
///
/// # Errors
///
/// When they differ.
pub(crate) fn compare_stubs(workspace: &Workspace, python: &Path, stage: &Path) -> Result {
    let mut stubtest = mypy(workspace, python, &["mypy.stubtest", "--concise", "--allowlist", ALLOWED])?;
    stubtest.args(["--mypy-config-file", SETTINGS]);
    run(stubtest.env("PYTHONPATH", stage).env("MYPYPATH", stage).arg("llmd_py"))
}

fn mypy(workspace: &Workspace, python: &Path, program: &[&str]) -> Result<Command> {
    let path = join_paths(PATH.map(|folder| workspace.root.join(folder))).or_fail(|| "the checkout's path".into())?;
    let mut command = Command::new(python);
    command.current_dir(&workspace.root).env("MYPYPATH", path).arg("-m").args(program);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_that_is_checked_is_there() {
        let root = Workspace::load().unwrap().root;
        for folder in STRICT.iter().chain(&LENIENT).chain(&PATH) {
            assert!(root.join(folder).is_dir(), "{folder}");
        }
        assert!(root.join(ALLOWED).is_file() && root.join(SETTINGS).is_file());
    }
}
