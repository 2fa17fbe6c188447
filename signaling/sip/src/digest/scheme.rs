//! Schemes and their parameters, as all four header fields of authentication have them (RFC 7235 section 2.1).

use std::borrow::Cow;

use crate::lexical::{is_lws, is_token, push_line, quoted_len, split_at, token_len, trim, trim_start};

/// `Digest` and the parameters after it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scheme<'a> {
    pub(super) name: &'a [u8],
    params: &'a [u8],
}

impl<'a> Scheme<'a> {
    /// The schemes of one header field value. SIP has one in each (RFC 3261 section 7.3.1), but senders who think in
    /// HTTP put several, with commas between.
    pub(super) fn all(value: &'a [u8]) -> impl Iterator<Item = Scheme<'a>> {
        let mut rest = Some(value);
        std::iter::from_fn(move || {
            let value = trim_start(rest?);
            let (name, params) = value.split_at(token_len(value));
            if name.is_empty() || !params.first().is_none_or(|&byte| is_lws(byte)) {
                return None;
            }
            let length = params_len(params);
            rest = params.get(length + 1..);
            Some(Scheme { name, params: &params[..length] })
        })
    }

    pub(super) fn is_digest(&self) -> bool {
        self.name.eq_ignore_ascii_case(b"Digest")
    }

    /// A parameter without its quotes, escapes as they are. `None` too if it has quotes or escapes elsewhere.
    pub(super) fn param(&self, name: &[u8]) -> Option<&'a [u8]> {
        let mut rest = Some(self.params);
        while let Some(params) = rest {
            let (param, after) = split_at(params, b',');
            rest = after;
            let Some(equals) = memchr::memchr(b'=', param) else { continue };
            if trim(&param[..equals]).eq_ignore_ascii_case(name) {
                let value = trim(&param[equals + 1..]);
                return match value {
                    [b'"', inner @ .., b'"'] if quoted_len(value) == Some(value.len()) => Some(inner),
                    // Within quotes, where it is written next, it would be something else.
                    _ if memchr::memchr2(b'"', b'\\', value).is_some() => None,
                    _ => Some(value),
                };
            }
        }
        None
    }
}

/// How much of `params` comes before the comma in front of another scheme.
fn params_len(params: &[u8]) -> usize {
    let mut at = 0;
    while let (_, Some(rest)) = split_at(&params[at..], b',') {
        at = params.len() - rest.len();
        if starts_scheme(rest) {
            return at - 1;
        }
    }
    params.len()
}

/// A token, white space, and another token before an equals sign.
fn starts_scheme(bytes: &[u8]) -> bool {
    let bytes = trim_start(bytes);
    let after = &bytes[token_len(bytes)..];
    let param = trim_start(after);
    let name = &param[..token_len(param)];
    after.len() < bytes.len()
        && param.len() < after.len()
        && is_token(name)
        && trim_start(&param[name.len()..]).first() == Some(&b'=')
}

/// The text that the inside of a quoted string stands for.
pub(super) fn unescaped(inner: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\\', inner).is_none() {
        return Cow::Borrowed(inner);
    }
    let mut text = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        text.push(if byte == b'\\' { bytes.next().copied().unwrap_or(byte) } else { byte });
    }
    Cow::Owned(text)
}

/// Appends `, name="text"`, or without the comma if it is the first; what needs an escape gets one.
pub(super) fn push_text(out: &mut Vec<u8>, name: &str, text: &[u8]) {
    let escaped: Cow<'_, [u8]> = if memchr::memchr2(b'"', b'\\', text).is_none() {
        Cow::Borrowed(text)
    } else {
        let escape = |byte: &u8| if matches!(byte, b'"' | b'\\') { vec![b'\\', *byte] } else { vec![*byte] };
        Cow::Owned(text.iter().flat_map(escape).collect())
    };
    push_quoted(out, name, &escaped);
}

/// Likewise, of a string that came so from elsewhere: escapes stay as they are.
pub(super) fn push_quoted(out: &mut Vec<u8>, name: &str, inner: &[u8]) {
    push_plain(out, name, b"\"");
    push_line(out, inner);
    out.push(b'"');
}

/// Appends `, name=value`.
pub(super) fn push_plain(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    if !out.ends_with(b" ") {
        out.extend_from_slice(b", ");
    }
    out.extend_from_slice(name.as_bytes());
    out.push(b'=');
    out.extend_from_slice(value);
}
