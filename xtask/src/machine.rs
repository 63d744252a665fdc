//! What a measurement was made on.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::run::capture;

/// `{cpu, cores, memory, os, rustc}`; what the system does not say is `"unknown"`.
pub(crate) fn machine() -> Value {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = read_field("/proc/meminfo", "MemTotal", ':').and_then(|size| gibibytes(&size));
    json!({
        "cpu": read_field("/proc/cpuinfo", "model name", ':').unwrap_or_else(unknown),
        "cores": cores,
        "memory": memory.unwrap_or_else(unknown),
        "os": read_field("/etc/os-release", "PRETTY_NAME", '=').unwrap_or_else(|| std::env::consts::OS.to_owned()),
        "rustc": capture(Command::new("rustc").arg("--version")).unwrap_or_else(|_| unknown()),
    })
}

/// The machine in one line.
pub(crate) fn line(machine: &Value) -> String {
    let text = |field: &str| machine[field].as_str().unwrap_or("unknown").to_owned();
    format!("{}, {} cores, {}, {}, {}", text("cpu"), machine["cores"], text("memory"), text("os"), text("rustc"))
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// `"1048576 kB"` is `"1.0 GiB"`.
fn gibibytes(size: &str) -> Option<String> {
    let kibibytes: f64 = size.strip_suffix("kB")?.trim().parse().ok()?;
    Some(format!("{:.1} GiB", kibibytes / 1024.0 / 1024.0))
}

/// The first `name<separator>value` of a file.
fn read_field(file: &str, name: &str, separator: char) -> Option<String> {
    field(&fs::read_to_string(file).ok()?, name, separator)
}

fn field(text: &str, name: &str, separator: char) -> Option<String> {
    let fields = text.lines().filter_map(|line| line.split_once(separator));
    fields.filter(|(found, _)| found.trim() == name).map(|(_, value)| value.trim().trim_matches('"').to_owned()).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_read_without_blanks_and_quotes() {
        let text = "NAME=\"Debian\"\nPRETTY_NAME=\"Debian 12\"\n";

        assert_eq!(field(text, "PRETTY_NAME", '='), Some("Debian 12".into()));
        assert_eq!(field("MemTotal:  16 kB\n", "MemTotal", ':'), Some("16 kB".into()));
        assert_eq!(gibibytes("1572864 kB"), Some("1.5 GiB".into()));
        assert_eq!(field(text, "VERSION", '='), None);
    }

    #[test]
    fn a_machine_has_every_field() {
        let machine = machine();
        for field in ["cpu", "cores", "memory", "os", "rustc"] {
            assert!(!machine[field].is_null(), "{field}");
        }
    }
}
