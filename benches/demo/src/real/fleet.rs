//! Two engines: started together, emptied together, ended together.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};

use super::blocks::held;
use super::engine::{Engine, EngineSettings};
use crate::clock::Clock;
use crate::console::Console;
use crate::http::Http;

/// How many engines there are.
pub(super) const ENGINES: usize = 2;
/// How long an engine may take to empty its cache.
const EMPTY_DEADLINE: Duration = Duration::from_secs(60);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest path of a Unix socket that every system takes, in bytes.
const MAX_SOCKET_PATH: usize = 100;

/// Engines that serve. Dropping the fleet ends them.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) engines: Vec<Engine>,
    /// From the start of the first process until the last engine served.
    pub(super) start: Duration,
    // After the engines, which have sockets in it.
    _sockets: SocketFolder,
}

impl Fleet {
    /// Starts both engines at once and waits until each serves.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] with the end of the log of the first engine that does not come up.
    pub(super) async fn start(
        settings: &EngineSettings,
        sockets: SocketFolder,
        clock: Clock,
        http: &Http,
        console: Console,
    ) -> Result<Self> {
        let logs = settings.logs.display();
        console.block(&format!(
            "starting {ENGINES} engines: half a minute, more on a busy machine; their logs are in {logs}"
        ));
        let began = clock.now();
        let mut engines = (0..ENGINES).map(|n| Engine::spawn(n, settings)).collect::<Result<Vec<_>>>()?;
        for engine in &mut engines {
            engine.serves(http).await?;
            console.block(&format!("{} serves after {:.0} s", engine.name, (clock.now() - began).as_secs_f64()));
        }
        Ok(Self { engines, start: clock.now() - began, _sockets: sockets })
    }

    /// Empties every cache, and waits until every engine has said so.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when an engine does not.
    pub(super) async fn forget(&mut self, http: &Http) -> Result<()> {
        for engine in &mut self.engines {
            let (name, mut why) = (engine.name.clone(), "it still holds blocks".to_owned());
            let emptying = async {
                // An engine that has just answered may still hold the answer's blocks, and then refuses.
                while !forgotten(engine, http).await.unwrap_or_else(|error| {
                    why = crate::http::with_causes(&error);
                    false
                }) {
                    tokio::time::sleep(PAUSE).await;
                }
            };
            if tokio::time::timeout(EMPTY_DEADLINE, emptying).await.is_err() {
                let message = format!("{name} does not empty its cache: {why}");
                return Err(Error::new(ErrorKind::Unavailable, message));
            }
        }
        Ok(())
    }

    /// The engine of this name.
    pub(super) fn engine(&mut self, name: &str) -> Option<&mut Engine> {
        self.engines.iter_mut().find(|engine| engine.name == name)
    }

    /// The gateway's endpoints file: it asks the engines what they serve and where they publish, except where a relay
    /// stands in for the engine's own events.
    pub(super) fn endpoints_file(&self, relayed: Option<(usize, &str)>) -> String {
        let endpoints = self.engines.iter().enumerate().map(|(n, engine)| {
            let relay = relayed.filter(|(which, _)| *which == n).map(|(_, events)| events);
            endpoint(&engine.name, engine.port, &engine.replay.endpoint, relay)
        });
        endpoints.fold("endpoints:\n".to_owned(), |file, endpoint| file + &endpoint)
    }
}

/// Empties a cache, and says whether the engine's events say so too.
async fn forgotten(engine: &mut Engine, http: &Http) -> Result<bool> {
    engine.forget(http).await?;
    engine.replay.last().await?;
    Ok(held(&engine.replay.all().await?)?.len() == 0)
}

fn endpoint(name: &str, port: u16, replay: &str, relay: Option<&str>) -> String {
    let entry = format!("- name: {name}\n  address: 127.0.0.1\n  port: {port}\n");
    let Some(relay) = relay else { return entry };
    format!("{entry}  kvEvents:\n    endpoint: {relay}\n    replayEndpoint: {replay}\n")
}

/// A folder for sockets, whose paths must be short. It goes with its handle.
#[derive(Debug)]
pub(super) struct SocketFolder(PathBuf);

impl SocketFolder {
    /// A folder of this process's own, among temporary files.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when it cannot be made, [`ErrorKind::Invalid`] when its path is too long for a socket.
    pub(super) fn make() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("llmd-demo-{}", std::process::id()));
        // vLLM puts names of 36 characters there.
        let longest = path.as_os_str().len() + 1 + 36;
        if longest > MAX_SOCKET_PATH {
            let message = format!(
                "sockets in {} would have paths of {longest} bytes: expected at most {MAX_SOCKET_PATH}; set TMPDIR",
                path.display()
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        fs::create_dir_all(&path).map_err(|error| {
            Error::new(ErrorKind::Unavailable, format!("cannot make the folder {}", path.display())).with_source(error)
        })?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SocketFolder {
    fn drop(&mut self) {
        // A folder that stays is an untidiness among temporary files, and nobody is there to be told.
        _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_says_where_its_events_are_only_when_they_come_by_a_relay() {
        assert_eq!(endpoint("e0", 80, "tcp://r", None), "- name: e0\n  address: 127.0.0.1\n  port: 80\n");
        expect_test::expect![[r"
            - name: e1
              address: 127.0.0.1
              port: 80
              kvEvents:
                endpoint: tcp://relay
                replayEndpoint: tcp://r
        "]]
        .assert_eq(&endpoint("e1", 80, "tcp://r", Some("tcp://relay")));
    }

    #[test]
    fn a_folder_for_sockets_goes_with_its_handle() {
        let folder = SocketFolder::make().unwrap();
        let path = folder.path().to_owned();
        assert!(path.is_dir());
        drop(folder);
        assert!(!path.exists());
    }
}
