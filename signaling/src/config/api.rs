//! Who may use the HTTP interface on the admin address.

use std::path::PathBuf;

use serde::Deserialize;

use super::accounts::file;
use super::fault::Faults;

/// The shortest token.
const SHORTEST: usize = 16;

/// The HTTP interface for operators on the admin address: `[signaling.api]`. On the command socket it is served in any
/// case, to root and the user that the process runs as.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// A file that holds a token on one line, 16 characters or more, for its owner and group alone. Who shows it
    /// (`Authorization: Bearer TOKEN`) may ask for everything: calls with their numbers too. Nobody may, if left out.
    pub token_file: Option<PathBuf>,
    /// Whether who shows it may also change something: end calls, drain, set limits and lists.
    pub write: bool,
}

impl ApiConfig {
    /// The token, where there is to be one.
    pub(crate) fn token(&self) -> Option<String> {
        self.checked(&mut Faults::default())
    }

    /// The same, with what is wrong.
    pub(super) fn checked(&self, faults: &mut Faults) -> Option<String> {
        let Some(path) = &self.token_file else {
            if self.write {
                faults.add("api.write", "there is no token to show", "set `token_file` too, or leave `write` out");
            }
            return None;
        };
        match file::password(path) {
            Ok(token) if token.len() >= SHORTEST && token.bytes().all(|byte| byte.is_ascii_graphic()) => Some(token),
            Ok(_) => {
                let remedy = "write one such as `openssl rand -hex 24` prints";
                faults.add("api.token_file", "it is no token: 16 characters or more, without spaces", remedy);
                None
            }
            Err(file::Unreadable { problem, remedy }) => {
                faults.add("api.token_file", problem, remedy);
                None
            }
        }
    }
}
