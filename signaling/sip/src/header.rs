//! Typed views of the header fields that Moorline acts on.

use std::borrow::Cow;

use crate::lexical::{
    host_port, is_lws, is_token, is_token_byte, number, quoted_len, split_at, token_len, trim, trim_end, trim_start,
};
use crate::{Fault, Method, Name};

/// One Via: where the answer goes (RFC 3261 section 20.42).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    /// `UDP`, `TCP`, `TLS` or another.
    pub transport: &'a [u8],
    /// The host of sent-by; an IPv6 reference keeps its brackets.
    pub host: &'a [u8],
    /// The port of sent-by.
    pub port: Option<u16>,
    /// The transaction's identifier.
    pub branch: Option<&'a [u8]>,
    /// Where the request came from, if the next hop found it to be somewhere else.
    pub received: Option<&'a [u8]>,
    /// Whether the answer should go to the port that the request came from.
    pub rport: Rport,
    /// All parameters, raw, from the first `;`.
    pub params: &'a [u8],
}

/// The `rport` parameter (RFC 3581).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rport {
    /// Not there.
    Absent,
    /// There without a value: asked for.
    Empty,
    /// Filled in.
    Port(u16),
}

impl<'a> Via<'a> {
    /// Reads one Via value.
    pub fn parse(value: &'a [u8]) -> Result<Via<'a>, Fault> {
        Via::read(value).ok_or(Fault::Malformed(Name::Via))
    }

    fn read(value: &'a [u8]) -> Option<Via<'a>> {
        let (protocol, rest) = token(trim(value))?;
        let (version, rest) = token(slash(rest)?)?;
        let (transport, rest) = token(slash(rest)?)?;
        if !protocol.eq_ignore_ascii_case(b"SIP") || version != b"2.0" || !is_lws(*rest.first()?) {
            return None;
        }
        let (sent_by, params) = rest.split_at(memchr::memchr(b';', rest).unwrap_or(rest.len()));
        let (host, port) = host_port(trim(sent_by))?;
        let mut via = Via { transport, host, port, branch: None, received: None, rport: Rport::Absent, params };
        for (name, value) in Params::new(params) {
            match name {
                _ if !is_token(name) => return None,
                _ if name.eq_ignore_ascii_case(b"branch") => via.branch = via.branch.or(value),
                _ if name.eq_ignore_ascii_case(b"received") => via.received = via.received.or(value),
                _ if name.eq_ignore_ascii_case(b"rport") => {
                    via.rport = match value {
                        None | Some(b"") => Rport::Empty,
                        Some(port) => Rport::Port(u16::try_from(number(port)?).ok()?),
                    }
                }
                _ => {}
            }
        }
        Some(via)
    }
}

/// A token, and what follows it.
fn token(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = token_len(bytes);
    (length > 0).then(|| bytes.split_at(length))
}

/// What follows a slash and the white space around it.
fn slash(bytes: &[u8]) -> Option<&[u8]> {
    trim_start(bytes).strip_prefix(b"/").map(trim_start)
}

/// A name-addr or addr-spec with its parameters, as in From, To, Contact and Route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// The display name, raw: quotes included, may be empty. To write it, see
    /// [`display_name`](NameAddr::display_name).
    pub display: &'a [u8],
    /// The URI.
    pub uri: &'a [u8],
    /// The header parameters, raw, from the first `;` after the URI.
    pub params: &'a [u8],
}

impl<'a> NameAddr<'a> {
    /// Reads one value. A URI that stands without angle brackets ends at its first `;`, and may hold neither
    /// `?` nor `,` (RFC 3261 section 20). A display name without quotes may hold any character but quotes, angle
    /// brackets and control characters.
    pub fn parse(value: &'a [u8]) -> Result<NameAddr<'a>, Fault> {
        NameAddr::read(trim(value)).ok_or(Fault::Uri)
    }

    /// The display name as it may be written: one that needed quotes and came without gets them (RFC 4475
    /// section 3.1.2.15). Characters beyond ASCII need them too, but are common without, and stay as they are.
    pub fn display_name(&self) -> Cow<'a, [u8]> {
        let plain = |byte: &u8| is_token_byte(*byte) || is_lws(*byte) || !byte.is_ascii();
        if self.display.first() == Some(&b'"') || self.display.iter().all(plain) {
            return Cow::Borrowed(self.display);
        }
        let mut quoted = Vec::with_capacity(self.display.len() + 2);
        quoted.push(b'"');
        for &byte in self.display {
            if matches!(byte, b'"' | b'\\') {
                quoted.push(b'\\');
            }
            quoted.push(byte);
        }
        quoted.push(b'"');
        Cow::Owned(quoted)
    }

    /// The `tag` parameter.
    pub fn tag(&self) -> Option<&'a [u8]> {
        self.param(b"tag").flatten()
    }

    /// A parameter by its name, in any case: `Some(None)` if it has no value.
    pub fn param(&self, name: &[u8]) -> Option<Option<&'a [u8]>> {
        Params::new(self.params).find(name)
    }

    fn read(value: &'a [u8]) -> Option<NameAddr<'a>> {
        let display_len = if value.first() == Some(&b'"') {
            let length = quoted_len(value)?;
            length + value[length..].iter().take_while(|&&byte| is_lws(byte)).count()
        } else {
            unquoted_display_len(value)
        };
        let (display, rest) = value.split_at(display_len);
        let Some(bracketed) = rest.strip_prefix(b"<") else {
            let uri = trim_end(display);
            let bare = is_absolute_uri(uri) && memchr::memchr2(b'?', b',', uri).is_none();
            return bare.then_some(NameAddr { display: b"", uri, params: rest });
        };
        let display = trim(display);
        if display.first() != Some(&b'"') && !is_display_text(display) {
            return None;
        }
        let (uri, params) = bracketed.split_at(memchr::memchr(b'>', bracketed)?);
        let params = trim(&params[1..]);
        let complete = matches!(params, [] | [b';', ..]);
        (complete && is_absolute_uri(uri)).then_some(NameAddr { display, uri, params })
    }
}

/// How much of a value that does not start with a quote comes before the URI's bracket or, if it has none, before the
/// parameters: a semicolon ends a URI, but in a display name it is a character like others.
fn unquoted_display_len(value: &[u8]) -> usize {
    let end = memchr::memchr2(b'<', b';', value).unwrap_or(value.len());
    if value.get(end) == Some(&b';') && !is_absolute_uri(trim_end(&value[..end])) {
        return memchr::memchr(b'<', value).unwrap_or(value.len());
    }
    end
}

/// Whether this may stand as a display name without quotes. A URI and a comma before the bracket would be a list,
/// of which another reader may take the first.
fn is_display_text(display: &[u8]) -> bool {
    let text = |byte: &u8| is_lws(*byte) || !(byte.is_ascii_control() || matches!(byte, b'"' | b'>'));
    let list = memchr::memchr(b',', display).is_some_and(|at| is_absolute_uri(trim_end(&display[..at])));
    display.iter().all(text) && !list
}

/// A scheme, a colon, and something after it, with no white space, quotes, brackets or control characters: all that
/// can be asked of a URI whose scheme is not known.
pub(crate) fn is_absolute_uri(uri: &[u8]) -> bool {
    let Some(colon) = memchr::memchr(b':', uri) else { return false };
    let (scheme, rest) = uri.split_at(colon);
    scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
        && rest.len() > 1
        && rest.iter().fold(true, |ok, &byte| ok & is_uri_byte(byte))
}

/// Written without branches, so that many bytes are looked at at once.
const fn is_uri_byte(byte: u8) -> bool {
    (byte > b' ') & (byte != 0x7f) & (byte != b'<') & (byte != b'>') & (byte != b'"')
}

/// CSeq: the order of requests within a dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// Below 2^31 (RFC 3261 section 8.1.1.5).
    pub number: u32,
    /// The method of the request.
    pub method: Method<'a>,
}

impl<'a> CSeq<'a> {
    /// Reads a CSeq value.
    pub fn parse(value: &'a [u8]) -> Result<CSeq<'a>, Fault> {
        CSeq::read(trim(value)).ok_or(Fault::Malformed(Name::CSeq))
    }

    fn read(value: &'a [u8]) -> Option<CSeq<'a>> {
        let (digits, rest) = value.split_at(value.iter().position(|&byte| is_lws(byte))?);
        let number = u32::try_from(number(digits)?).ok().filter(|number| *number < 1 << 31)?;
        let method = trim_start(rest);
        is_token(method).then(|| CSeq { number, method: Method::new(method) })
    }
}

/// Parameters, each with its value if it has one. Empty ones come as empty names.
#[derive(Clone, Debug)]
pub struct Params<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Params<'a> {
    /// Of raw parameters that start with a `;`, or of nothing.
    pub fn new(raw: &'a [u8]) -> Params<'a> {
        Params { rest: trim_start(raw).strip_prefix(b";") }
    }

    /// The first parameter of that name, in any case: `Some(None)` if it has no value.
    pub fn find(mut self, name: &[u8]) -> Option<Option<&'a [u8]>> {
        self.find_map(|(found, value)| found.eq_ignore_ascii_case(name).then_some(value))
    }

    /// Whether all have names, and all quotes end.
    pub(crate) fn are_well_formed(mut self) -> bool {
        self.all(|(name, value)| {
            is_token(name) && !value.is_some_and(|value| value.first() == Some(&b'"') && quoted_len(value).is_none())
        })
    }
}

impl<'a> Iterator for Params<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let (param, rest) = split_at(self.rest?, b';');
        self.rest = rest;
        Some(match memchr::memchr(b'=', param) {
            Some(equals) => (trim(&param[..equals]), Some(trim(&param[equals + 1..]))),
            None => (trim(param), None),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_via_in_parts() {
        let via =
            Via::parse(b"SIP/2.0/UDP [2001:db8::1] : 5070 ; branch=z9hG4bKa;rport; received = 192.0.2.1;x").unwrap();
        assert_eq!((via.transport, via.host, via.port), (&b"UDP"[..], &b"[2001:db8::1]"[..], Some(5070)));
        assert_eq!((via.branch, via.received), (Some(&b"z9hG4bKa"[..]), Some(&b"192.0.2.1"[..])));
        assert_eq!(via.rport, Rport::Empty);
        assert_eq!(Via::parse(b"SIP/2.0/TLS a.example;rport=4096").unwrap().rport, Rport::Port(4096));
        assert_eq!(Via::parse(b"SIP/2.0/TLS a.example").unwrap().rport, Rport::Absent);
    }

    #[test]
    fn a_via_that_is_none() {
        for value in [
            &b""[..],
            b"SIP/2.0/UDP",
            b"SIP/2.0/UDP ",
            b"SIP/2.0/UDP;branch=z9hG4bKa",
            b"SIP/2.0 UDP host",
            b"SIP/3.0/UDP host",
            b"HTTP/2.0/UDP host",
            b"SIP/2.0/UDP host:port",
            b"SIP/2.0/UDP host:65536",
            b"SIP/2.0/UDP ho st",
            b"SIP/2.0/UDP [::1",
            b"SIP/2.0/UDP [::g]",
            b"SIP/2.0/UDP host;;branch=a",
            b"SIP/2.0/UDP host;rport=x",
        ] {
            assert_eq!(Via::parse(value), Err(Fault::Malformed(Name::Via)), "{}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn addresses_with_and_without_brackets() {
        let quoted = NameAddr::parse(br#""A \"<B>\", C" <sip:a@b;lr?x=y>;tag=1;q="a;b""#).unwrap();
        assert_eq!(quoted.display, br#""A \"<B>\", C""#);
        assert_eq!(quoted.uri, b"sip:a@b;lr?x=y");
        assert_eq!(quoted.tag(), Some(&b"1"[..]));
        assert_eq!(quoted.param(b"Q"), Some(Some(&b"\"a;b\""[..])));
        assert_eq!(quoted.param(b"lr"), None, "a parameter of the URI");

        let bare = NameAddr::parse(b"sip:a@b;tag=1").unwrap();
        assert_eq!((bare.display, bare.uri, bare.params), (&b""[..], &b"sip:a@b"[..], &b";tag=1"[..]));

        let tokens = NameAddr::parse("Zo\u{eb} M. <tel:+1>".as_bytes()).unwrap();
        assert_eq!((tokens.display, tokens.uri, tokens.params), ("Zo\u{eb} M.".as_bytes(), &b"tel:+1"[..], &b""[..]));
    }

    #[test]
    fn display_names_that_lack_quotes_are_read_and_written_with_them() {
        for (value, display, written) in [
            (&b"Bob (work) <sip:a@b>;tag=1"[..], &b"Bob (work)"[..], &b"\"Bob (work)\""[..]),
            (b"Dr. O'Neil @ home/2 [x]<sip:a@b>;tag=1", b"Dr. O'Neil @ home/2 [x]", b"\"Dr. O'Neil @ home/2 [x]\""),
            (b"Bell, A; B <sip:a@b>;tag=1", b"Bell, A; B", b"\"Bell, A; B\""),
            (b"sip:1@x <sip:a@b>;tag=1", b"sip:1@x", b"\"sip:1@x\""),
            (b"a\\b: <sip:a@b> ; tag=1", b"a\\b:", b"\"a\\\\b:\""),
            (b"Bob Smith <sip:a@b>;tag=1", b"Bob Smith", b"Bob Smith"),
            (b"\"Bob (work)\" <sip:a@b>;tag=1", b"\"Bob (work)\"", b"\"Bob (work)\""),
            (b"<sip:a@b>;tag=1", b"", b""),
        ] {
            let address = NameAddr::parse(value).unwrap();
            assert_eq!((address.display, address.uri, address.tag()), (display, &b"sip:a@b"[..], Some(&b"1"[..])));
            assert_eq!(address.display_name(), written);
            let again = [&address.display_name()[..], b" <sip:a@b>"].concat();
            assert_eq!(NameAddr::parse(&again).map(|again| again.display), Ok(written), "it is read back");
        }
        let bare = NameAddr::parse(b"sip:a@b;tag=1;x=\"<y>\"").unwrap();
        assert_eq!((bare.uri, bare.tag()), (&b"sip:a@b"[..], Some(&b"1"[..])));
    }

    #[test]
    fn an_address_that_is_none() {
        for value in [
            &b""[..],
            b"<>",
            b"alice",
            b"alice <sip:a@b",
            b"\"alice <sip:a@b>",
            b"\"alice\" sip:a@b",
            b"O\"Brien <sip:a@b>",
            b"a > b <sip:a@b>",
            b"a \x07 <sip:a@b>",
            b"a \x7f <sip:a@b>",
            b"sip:a@b, c <sip:a@b>",
            b"sip:a@b?x;y=<sip:c@d>",
            b"a; b",
            b"<sip:a@b> x",
            b"<sip: a@b>",
            b"< sip:a@b>",
            b"sip:a@b?x=y",
            b"<1sip:a@b>",
            b"<sip:>",
        ] {
            assert_eq!(NameAddr::parse(value), Err(Fault::Uri), "{}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn cseq_is_a_number_below_2_to_31_and_a_method() {
        assert_eq!(CSeq::parse(b"0009\r\n INVITE"), Ok(CSeq { number: 9, method: Method::Invite }));
        assert_eq!(CSeq::parse(b"2147483647 X").map(|cseq| cseq.number), Ok(2_147_483_647));
        for value in [&b""[..], b"1", b"INVITE", b"1INVITE", b"-1 INVITE", b"2147483648 INVITE", b"1 IN VITE", b"1 "] {
            assert_eq!(CSeq::parse(value), Err(Fault::Malformed(Name::CSeq)), "{}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn parameters_split_outside_quotes() {
        let params: Vec<_> = Params::new(br#"; a ;b=1;; c = "x;\";y" "#).collect();
        let expected: [(&[u8], Option<&[u8]>); 4] =
            [(b"a", None), (b"b", Some(b"1")), (b"", None), (b"c", Some(br#""x;\";y""#))];
        assert_eq!(params, expected);
        assert_eq!(Params::new(b"").count(), 0);
        assert!(!Params::new(b";;").are_well_formed());
        assert!(!Params::new(b";a=\"b").are_well_formed());
    }
}
