//! Running other programs: what is run is shown, and what fails says how to run it again by hand.

use std::env;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::failure::{Failure, Result};

/// The cargo that runs this program, in `directory`.
pub(crate) fn cargo<S: AsRef<OsStr>>(directory: &Path, args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    forget_package(command.current_dir(directory).args(args));
    command
}

/// Keeps from `command` what cargo says about this program to this program: it would make cargo compile others anew.
pub(crate) fn forget_package(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if let Some(name) = name.to_str()
            && (name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            command.env_remove(name);
        }
    }
}

/// Shows and runs `command`; it talks to the terminal itself.
///
/// # Errors
///
/// When it cannot be started or does not succeed.
pub(crate) fn run(command: &mut Command) -> Result {
    eprintln!("$ {}", shown(command));
    let status = command.stdin(Stdio::null()).status().map_err(|error| not_started(command, &error))?;
    if status.success() { Ok(()) } else { Err(Failure::new(format!("`{}` failed ({status})", shown(command)))) }
}

/// Runs `command` silently and gives what it wrote, without the line's end.
///
/// # Errors
///
/// When it cannot be started or does not succeed; the last line of what it said is part of the message.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| not_started(command, &error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").trim();
        return Err(Failure::new(format!("`{}` failed ({}): {last}", shown(command), output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// Why `command` could not be started.
pub(crate) fn not_started(command: &Command, error: &std::io::Error) -> Failure {
    let program = command.get_program().display();
    if error.kind() == ErrorKind::NotFound {
        Failure::new(format!("{program} is not installed, or not in PATH"))
    } else {
        Failure::new(format!("cannot start {program}: {error}"))
    }
}

/// The command as one would type it, without the folder of the program.
pub(crate) fn shown(command: &Command) -> String {
    let program = command.get_program();
    let program = Path::new(program).file_name().unwrap_or(program);
    let words = std::iter::once(program).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let failure = run(&mut Command::new("llmd-no-such-program")).unwrap_err();

        assert_eq!(failure.to_string(), "llmd-no-such-program is not installed, or not in PATH");
    }

    #[test]
    fn a_program_that_fails_says_its_last_words() {
        let failure = capture(Command::new("sh").args(["-c", "echo first >&2; echo last >&2; exit 3"])).unwrap_err();

        assert!(failure.to_string().ends_with("failed (exit status: 3): last"), "{failure}");
    }
}
