//! Leaks and bad accesses, as valgrind's memcheck sees them. Its thread checkers know nothing of Rust's atomics and locks and
//! would cry wolf; the crates' own tests watch those.

use std::process::Command;

use crate::toolchain::{Language, Link, Program, fake_driver, is_installed, root, said};

/// Runs a program under memcheck: nothing is leaked, and nothing is read or written that is not there.
fn is_clean(path: &str, args: &[&str]) {
    if !is_installed("valgrind") {
        return;
    }
    let program = Program::compile(Language::C99, Link::Shared, path);
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite,indirect"]);
    said(valgrind.arg(program.path()).args(args).current_dir(root()));
}

#[test]
fn calling_every_function_leaks_nothing() {
    is_clean("llmd-c/tests/c/smoke.c", &[]);
}

#[test]
fn asking_for_numbers_leaks_nothing() {
    is_clean("llmd-c/tests/c/wide.c", &[]);
}

#[test]
fn stages_leak_nothing() {
    is_clean("llmd-c/tests/c/stages.c", &[]);
}

#[test]
fn wrong_calls_leak_nothing() {
    is_clean("llmd-c/tests/c/misuse.c", &[]);
}

#[test]
fn threads_leak_nothing() {
    is_clean("llmd-c/tests/c/threads.c", &["6"]);
}

#[test]
fn moving_blocks_leaks_nothing() {
    is_clean("llmd-c/tests/c/move_kv.c", &[]);
}

#[test]
fn devices_leak_nothing() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let driver = fake_driver(folder.path()).display().to_string();
    let sockets = folder.path().join("sockets").display().to_string();
    is_clean("llmd-c/tests/c/devices.c", &[&driver, &sockets]);
}
