//! Bodies: where a session description is in them, and how another takes its place (RFC 3261 20.15, RFC 5621).

use moorline_sip::{Message, Name, multipart};

/// What a message's body is to a B2BUA that must rewrite every session description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body<'a> {
    /// There is none.
    None,
    /// A session description, alone or as one of several parts.
    Sdp(&'a [u8]),
    /// Something that carries no session description: it crosses as it is.
    Opaque(&'a [u8]),
    /// Something that may hold a session description where it cannot be rewritten: encoded, of an unclear type, or
    /// in parts that cannot be told apart. It may not cross unread; the answer is 415.
    Unsupported,
}

/// Classifies a body by its Content-Type (RFC 3261 20.15).
pub(crate) fn body(message: Message<'_>) -> Body<'_> {
    let body = message.body();
    if body.is_empty() {
        return Body::None;
    }
    let mut types = message.all(Name::ContentType);
    let (Some(value), None) = (types.next(), types.next()) else { return Body::Unsupported };
    let named = value.split(|b| *b == b';').next().unwrap_or(value);
    // Blanks may stand around the slash (RFC 3261 25.1, SLASH).
    let Some(slash) = named.iter().position(|b| *b == b'/') else { return Body::Unsupported };
    let (kind, subtype) = (named[..slash].trim_ascii(), named[slash + 1..].trim_ascii());
    let is = |text: &[u8], known: &[u8]| text.eq_ignore_ascii_case(known);
    let encoded = message.header(Name::ContentEncoding).is_some_and(|encoding| !is(encoding, b"identity"));
    if encoded {
        Body::Unsupported
    } else if is(kind, b"multipart") {
        match multipart::find(value, body, "application", "sdp") {
            Ok(Some(part)) => body.get(part.content).map_or(Body::Unsupported, Body::Sdp),
            Ok(None) => Body::Opaque(body),
            Err(_) => Body::Unsupported,
        }
    } else if is(kind, b"application") && is(subtype, b"sdp") {
        Body::Sdp(body)
    } else {
        Body::Opaque(body)
    }
}

/// A body with another session description in the place of its own; `None` where it cannot stand there.
pub(crate) fn with_description(message: Message<'_>, description: Vec<u8>) -> Option<Vec<u8>> {
    let (content_type, body) = (message.header(Name::ContentType)?, message.body());
    if !content_type.trim_ascii_start().get(..9).is_some_and(|kind| kind.eq_ignore_ascii_case(b"multipart")) {
        return Some(description);
    }
    let part = multipart::find(content_type, body, "application", "sdp").ok()??;
    multipart::replace(body, &part, &description).ok()
}
