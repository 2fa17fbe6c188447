//! Where the control socket is when no configuration says so: a directory of this user alone.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

/// `$XDG_RUNTIME_DIR/moorline/media.sock`, or without that directory `/tmp/moorline-<uid>/media.sock`.
pub(crate) fn default_control_path() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_dir());
    match runtime {
        Some(runtime) => runtime.join("moorline").join("media.sock"),
        None => std::env::temp_dir().join(format!("moorline-{}", geteuid())).join("media.sock"),
    }
}

/// Makes the directory for this user alone, or makes sure that it is so: in a shared temporary directory
/// another user could have made it first, to stand between the two processes.
pub(crate) fn make_private_directory(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        other => return other,
    }
    let found = std::fs::symlink_metadata(path)?;
    if found.is_dir() && found.uid() == geteuid().as_raw() && found.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(io::Error::other("it exists, but is not a directory of this user with mode 0700; remove it"))
}
