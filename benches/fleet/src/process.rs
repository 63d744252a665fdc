//! An engine as a child process: started, killed, restarted on the same ports, paused. It dies with its handle.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

/// How long an engine may take to come up.
pub const READY_DEADLINE: Duration = Duration::from_secs(20);
/// How long an engine may take to end when asked to, before it is killed.
pub const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// What an engine prints, as one line of JSON on its standard output, when it serves.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Ready {
    /// Its `--name`.
    pub name: String,
    /// Where it answers, as in `http://127.0.0.1:8000`.
    pub http: String,
    /// Where it publishes KV events, as in `tcp://127.0.0.1:5557`.
    pub kv_events: String,
    /// Where it replays them.
    pub replay: String,
    /// Its process.
    pub pid: u32,
}

impl Ready {
    pub(crate) fn new(name: &str, ports: [std::net::SocketAddr; 3]) -> Self {
        let [http, kv_events, replay] = ports;
        Self {
            name: name.to_owned(),
            http: format!("http://{http}"),
            kv_events: format!("tcp://{kv_events}"),
            replay: format!("tcp://{replay}"),
            pid: std::process::id(),
        }
    }
}

/// One `llmd-engine` process. Dropping it kills the process.
#[derive(Debug)]
pub struct EngineProcess {
    binary: PathBuf,
    args: Vec<OsString>,
    child: Child,
    ready: Ready,
}

impl EngineProcess {
    /// Starts `binary` with `args` and waits until it serves. Its log goes to this process's standard error.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when it cannot be started, ends at once or is not ready within [`READY_DEADLINE`]; the
    /// engine itself says on standard error what it lacked.
    pub fn spawn(binary: impl AsRef<Path>, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Self> {
        let binary = binary.as_ref().to_owned();
        let args: Vec<OsString> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let (child, ready) = start(&binary, &args)?;
        Ok(Self { binary, args, child, ready })
    }

    /// What it printed when it came up.
    pub const fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Ends it at once, as a crash would, and waits until it is gone. Its ports are free then.
    pub fn kill(&mut self) {
        // Both fail only when the process has been waited for already: it is gone, which is what was asked for.
        _ = self.child.kill();
        _ = self.child.wait();
    }

    /// Kills it if it runs, and starts it again with the same arguments on the same ports.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn).
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        let port = |address: &str| address.rsplit(':').next().unwrap_or_default().to_owned();
        let mut args = self.args.clone();
        for (flag, address) in [
            ("--port", &self.ready.http),
            ("--kv-events-port", &self.ready.kv_events),
            ("--replay-port", &self.ready.replay),
        ] {
            args.extend([flag.into(), port(address).into()]);
        }
        (self.child, self.ready) = start(&self.binary, &args)?;
        Ok(())
    }

    /// Stops it in its tracks, sockets open, as a machine that hangs would.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Stale`] when it has ended.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on after [`pause`](Self::pause).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Stale`] when it has ended.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Asks it to end, waits for [`STOP_DEADLINE`], then kills it. Says how it ended.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] when the operating system does not tell.
    pub fn stop(mut self) -> Result<ExitStatus> {
        _ = self.signal(Signal::CONT);
        _ = self.signal(Signal::TERM);
        let poll = Duration::from_millis(10);
        for _ in 0..STOP_DEADLINE.as_millis() / poll.as_millis() {
            if let Some(status) = self.child.try_wait().map_err(untold)? {
                return Ok(status);
            }
            std::thread::sleep(poll);
        }
        self.kill();
        self.child.wait().map_err(untold)
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let gone = || Error::new(ErrorKind::Stale, format!("engine {} has ended", self.ready.name));
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).ok_or_else(gone)?;
        kill_process(pid, signal).map_err(|error| gone().with_source(error))
    }
}

impl Drop for EngineProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

fn untold(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Internal, "how the engine ended is not known").with_source(error)
}

fn start(binary: &Path, args: &[OsString]) -> Result<(Child, Ready)> {
    let unavailable = |what: &str| Error::new(ErrorKind::Unavailable, format!("{} {what}", binary.display()));
    let mut child = Command::new(binary)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| unavailable("cannot be started").with_source(error))?;
    let stdout = child.stdout.take().expect("standard output is piped");
    let ready = ready_line(stdout).and_then(|line| {
        serde_json::from_str(&line).map_err(|error| unavailable("said no ready line").with_source(error))
    });
    match ready {
        Ok(ready) => Ok((child, ready)),
        Err(error) => {
            _ = child.kill();
            _ = child.wait();
            Err(unavailable("did not come up").with_source(error))
        }
    }
}

/// The first line, read on a thread of its own because a pipe has no deadline. The thread ends with the process.
fn ready_line(stdout: ChildStdout) -> Result<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        if BufReader::new(stdout).read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
            _ = sender.send(line);
        }
    });
    receiver.recv_timeout(READY_DEADLINE).map_err(|error| {
        let why = match error {
            RecvTimeoutError::Disconnected => "it ended before it was ready: see its log above".to_owned(),
            RecvTimeoutError::Timeout => format!("it was not ready within {} s", READY_DEADLINE.as_secs()),
        };
        Error::new(ErrorKind::Unavailable, why)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(text: &str) -> [String; 2] {
        ["-c".to_owned(), text.to_owned()]
    }

    const READY: &str = r#"echo '{"name":"e0","http":"http://127.0.0.1:1","kv_events":"tcp://127.0.0.1:2","replay":"tcp://127.0.0.1:3","pid":4}'"#;

    #[test]
    fn a_process_that_says_ready_is_kept_until_it_is_stopped() {
        let mut engine = EngineProcess::spawn("sh", script(&format!("{READY}; exec sleep 60"))).unwrap();

        assert_eq!(engine.ready().replay, "tcp://127.0.0.1:3");
        assert!(engine.is_running());
        engine.pause().unwrap();
        engine.resume().unwrap();
        assert!(!engine.stop().unwrap().success());
    }

    #[test]
    fn a_process_that_ends_before_it_is_ready_is_an_error() {
        let error = EngineProcess::spawn("sh", script("exit 1")).unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Unavailable, "sh did not come up".into()));
    }

    #[test]
    fn a_killed_process_is_not_running_and_takes_no_signal() {
        let mut engine = EngineProcess::spawn("sh", script(&format!("{READY}; exec sleep 60"))).unwrap();
        engine.kill();

        assert!(!engine.is_running());
        assert_eq!(engine.pause().unwrap_err().kind(), ErrorKind::Stale);
    }

    #[test]
    fn a_binary_that_is_not_there_is_named() {
        let error = EngineProcess::spawn("no/such/engine", [""; 0]).unwrap_err();
        assert_eq!(error.to_string(), "no/such/engine cannot be started");
    }
}
