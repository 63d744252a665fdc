//! Where NIXL's library may be.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// Names the library, or a folder that holds it.
pub(super) const VARIABLE: &str = "LLMD_NIXL_LIBRARY";

/// The library with NIXL's C interface.
const LIBRARY: &str = "libnixl_capi.so";

/// Where NIXL's wheels keep it, below `site-packages`.
const IN_WHEELS: [&str; 2] = [".nixl_cu13.mesonpy.libs", ".nixl_cu12.mesonpy.libs"];

/// Where NIXL installs itself when it is built from source.
const PREFIX: &str = "/opt/nvidia/nvda_nixl";

/// Every path to try, in order. Who names one gets that and no other.
pub(super) fn candidates(named: Option<&Path>) -> Vec<PathBuf> {
    if let Some(named) = named.map(Path::to_path_buf).or_else(|| env::var_os(VARIABLE).map(PathBuf::from)) {
        return if named.is_dir() { within(&named) } else { vec![named] };
    }
    let mut all = vec![PathBuf::from(LIBRARY)];
    let libraries = [format!("lib/{}-linux-gnu", env::consts::ARCH), "lib64".to_owned(), "lib".to_owned()];
    all.extend(libraries.iter().map(|folder| Path::new(PREFIX).join(folder).join(LIBRARY)));
    if let Some(environment) = env::var_os("VIRTUAL_ENV") {
        all.extend(site_packages(Path::new(&environment)).iter().flat_map(|packages| within(packages)));
    }
    all
}

/// What a folder may hold: the library itself, or the wheels.
fn within(folder: &Path) -> Vec<PathBuf> {
    let wheels = IN_WHEELS.iter().map(|wheel| folder.join(wheel).join(LIBRARY));
    std::iter::once(folder.join(LIBRARY)).chain(wheels).collect()
}

/// The folders of packages of a Python environment.
fn site_packages(environment: &Path) -> Vec<PathBuf> {
    let versions = fs::read_dir(environment.join("lib")).into_iter().flatten().flatten();
    let mut folders: Vec<_> = versions.map(|entry| entry.path().join("site-packages")).filter(|p| p.is_dir()).collect();
    folders.sort_unstable();
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_named_is_the_only_one_tried() {
        let named = Path::new("somewhere/libnixl_capi.so");

        assert_eq!(candidates(Some(named)), [named]);
    }

    #[test]
    fn a_folder_that_is_named_may_hold_the_library_or_the_wheels() {
        let folder = env::temp_dir();
        let tried = candidates(Some(&folder));

        assert_eq!(tried[0], folder.join("libnixl_capi.so"));
        assert_eq!(tried.len(), 3);
        assert!(tried.iter().all(|path| path.starts_with(&folder) && path.ends_with("libnixl_capi.so")), "{tried:?}");
    }
}
