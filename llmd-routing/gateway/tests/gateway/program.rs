//! The program: what it prints, and how it ends.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Client, Engine, IN_TURN, eventually};

struct Files {
    _folder: TempDir,
    config: PathBuf,
    endpoints: PathBuf,
}

fn files(config: &str, endpoints: &str) -> Files {
    let folder = tempfile::tempdir().unwrap();
    let (config_file, endpoints_file) = (folder.path().join("epp.yaml"), folder.path().join("endpoints.yaml"));
    std::fs::write(&config_file, config).unwrap();
    std::fs::write(&endpoints_file, endpoints).unwrap();
    Files { _folder: folder, config: config_file, endpoints: endpoints_file }
}

fn command(files: &Files, listen: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_llmd-gateway"));
    command.arg("--config").arg(&files.config).arg("--endpoints").arg(&files.endpoints).args(["--listen", listen]);
    command.args(["--log", "warn"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Ends the program when a test is over.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// How it ended, and what it said on standard error.
fn end(files: &Files, listen: &str) -> (Option<i32>, String) {
    let output = command(files, listen).output().unwrap();
    assert!(output.stdout.is_empty(), "{output:?}");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn it_says_where_it_listens_serves_and_ends_with_0_when_told_to_stop() {
    let engine = Engine::well().await;
    let (host, port) = (engine.address().ip(), engine.address().port());
    let files = files(IN_TURN, &format!("endpoints: [{{name: e, address: {host}, port: \"{port}\"}}]"));
    let mut program = Program(command(&files, "127.0.0.1:0").spawn().unwrap());
    let mut line = String::new();
    let mut out = BufReader::new(program.0.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    let client = Client::of(ready["listening"].as_str().unwrap().parse().unwrap());
    eventually("it is ready", async || client.get("/ready").await.status == 200).await;
    assert_eq!(client.complete().await.status, 200);

    let terminated = Command::new("kill").arg(program.0.id().to_string()).status().unwrap();
    assert!(terminated.success());
    let status = tokio::task::spawn_blocking(move || program.0.wait().unwrap()).await.unwrap();
    assert_eq!(status.code(), Some(0));
    line.clear();
    out.read_to_string(&mut line).unwrap();
    assert_eq!(line, "", "one line and no more");
}

#[test]
fn a_port_that_is_taken_is_one_clear_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let (code, said) = end(&files(IN_TURN, "endpoints: []"), &listen);

    assert_eq!(code, Some(1));
    let expected = format!("llmd-gateway: cannot listen on {listen}: address in use; choose another with --listen\n");
    assert_eq!(said, expected);
}

#[test]
fn what_is_wrong_in_a_file_is_said_with_its_name() {
    let name = |path: &Path| path.display().to_string();

    let files_ = files("apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugin: []\n", "endpoints: []");
    let (code, said) = end(&files_, "127.0.0.1:0");
    assert_eq!(code, Some(2));
    assert!(said.starts_with(&format!("llmd-gateway: {}: line 3", name(&files_.config))), "{said}");
    assert!(said.contains("plugin"), "{said}");

    let files_ = files(IN_TURN, "endpoints: 7");
    let (code, said) = end(&files_, "127.0.0.1:0");
    assert_eq!(code, Some(2));
    assert!(said.starts_with(&format!("llmd-gateway: {}: ", name(&files_.endpoints))), "{said}");

    let files_ = files(IN_TURN, "endpoints: []");
    std::fs::remove_file(&files_.config).unwrap();
    let (code, said) = end(&files_, "127.0.0.1:0");
    assert_eq!(code, Some(1));
    assert!(said.starts_with(&format!("llmd-gateway: {}: cannot be read", name(&files_.config))), "{said}");
}

#[test]
fn called_as_a_function_it_says_how_it_ended_and_does_not_end_the_process() {
    assert_eq!(llmd_gateway::program::run(["llmd-gateway", "--help"]), 0);
    assert_eq!(llmd_gateway::program::run(["llmd-gateway", "--version"]), 0);
    assert_eq!(llmd_gateway::program::run(["llmd-gateway", "--no-such-argument"]), 2);
    let missing = ["llmd-gateway", "--endpoints", "/no/such/file", "--log", "off"];
    assert_eq!(llmd_gateway::program::run(missing), 1);
    assert_eq!(llmd_gateway::program::run(missing), 1, "it can be called again");
    assert_eq!(llmd_gateway::program::run(["llmd-gateway", "--endpoints", "x", "--log", "=,="]), 2);
}
