//! A program and all that it starts, ended together as a crash would end them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

/// How long the kernel may take to end processes that were killed.
const END_DEADLINE: Duration = Duration::from_secs(5);
/// Between two looks.
const POLL: Duration = Duration::from_millis(10);
/// Where POSIX shared memory and semaphores are.
const SHARED_MEMORY: &str = "/dev/shm/";

/// A process group. Dropping it kills every process of it.
#[derive(Debug)]
pub(super) struct ProcessGroup {
    leader: Child,
    ended: bool,
}

impl ProcessGroup {
    /// Starts `command` as the leader of a group of its own.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when it cannot be started.
    pub(super) fn spawn(command: &mut Command) -> Result<Self> {
        let leader = command.process_group(0).spawn().map_err(|error| {
            let program = command.get_program().to_string_lossy().into_owned();
            Error::new(ErrorKind::Unavailable, format!("{program} cannot be started")).with_source(error)
        })?;
        Ok(Self { leader, ended: false })
    }

    /// How the leader ended, when it has.
    pub(super) fn ending(&mut self) -> Option<ExitStatus> {
        self.leader.try_wait().ok().flatten()
    }

    /// Kills every process of the group and waits until they are gone, and with them what shared memory they leave.
    pub(super) fn kill(&mut self) {
        let Some(group) = i32::try_from(self.leader.id()).ok().and_then(Pid::from_raw) else { return };
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let left = shared_memory(group);
        // Both fail only when there is nothing left to kill or to wait for, which is what was asked for.
        _ = kill_process_group(group, Signal::KILL);
        _ = self.leader.wait();
        // Whoever inherits the others buries them, sooner or later: what they held is free before that.
        for _ in 0..END_DEADLINE.as_millis() / POLL.as_millis() {
            if test_kill_process_group(group).is_err() || members(group).is_empty() {
                break;
            }
            std::thread::sleep(POLL);
        }
        for path in left {
            _ = fs::remove_file(path);
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The processes of a group that have not ended, where the operating system tells.
fn members(group: Pid) -> Vec<PathBuf> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    let belongs = |process: &PathBuf| {
        let Ok(stat) = fs::read_to_string(process.join("stat")) else { return false };
        // The name stands in parentheses and may hold anything; then come the state, the parent and the group.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        let [state, _, of, ..] = fields[..] else { return false };
        of.parse() == Ok(group.as_raw_nonzero().get()) && !["Z", "X"].contains(&state)
    };
    processes.filter(belongs).collect()
}

/// Shared memory and semaphores that the processes of a group have open. They outlive processes that are killed.
fn shared_memory(group: Pid) -> BTreeSet<PathBuf> {
    let maps = members(group).into_iter().filter_map(|process| fs::read_to_string(process.join("maps")).ok());
    let paths = |maps: String| {
        let lines = maps.lines().filter_map(|line| Some(line[line.find(SHARED_MEMORY)?..].trim_end().to_owned()));
        lines.collect::<Vec<_>>()
    };
    maps.flat_map(paths).filter(|path| !path.ends_with(" (deleted)")).map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    use super::*;

    #[test]
    fn the_whole_group_ends_with_its_handle() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & echo $!; wait"]).stdout(Stdio::piped());
        let mut group = ProcessGroup::spawn(&mut command).unwrap();
        let mut child = String::new();
        BufReader::new(group.leader.stdout.take().unwrap()).read_line(&mut child).unwrap();
        let id = i32::try_from(group.leader.id()).ok().and_then(Pid::from_raw).unwrap();

        assert!(group.ending().is_none());
        let running = members(id);
        assert!(running.contains(&PathBuf::from(format!("/proc/{}", child.trim()))), "{running:?}");
        drop(group);
        assert!(members(id).is_empty());
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = ProcessGroup::spawn(&mut Command::new("no/such/python")).unwrap_err();
        assert_eq!(error.to_string(), "no/such/python cannot be started");
    }
}
