//! The library as `cargo xtask install-c` lays it out, found by pkg-config and CMake where those are installed.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::toolchain::{built, is_installed, root, said};

/// Installs what this test was built with; gives the prefix, which has been moved since.
fn installed() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let (first, then) = (folder.path().join("first"), folder.path().join("then"));
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).args(["run", "--quiet", "--package", "xtask", "--", "install-c", "--prefix"]).arg(&first);
    cargo.arg("--built").arg(built());
    said(&mut cargo);
    // A second time in the same place, as whoever updates does.
    said(&mut cargo);
    fs::rename(first, &then).expect("it was installed");
    (folder, then)
}

/// What pkg-config answers, or what it would.
fn asked(prefix: &Path, package: &str, what: &[&str]) -> Vec<String> {
    let folder = prefix.join("lib/pkgconfig");
    let answer = if is_installed("pkg-config") {
        said(Command::new("pkg-config").env("PKG_CONFIG_PATH", folder).args(what).arg(package))
    } else {
        let file = fs::read_to_string(folder.join(package).with_extension("pc")).expect("it was installed");
        let of = |key: &str| file.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().to_owned();
        let answer = [of("Cflags:"), of("Libs:")].join(" ");
        let at = |name: &str| prefix.join(name).display().to_string();
        answer.replace("${includedir}", &at("include")).replace("${libdir}", &at("lib"))
    };
    answer.split_whitespace().map(str::to_owned).collect()
}

fn example(compiler: &mut Command, program: &Path) {
    said(compiler.arg("-o").arg(program));
}

#[test]
fn a_program_finds_the_shared_and_the_static_library_by_pkg_config() {
    let (folder, prefix) = installed();
    let program = folder.path().join("program");
    let source = root().join("examples/c/who_holds_this_prompt.c");
    let starts = "pod-7 holds 6 leading blocks\n";

    let flags = asked(&prefix, "llmd", &["--cflags", "--libs"]);
    example(Command::new("cc").arg(&source).args(flags), &program);
    let mut shared = Command::new(&program);
    shared.current_dir(root()).env("LD_LIBRARY_PATH", prefix.join("lib"));
    assert!(said(&mut shared).starts_with(starts));
    // It is bound to the name with the version, and not to the one that the compiler looks for.
    fs::remove_file(prefix.join("lib/libllmd.so")).unwrap();
    assert!(said(&mut shared).starts_with(starts));

    let flags = asked(&prefix, "llmd-static", &["--cflags", "--libs"]);
    example(Command::new("cc").arg(&source).args(flags), &program);
    fs::remove_dir_all(prefix).unwrap();
    assert!(said(Command::new(&program).current_dir(root())).starts_with(starts));
}

#[test]
fn a_project_finds_both_targets_by_cmake() {
    if !is_installed("cmake") {
        return;
    }
    let (folder, prefix) = installed();
    let source = root().join("examples/c/who_holds_this_prompt.c");
    let project = format!(
        "cmake_minimum_required(VERSION 3.10)\nproject(try C)\nfind_package(llmd {} REQUIRED)\n\
         add_executable(shared {source})\ntarget_link_libraries(shared llmd::llmd)\n\
         add_executable(static {source})\ntarget_link_libraries(static llmd::static)\n",
        env!("CARGO_PKG_VERSION"),
        source = source.display()
    );
    let (here, there) = (folder.path().join("project"), folder.path().join("build"));
    fs::create_dir(&here).unwrap();
    fs::write(here.join("CMakeLists.txt"), project).unwrap();
    let found = format!("-DCMAKE_PREFIX_PATH={}", prefix.display());
    said(Command::new("cmake").arg("-S").arg(&here).arg("-B").arg(&there).arg(found));
    said(Command::new("cmake").arg("--build").arg(&there));

    for program in ["shared", "static"] {
        let answer = said(Command::new(there.join(program)).current_dir(root()));
        assert!(answer.starts_with("pod-7 holds 6 leading blocks\n"), "{answer}");
    }
}
