//! What the C ABI and Python add to a call: builds the library, the package and a C program, and lets them take turns.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Map, Value};

use crate::failure::{Failure, OrFail as _, Result};
use crate::install_c::NATIVE;
use crate::run::{cargo, not_started, run as run_command, shown};
use crate::workspace::Workspace;
use crate::{extension, python};

/// What cargo builds for it.
const BUILD: [&str; 8] =
    ["build", "--release", "--package", "llmd-bindings", "--package", "llmd-c", "--package", "llmd-py"];

/// Turns of a quick run, and how often C and Python are started anew in it.
const QUICK: [&str; 4] = ["--turns", "6", "--lives", "2"];

/// Builds everything, and measures. The figures are named in the help of the command.
///
/// # Errors
///
/// When something does not compile, or one of the three fails.
pub(super) fn measure(workspace: &Workspace, quick: bool) -> Result<Map<String, Value>> {
    run_command(&mut cargo(&workspace.root, BUILD))?;
    let released = workspace.target.join("release");
    let sources = workspace.root.join("benches/bindings");
    let c = compiled(&released, &sources, &workspace.root.join("llmd-c/include"))?;
    let python = python::environment(workspace)?;

    let mut bench = Command::new(released.join("llmd-bindings"));
    bench.arg("--c").arg(c).arg("--python").arg(python).arg("--script").arg(sources.join("bench.py"));
    bench.env("PYTHONPATH", extension::stage_released(workspace)?);
    if quick {
        bench.args(QUICK);
    }
    eprintln!("$ {}", shown(&bench));
    let output = bench.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| not_started(&bench, &error))?;
    if !output.status.success() {
        return Err(Failure::new(format!("the bench of the bindings failed ({})", output.status)));
    }
    serde_json::from_slice(&output.stdout).or_fail(|| "the bench of the bindings told no figures".into())
}

/// The C program, with the library in it.
fn compiled(released: &Path, sources: &Path, include: &Path) -> Result<PathBuf> {
    let program = released.join("llmd-bindings-c");
    let mut compiler = Command::new(env::var_os("CC").unwrap_or_else(|| "cc".into()));
    compiler.args(["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-I"]).arg(include);
    compiler.arg(sources.join("bench.c")).arg(released.join("libllmd.a"));
    compiler.args(NATIVE.map(|library| format!("-l{library}"))).arg("-o").arg(&program);
    run_command(&mut compiler)?;
    Ok(program)
}

/// A line for each kind of call: what it takes in each language.
#[derive(Debug)]
pub(super) struct Table<'a>(pub(super) &'a Map<String, Value>);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:28} {:>10} {:>10} {:>10}", "bindings", "Rust", "C", "Python")?;
        let rows = [
            ("query, 1,024 tokens, 64 held", "query_us", "µs"),
            ("the same as 64 numbers", "dense_us", "µs"),
            ("decide, 8 endpoints", "decide_us", "µs"),
            ("apply, million events a s", "apply_mevents_s", ""),
        ];
        for (what, figure, unit) in rows {
            write!(f, "{what:28}")?;
            for who in ["rust", "c", "py"] {
                let value = self.figure(&format!("{who}_{figure}"));
                write!(f, " {:>10}", format!("{value:.2} {unit}").trim_end())?;
            }
            writeln!(f)?;
        }
        writeln!(
            f,
            "a query takes C {:.3} times as long as Rust, and Python {:.2} µs longer",
            self.figure("c_query_ratio_to_rust"),
            self.figure("py_query_overhead_us")
        )
    }
}

impl Table<'_> {
    fn figure(&self, name: &str) -> f64 {
        self.0.get(&format!("bindings.{name}")).and_then(Value::as_f64).unwrap_or(f64::NAN)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_says_what_a_call_takes_in_each_language() {
        let Value::Object(figures) = json!({
            "bindings.rust_query_us": 4.0, "bindings.c_query_us": 4.1, "bindings.py_query_us": 5.5,
            "bindings.c_query_ratio_to_rust": 1.025, "bindings.py_query_overhead_us": 1.5,
        }) else {
            panic!("an object was written")
        };

        let table = Table(&figures).to_string();

        assert!(table.contains("4.00 µs    4.10 µs    5.50 µs"), "{table}");
        assert!(table.ends_with("C 1.025 times as long as Rust, and Python 1.50 µs longer\n"), "{table}");
    }
}
