//! A program and all that it starts, ended together as a crash would end them.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// How long processes that were killed, and the tracker, may take to end.
const END_DEADLINE: Duration = Duration::from_secs(20);
/// Between two looks.
const POLL: Duration = Duration::from_millis(10);
/// What stands in the command of Python's tracker of shared memory.
const TRACKER: &[u8] = b"multiprocessing.resource_tracker";

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

    /// Kills every process of the group at once and waits until they are gone.
    ///
    /// All but one: Python's tracker of shared memory, which removes what the others leave behind and then ends by itself.
    pub(super) fn kill(&mut self) {
        let Some(group) = i32::try_from(self.leader.id()).ok().and_then(Pid::from_raw) else { return };
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        for _ in 0..END_DEADLINE.as_millis() / POLL.as_millis() {
            let members = members(group);
            // Fails only for a process that has ended since, which is what was asked for.
            members.iter().filter(|process| !process.tracks_shared_memory()).for_each(|process| _ = process.kill());
            _ = self.leader.try_wait();
            if members.is_empty() {
                break;
            }
            std::thread::sleep(POLL);
        }
        // What is left now will not end by itself; where the operating system lists no processes, that is all of them.
        _ = kill_process_group(group, Signal::KILL);
        _ = self.leader.wait();
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A process, by its folder in `/proc`.
#[derive(Debug, PartialEq)]
struct Process(PathBuf);

impl Process {
    fn tracks_shared_memory(&self) -> bool {
        let command = fs::read(self.0.join("cmdline")).unwrap_or_default();
        command.windows(TRACKER.len()).any(|window| window == TRACKER)
    }

    /// Whether it belongs to a group and has not ended.
    fn is_of(&self, group: Pid) -> bool {
        let Ok(stat) = fs::read_to_string(self.0.join("stat")) else { return false };
        // The name stands in parentheses and may hold anything; then come the state, the parent and the group.
        let rest = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let [state, _, of, ..] = fields[..] else { return false };
        of.parse() == Ok(group.as_raw_nonzero().get()) && !["Z", "X"].contains(&state)
    }

    fn kill(&self) -> Option<()> {
        let pid = Pid::from_raw(self.0.file_name()?.to_str()?.parse().ok()?)?;
        kill_process(pid, Signal::KILL).ok()
    }
}

/// The processes of a group that have not ended, where the operating system tells.
fn members(group: Pid) -> Vec<Process> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| Process(entry.path()));
    processes.filter(|process| process.is_of(group)).collect()
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
        assert!(running.contains(&Process(format!("/proc/{}", child.trim()).into())), "{running:?}");
        drop(group);
        assert!(members(id).is_empty());
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = ProcessGroup::spawn(&mut Command::new("no/such/python")).unwrap_err();
        assert_eq!(error.to_string(), "no/such/python cannot be started");
    }
}
