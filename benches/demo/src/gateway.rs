//! The gateway: a process of its own, fresh for each policy, ended when its handle is dropped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::http::Http;
use crate::wait;

/// How long a gateway may take to come up.
const READY_DEADLINE: Duration = Duration::from_secs(20);

/// A gateway that serves. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// Where it answers, as in `http://127.0.0.1:8080`.
    pub(crate) url: String,
    _child: Child,
}

/// The files that a gateway is started with.
#[derive(Clone, Debug)]
pub(crate) struct GatewayFiles {
    pub(crate) config: PathBuf,
    pub(crate) endpoints: PathBuf,
    pub(crate) log: PathBuf,
}

impl GatewayFiles {
    /// Writes `config` and `endpoints` into `folder`, under names that begin with `name`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when the folder cannot be written.
    pub(crate) fn write(folder: &Path, name: &str, config: &str, endpoints: &str) -> Result<Self> {
        let file = |suffix: &str| folder.join(format!("{name}{suffix}"));
        let files = Self { config: file(".yaml"), endpoints: file("-endpoints.yaml"), log: file("-gateway.log") };
        for (path, text) in [(&files.config, config), (&files.endpoints, endpoints)] {
            fs::write(path, text).map_err(|error| unwritable(path, &error))?;
        }
        Ok(files)
    }
}

impl Gateway {
    /// Starts `binary` on a free port and waits until it serves every model. With a connector it has requests prefilled itself.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when it does not come up, with the last line of its log.
    pub(crate) async fn start(
        binary: &Path,
        files: &GatewayFiles,
        connector: Option<&str>,
        http: &Http,
    ) -> Result<Self> {
        let log = File::create(&files.log).map_err(|error| unwritable(&files.log, &error))?;
        let mut child = Command::new(binary)
            .args(["--listen", "127.0.0.1:0", "--debug", "--allow-experimental-plugins"])
            .args([Path::new("--config"), &files.config, Path::new("--endpoints"), &files.endpoints])
            .args(connector.into_iter().flat_map(|connector| ["--kv-connector", connector]))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                let advice = "build it with `cargo xtask demo`, or say where it is with --bin-dir";
                Error::new(ErrorKind::Unavailable, format!("cannot start {}: {error}; {advice}", binary.display()))
            })?;
        let stdout = child.stdout.take().expect("standard output is piped");
        let mut line = String::new();
        let mut stdout = BufReader::new(stdout);
        let read = stdout.read_line(&mut line);
        let why = match tokio::time::timeout(READY_DEADLINE, read).await {
            Ok(Ok(bytes)) if bytes > 0 => match serde_json::from_str::<Ready>(&line) {
                Ok(ready) => {
                    return Self { url: format!("http://{}", ready.listening), _child: child }.ready(http).await;
                }
                Err(error) => format!("its first line is no ready line ({error})"),
            },
            Ok(_) => "it ended".to_owned(),
            Err(_) => format!("it was not ready within {} s", READY_DEADLINE.as_secs()),
        };
        let message = format!("the gateway did not come up: {why}: {}", last_line(&files.log));
        Err(Error::new(ErrorKind::Unavailable, message))
    }

    async fn ready(self, http: &Http) -> Result<Self> {
        let url = format!("{}/ready", self.url);
        wait::until(READY_DEADLINE, || async { http.text(&url).await.map(|_| true) }).await?;
        Ok(self)
    }
}

#[derive(Deserialize)]
struct Ready {
    listening: String,
}

fn last_line(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    last.map_or_else(|| format!("{} is empty", log.display()), |line| line.trim().to_owned())
}

fn unwritable(path: &Path, error: &std::io::Error) -> Error {
    let advice = "choose another folder with --out";
    Error::new(ErrorKind::Unavailable, format!("cannot write {}: {error}; {advice}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_gateway_that_does_not_come_up_says_why_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let files = GatewayFiles::write(folder.path(), "exact", "plugins: []", "endpoints: []").unwrap();

        // `ls` knows no --listen: it complains on standard error and ends.
        let error = Gateway::start(Path::new("ls"), &files, None, &Http::new()).await.unwrap_err().to_string();
        assert!(error.starts_with("the gateway did not come up: it ended: "), "{error}");
        assert_eq!(error.lines().count(), 1);

        let error =
            Gateway::start(Path::new("no/such/gateway"), &files, None, &Http::new()).await.unwrap_err().to_string();
        assert!(error.starts_with("cannot start no/such/gateway: ") && error.contains("--bin-dir"), "{error}");
    }
}
