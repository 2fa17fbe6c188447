//! What a caller wants withheld (RFC 3323 section 4.2, RFC 3325 section 9.3).

use crate::lexical::trim;
use crate::{Message, Name};

/// The values of Privacy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Privacy {
    /// `none`: nothing may be withheld, whatever would be by default.
    pub none: bool,
    /// `id`: the asserted identity.
    pub id: bool,
    /// `user`: what the user agent itself may say of the user.
    pub user: bool,
    /// `header`: what other header fields tell.
    pub header: bool,
    /// `session`: where media come from.
    pub session: bool,
    /// `history`: earlier targets (RFC 7044 section 10.1).
    pub history: bool,
    /// `critical`: the request fails rather than that one of these is not done.
    pub critical: bool,
    /// One that Moorline does not know.
    pub other: bool,
}

impl Privacy {
    /// Whether the identity of the caller may not be shown to whom is not trusted.
    pub fn withholds_identity(&self) -> bool {
        !self.none && (self.id || self.user)
    }
}

impl Message<'_> {
    /// Privacy; nothing is set if it is absent. Values are separated by semicolons; commas occur.
    pub fn privacy(&self) -> Privacy {
        let mut privacy = Privacy::default();
        for value in self.all(Name::Privacy).flat_map(|line| line.split(|byte| matches!(byte, b';' | b','))) {
            let known = [
                (&b"none"[..], &mut privacy.none),
                (b"id", &mut privacy.id),
                (b"user", &mut privacy.user),
                (b"header", &mut privacy.header),
                (b"session", &mut privacy.session),
                (b"history", &mut privacy.history),
                (b"critical", &mut privacy.critical),
            ];
            let value = trim(value);
            match known.into_iter().find(|(name, _)| value.eq_ignore_ascii_case(name)) {
                Some((_, set)) => *set = true,
                None => privacy.other |= !value.is_empty(),
            }
        }
        privacy
    }
}
