//! The tools that are used where they are installed, and how to get them where they are not.

use std::env;
use std::path::PathBuf;

/// A tool that nothing here depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tool {
    /// The program.
    pub(crate) program: &'static str,
    /// What it gives.
    pub(crate) gives: &'static str,
    /// What to type to get it.
    pub(crate) install: &'static str,
}

pub(crate) const NEXTEST: Tool = Tool {
    program: "cargo-nextest",
    gives: "runs tests in parallel processes and says which is slow",
    install: "cargo install cargo-nextest --locked",
};

pub(crate) const DENY: Tool = Tool {
    program: "cargo-deny",
    gives: "checks licences, advisories and sources of dependencies",
    install: "cargo install cargo-deny --locked",
};

pub(crate) const VALGRIND: Tool = Tool {
    program: "valgrind",
    gives: "counts instructions where wall time is too noisy",
    install: "your system's package manager has it: valgrind",
};

/// Every tool, in the order in which one would want them.
pub(crate) const ALL: [Tool; 3] = [NEXTEST, DENY, VALGRIND];

impl Tool {
    pub(crate) fn is_installed(self) -> bool {
        find(self.program).is_some()
    }
}

/// Where `program` lies, when it is in `PATH` or among cargo's own programs.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home = cargo_home.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let folders = env::split_paths(&path).chain(cargo_home.map(|home| home.join("bin")));
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_path_is_found_and_what_is_nowhere_is_not() {
        assert!(find("sh").is_some());
        assert!(find("llmd-no-such-program").is_none());
    }
}
