//! Folders that take long to make and are kept outside the checkout, in the user's cache: each is made once for what it
//! is made from, and anew whenever in doubt.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::failure::{Failure, OrFail as _, Result};
use crate::stopwatch::Stopwatch;
use crate::workspace::cache;

/// The folder `kind` that was made from `sources` and has `program` in it; `make` makes it when it is not there.
///
/// It is named after the sources, and a stamp is written last: what has no stamp was interrupted and is made anew, and so
/// is what has lost its program. Two runs at the same time wait for each other. `make` is given a folder that does not
/// exist.
///
/// # Errors
///
/// Those of `make`, and when the cache cannot be written.
pub(crate) fn folder(
    kind: &str,
    sources: &[&[u8]],
    program: &str,
    make: impl FnOnce(&Path) -> Result,
) -> Result<PathBuf> {
    folder_in(&cache()?, kind, sources, program, make)
}

fn folder_in(
    cache: &Path,
    kind: &str,
    sources: &[&[u8]],
    program: &str,
    make: impl FnOnce(&Path) -> Result,
) -> Result<PathBuf> {
    fs::create_dir_all(cache).or_fail(|| format!("cannot make {}", cache.display()))?;
    let folder = cache.join(format!("{kind}-{:016x}", fnv1a(sources)));
    let _lock = locked(&folder.with_extension("lock"))?;
    let stamp = folder.join("complete");
    if stamp.is_file() && folder.join(program).is_file() {
        return Ok(folder);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).or_fail(|| format!("cannot remove {}", folder.display()))?;
    }
    eprintln!("making {}", folder.display());
    let stopwatch = Stopwatch::start();
    make(&folder)?;
    fs::write(&stamp, "").or_fail(|| format!("cannot write {}", stamp.display()))?;
    eprintln!("made {} in {:.0} s", folder.display(), stopwatch.elapsed().as_secs_f64());
    Ok(folder)
}

/// The lock that `path` names, for as long as the file is open.
fn locked(path: &Path) -> Result<File> {
    let lock = File::create(path).or_fail(|| format!("cannot write {}", path.display()))?;
    match lock.try_lock() {
        Ok(()) => return Ok(lock),
        Err(TryLockError::WouldBlock) => eprintln!("waiting for another run, which holds {}", path.display()),
        Err(TryLockError::Error(error)) => {
            return Err(Failure::new(format!("cannot lock {}: {error}", path.display())));
        }
    }
    lock.lock().or_fail(|| format!("cannot lock {}", path.display()))?;
    Ok(lock)
}

/// FNV-1a, 64 bits, over `parts` and where each ends: a name that stays the same between runs and compilers.
fn fnv1a(parts: &[&[u8]]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.iter().copied().chain((part.len() as u64).to_le_bytes()));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use std::{env, process};

    use super::*;

    /// A cache of its own for the test of this name, gone afterwards.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(test: &str) -> Self {
            Self(env::temp_dir().join(format!("llmd-xtask-{}-{test}", process::id())))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn another_source_is_another_name() {
        let name = fnv1a(&[b"Python 3.11.7", b"pytest==9.2.0\n"]);

        assert_eq!(name, fnv1a(&[b"Python 3.11.7", b"pytest==9.2.0\n"]));
        assert_ne!(name, fnv1a(&[b"Python 3.12.0", b"pytest==9.2.0\n"]));
        assert_ne!(name, fnv1a(&[b"Python 3.11.7", b"pytest==9.1.0\n"]));
        assert_ne!(fnv1a(&[b"ab", b"c"]), fnv1a(&[b"a", b"bc"]));
    }

    fn make(folder: &Path) -> Result {
        fs::create_dir(folder).or_fail(|| "cannot make it, or some of it is still there".into())?;
        fs::write(folder.join("program"), "").or_fail(|| "cannot write".into())
    }

    fn not_again(_: &Path) -> Result {
        Err(Failure::new("made again"))
    }

    #[test]
    fn what_is_complete_is_not_made_again() {
        let scratch = Scratch::new("complete");
        let made = folder_in(&scratch.0, "thing", &[b"1"], "program", make).unwrap();

        assert_eq!(folder_in(&scratch.0, "thing", &[b"1"], "program", not_again).unwrap(), made);
        assert!(folder_in(&scratch.0, "thing", &[b"2"], "program", not_again).is_err());

        fs::remove_file(made.join("program")).unwrap();
        assert!(folder_in(&scratch.0, "thing", &[b"1"], "program", not_again).is_err());
    }

    #[test]
    fn what_was_interrupted_is_made_anew() {
        let scratch = Scratch::new("interrupted");
        let interrupted = folder_in(&scratch.0, "thing", &[b"1"], "program", |folder| {
            make(folder)?;
            Err(Failure::new("interrupted"))
        });
        let made = folder_in(&scratch.0, "thing", &[b"1"], "program", make);

        assert_eq!(interrupted.unwrap_err().to_string(), "interrupted");
        assert!(made.unwrap().join("program").is_file());
    }
}
