//! Session timers (RFC 4028).

use std::fmt;

use super::Params;
use crate::lexical::{seconds, split_at, trim};
use crate::{Fault, Message, Name};

/// Who refreshes the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refresher {
    /// Who sent the request.
    Uac,
    /// Who answers it.
    Uas,
}

/// Session-Expires: how long the session lasts without a refresh (RFC 4028 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionExpires {
    /// The interval.
    pub seconds: u32,
    /// Who refreshes, if that is said.
    pub refresher: Option<Refresher>,
}

impl SessionExpires {
    /// Reads a value. A refresher of another name is nobody in particular.
    pub fn parse(value: &[u8]) -> Result<SessionExpires, Fault> {
        let (interval, _) = split_at(value, b';');
        let seconds = seconds(trim(interval)).ok_or(Fault::Malformed(Name::SessionExpires))?;
        let refresher = match Params::new(&value[interval.len()..]).find(b"refresher").flatten() {
            Some(name) if name.eq_ignore_ascii_case(b"uac") => Some(Refresher::Uac),
            Some(name) if name.eq_ignore_ascii_case(b"uas") => Some(Refresher::Uas),
            _ => None,
        };
        Ok(SessionExpires { seconds, refresher })
    }
}

/// The value as it is written.
impl fmt::Display for SessionExpires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.seconds)?;
        match self.refresher {
            Some(Refresher::Uac) => f.write_str(";refresher=uac"),
            Some(Refresher::Uas) => f.write_str(";refresher=uas"),
            None => Ok(()),
        }
    }
}

impl Message<'_> {
    /// Session-Expires; `None` if it is absent.
    pub fn session_expires(&self) -> Result<Option<SessionExpires>, Fault> {
        self.header(Name::SessionExpires).map(SessionExpires::parse).transpose()
    }

    /// Min-SE: the shortest interval that is accepted, in seconds; `None` if it is absent.
    pub fn min_se(&self) -> Result<Option<u32>, Fault> {
        let read = |value| seconds(trim(split_at(value, b';').0)).ok_or(Fault::Malformed(Name::MinSe));
        self.header(Name::MinSe).map(read).transpose()
    }
}
