//! Character classes and the small scanners that every header shares (RFC 3261 section 25.1).

/// Bytes of a `token`.
const TOKEN: [bool; 256] = class(b"-.!%*_+`'~");
/// Bytes of a host name; the underscore is not in the grammar, but in names that carriers use.
const HOST: [bool; 256] = class(b"-._");

/// Bytes of a scheme after the first.
const SCHEME: [bool; 256] = class(b"+-.");
/// Bytes that may stand in a URI whatever its scheme: no white space, quotes, brackets or control characters.
const URI: [bool; 256] = all_but(b" <>\"\x7f");
/// Bytes of a parameter's value that neither end it nor begin something quoted.
const VALUE: [bool; 256] = all_but(b" ;<\"");

/// All bytes above the control characters, but those named. Bytes beyond ASCII are among them.
const fn all_but(these: &[u8]) -> [bool; 256] {
    let mut table = [true; 256];
    let mut byte = 0;
    while byte < b' ' {
        table[byte as usize] = false;
        byte += 1;
    }
    let mut at = 0;
    while at < these.len() {
        table[these[at] as usize] = false;
        at += 1;
    }
    table
}

const fn class(also: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < also.len() {
        table[also[at] as usize] = true;
        at += 1;
    }
    table
}

pub(crate) const fn is_token_byte(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// A `token`: at least one of its bytes.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

/// Linear white space; line ends within a header value are folds.
pub(crate) const fn is_lws(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

pub(crate) fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes {
        if !is_lws(*first) {
            break;
        }
        bytes = rest;
    }
    bytes
}

pub(crate) fn trim_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., last] = bytes {
        if !is_lws(*last) {
            break;
        }
        bytes = rest;
    }
    bytes
}

pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    trim_end(trim_start(bytes))
}

/// The length of the token that starts these bytes.
pub(crate) fn token_len(bytes: &[u8]) -> usize {
    class_len(bytes, &TOKEN)
}

/// The length of the plain value that starts these bytes: what stands before white space, a quote, a bracket, a control
/// character or the next parameter.
pub(crate) fn plain_value_len(bytes: &[u8]) -> usize {
    class_len(bytes, &VALUE)
}

/// The length of the URI that starts these bytes, which is all that can be asked of one whose scheme is not known: a
/// scheme, a colon, and something after it, up to white space, a quote, a bracket or a control character.
pub(crate) fn absolute_uri_len(bytes: &[u8]) -> Option<usize> {
    let colon = class_len(bytes, &SCHEME);
    if bytes.get(colon) != Some(&b':') || !bytes[0].is_ascii_alphabetic() {
        return None;
    }
    let length = class_len(&bytes[colon + 1..], &URI);
    (length > 0).then_some(colon + 1 + length)
}

/// How many bytes at the start are of a class. What is looked for is near, so that a search over many bytes at once
/// would take longer to begin than this takes to end.
fn class_len(bytes: &[u8], class: &[bool; 256]) -> usize {
    bytes.iter().position(|&byte| !class[usize::from(byte)]).unwrap_or(bytes.len())
}

/// `bytes` starts with a quote: the length of the quoted string, both quotes included. `None` if it does not end.
pub(crate) fn quoted_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// A number of at most ten digits and nothing else. Leading zeros are allowed.
pub(crate) fn number(bytes: &[u8]) -> Option<u64> {
    let significant = &bytes[bytes.iter().position(|&byte| byte != b'0').unwrap_or(bytes.len())..];
    if bytes.is_empty() || significant.len() > 10 {
        return None;
    }
    significant.iter().try_fold(0, |sum, &byte| byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0')))
}

/// Splits off what stands before the first `separator` outside quotes and angle brackets. The rest starts after
/// the separator; it is `None` if there was no separator.
pub(crate) fn split_at(bytes: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    // Most have none at all, which is quicker to tell.
    if memchr::memchr(separator, bytes).is_none() {
        return (bytes, None);
    }
    let mut at = 0;
    while let Some(found) = memchr::memchr3(separator, b'"', b'<', &bytes[at..]) {
        at += found;
        let skipped = match bytes[at] {
            b'"' => quoted_len(&bytes[at..]),
            b'<' => memchr::memchr(b'>', &bytes[at..]).map(|end| end + 1),
            _ => return (&bytes[..at], Some(&bytes[at + 1..])),
        };
        match skipped {
            Some(length) => at += length,
            None => break,
        }
    }
    (bytes, None)
}

/// Splits `host[:port]`; a host that is an IPv6 reference keeps its brackets. White space around the colon is
/// allowed, as in Via.
pub(crate) fn host_port(bytes: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let (host, rest) = if bytes.first() == Some(&b'[') {
        bytes.split_at(memchr::memchr(b']', bytes)? + 1)
    } else {
        bytes.split_at(class_len(bytes, &HOST))
    };
    let valid = if host.first() == Some(&b'[') { ipv6(host).is_some() } else { !host.is_empty() };
    if !valid {
        return None;
    }
    match trim_start(rest) {
        [] => Some((host, None)),
        [b':', port @ ..] => Some((host, Some(u16::try_from(number(trim(port))?).ok()?))),
        _ => None,
    }
}

/// The address of an IPv6 reference, `[` and `]` included.
pub(crate) fn ipv6(reference: &[u8]) -> Option<std::net::Ipv6Addr> {
    let inner = reference.strip_prefix(b"[")?.strip_suffix(b"]")?;
    std::str::from_utf8(inner).ok()?.parse().ok()
}

/// The address of a host that is an IP literal; IPv6 with or without brackets.
pub(crate) fn ip_literal(host: &[u8]) -> Option<std::net::IpAddr> {
    let inner = host.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or(host);
    std::str::from_utf8(inner).ok()?.parse().ok()
}

/// Appends `value` on one line: CR and LF become spaces, so that no value can start a header field of its own.
pub(crate) fn push_line(out: &mut Vec<u8>, value: &[u8]) {
    let start = out.len();
    out.extend_from_slice(value);
    // Most are one line.
    if memchr::memchr2(b'\r', b'\n', value).is_some() {
        out[start..].iter_mut().filter(|byte| matches!(byte, b'\r' | b'\n')).for_each(|byte| *byte = b' ');
    }
}

/// Appends `raw` with each LF that stands alone made a CRLF.
pub(crate) fn push_crlf(out: &mut Vec<u8>, mut raw: &[u8]) {
    while let Some(at) = memchr::memchr(b'\n', raw) {
        let text = &raw[..at];
        out.extend_from_slice(text.strip_suffix(b"\r").unwrap_or(text));
        out.extend_from_slice(b"\r\n");
        raw = &raw[at + 1..];
    }
    out.extend_from_slice(raw);
}

/// A value without the quotes around it, if it has any. `None` if it holds escapes, or the quotes do not end it.
pub(crate) fn unquoted(value: &[u8]) -> Option<&[u8]> {
    match value.strip_prefix(b"\"") {
        None => Some(value),
        Some(rest) => rest.strip_suffix(b"\"").filter(|inner| memchr::memchr2(b'"', b'\\', inner).is_none()),
    }
}

/// A number of seconds (`delta-seconds`): more than can be counted is the most that can.
pub(crate) fn seconds(value: &[u8]) -> Option<u32> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    digits.then(|| number(value).and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(u32::MAX))
}
