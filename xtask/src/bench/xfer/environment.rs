//! The Python that has NIXL and Mooncake.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Failure, OrFail as _, Result};
use crate::kept;
use crate::python::{self, Base, pip};
use crate::run::{capture, run};
use crate::workspace::Workspace;

const REQUIREMENTS: &str = "benches/xfer/peers/requirements.txt";

/// What Mooncake is linked with and does not bring along, and where it looks for what it brings along.
const LACKED: &str = "libibverbs.so.1";
const LOOKS_IN: &str = "mooncake_transfer_engine_non_cuda.libs";
/// Where NIXL's package has it, and the beginnings of the names of what that is linked with.
const LIES_IN: &str = "nixl_cu12.libs";
const LENT: [&str; 2] = ["libibverbs-", "libnl-"];

const IMPORTS: &str = "import nixl_cu12._api, mooncake.engine";

/// The Python of an environment with what `requirements.txt` pins; it is made when it is not there.
///
/// # Errors
///
/// When this is not Linux on x86-64, when there is no Python with its `venv` module, and when a package cannot be had.
pub(super) fn python(workspace: &Workspace) -> Result<PathBuf> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err(Failure::new(
            "NIXL and Mooncake are published for Linux on x86-64 only: leave them out with --quick",
        ));
    }
    let list = workspace.root.join(REQUIREMENTS);
    let pinned = fs::read(&list).or_fail(|| format!("cannot read {}", list.display()))?;
    let base = Base::find()?;
    let sources = [base.version.as_bytes(), &pinned, LACKED.as_bytes(), IMPORTS.as_bytes()];
    let folder = kept::folder("xfer", &sources, python::PROGRAM, |folder| make(&base, &list, folder))?;
    Ok(folder.join(python::PROGRAM))
}

fn make(base: &Base, list: &Path, folder: &Path) -> Result {
    eprintln!("NIXL and Mooncake for Python, 0.2 GB to download and 0.5 GB on disk");
    let python = base.environment(folder)?;
    run(pip(&python).arg("--no-deps").arg("--requirement").arg(list))?;
    let packages =
        capture(Command::new(&python).args(["-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]))?;
    lend(Path::new(&packages))?;
    run(Command::new(&python).args(["-c", IMPORTS])).or_fail(|| "what was installed does not load".into())
}

/// Links NIXL's copy of a library to where Mooncake looks for it: few systems without such hardware have one.
fn lend(packages: &Path) -> Result {
    let (from, to) = (packages.join(LIES_IN), packages.join(LOOKS_IN));
    let listed = fs::read_dir(&from).or_fail(|| format!("cannot read {}", from.display()))?;
    let names = listed.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let lent: Vec<_> = names.filter(|name| LENT.iter().any(|start| name.starts_with(start))).collect();
    let lacked = lent.iter().find(|name| name.starts_with(LENT[0]));
    let lacked = lacked.ok_or_else(|| Failure::new(format!("{} has no {}*", from.display(), LENT[0])))?;
    for (name, link) in lent.iter().map(|name| (name, name.as_str())).chain([(lacked, LACKED)]) {
        symlink(&from.join(name), &to.join(link)).or_fail(|| format!("cannot make {}", to.join(link).display()))?;
    }
    Ok(())
}

#[cfg(unix)]
fn symlink(original: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(original, link)
}

#[cfg(not(unix))]
fn symlink(original: &Path, link: &Path) -> std::io::Result<()> {
    fs::copy(original, link).map(drop)
}

#[cfg(test)]
mod tests {
    use std::{env, process};

    use super::*;
    use crate::python::pins;

    #[test]
    fn every_line_of_the_list_pins_a_version() {
        let text = fs::read_to_string(Workspace::load().unwrap().root.join(REQUIREMENTS)).unwrap();
        let pins = pins(&text);

        assert!(pins.contains(&"nixl==1.5.1") && pins.iter().all(|line| line.contains("==")), "{pins:?}");
    }

    #[test]
    fn mooncake_finds_the_library_that_nixl_brought() {
        let packages = env::temp_dir().join(format!("llmd-xtask-{}-lend", process::id()));
        for (folder, file) in [(LIES_IN, "libibverbs-1.so.1"), (LIES_IN, "libnl-3-2.so"), (LOOKS_IN, "libglog.so")] {
            fs::create_dir_all(packages.join(folder)).unwrap();
            fs::write(packages.join(folder).join(file), file).unwrap();
        }
        lend(&packages).unwrap();

        let read = |name| fs::read_to_string(packages.join(LOOKS_IN).join(name)).unwrap();
        assert_eq!(
            [LACKED, "libibverbs-1.so.1", "libnl-3-2.so"].map(read),
            ["libibverbs-1.so.1", "libibverbs-1.so.1", "libnl-3-2.so"]
        );
        fs::remove_dir_all(&packages).unwrap();
    }
}
