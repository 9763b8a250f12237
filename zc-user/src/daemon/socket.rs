//! The daemon's Unix socket: who may connect, and that there is one daemon alone.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

use nix::unistd::Group;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody else serves it.
    #[error("another zc daemon{} serves {}; stop it, or choose another socket", pid.as_ref().map_or_else(String::new, |pid| format!(" (process {pid})")), path.display())]
    Taken {
        /// The socket.
        path: PathBuf,
        /// The other one's id, as it says.
        pid: Option<String>,
    },
    /// What is there is no socket.
    #[error("{} is there and is no socket; remove it, or choose another one", path.display())]
    NoSocket {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// To do what.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// A socket that this process alone serves.
#[derive(Debug)]
pub(super) struct Socket {
    path: PathBuf,
    group: Option<u32>,
    /// Device and inode, which tell whether it is still there.
    identity: (u64, u64),
    /// Held as long as this lives.
    _lock: File,
}

impl Socket {
    /// Makes it. Only root and `group` may connect; without such a group root alone.
    pub(super) fn bind(path: &Path, group: &str) -> Result<(Self, UnixListener), SocketError> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(io_error("make the directory", directory))?;
        }
        let lock = lock(path)?;
        let known = Group::from_name(group).ok().flatten().map(|group| group.gid.as_raw());
        if known.is_none() {
            tracing::warn!(group, "there is no such group, so root alone may ask");
        }
        let (listener, identity) = listen(path, known)?;
        Ok((Self { path: path.to_owned(), group: known, identity, _lock: lock }, listener))
    }

    /// Makes it again if somebody has removed it.
    pub(super) fn bind_again_if_gone(&mut self) -> Result<Option<UnixListener>, SocketError> {
        let is_there = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity);
        if is_there {
            return Ok(None);
        }
        let (listener, identity) = listen(&self.path, self.group)?;
        self.identity = identity;
        Ok(Some(listener))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        // The lock's file stays: another daemon may be about to open it.
    }
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SocketError {
    let path = path.to_owned();
    move |source| SocketError::Io { what, path, source }
}

/// Takes the lock beside the socket, which a process that has ended does not hold, however it ended.
fn lock(socket: &Path) -> Result<File, SocketError> {
    let mut name = socket.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(&path)
        .map_err(io_error("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = (&file).take(32).read_to_string(&mut pid);
            let pid = Some(pid.trim().to_owned()).filter(|pid| pid.parse::<u32>().is_ok());
            return Err(SocketError::Taken { path: socket.to_owned(), pid });
        }
        Err(TryLockError::Error(source)) => return Err(io_error("lock", &path)(source)),
    }
    let written =
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(io_error("write", &path))?;
    Ok(file)
}

fn listen(path: &Path, group: Option<u32>) -> Result<(UnixListener, (u64, u64)), SocketError> {
    match fs::symlink_metadata(path) {
        // Nobody serves it, as the lock is ours.
        Ok(metadata) if metadata.file_type().is_socket() => {
            fs::remove_file(path).map_err(io_error("remove the old socket", path))?;
        }
        Ok(_) => return Err(SocketError::NoSocket { path: path.to_owned() }),
        Err(_) => {}
    }
    // Nobody gets in before it is known who may.
    let before = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(path);
    nix::sys::stat::umask(before);
    let listener = listener.map_err(io_error("bind", path))?;
    if let Some(gid) = group {
        chown(path, None, Some(gid)).map_err(io_error("give to its group", path))?;
        fs::set_permissions(path, Permissions::from_mode(0o660))
            .map_err(io_error("open to its group", path))?;
    }
    listener.set_nonblocking(true).map_err(io_error("use", path))?;
    let metadata = fs::symlink_metadata(path).map_err(io_error("look at", path))?;
    Ok((listener, (metadata.dev(), metadata.ino())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_GROUP: &str = "no such group";

    #[test]
    fn there_is_one_daemon_for_a_socket_and_nobody_else_may_connect() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("run/zc.sock");
        let (socket, _listener) = Socket::bind(&path, NO_GROUP).expect("a socket");
        assert_eq!(fs::metadata(&path).expect("it").mode() & 0o777, 0o600);
        let refused = Socket::bind(&path, NO_GROUP).expect_err("a second one").to_string();
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        drop(socket);
        assert!(!path.exists());
        Socket::bind(&path, NO_GROUP).expect("a socket again");
    }

    #[test]
    fn what_a_killed_daemon_left_is_replaced_and_other_files_are_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("zc.sock");
        drop(UnixListener::bind(&path).expect("a socket that nobody serves"));
        drop(Socket::bind(&path, NO_GROUP).expect("a socket"));
        fs::write(&path, "mine").expect("a file");
        assert!(matches!(Socket::bind(&path, NO_GROUP), Err(SocketError::NoSocket { .. })));
        assert_eq!(fs::read(&path).expect("it"), b"mine");
    }

    #[test]
    fn a_socket_that_was_removed_is_made_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("zc.sock");
        let (mut socket, _listener) = Socket::bind(&path, NO_GROUP).expect("a socket");
        assert!(socket.bind_again_if_gone().expect("a look").is_none());
        fs::remove_file(&path).expect("removed");
        assert!(socket.bind_again_if_gone().expect("a look").is_some() && path.exists());
        assert!(socket.bind_again_if_gone().expect("a look").is_none());
    }
}
