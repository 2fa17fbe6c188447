//! Files with secrets: read only if strangers cannot.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Deserialize;

use super::UserConfig;

/// What nobody but the owner may do with such a file, save that its group may read it.
const FORBIDDEN_MODE: u32 = 0o027;

/// The longest file: some 100,000 users.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Why a file is of no use, and what to do.
pub(in crate::config) struct Unreadable {
    pub(in crate::config) problem: String,
    pub(in crate::config) remedy: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UsersFile {
    users: Vec<UserConfig>,
}

/// The users of a file.
pub(super) fn users(path: &Path) -> Result<Vec<UserConfig>, Unreadable> {
    let text = read(path)?;
    let parsed: Result<UsersFile, _> = toml::from_str(&text);
    parsed.map(|file| file.users).map_err(|error| {
        // The message names keys and types; the line itself may hold a password, and is not shown.
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        Unreadable {
            problem: format!("{}: line {line}: {}", path.display(), error.message()),
            remedy: "write [[users]] tables with `name` and `password`".into(),
        }
    })
}

/// The password of a file: its only line.
pub(in crate::config) fn password(path: &Path) -> Result<String, Unreadable> {
    let text = read(path)?;
    let line = text.trim_end_matches(['\r', '\n']);
    if line.is_empty() || line.contains('\n') {
        let problem = format!("{} holds no password", path.display());
        return Err(Unreadable { problem, remedy: "write it on one line".into() });
    }
    Ok(line.to_owned())
}

fn read(path: &Path) -> Result<String, Unreadable> {
    let unreadable = |error: std::io::Error| Unreadable {
        problem: format!("{} cannot be read: {error}", path.display()),
        remedy: "create it for the user that signaling starts as".into(),
    };
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.mode() & 0o7777;
    if mode & FORBIDDEN_MODE != 0 {
        let problem = format!("{} has mode {mode:04o}: others may read or change it", path.display());
        return Err(Unreadable { problem, remedy: "chmod 0640 or 0600".into() });
    }
    let mut text = String::new();
    file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_BYTES {
        let problem = format!("{} is longer than {MAX_BYTES} bytes", path.display());
        return Err(Unreadable { problem, remedy: "split the users between trunks, or ask a RADIUS server".into() });
    }
    Ok(text)
}
