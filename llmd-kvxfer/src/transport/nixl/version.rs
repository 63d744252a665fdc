//! Which NIXL this is: two agents that have not the same may crash each other, and NIXL itself does not say.

use std::fs;
use std::path::Path;

use llmd_core::{Error, ErrorKind, Result};
use sha2::{Digest, Sha256};

use super::message::MAX_VERSION;

/// The version of the library at this path: as the wheel says that it came in, or else what the library's bytes add up to, and
/// those of the ones beside it that do its work.
pub(super) fn of_library(path: &Path) -> Result<String> {
    let folder = path.parent().filter(|folder| folder.is_dir()).ok_or_else(|| unknown(path, "lies nowhere known"))?;
    if let Some(version) = folder.parent().and_then(|packages| of_wheel(packages, folder)) {
        return Ok(version);
    }
    let mut sum = Sha256::new();
    for library in [path.to_path_buf(), folder.join("libnixl.so")] {
        match fs::read(&library) {
            Ok(bytes) => sum.update(&bytes),
            Err(cause) => return Err(unknown(&library, "cannot be read").with_source(cause)),
        }
    }
    let sum: String = sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("sha256:{sum}"))
}

/// That one version is the other.
pub(super) fn is_same(ours: &str, theirs: &str) -> Result<()> {
    if ours == theirs {
        return Ok(());
    }
    let message = format!("a peer with NIXL {theirs}, expected {ours}: agents of two versions crash each other");
    Err(Error::new(ErrorKind::Unsupported, message))
}

/// One that somebody names.
pub(super) fn named(version: &str) -> Result<String> {
    if version.is_empty() || version.len() > MAX_VERSION {
        let message = format!("a version of {} bytes, expected 1 to {MAX_VERSION}", version.len());
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    Ok(version.to_owned())
}

/// What the wheel in these packages is named by whose libraries lie in this folder: `.nixl_cu12.mesonpy.libs` is that of
/// `nixl_cu12-1.5.1.dist-info`.
fn of_wheel(packages: &Path, libraries: &Path) -> Option<String> {
    let wheel = libraries.file_name()?.to_str()?.strip_prefix('.')?.strip_suffix(".mesonpy.libs")?;
    let names = fs::read_dir(packages).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut versions = names
        .filter_map(|name| Some(name.strip_suffix(".dist-info")?.strip_prefix(wheel)?.strip_prefix('-')?.to_owned()));
    versions.next().filter(|version| named(version).is_ok())
}

fn unknown(path: &Path, why: &str) -> Error {
    let message = format!("the version of NIXL at {}: it {why}; name the version", path.display());
    Error::new(ErrorKind::Unsupported, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wheel_says_its_version_and_other_libraries_are_known_by_their_bytes() {
        let packages = std::env::temp_dir().join(format!("llmd-nixl-version-{}", std::process::id()));
        let libraries = packages.join(".nixl_cu12.mesonpy.libs");
        fs::create_dir_all(&libraries).unwrap();
        let library = libraries.join("libnixl_capi.so");
        assert_eq!(of_library(&library).unwrap_err().kind(), ErrorKind::Unsupported);
        fs::write(&library, "of one").unwrap();
        fs::write(libraries.join("libnixl.so"), "of one").unwrap();
        let one = of_library(&library).unwrap();
        fs::write(libraries.join("libnixl.so"), "of another").unwrap();
        let another = of_library(&library).unwrap();
        assert!(one.starts_with("sha256:") && one.len() == 7 + 64 && one != another);

        fs::create_dir_all(packages.join("nixl_cu12-1.5.1.dist-info")).unwrap();
        fs::create_dir_all(packages.join("nixl_cu13-1.6.0.dist-info")).unwrap();
        let version = of_library(&library);
        fs::remove_dir_all(&packages).unwrap();
        assert_eq!(version.unwrap(), "1.5.1");
    }

    #[test]
    fn another_version_is_refused_by_name() {
        assert!(is_same("1.5.1", "1.5.1").is_ok());
        assert_eq!(
            is_same("1.5.1", "1.3.1").unwrap_err().to_string(),
            "a peer with NIXL 1.3.1, expected 1.5.1: agents of two versions crash each other"
        );
        assert_eq!(named("").unwrap_err().kind(), ErrorKind::Invalid);
    }
}
