//! Network namespaces, where the machine allows them: engines in them reach the others by a bridge, and one of them slowly.

use std::process::{Command, Stdio};

/// A bridge with namespaces on it, which are gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Network {
    bridge: String,
    namespaces: Vec<String>,
}

/// The address of engines that are in no namespace.
const HERE: &str = "10.77.0.1";
/// What a slow line carries.
const SLOW: [&str; 7] = ["tbf", "rate", "200mbit", "burst", "256kb", "latency", "40ms"];

impl Network {
    /// One with a namespace for each of these slots, the last of them slow; why not, where it cannot be made.
    pub(crate) fn new(slots: &[usize]) -> Result<Self, String> {
        let id = std::process::id() % 100_000;
        let mut network = Self { bridge: format!("llc{id}"), namespaces: Vec::new() };
        let bridge = network.bridge.clone();
        run("ip", &["link", "add", &bridge, "type", "bridge"])?;
        run("ip", &["address", "add", &format!("{HERE}/24"), "dev", &bridge])?;
        run("ip", &["link", "set", &bridge, "up"])?;
        for (place, &slot) in slots.iter().enumerate() {
            let (name, here, there) =
                (format!("llmd-chaos-{id}-{slot}"), format!("llc{id}h{slot}"), format!("llc{id}n{slot}"));
            run("ip", &["netns", "add", &name])?;
            network.namespaces.push(name.clone());
            run("ip", &["link", "add", &here, "type", "veth", "peer", "name", &there, "netns", &name])?;
            run("ip", &["link", "set", &here, "master", &bridge, "up"])?;
            run("ip", &["-n", &name, "address", "add", &format!("{}/24", address(slot)), "dev", &there])?;
            run("ip", &["-n", &name, "link", "set", &there, "up"])?;
            run("ip", &["-n", &name, "link", "set", "lo", "up"])?;
            if place + 1 == slots.len() {
                run("tc", &[&["-n", &name, "qdisc", "add", "dev", &there, "root"], &SLOW[..]].concat())?;
            }
        }
        Ok(network)
    }

    /// The namespaces, in the order of their slots.
    pub(crate) fn namespaces(&self) -> &[String] {
        &self.namespaces
    }

    /// Where an engine listens that is in no namespace.
    pub(crate) const fn here(&self) -> &'static str {
        HERE
    }
}

/// Where an engine listens that is in one.
pub(crate) fn address(slot: usize) -> String {
    format!("10.77.0.{}", 10 + slot)
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in &self.namespaces {
            // What is not there any more need not go.
            let _gone = run("ip", &["netns", "delete", name]);
        }
        let _gone = run("ip", &["link", "delete", &self.bridge]);
    }
}

fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    let output = output.map_err(|cause| format!("{program}: {cause}"))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{program} {}: {said}", args.join(" "))) }
}
