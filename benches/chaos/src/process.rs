//! An engine as the conductor sees it: a process that can be told something, paused, cut off and killed.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use rustix::net::{Shutdown, shutdown, sockopt::socket_acceptconn};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, Signal, kill_process, pidfd_getfd, pidfd_open};

use crate::message::{Birth, Order, Told};

/// What comes from an engine: of which life, and what it said, or that it said its last.
pub(crate) type News = (u64, Option<Told>);

/// Where an engine runs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    Here,
    /// In PID and IPC namespaces of its own.
    Apart,
    /// In this network namespace.
    Network(String),
}

/// A process with an engine.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pid: rustix::process::Pid,
    orders: SyncSender<String>,
    /// Until when it is paused.
    pub(crate) paused: Option<Duration>,
}

/// How many orders wait for an engine at most: what is more is not said.
const ORDERS: usize = 512;

impl Process {
    /// Starts one; what it says goes to `news`.
    ///
    /// # Errors
    ///
    /// When the system does not start it.
    pub(crate) fn start(birth: &Birth, place: &Place, news: &SyncSender<News>) -> Result<Self> {
        let refused = |what: &str, cause: std::io::Error| {
            Error::new(ErrorKind::Unavailable, format!("{what}: {cause}")).with_source(cause)
        };
        let me = std::env::current_exe().map_err(|cause| refused("this program's own file", cause))?;
        let mut command = match place {
            Place::Here => Command::new(&me),
            Place::Apart => {
                let mut command = Command::new("unshare");
                command.args(["--pid", "--ipc", "--fork", "--kill-child"]).arg(&me);
                command
            }
            Place::Network(name) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", name]).arg(&me);
                command
            }
        };
        command.arg("--engine").arg(serde_json::to_string(birth).unwrap_or_default());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|cause| refused("an engine", cause))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (orders, waiting) = sync_channel::<String>(ORDERS);
        let life = birth.life;
        std::thread::Builder::new()
            .name("orders".into())
            .spawn(move || {
                let Some(mut input) = input else { return };
                while let Ok(order) = waiting.recv() {
                    // One that is gone says so by itself.
                    if input.write_all(order.as_bytes()).and_then(|()| input.flush()).is_err() {
                        return;
                    }
                }
            })
            .map_err(|cause| refused("a thread", cause))?;
        let news = news.clone();
        std::thread::Builder::new()
            .name("news".into())
            .spawn(move || {
                let lines =
                    output.into_iter().flat_map(|output| BufReader::new(output).lines()).map_while(|line| line.ok());
                for told in lines.filter_map(|line| serde_json::from_str(&line).ok()) {
                    if news.send((life, Some(told))).is_err() {
                        return;
                    }
                }
                let _nobody = news.send((life, None));
            })
            .map_err(|cause| refused("a thread", cause))?;
        let pid = rustix::process::Pid::from_child(&child);
        Ok(Self { child, pid, orders, paused: None })
    }

    /// It is up: the process that is signalled is the engine's own, and not one that waits for it.
    pub(crate) fn is_up(&mut self, place: &Place) {
        if *place != Place::Apart {
            return;
        }
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        let inner = children.split_whitespace().find_map(|pid| pid.parse().ok());
        self.pid = inner.and_then(rustix::process::Pid::from_raw).unwrap_or(self.pid);
    }

    /// Says something; what finds no room is lost. Says whether it was not.
    pub(crate) fn order(&self, order: &Order) -> bool {
        serde_json::to_string(order).is_ok_and(|line| self.orders.try_send(line + "\n").is_ok())
    }

    pub(crate) fn pause(&mut self, until: Duration) {
        if self.signal(Signal::STOP) {
            self.paused = Some(until);
        }
    }

    pub(crate) fn resume(&mut self) {
        self.signal(Signal::CONT);
        self.paused = None;
    }

    /// Ends it at once, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        // One that is gone already cannot be killed.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }

    /// Whether it ended by itself; how.
    pub(crate) fn ended(&mut self) -> Option<String> {
        self.child.try_wait().ok().flatten().map(|status| status.to_string())
    }

    /// Cuts some of its connections, as if the other side had gone. Says how many.
    pub(crate) fn cut(&self, is_cut: impl FnMut() -> bool) -> usize {
        self.try_cut(is_cut).unwrap_or_default()
    }

    fn try_cut(&self, mut is_cut: impl FnMut() -> bool) -> std::io::Result<usize> {
        let pid = self.pid.as_raw_nonzero();
        let process = pidfd_open(self.pid, PidfdFlags::empty())?;
        let mut count = 0;
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))?.flatten() {
            let is_socket =
                fs::read_link(entry.path()).is_ok_and(|there| there.to_string_lossy().starts_with("socket:"));
            let fd = entry.file_name().to_string_lossy().parse().ok().filter(|_| is_socket && is_cut());
            let Some(fd) = fd else { continue };
            // It may have been closed meanwhile.
            let Ok(socket) = pidfd_getfd(&process, fd, PidfdGetfdFlags::empty()) else { continue };
            if socket_acceptconn(&socket) == Ok(false) && shutdown(&socket, Shutdown::Both).is_ok() {
                count += 1;
            }
        }
        Ok(count)
    }

    fn signal(&self, signal: Signal) -> bool {
        kill_process(self.pid, signal).is_ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
