//! What this machine is, for whoever compares two runs.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

/// Processor, cores, memory, operating system and compiler; null where this machine does not tell.
pub fn describe() -> Value {
    let cpu = field("/proc/cpuinfo", "model name");
    let memory = field("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    json!({
        "cpu": cpu,
        "cores": std::thread::available_parallelism().ok().map(usize::from),
        "memory_gib": memory.map(|kib| (kib / 1024.0 / 1024.0 * 10.0).round() / 10.0),
        "os": field("/etc/os-release", "PRETTY_NAME").unwrap_or_else(|| std::env::consts::OS.to_owned()),
        "rustc": first_line("rustc", "--version"),
    })
}

/// The same in a few words.
pub fn line(machine: &Value) -> String {
    let text = |name: &str| machine[name].as_str().unwrap_or("unknown").to_owned();
    format!("{}, {} cores, {} GiB, {}", text("cpu"), machine["cores"], machine["memory_gib"], text("os"))
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    let (_, value) = line.split_once([':', '='])?;
    Some(value.trim().trim_matches('"').to_owned())
}

fn first_line(program: &str, arg: &str) -> Option<String> {
    let output = Command::new(program).arg(arg).output().ok()?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_described_in_one_line() {
        let machine = describe();
        assert!(machine["cores"].as_u64().unwrap() >= 1);
        assert_eq!(line(&machine).lines().count(), 1);
    }
}
