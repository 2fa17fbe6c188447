//! The socket in the file system, and the other end of it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use super::{Reply, Request};

const BACKLOG: i32 = 8;

/// The longest reply: a page of rows.
const MAX_REPLY: u64 = 8 * 1024 * 1024;

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long it may take where a configuration is read, with millions of routes.
const READING: Duration = Duration::from_secs(120);

/// The file of a socket that is listened on, removed when this is dropped.
#[derive(Debug)]
pub(crate) struct CommandSocket {
    path: PathBuf,
    inode: u64,
}

impl CommandSocket {
    /// Binds and listens, with mode 0600 before anybody can connect. A directory that is not there is made; the file of
    /// a process that has died is replaced.
    ///
    /// # Errors
    /// Also if a living process listens there.
    pub(crate) fn listen(path: &Path) -> io::Result<(CommandSocket, UnixListener)> {
        remove_stale(path)?;
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            // Open to be entered: the media process has its socket there too, for another user.
            std::fs::DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let file = CommandSocket { path: path.to_owned(), inode: std::fs::symlink_metadata(path)?.ino() };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        // Until here a connect is refused, whatever the mode was.
        socket.listen(BACKLOG)?;
        Ok((file, UnixListener::from(socket)))
    }
}

impl Drop for CommandSocket {
    fn drop(&mut self) {
        // A successor may have replaced the file already; then it is not ours to remove.
        if std::fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            // Whoever starts next removes it.
            drop(std::fs::remove_file(&self.path));
        }
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(file) if !file.file_type().is_socket() => return Err(io::Error::other("it exists and is no socket")),
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(io::Error::other("another process is listening there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) => Err(error),
    }
}

/// Asks the process that listens at a socket, and waits for its answer: what it said, and the line that said it.
///
/// # Errors
/// Nobody listens there, or it does not answer as it should.
pub fn ask(path: &Path, request: &Request) -> io::Result<(Reply, String)> {
    let mut stream = UnixStream::connect(path)?;
    let reads = matches!(request, Request::Reload { .. } | Request::Rollback { .. });
    stream.set_read_timeout(Some(if reads { READING } else { PATIENCE }))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all((serde_json::to_string(request)? + "\n").as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream.take(MAX_REPLY)).read_line(&mut line)?;
    if !line.ends_with('\n') {
        return Err(io::Error::other("it hung up without an answer: too many connections, or another user's process"));
    }
    let line = line.trim_end().to_owned();
    Ok((serde_json::from_str(&line)?, line))
}
