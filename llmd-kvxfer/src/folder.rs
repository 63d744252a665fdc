//! Folders of sockets: whose they are, and what of them nobody owns any more.

use std::fs;
use std::io::ErrorKind::ConnectionRefused;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use llmd_core::{Error, ErrorKind, Result};

/// How names of sockets begin that are not an agent's own but an engine's, how they end where only devices' memory is served, and how
/// all of them end.
pub(crate) const ENGINE: &str = "engine-";
pub(crate) const IPC: &str = "-ipc";
pub(crate) const SOCKET: &str = ".sock";
/// How many digits an agent has in them.
const AGENT: usize = 16;
/// How many are looked at when another is made.
const SWEPT: usize = 1024;

/// Where sockets are made unless somebody says where: a folder of the user's own, below the system's for temporary files.
pub(crate) fn of_user() -> PathBuf {
    std::env::temp_dir().join(format!("llmd-{}", rustix::process::getuid().as_raw()))
}

/// Makes the folder for this user alone. One that is there may be another user's, as volumes are, unless everybody may write it; the
/// user's own may be nobody else's. Our sockets of those that were killed are taken away.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] when it cannot be made, or is not what it should be.
pub(crate) fn prepare(folder: &Path) -> Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|cause| refused(folder, &cause.to_string()))?;
    check(folder, folder == of_user())?;
    sweep(folder);
    Ok(())
}

/// Makes sure that nobody else may write a folder; nor own it, where it is to be the user's own.
fn check(folder: &Path, is_own: bool) -> Result<()> {
    let there = fs::metadata(folder).map_err(|cause| refused(folder, &cause.to_string()))?;
    let (owner, me) = (there.uid(), rustix::process::getuid().as_raw());
    let is_shared = there.permissions().mode() & 0o022 != 0;
    if owner != me && (is_shared || is_own) || is_shared && is_own {
        let who = if is_shared { "others than its owner may write it" } else { "it is another's" };
        let why = format!("{who}, user {owner}'s, expected a folder that user {me} alone may write");
        return Err(refused(folder, &why));
    }
    Ok(())
}

fn refused(folder: &Path, why: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{}: {why}", folder.display()))
}

/// Has a socket listen, and gives it this name afterwards: between the two, others would take it for one of the dead.
///
/// # Errors
///
/// Those of `listen`, and [`ErrorKind::Unavailable`] when it cannot be given that name.
pub(crate) fn listen_at<T>(path: &Path, listen: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let unnamed = path.with_extension("unnamed");
    let listening = listen(&unnamed)?;
    fs::rename(&unnamed, path).map_err(|cause| {
        let message = format!("{}, expected a place to listen at: {cause}", path.display());
        Error::new(ErrorKind::Unavailable, message).with_source(cause)
    })?;
    Ok(listening)
}

fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let paths = entries.flatten().map(|entry| entry.path());
    for path in paths.filter(|path| is_ours(path)).take(SWEPT) {
        if is_dead(&path) {
            // Somebody else may have been faster.
            let _removed = fs::remove_file(&path);
        }
    }
}

/// Whether it is called as our sockets are: after an agent, and what they are for.
fn is_ours(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(SOCKET));
    let agent = name.map(|name| name.strip_prefix(ENGINE).unwrap_or(name));
    let agent = agent.map(|agent| agent.strip_suffix(IPC).unwrap_or(agent));
    agent.is_some_and(|agent| agent.len() == AGENT && agent.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Whether nobody owns this socket any more. It is asked in a way that its owner hears nothing of: one that is alive is of another
/// type.
fn is_dead(path: &Path) -> bool {
    let asked = UnixDatagram::unbound().and_then(|socket| socket.connect(path));
    asked.is_err_and(|cause| cause.kind() == ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("llmd-folder-{name}-{}", std::process::id()));
            prepare(&folder).unwrap();
            Self(folder)
        }

        fn listen(&self, name: &str) -> (PathBuf, UnixListener) {
            let path = self.0.join(format!("{name}{SOCKET}"));
            let listener = listen_at(&path, |path| Ok(UnixListener::bind(path).unwrap())).unwrap();
            (path, listener)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn a_socket_of_the_dead_is_taken_away_and_no_other_file() {
        let folder = Folder::new("dead");
        let names = ["00112233445566aa", "00112233445566aa-ipc", "engine-00112233445566aa"];
        let dead = names.map(|name| folder.listen(name).0);
        let (living, _listener) = folder.listen("00112233445566bb");
        let others = ["somebody", "engine-1", "00112233445566zz"].map(|name| folder.listen(name).0);
        fs::write(folder.0.join("a.key"), "a key").unwrap();
        assert!(dead.iter().all(|path| path.exists()));

        prepare(&folder.0).unwrap();
        assert!(!dead.iter().any(|path| path.exists()));
        assert!(others.iter().all(|path| path.exists()) && folder.0.join("a.key").exists());
        UnixStream::connect(&living).unwrap();
    }

    #[test]
    fn one_that_everybody_may_write_is_refused_where_it_should_be_the_users_own() {
        let folder = Folder::new("shared");
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o777)).unwrap();
        prepare(&folder.0).unwrap();
        let error = check(&folder.0, true).unwrap_err();
        assert!(error.to_string().contains("others than its owner may write it"), "{error}");
    }

    #[test]
    fn the_living_hear_nothing_of_it() {
        let folder = Folder::new("living");
        let (_path, listener) = folder.listen("00112233445566cc");
        prepare(&folder.0).unwrap();
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }

    #[test]
    fn many_that_begin_at_once_do_not_take_each_others_away() {
        let folder = Folder::new("many");
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let folder = &folder;
                scope.spawn(move || {
                    for turn in 0..300_u64 {
                        prepare(&folder.0).unwrap();
                        let (path, listener) = folder.listen(&format!("engine-{:016x}", thread << 32 | turn));
                        UnixStream::connect(&path).unwrap();
                        drop(listener);
                    }
                });
            }
        });
    }
}
