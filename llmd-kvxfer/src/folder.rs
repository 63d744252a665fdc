//! Folders of sockets: whose they are, and what of them nobody owns any more.

use std::fs;
use std::io::ErrorKind::ConnectionRefused;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use llmd_core::{Error, ErrorKind, Result};

/// How names of sockets end.
const SOCKET: &str = "sock";
/// How many are looked at when another is made.
const SWEPT: usize = 1024;

/// Where sockets are made unless somebody says where: a folder of the user's own, below the system's for temporary files.
pub(crate) fn of_user() -> PathBuf {
    std::env::temp_dir().join(format!("llmd-{}", rustix::process::getuid().as_raw()))
}

/// Makes the folder for this user alone, or makes sure that it is nobody else's. Sockets of those that were killed are taken away.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] when it cannot be made, or others may write it.
pub(crate) fn prepare(folder: &Path) -> Result<()> {
    let refused = |why: String| Error::new(ErrorKind::Unavailable, format!("{}: {why}", folder.display()));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|cause| refused(cause.to_string()))?;
    let there = fs::metadata(folder).map_err(|cause| refused(cause.to_string()))?;
    let (owner, me) = (there.uid(), rustix::process::getuid().as_raw());
    let is_shared = there.permissions().mode() & 0o022 != 0;
    if is_shared && owner != me {
        return Err(refused(format!("others than user {owner} may write it, expected a folder of user {me}")));
    }
    sweep(folder);
    Ok(())
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
    for path in paths.filter(|path| path.extension().is_some_and(|end| end == SOCKET)).take(SWEPT) {
        if is_dead(&path) {
            // Somebody else may have been faster.
            let _removed = fs::remove_file(&path);
        }
    }
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
            let path = self.0.join(name).with_extension(SOCKET);
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
        let (dead, listener) = folder.listen("dead");
        drop(listener);
        let (living, listener) = folder.listen("living");
        let files = ["a.key", "b.sock"].map(|name| folder.0.join(name));
        fs::write(&files[0], "a key").unwrap();
        fs::create_dir(&files[1]).unwrap();
        assert!(dead.exists());

        prepare(&folder.0).unwrap();
        assert_eq!((dead.exists(), living.exists(), files.iter().all(|file| file.exists())), (false, true, true));
        UnixStream::connect(&living).unwrap();
        drop(listener);
    }

    #[test]
    fn the_living_hear_nothing_of_it() {
        let folder = Folder::new("living");
        let (_path, listener) = folder.listen("living");
        prepare(&folder.0).unwrap();
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }

    #[test]
    fn many_that_begin_at_once_do_not_take_each_others_away() {
        let folder = Folder::new("many");
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let folder = &folder;
                scope.spawn(move || {
                    for turn in 0..300 {
                        prepare(&folder.0).unwrap();
                        let (path, listener) = folder.listen(&format!("{thread}-{turn}"));
                        UnixStream::connect(&path).unwrap();
                        drop(listener);
                    }
                });
            }
        });
    }
}
