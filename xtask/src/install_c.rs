//! `cargo xtask install-c`: the C library where C programs look for one.

mod cmake;
mod pkg_config;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, OrFail as _, Result};
use crate::run::{cargo, run as run_command};
use crate::workspace::Workspace;

/// Builds the C library and installs it under a prefix.
///
/// Puts there `lib/libllmd.so` (with its versions), `lib/libllmd.a`, `include/llmd.h`, and what pkg-config and CMake look
/// for: `cc program.c $(pkg-config --cflags --libs llmd)`, `find_package(llmd)`. The installed folder can be moved. About
/// two minutes on two cores from nothing. Linux only.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to install, such as /usr/local
    #[arg(long)]
    prefix: PathBuf,
    /// Take the library from this folder, where it was built already
    #[arg(long, hide = true)]
    built: Option<PathBuf>,
}

/// What is installed, and under which names.
struct Release<'a> {
    /// Such as `0.1.0`.
    version: &'a str,
    /// The part of it that programs are bound to.
    abi: String,
}

/// What the static library needs of the system, as `rustc --print native-static-libs` says it on Linux.
pub(crate) const NATIVE: [&str; 7] = ["gcc_s", "util", "rt", "pthread", "m", "dl", "c"];

pub(crate) fn run(args: &Args) -> Result {
    if !cfg!(target_os = "linux") {
        return Err(Failure::new("install-c lays libraries out as Linux does; elsewhere, `cargo build -p llmd-c`"));
    }
    let workspace = Workspace::load()?;
    let built = match &args.built {
        Some(folder) => folder.clone(),
        None => {
            run_command(&mut cargo(&workspace.root, ["build", "--release", "--package", "llmd-c", "--lib"]))?;
            workspace.target.join("release")
        }
    };
    let release = Release::new(env!("CARGO_PKG_VERSION"));
    let (lib, include) = (args.prefix.join("lib"), args.prefix.join("include"));
    copy(&built.join("libllmd.so"), &lib.join(release.file()))?;
    link(&release.file(), &lib.join(release.soname()))?;
    link(&release.soname(), &lib.join("libllmd.so"))?;
    copy(&built.join("libllmd.a"), &lib.join("libllmd.a"))?;
    copy(&workspace.root.join("llmd-c/include/llmd.h"), &include.join("llmd.h"))?;
    write(&lib.join("pkgconfig/llmd.pc"), &pkg_config::shared(&release))?;
    write(&lib.join("pkgconfig/llmd-static.pc"), &pkg_config::static_only(&release))?;
    write(&lib.join("cmake/llmd/llmd-config.cmake"), &cmake::config(&release))?;
    write(&lib.join("cmake/llmd/llmd-config-version.cmake"), &cmake::version(&release))?;
    println!("llmd {} is installed in {}", release.version, args.prefix.display());
    Ok(())
}

impl<'a> Release<'a> {
    /// Until 1.0, programs are bound to the minor version too; `llmd-c/build.rs` says the same to the linker.
    fn new(version: &'a str) -> Self {
        let mut parts = version.split('.');
        let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let abi = if major == "0" { format!("0.{minor}") } else { major.to_owned() };
        Self { version, abi }
    }

    fn file(&self) -> String {
        format!("libllmd.so.{}", self.version)
    }

    fn soname(&self) -> String {
        format!("libllmd.so.{}", self.abi)
    }
}

fn folder_of(file: &Path) -> Result {
    let folder = file.parent().expect("what is installed lies below the prefix");
    fs::create_dir_all(folder).or_fail(|| format!("cannot make {}", folder.display()))
}

/// Copies, and gives the copy a file of its own: a program that runs keeps the old one.
fn copy(from: &Path, to: &Path) -> Result {
    folder_of(to)?;
    removed(to)?;
    fs::copy(from, to).map(drop).or_fail(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

fn link(target: &str, at: &Path) -> Result {
    removed(at)?;
    symlink(target, at).or_fail(|| format!("cannot make {}", at.display()))
}

fn write(file: &Path, text: &str) -> Result {
    folder_of(file)?;
    fs::write(file, text).or_fail(|| format!("cannot write {}", file.display()))
}

/// Makes room where something of an earlier installation is.
fn removed(file: &Path) -> Result {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::new(format!("cannot replace {}: {error}", file.display())))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_bound_to_what_does_not_break_them() {
        let bound = |version| Release::new(version).soname();

        assert_eq!([bound("0.1.7"), bound("1.4.2")], ["libllmd.so.0.1", "libllmd.so.1"]);
        assert_eq!(Release::new("0.1.7").file(), "libllmd.so.0.1.7");
    }
}
