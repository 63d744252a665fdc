//! One engine of vLLM: its processes, its sockets and its log.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use serde_json::json;

use super::adapter::Vllm;
use super::group::ProcessGroup;
use super::replay::Replay;
use crate::http::Http;
use crate::workload::MODEL;

/// Tokens of a block of KV cache: on processors vLLM takes multiples of 32.
pub(super) const BLOCK_SIZE: usize = 32;
/// Tokens of the longest prompt with its answer.
pub(super) const MAX_TOKENS: usize = 2048;
/// Requests that an engine computes at once.
const MAX_SEQS: usize = 8;
/// Batches of events that an engine remembers for replay: all of them, in a run of this demo.
const REMEMBERED: usize = 200_000;
/// How long an engine may take to come up. On a machine with nothing else to do it takes half a minute.
const START_DEADLINE: Duration = Duration::from_secs(1200);
/// Between two looks whether it is up.
const POLL: Duration = Duration::from_millis(100);
/// Lines of its log that are shown of an engine that does not come up.
const TAIL: usize = 20;

/// One engine. Dropping it kills all of its processes.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) name: String,
    /// Where it answers, as in `http://127.0.0.1:8000`.
    pub(super) url: String,
    pub(super) port: u16,
    /// Where it publishes KV events.
    pub(super) events: String,
    pub(super) replay: Replay,
    log: PathBuf,
    command: Command,
    processes: ProcessGroup,
}

/// What an engine is started with besides [`Vllm`].
#[derive(Clone, Debug)]
pub(super) struct EngineSettings {
    pub(super) vllm: Vllm,
    /// Bytes of its KV cache.
    pub(super) cache_bytes: usize,
    /// Where its log goes.
    pub(super) logs: PathBuf,
    /// A folder with a short name, for its sockets.
    pub(super) sockets: PathBuf,
}

impl Engine {
    /// Starts engine `n` on free ports. It does not serve yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when Python cannot be started, its log not be written or no port be had.
    pub(super) fn spawn(n: usize, settings: &EngineSettings) -> Result<Self> {
        let name = crate::fault::engine_name(n);
        let [port, replay] = free_ports()?;
        let events = format!("ipc://{}", settings.sockets.join(format!("{name}.ipc")).display());
        let replay = format!("tcp://127.0.0.1:{replay}");
        let log = settings.logs.join(format!("{name}.log"));
        File::create(&log).map_err(|error| unwritable(&log, error))?;
        let mut command = settings.command(port, &events, &replay);
        let processes = start(&mut command, &log)?;
        let url = format!("http://127.0.0.1:{port}");
        Ok(Self { name, url, port, events, replay: Replay::of(replay), log, command, processes })
    }

    /// Waits until it serves.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when it ends before, or does not serve in twenty minutes, with the end of its log.
    pub(super) async fn serves(&mut self, http: &Http) -> Result<()> {
        let health = format!("{}/health", self.url);
        let waiting = async {
            loop {
                if let Some(status) = self.processes.ending() {
                    return Err(format!("it ended ({status})"));
                }
                if http.text(&health).await.is_ok() {
                    return Ok(());
                }
                tokio::time::sleep(POLL).await;
            }
        };
        let late = || Err(format!("it did not serve within {} s", START_DEADLINE.as_secs()));
        let up = tokio::time::timeout(START_DEADLINE, waiting).await.unwrap_or_else(|_| late());
        up.map_err(|why| {
            let message = format!("engine {}: {why}; {} ends:\n{}", self.name, self.log.display(), tail(&self.log));
            Error::new(ErrorKind::Unavailable, message)
        })
    }

    /// Kills all of its processes, as a crash of the machine would.
    pub(super) fn kill(&mut self) {
        self.processes.kill();
    }

    /// Starts it again on the ports it had, with an empty cache. It does not serve yet.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn).
    pub(super) fn start_again(&mut self) -> Result<()> {
        self.kill();
        self.replay.begin_again();
        self.processes = start(&mut self.command, &self.log)?;
        Ok(())
    }

    /// Empties its cache, and has it say so: the event leaves with the next step of its scheduler.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when it does not answer.
    pub(super) async fn forget(&self, http: &Http) -> Result<()> {
        http.post(&format!("{}/reset_prefix_cache", self.url), &json!({})).await?;
        self.compute(http, &json!("a")).await
    }

    /// Has it compute a prompt, past any gateway.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when it does not answer.
    pub(super) async fn compute(&self, http: &Http, prompt: &serde_json::Value) -> Result<()> {
        let body = json!({"model": MODEL, "prompt": prompt, "max_tokens": 1});
        http.post(&format!("{}/v1/completions", self.url), &body).await
    }
}

impl EngineSettings {
    fn command(&self, port: u16, events: &str, replay: &str) -> Command {
        let Vllm { python, model, adapters } = &self.vllm;
        let kv_events = json!({
            "enable_kv_cache_events": true, "publisher": "zmq", "endpoint": events, "replay_endpoint": replay,
            "buffer_steps": REMEMBERED, "topic": format!("kv@127.0.0.1:{port}@{MODEL}"),
        });
        let pairs = [
            ("--model", model.display().to_string()),
            ("--served-model-name", MODEL.to_owned()),
            ("--host", "127.0.0.1".to_owned()),
            ("--port", port.to_string()),
            ("--dtype", "bfloat16".to_owned()),
            ("--max-model-len", MAX_TOKENS.to_string()),
            ("--max-num-seqs", MAX_SEQS.to_string()),
            ("--block-size", BLOCK_SIZE.to_string()),
            ("--kv-cache-memory-bytes", self.cache_bytes.to_string()),
            ("--prefix-caching-hash-algo", "sha256_cbor".to_owned()),
            ("--max-loras", adapters.len().to_string()),
            ("--max-lora-rank", "8".to_owned()),
            ("--kv-events-config", kv_events.to_string()),
        ];
        let mut command = Command::new(python);
        command.args(["-m", "vllm.entrypoints.openai.api_server"]);
        command.args(["--enforce-eager", "--enable-prefix-caching", "--enable-prompt-tokens-details", "--enable-lora"]);
        pairs.iter().for_each(|(flag, value)| _ = command.args([flag, value.as_str()]));
        command.arg("--lora-modules");
        command.args(adapters.iter().map(|adapter| format!("{}={}", adapter.name, adapter.folder.display())));
        command.envs([
            // Any core, one thread: two engines share this machine.
            ("VLLM_CPU_OMP_THREADS_BIND", "nobind"),
            ("OMP_NUM_THREADS", "1"),
            ("HF_HUB_OFFLINE", "1"),
            ("TRANSFORMERS_OFFLINE", "1"),
            ("VLLM_NO_USAGE_STATS", "1"),
            ("DO_NOT_TRACK", "1"),
            ("VLLM_HOST_IP", "127.0.0.1"),
            ("VLLM_LOOPBACK_IP", "127.0.0.1"),
            // For /reset_prefix_cache.
            ("VLLM_SERVER_DEV_MODE", "1"),
        ]);
        command.env("VLLM_RPC_BASE_PATH", &self.sockets);
        command
    }
}

fn start(command: &mut Command, log: &Path) -> Result<ProcessGroup> {
    let append = || OpenOptions::new().append(true).open(log).map_err(|error| unwritable(log, error));
    ProcessGroup::spawn(command.stdin(Stdio::null()).stdout(append()?).stderr(append()?))
}

/// Ports that nobody listens on at the moment.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let none = |error| Error::new(ErrorKind::Unavailable, "no free port on 127.0.0.1").with_source(error);
    // All are held until all are known, so that none comes twice.
    let listeners: Vec<_> = (0..N).map(|_| std::net::TcpListener::bind("127.0.0.1:0")).collect();
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(listeners) {
        *port = listener.and_then(|listener| listener.local_addr()).map_err(none)?.port();
    }
    Ok(ports)
}

fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

fn unwritable(path: &Path, error: std::io::Error) -> Error {
    let advice = "choose another folder with --out";
    Error::new(ErrorKind::Unavailable, format!("cannot write {}; {advice}", path.display())).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(folder: &Path, python: &str) -> EngineSettings {
        let vllm = Vllm { python: python.into(), model: "m".into(), adapters: vec!["a=/a".parse().unwrap()] };
        EngineSettings { vllm, cache_bytes: 1 << 20, logs: folder.to_owned(), sockets: folder.to_owned() }
    }

    #[tokio::test]
    async fn an_engine_that_ends_at_once_is_named_with_the_end_of_its_log() {
        let folder = tempfile::tempdir().unwrap();
        // `ls` knows no `-m`: it complains and ends.
        let mut engine = Engine::spawn(1, &settings(folder.path(), "ls")).unwrap();
        let error = engine.serves(&Http::new()).await.unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let text = error.to_string();
        assert!(text.starts_with("engine e1: it ended (exit status: 2); "), "{text}");
        assert!(text.lines().count() > 1 && text.contains("ls: "), "{text}");
    }

    #[test]
    fn the_command_names_what_is_served_and_where() {
        let command = settings(Path::new("/s"), "python").command(80, "ipc:///s/e0.ipc", "tcp://127.0.0.1:81");
        let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();

        assert!(args.windows(2).any(|two| two == ["--port", "80"]));
        assert!(args.windows(2).any(|two| two == ["--lora-modules", "a=/a"]));
        assert!(args.iter().any(|arg| arg.contains(r#""endpoint":"ipc:///s/e0.ipc""#)));
    }

    #[test]
    fn free_ports_differ() {
        let [a, b, c] = free_ports().unwrap();
        assert!(a != b && b != c && a != c);
    }
}
