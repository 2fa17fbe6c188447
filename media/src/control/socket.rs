//! The control socket in the file system: who may connect, and what happens to one that is left over.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

const BACKLOG: i32 = 64;

/// Who may connect: this process's own user, root, and those named.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    users: Vec<Uid>,
    /// Others are named, so the file has to let the group in.
    shared: bool,
}

impl Access {
    /// Looks the users up.
    ///
    /// # Errors
    /// A user that is not there.
    pub(crate) fn new(names: &[String]) -> Result<Access, SocketError> {
        let mut users = vec![Uid::effective(), Uid::from_raw(0)];
        for name in names {
            match User::from_name(name) {
                Ok(Some(user)) => users.push(user.uid),
                Ok(None) | Err(_) => return Err(SocketError::NoSuchUser(name.clone())),
            }
        }
        Ok(Access { users, shared: !names.is_empty() })
    }

    pub(crate) fn admits(&self, uid: u32) -> bool {
        self.users.contains(&Uid::from_raw(uid))
    }

    fn mode(&self) -> u32 {
        if self.shared { 0o660 } else { 0o600 }
    }
}

/// Why the control socket could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    #[error("another process is listening on {0}: stop it, or set another path under \"control\"")]
    InUse(PathBuf),
    #[error("{0} exists and is no socket: move it away, or set another path under \"control\"")]
    NotASocket(PathBuf),
    #[error("control socket {path}: {error}")]
    Io { path: PathBuf, error: io::Error },
    #[error("control_users names \"{0}\", and there is no such user")]
    NoSuchUser(String),
}

/// The file of a listening control socket, removed when this is dropped.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    path: PathBuf,
    inode: u64,
}

impl ControlSocket {
    /// Binds and listens. The directory is made if it is not there (mode 0750); the file of a process that
    /// has died is replaced. The mode is set before anybody can connect.
    ///
    /// # Errors
    /// Also if a living process listens there.
    pub(crate) fn listen(path: &Path, access: &Access) -> Result<(ControlSocket, UnixListener), SocketError> {
        remove_stale(path)?;
        bind(path, access).map_err(|error| SocketError::Io { path: path.to_owned(), error })
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // A successor may have replaced the file already; then it is not ours to remove.
        if std::fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let fault = |error| SocketError::Io { path: path.to_owned(), error };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fault(error)),
        Ok(file) if !file.file_type().is_socket() => return Err(SocketError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(SocketError::InUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!(path = %path.display(), "replacing the control socket of a process that has ended");
            std::fs::remove_file(path).map_err(fault)
        }
        Err(error) => Err(fault(error)),
    }
}

fn bind(path: &Path, access: &Access) -> io::Result<(ControlSocket, UnixListener)> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty() && !directory.exists())
    {
        std::fs::create_dir_all(directory)?;
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o750))?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = ControlSocket { path: path.to_owned(), inode: std::fs::symlink_metadata(path)?.ino() };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(access.mode()))?;
    // Until here a connect is refused, whatever the mode was.
    socket.listen(BACKLOG)?;
    Ok((file, UnixListener::from_std(std::os::unix::net::UnixListener::from(socket))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(path: &Path, users: &[&str]) -> Result<(ControlSocket, UnixListener), SocketError> {
        let users: Vec<String> = users.iter().map(|&user| user.to_owned()).collect();
        ControlSocket::listen(path, &Access::new(&users)?)
    }

    #[tokio::test]
    async fn only_the_owner_may_connect_unless_users_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made/media.sock");
        let mode = || std::fs::metadata(&path).unwrap().mode() & 0o777;
        let open = listen(&path, &[]).unwrap();
        assert_eq!(mode(), 0o600);
        drop(open);
        assert!(!path.exists());
        let _open = listen(&path, &["root"]).unwrap();
        assert_eq!(mode(), 0o660);
        assert!(matches!(listen(&path, &["nobody-of-this-name"]), Err(SocketError::NoSuchUser(_))));
    }

    #[tokio::test]
    async fn a_left_over_socket_is_replaced_and_a_living_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("media.sock");
        let (file, listener) = listen(&path, &[]).unwrap();
        assert!(matches!(listen(&path, &[]), Err(SocketError::InUse(_))));
        drop(listener);
        // As after a kill: the file is there, and nobody listens.
        std::mem::forget(file);
        assert!(path.exists());
        let _replaced = listen(&path, &[]).unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("media.sock");
        std::fs::write(&path, "something else").unwrap();
        assert!(matches!(listen(&path, &[]), Err(SocketError::NotASocket(_))));
        assert_eq!(std::fs::read(&path).unwrap(), b"something else");
    }
}
