//! Media types, as in Content-Type and Accept (RFC 3261 section 25.1, RFC 2045 section 5.1).

use crate::header::Params;
use crate::lexical::{is_token, split_at, trim, unquoted};
use crate::{Fault, Name};

/// The value of a Content-Type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaType<'a> {
    /// `application`, `multipart` or another, as it was written.
    pub kind: &'a [u8],
    /// What follows the slash.
    pub subtype: &'a [u8],
    /// The parameters, raw, from the first `;`.
    pub params: &'a [u8],
}

impl<'a> MediaType<'a> {
    /// Reads a Content-Type value.
    pub fn parse(value: &'a [u8]) -> Result<MediaType<'a>, Fault> {
        MediaType::read(value).ok_or(Fault::Malformed(Name::ContentType))
    }

    /// Whether this is `kind/subtype`, in any case.
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind.as_bytes()) && self.subtype.eq_ignore_ascii_case(subtype.as_bytes())
    }

    /// A parameter by its name, in any case, without the quotes. `None` too if it holds escapes: no parameter that
    /// Moorline acts on has any.
    pub fn param(&self, name: &[u8]) -> Option<&'a [u8]> {
        unquoted(Params::new(self.params).find(name)??)
    }

    fn read(value: &'a [u8]) -> Option<MediaType<'a>> {
        let (types, _) = split_at(value, b';');
        let params = &value[types.len()..];
        let slash = memchr::memchr(b'/', types)?;
        let (kind, subtype) = (trim(&types[..slash]), trim(&types[slash + 1..]));
        let complete = is_token(kind) && is_token(subtype) && Params::new(params).are_well_formed();
        complete.then_some(MediaType { kind, subtype, params })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_in_parts() {
        let sdp = MediaType::parse(b" Application / SDP ;charset=\"utf-8\"").unwrap();
        assert!(sdp.is("application", "sdp") && !sdp.is("application", "pidf+xml") && !sdp.is("text", "sdp"));
        assert_eq!(sdp.param(b"Charset"), Some(&b"utf-8"[..]));
        assert_eq!(sdp.param(b"boundary"), None);
        assert_eq!(MediaType::parse(b"a/b;c=\"\\d\";e").unwrap().param(b"c"), None);
    }

    #[test]
    fn what_is_no_media_type() {
        for value in
            [&b""[..], b"text", b"/plain", b"text/", b"te xt/plain", b"text/plain, a/b", b"text/plain;=", b"a/b;"]
        {
            assert_eq!(MediaType::parse(value), Err(Fault::Malformed(Name::ContentType)));
        }
    }
}
