//! What of a message crosses from one leg to the other, and what each leg says for itself.
//!
//! Unknown headers cross byte for byte. Known ones have rules: those of [`is_own`] are the leg's own;
//! identity headers cross only between trusted trunks; option tags that Moorline does not carry are
//! neither offered nor accepted.

use std::net::SocketAddr;

use moorline_sip::{HeaderLine, Message, Name, NameAddr, Params, Scheme, Uri, Writer};

/// The methods that Moorline takes (RFC 3261 20.5).
pub(crate) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, MESSAGE";

/// Headers beside those of [`is_own`] that belong to extensions which are negotiated per leg and not
/// carried here: reliable provisional answers (RFC 3262) and session timers (RFC 4028).
const NEGOTIATED: [&str; 4] = ["RSeq", "RAck", "Session-Expires", "Min-SE"];

/// Headers that assert who somebody is or where a call has been (RFC 3325, RFC 5806, RFC 7044, RFC 7315).
const IDENTITY: [&str; 6] = [
    "P-Asserted-Identity",
    "P-Preferred-Identity",
    "Remote-Party-ID",
    "Diversion",
    "History-Info",
    "P-Charging-Vector",
];

/// Copies what crosses of a message's headers.
pub(crate) fn copy_headers(mut writer: Writer, message: Message<'_>, trusted: bool) -> Writer {
    for line in message.lines() {
        if crosses(&line, trusted) {
            writer = writer.line(line.raw);
        }
    }
    writer
}

fn crosses(line: &HeaderLine<'_>, trusted: bool) -> bool {
    let named = |names: &[&str]| names.iter().any(|name| line.name_text.eq_ignore_ascii_case(name.as_bytes()));
    !is_own(line.name) && !named(&NEGOTIATED) && (trusted || !named(&IDENTITY))
}

/// Headers that each leg writes for itself.
fn is_own(name: Name) -> bool {
    matches!(
        name,
        Name::Via
            | Name::Route
            | Name::RecordRoute
            | Name::Contact
            | Name::MaxForwards
            | Name::From
            | Name::To
            | Name::CallId
            | Name::CSeq
            | Name::ContentLength
            | Name::Supported
            | Name::Require
            | Name::ProxyRequire
            | Name::Allow
    )
}

/// The option tags that a request requires (RFC 3261 8.2.2.3): Moorline carries none, so each is named
/// in the 420. Empty where nothing is required.
pub(crate) fn required(request: Message<'_>) -> Vec<u8> {
    let tags: Vec<&[u8]> = request.values(Name::Require).chain(request.values(Name::ProxyRequire)).collect();
    tags.join(&b", "[..])
}

/// A Via value for a request sent from `advertised`.
pub(crate) fn via(advertised: SocketAddr, branch: &str) -> String {
    format!("SIP/2.0/UDP {advertised};branch={branch};rport")
}

/// A Contact value for `advertised`.
pub(crate) fn contact(advertised: SocketAddr) -> String {
    format!("<sip:{advertised}>")
}

/// The Request-URI at the next hop: the user part and the parameters that are not about transport stay,
/// the host becomes the hop's. A telephone number becomes its user part.
pub(crate) fn request_uri(original: &[u8], hop: SocketAddr) -> Vec<u8> {
    let Ok(uri) = Uri::parse(original) else { return format!("sip:{hop}").into_bytes() };
    let mut out = b"sip:".to_vec();
    if let Some(user) = uri.user {
        out.extend_from_slice(user);
        out.push(b'@');
    }
    out.extend_from_slice(hop.to_string().as_bytes());
    if uri.scheme == Scheme::Tel {
        out.extend_from_slice(b";user=phone");
        return out;
    }
    copy_params(&mut out, uri.params, &["transport", "maddr", "ttl", "lr", "received"]);
    out
}

/// A From or To value whose host is replaced, so that the other leg's topology does not show. The display
/// name, the user part and unknown parameters stay; a tag does not. A `tel:` URI has no host to hide.
pub(crate) fn party(original: &NameAddr<'_>, host: SocketAddr) -> Vec<u8> {
    let mut out = Vec::with_capacity(original.display.len() + original.uri.len() + 48);
    if !original.display.is_empty() {
        out.extend_from_slice(original.display);
        out.push(b' ');
    }
    out.push(b'<');
    match Uri::parse(original.uri) {
        Ok(uri) if uri.scheme == Scheme::Tel => out.extend_from_slice(original.uri),
        Ok(uri) => {
            out.extend_from_slice(b"sip:");
            if let Some(user) = uri.user {
                out.extend_from_slice(user);
                out.push(b'@');
            }
            out.extend_from_slice(host.to_string().as_bytes());
        }
        Err(_) => {
            out.extend_from_slice(b"sip:");
            out.extend_from_slice(host.to_string().as_bytes());
        }
    }
    out.push(b'>');
    copy_params(&mut out, original.params, &["tag"]);
    out
}

/// Copies parameters, but those named.
fn copy_params(out: &mut Vec<u8>, params: &[u8], except: &[&str]) {
    for (name, value) in Params::new(params) {
        if name.is_empty() || except.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes())) {
            continue;
        }
        out.push(b';');
        out.extend_from_slice(name);
        if let Some(value) = value {
            out.push(b'=');
            out.extend_from_slice(value);
        }
    }
}

/// What a message's body is to a B2BUA that must rewrite every session description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body<'a> {
    /// There is none.
    None,
    /// A session description.
    Sdp(&'a [u8]),
    /// Something that carries no session description: it crosses as it is.
    Opaque(&'a [u8]),
    /// Parts, one of which may be a session description: it may not cross unread.
    Multipart,
}

/// Classifies a body by its Content-Type.
pub(crate) fn body(message: Message<'_>) -> Body<'_> {
    let body = message.body();
    if body.is_empty() {
        return Body::None;
    }
    let Some(value) = message.header(Name::ContentType) else { return Body::Opaque(body) };
    let media_type = value.split(|b| *b == b';').next().unwrap_or(value).trim_ascii();
    if media_type.eq_ignore_ascii_case(b"application/sdp") {
        Body::Sdp(body)
    } else if media_type.get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/")) {
        Body::Multipart
    } else {
        Body::Opaque(body)
    }
}

/// The To tag of a message, if it has one.
pub(crate) fn to_tag(message: Message<'_>) -> Option<&[u8]> {
    message.to().ok()?.tag()
}

#[cfg(test)]
mod tests;
