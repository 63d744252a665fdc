//! A process that answers questions, and does not outlive the one that asks.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child as Process, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use serde_json::Value;

use crate::line::Ask;

/// An answer takes no longer than this, or never comes.
const PATIENCE: Duration = Duration::from_secs(90);

/// One of the two sides of a subject. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Child {
    name: String,
    process: Process,
    asks: ChildStdin,
    answers: Receiver<String>,
}

impl Child {
    /// Starts it, and gives what it offers.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when it cannot be started, or offers nothing.
    pub(crate) fn start(name: String, mut command: Command) -> Result<(Self, Value)> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(|error| {
            Error::new(ErrorKind::Unavailable, format!("{name} cannot be started")).with_source(error)
        })?;
        let asks = process.stdin.take().expect("standard input is piped");
        let out = BufReader::new(process.stdout.take().expect("standard output is piped"));
        let (says, answers) = sync_channel(1);
        thread::spawn(move || {
            for line in out.lines().map_while(std::io::Result::ok) {
                if says.send(line).is_err() {
                    return;
                }
            }
        });
        let child = Self { name, process, asks, answers };
        let mut said = child.answer("what it offers")?;
        let offer = said["offer"].take();
        Ok((child, offer))
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when it has ended, is stuck, or says why it cannot.
    pub(crate) fn ask(&mut self, ask: &Ask) -> Result<Value> {
        let line = serde_json::to_string(ask).expect("a question is JSON");
        // Where it has ended, there is no answer either, and that is what is said.
        _ = writeln!(self.asks, "{line}").and_then(|()| self.asks.flush());
        let what: String = line.chars().take(60).collect();
        self.answer(&what)
    }

    fn answer(&self, what: &str) -> Result<Value> {
        let unavailable =
            |why: String| Error::new(ErrorKind::Unavailable, format!("{}, asked {what}: {why}", self.name));
        let line = self.answers.recv_timeout(PATIENCE).map_err(|error| match error {
            RecvTimeoutError::Disconnected => unavailable("it has ended".into()),
            RecvTimeoutError::Timeout => unavailable(format!("no answer in {} s", PATIENCE.as_secs())),
        })?;
        let said: Value = serde_json::from_str(&line).map_err(|_| unavailable(format!("it said {line:?}, no JSON")))?;
        match said["error"].as_str() {
            Some(error) => Err(unavailable(error.to_owned())),
            None => Ok(said),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail only when it has ended.
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shell(script: &str) -> Result<(Child, Value)> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Child::start("sh".into(), command)
    }

    #[test]
    fn it_offers_and_answers() {
        let (mut child, offer) = shell(r#"echo '{"offer": 7}'; read line; echo '{"cpu_s": 1}'; read line"#).unwrap();

        assert_eq!(offer, json!(7));
        assert_eq!(child.ask(&Ask::Cpu).unwrap(), json!({ "cpu_s": 1 }));
    }

    #[test]
    fn what_goes_wrong_is_said() {
        let (mut child, _) =
            shell(r#"echo '{}'; read line; echo '{"error": "no memory"}'; read line; echo what?"#).unwrap();

        let said = |result: Result<Value>| result.unwrap_err().to_string();
        assert_eq!(said(child.ask(&Ask::Seal)), r#"sh, asked {"ask":"seal"}: no memory"#);
        assert_eq!(said(child.ask(&Ask::Seal)), r#"sh, asked {"ask":"seal"}: it said "what?", no JSON"#);
        assert_eq!(said(child.ask(&Ask::Seal)), r#"sh, asked {"ask":"seal"}: it has ended"#);
        assert!(shell("exit 3").is_err());
    }
}
