//! The Python environment of the tests: made from a pinned list, outside the checkout, and anew whenever in doubt.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{OrFail as _, Result};
use crate::run::{capture, run};
use crate::workspace::{Workspace, cache};

/// What the environment holds, with versions.
const REQUIREMENTS: &str = "tests/python/requirements.txt";

/// The Python of an environment that holds exactly what [`REQUIREMENTS`] says; it is made when it is not there.
///
/// The folder is named after the list and the version of Python, and a stamp is written last: what has no stamp was
/// interrupted and is made anew. Two runs at the same time wait for each other.
///
/// # Errors
///
/// When there is no Python with its `venv` module, or a package cannot be had.
pub(crate) fn environment(workspace: &Workspace) -> Result<PathBuf> {
    let list = workspace.root.join(REQUIREMENTS);
    let pinned = fs::read(&list).or_fail(|| format!("cannot read {}", list.display()))?;
    let python = env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
    let version = capture(Command::new(&python).arg("--version"))?;

    let cache = cache()?;
    fs::create_dir_all(&cache).or_fail(|| format!("cannot make {}", cache.display()))?;
    let folder = cache.join(format!("python-{:016x}", fnv1a(&[version.as_bytes(), &pinned])));
    let lock = folder.with_extension("lock");
    let lock = File::create(&lock).or_fail(|| format!("cannot write {}", lock.display()))?;
    lock.lock().or_fail(|| "cannot lock the Python environment".into())?;

    let interpreter = folder.join("bin").join("python");
    let stamp = folder.join("complete");
    if !(stamp.is_file() && interpreter.is_file()) {
        if folder.exists() {
            fs::remove_dir_all(&folder).or_fail(|| format!("cannot remove {}", folder.display()))?;
        }
        make(&python, &folder, &interpreter, &list)?;
        fs::write(&stamp, &version).or_fail(|| format!("cannot write {}", stamp.display()))?;
    }
    Ok(interpreter)
}

fn make(python: &std::ffi::OsStr, folder: &Path, interpreter: &Path, list: &Path) -> Result {
    run(Command::new(python).args(["-m", "venv"]).arg(folder)).or_fail(|| {
        "no Python environment; on Debian and Ubuntu `apt install python3-venv` gives what it takes".into()
    })?;
    let mut install = Command::new(interpreter);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(list);
    run(&mut install)
}

/// FNV-1a, 64 bits, over `parts` and where each ends: a name that stays the same between runs and compilers.
fn fnv1a(parts: &[&[u8]]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.iter().copied().chain((part.len() as u64).to_le_bytes()));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_list_or_another_python_is_another_environment() {
        let name = fnv1a(&[b"Python 3.11.7", b"pytest==9.2.0\n"]);

        assert_eq!(name, fnv1a(&[b"Python 3.11.7", b"pytest==9.2.0\n"]));
        assert_ne!(name, fnv1a(&[b"Python 3.12.0", b"pytest==9.2.0\n"]));
        assert_ne!(name, fnv1a(&[b"Python 3.11.7", b"pytest==9.1.0\n"]));
        assert_ne!(fnv1a(&[b"ab", b"c"]), fnv1a(&[b"a", b"bc"]));
    }

    #[test]
    fn every_line_of_the_list_pins_a_version() {
        let list = Workspace::load().unwrap().root.join(REQUIREMENTS);
        let text = fs::read_to_string(list).unwrap();
        let pins: Vec<_> = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();

        assert!(!pins.is_empty());
        assert!(pins.iter().all(|line| line.contains("==")), "{pins:?}");
    }
}
