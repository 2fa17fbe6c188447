//! Why a file or directory cannot be used, in words that say what to do about it.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Uid, User, geteuid};

/// The system's words for a problem with a path, and what they leave out: whose it is, and who we are.
pub(crate) fn why(path: &Path, problem: &io::Error) -> String {
    use io::ErrorKind::{AlreadyExists, NotADirectory, PermissionDenied, ReadOnlyFilesystem};
    let problem_text = problem.to_string();
    match problem.kind() {
        PermissionDenied => match nearest(path) {
            Some((at, found)) => format!("{problem_text}: {}", denied(path, at, &found)),
            None => problem_text,
        },
        ReadOnlyFilesystem => {
            format!("{problem_text}: under systemd, name it with StateDirectory= or ReadWritePaths=")
        }
        // Of a directory that was to be made.
        AlreadyExists | NotADirectory => format!("{problem_text}: it is no directory"),
        _ => problem_text,
    }
}

fn denied(path: &Path, at: &Path, found: &Metadata) -> String {
    let (owner, we) = (Uid::from_raw(found.uid()), geteuid());
    let mode = found.mode() & 0o7777;
    let what = if at == path { "it".to_owned() } else { at.display().to_string() };
    if owner == we {
        return format!("{what} is of this process's user, {}, and has the mode {mode:o}", name(we));
    }
    let (owner, we) = (name(owner), name(we));
    format!("{what} belongs to {owner} (mode {mode:o}), this process is {we}: `chown` it, or name another place")
}

/// The path, or of what leads to it the last that can be looked at.
fn nearest(path: &Path) -> Option<(&Path, Metadata)> {
    path.ancestors().find_map(|at| Some((at, std::fs::metadata(at).ok()?)))
}

fn name(user: Uid) -> String {
    match User::from_uid(user) {
        Ok(Some(known)) => known.name,
        _ => format!("user {user}"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn whoever_is_refused_is_told_by_what() {
        let folder = tempfile::tempdir().expect("a folder");
        let refused = io::Error::from(io::ErrorKind::PermissionDenied);
        let there = folder.path().join("there");
        fs::create_dir(&there).expect("made");
        fs::set_permissions(&there, Permissions::from_mode(0o550)).expect("set");
        let we = name(geteuid());
        let text = why(&there.join("cdr/lock"), &refused);
        assert!(text.ends_with(&format!("{} is of this process's user, {we}, and has the mode 550", there.display())));
        assert!(why(&there, &refused).contains(": it is of this process's user"));
        let proc = why(Path::new("/proc/1/moorline"), &refused);
        assert!(proc.contains("/proc/1 "), "{proc}");
        assert_eq!(why(&there, &io::Error::from(io::ErrorKind::StorageFull)), "no storage space");
        assert!(why(&there, &io::ErrorKind::AlreadyExists.into()).ends_with("it is no directory"));
        assert!(why(&there, &io::ErrorKind::ReadOnlyFilesystem.into()).contains("ReadWritePaths="));
    }
}
