//! Who may use the interface.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, header};

use super::Refused;
use crate::ApiConfig;

/// Who may ask, and who may change something.
#[derive(Clone)]
pub(crate) enum Guard {
    /// Whoever comes here may do all: they were looked at before.
    Open,
    /// Nobody.
    Shut,
    /// Who shows the token may ask, and may change something, or not.
    Token { token: Arc<str>, write: bool },
}

impl Guard {
    /// On the admin address.
    pub(crate) fn of(config: &ApiConfig) -> Guard {
        config.token().map_or(Guard::Shut, |token| Guard::Token { token: token.into(), write: config.write })
    }

    pub(super) fn judge(&self, headers: &HeaderMap, changes: bool) -> Result<(), Refused> {
        let refused = |status, problem| Err(Refused::new(status, problem));
        match self {
            Guard::Open => Ok(()),
            Guard::Shut => refused(
                StatusCode::FORBIDDEN,
                "this is served on the command socket; to have it here too, set `signaling.api.token_file`",
            ),
            Guard::Token { token, .. } if !shown(headers).is_some_and(|shown| is_same(shown, token.as_bytes())) => {
                refused(StatusCode::UNAUTHORIZED, "show the token of `signaling.api.token_file`")
            }
            Guard::Token { write: false, .. } if changes => {
                refused(StatusCode::FORBIDDEN, "nothing is changed from here unless `signaling.api.write` is true")
            }
            Guard::Token { .. } => Ok(()),
        }
    }
}

fn shown(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// In a time that tells nothing of where they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |differ, (one, other)| differ | (one ^ other)) == 0
}
