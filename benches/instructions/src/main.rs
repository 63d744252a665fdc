//! The hot paths, each done a few times, so that callgrind can count how many instructions one time takes.
//!
//! Without arguments it lists its paths, one a line, with how often each is done; with the name of one it does it. What is
//! to be counted happens inside [`counted`]: `valgrind --tool=callgrind --toggle-collect='*counted*'`. `cargo xtask check`
//! does so and compares with `counts.txt`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program on the command line talks to its user")]

mod decide;
mod decode;
mod hash;
mod index;
mod prompt;

use std::env;
use std::process::ExitCode;

/// How often a path is done.
const TIMES: usize = 10;

/// One hot path: prepares what it needs, and counts what it does [`TIMES`] times.
type Path = (&'static str, fn());

const PATHS: [Path; 8] = [
    ("hash.1024_tokens", hash::chain),
    ("hash.1024_tokens_portable", hash::chain_portable),
    ("index.query_512x64", index::query),
    ("index.store_512_new", index::store_new),
    ("index.store_512_shared", index::store_shared),
    ("index.remove_512_single", index::remove_single),
    ("events.decode_512_blocks", decode::batch),
    ("decide.64_endpoints", decide::among_64),
];

/// Does something whose instructions count.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    work();
}

fn main() -> ExitCode {
    let Some(wanted) = env::args().nth(1) else {
        PATHS.iter().for_each(|(name, _)| println!("{name} {TIMES}"));
        return ExitCode::SUCCESS;
    };
    let Some((_, path)) = PATHS.iter().find(|(name, _)| *name == wanted) else {
        eprintln!("{wanted}: no such path; without arguments, all are listed");
        return ExitCode::FAILURE;
    };
    path();
    ExitCode::SUCCESS
}
