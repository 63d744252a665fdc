//! The engines: started together, restarted and paused by name, ended when the fleet is dropped.

use std::path::{Path, PathBuf};

use llmd_core::protocol::ROLE_LABEL;
use llmd_core::{Error, ErrorKind, Result};
use llmd_fleet::process::{EngineProcess, Ready};

use crate::http::Http;
use crate::moved::Moved;
use crate::trace::{SCALE, Trace};
use crate::workload::MODEL;

/// Tokens of a block of KV cache.
pub(crate) const BLOCK_SIZE: usize = 16;
/// The share of the fleet's KV cache that the trace's distinct tokens take.
pub(crate) const FILL: f64 = 0.73;

/// Bytes behind each block, where engines hand over KV.
pub(crate) const KV_BLOCK_BYTES: u32 = 4096;

/// How the engines are started.
#[derive(Clone, Debug)]
pub(crate) struct FleetSettings {
    pub(crate) binary: PathBuf,
    pub(crate) tokenizer: PathBuf,
    pub(crate) engines: usize,
    /// Blocks of KV cache of one engine.
    pub(crate) blocks: usize,
    pub(crate) speed: f64,
    pub(crate) seed: u64,
    /// What the second half of the engines does while the first computes prompts; then blocks have bytes.
    pub(crate) second_half: Option<&'static str>,
}

/// Blocks per engine such that the trace's distinct tokens fill [`FILL`] of the fleet, and any request fits one engine.
pub(crate) fn blocks_per_engine(trace: &Trace, engines: usize) -> usize {
    let fleet = trace.unique_tokens() as f64 / FILL;
    let even = (fleet / engines as f64 / BLOCK_SIZE as f64).round() as usize;
    // One block more for the null block, one for the tail.
    even.max(trace.longest() / BLOCK_SIZE + 2)
}

/// Engines that serve. Dropping the fleet ends them.
#[derive(Debug)]
pub(crate) struct Fleet {
    engines: Vec<EngineProcess>,
    second_half: Option<&'static str>,
}

impl Fleet {
    /// Starts all engines at once and waits until each serves.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] with the name of the first engine that does not come up; the others are ended.
    pub(crate) async fn start(settings: &FleetSettings) -> Result<Self> {
        let starting: Vec<_> = (0..settings.engines)
            .map(|n| {
                let (binary, args) = (settings.binary.clone(), settings.args(n));
                tokio::task::spawn_blocking(move || EngineProcess::spawn(binary, args))
            })
            .collect();
        let mut engines = Vec::with_capacity(starting.len());
        for (n, engine) in starting.into_iter().enumerate() {
            let engine = engine.await.expect("starting an engine does not panic");
            engines.push(engine.map_err(|error| not_up(&format!("e{n}"), &error))?);
        }
        Ok(Self { engines, second_half: settings.second_half })
    }

    /// What each engine said when it came up.
    pub(crate) fn ready(&self) -> impl Iterator<Item = &Ready> {
        self.engines.iter().map(EngineProcess::ready)
    }

    /// Where engine `n` answers.
    pub(crate) fn url(&self, n: usize) -> &str {
        &self.engines[n].ready().http
    }

    /// Kills engine `n` as a crash would.
    pub(crate) fn kill(&mut self, n: usize) {
        self.engines[n].kill();
    }

    /// Starts engine `n` again on the ports it had, and waits until it serves.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when it does not come up again.
    pub(crate) async fn restart(&mut self, n: usize) -> Result<()> {
        let mut engine = self.engines.remove(n);
        let restarted = tokio::task::spawn_blocking(move || engine.restart().map(|()| engine)).await;
        let engine = restarted.expect("restarting an engine does not panic");
        self.engines.insert(n, engine.map_err(|error| not_up(&format!("e{n}"), &error))?);
        Ok(())
    }

    /// Stops engine `n` in its tracks, sockets open.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Stale`] when it has ended.
    pub(crate) fn pause(&self, n: usize) -> Result<()> {
        self.engines[n].pause()
    }

    /// Lets engine `n` go on.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Stale`] when it has ended.
    pub(crate) fn resume(&self, n: usize) -> Result<()> {
        self.engines[n].resume()
    }

    /// The gateway's endpoints file for these engines.
    pub(crate) fn endpoints_file(&self) -> String {
        let engines = self.ready().enumerate();
        engines.fold("endpoints:\n".to_owned(), |file, (n, engine)| file + &endpoint(engine, self.role(n)))
    }

    /// What engine `n` does; `None` when every engine does all for its own requests. In an odd fleet the first half has one more.
    fn role(&self, n: usize) -> Option<&'static str> {
        self.second_half.map(|role| if n < self.engines.len().div_ceil(2) { "prefill" } else { role })
    }

    /// What the engines fetched from each other so far.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when one does not say.
    pub(crate) async fn moved(&self, http: &Http) -> Result<Moved> {
        let mut moved = Moved::default();
        for engine in self.ready() {
            moved += Moved::read(&http.text(&format!("{}/metrics", engine.http)).await?);
        }
        Ok(moved)
    }
}

fn endpoint(engine: &Ready, role: Option<&str>) -> String {
    let (address, port) = engine.http.trim_start_matches("http://").rsplit_once(':').unwrap_or((&engine.http, ""));
    let labels = role.map_or_else(String::new, |role| format!("  labels: {{{ROLE_LABEL}: {role}}}\n"));
    format!(
        "- name: {}\n  address: {address}\n  port: {port}\n  models: [{MODEL}]\n{labels}  kvEvents:\n    endpoint: {}\n    \
         replayEndpoint: {}\n",
        engine.name, engine.kv_events, engine.replay
    )
}

fn not_up(name: &str, error: &Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("engine {name}: {}", crate::http::with_causes(error)))
}

impl FleetSettings {
    fn args(&self, n: usize) -> Vec<String> {
        let pairs = [
            ("--name", format!("e{n}")),
            ("--model", MODEL.to_owned()),
            ("--host", "127.0.0.1".to_owned()),
            ("--port", "0".to_owned()),
            ("--kv-events-port", "0".to_owned()),
            ("--replay-port", "0".to_owned()),
            ("--block-size", BLOCK_SIZE.to_string()),
            ("--num-gpu-blocks", self.blocks.to_string()),
            ("--scale", SCALE.to_string()),
            ("--speed", self.speed.to_string()),
            ("--seed", self.seed.wrapping_add(n as u64).to_string()),
            ("--tokenizer", path(&self.tokenizer)),
            ("--kv-block-bytes", self.second_half.map_or(0, |_| KV_BLOCK_BYTES).to_string()),
        ];
        pairs.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
    }
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trace_fills_73_percent_of_the_fleet() {
        let trace = Trace::load(None, usize::MAX).unwrap();
        let blocks = blocks_per_engine(&trace, 4);

        assert_eq!(blocks, 41_964);
        let fill = trace.unique_tokens() as f64 / (4 * blocks * BLOCK_SIZE) as f64;
        assert!((fill - 0.73).abs() < 0.001, "{fill}");
    }

    #[test]
    fn any_request_fits_one_engine() {
        let trace = Trace::load(None, 30).unwrap();
        assert!(blocks_per_engine(&trace, 32) * BLOCK_SIZE > trace.longest() + BLOCK_SIZE);
    }

    #[test]
    fn an_endpoint_says_where_it_answers_and_where_its_events_are() {
        let ready = r#"{"name":"e1","http":"http://127.0.0.1:81","kv_events":"tcp://127.0.0.1:82","replay":"tcp://127.0.0.1:83","pid":4}"#;
        expect_test::expect![[r"
            - name: e1
              address: 127.0.0.1
              port: 81
              models: [tiny]
              kvEvents:
                endpoint: tcp://127.0.0.1:82
                replayEndpoint: tcp://127.0.0.1:83
        "]]
        .assert_eq(&endpoint(&serde_json::from_str(ready).unwrap(), None));
        let decodes = endpoint(&serde_json::from_str(ready).unwrap(), Some("decode"));
        assert!(decodes.contains("  models: [tiny]\n  labels: {llm-d.ai/role: decode}\n  kvEvents:"), "{decodes}");
    }
}
