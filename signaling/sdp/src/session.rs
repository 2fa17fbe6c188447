//! The one pass over a description that finds its media sections and the places a rewrite touches.

use crate::address::NetworkAddress;
use crate::line::{Line, Span, is_blank, lines, number, tokens};
use crate::media::{Connection, Direction, Media};
use crate::rtpmap::{MAX_RTPMAPS, RtpMap};

/// The longest description that is read: what fits a SIP message.
pub const MAX_BYTES: usize = 64 * 1024;

/// The most media sections that are read.
pub const MAX_MEDIA: usize = 32;

/// A parsed description: the bytes, and an index of what matters in them.
///
/// Tolerated: lines ended by LF or CR alone, a missing last line end, empty and unknown lines, a missing
/// `o=`, several `c=` lines (the first counts), numbers of any length in `o=`. Refused: whatever a
/// rewrite would have to change but cannot read.
#[derive(Debug, Clone)]
pub struct Session<'a> {
    bytes: &'a [u8],
    media: Vec<Media<'a>>,
    /// In the order of the bytes.
    pub(crate) places: Vec<Place>,
    /// The first `c=` of the session level.
    pub(crate) connection: Option<NetworkAddress>,
}

/// Something that a rewrite may have to change.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// The media section it belongs to; `None` at session level.
    pub(crate) section: Option<usize>,
    pub(crate) what: What,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    /// The address of `o=`.
    Origin(NetworkAddress),
    /// The address of `c=`.
    Connection(NetworkAddress),
    /// The port of `m=`, without a count after `/`.
    Port(Span),
    /// Where the section's own `c=` would stand: after `m=` and `i=` (RFC 4566 section 5), and the line
    /// before it.
    ConnectionSlot(Line),
    /// The line of `a=rtcp-mux` or `a=rtcp-mux-only`.
    Mux(Span),
    /// Where `a=rtcp-mux` would stand in a section without it: after this line, the last of those that stay.
    MuxSlot(Line),
    /// `a=rtcp`: its port, and its address if it has one.
    Rtcp { port: Span, number: u16, address: Option<NetworkAddress> },
    /// A line that a relay must not pass on: ICE candidates, canonical names with a host, and `a=rtcp` where it
    /// has no meaning.
    Topology(Span),
}

impl Place {
    /// True for a line that a rewrite may leave out.
    fn is_line(&self, whole: Span) -> bool {
        matches!(self.what, What::Topology(span) | What::Mux(span) if span == whole)
    }
}

/// What is known of a media section before its end is found.
#[derive(Default)]
struct Section {
    direction: Option<Direction>,
    /// Its last line that stays, and how many places come before the end of that.
    end: Option<(usize, Line)>,
}

impl<'a> Session<'a> {
    /// Reads a description in one pass.
    pub fn parse(bytes: &'a [u8]) -> Result<Session<'a>, ParseError> {
        if bytes.len() > MAX_BYTES {
            return Err(ParseError { kind: ParseErrorKind::TooLong, line: 1 });
        }
        let mut session = Session { bytes, media: Vec::new(), places: Vec::new(), connection: None };
        let mut direction = None;
        let mut section = Section::default();
        let mut lines = lines(bytes).peekable();
        match lines.peek().and_then(|line| line.field(bytes)) {
            Some((b'v', _)) => {}
            _ => return Err(ParseError { kind: ParseErrorKind::NoVersion, line: 1 }),
        }
        while let Some(line) = lines.next() {
            let Some((letter, value)) = line.field(bytes) else { continue };
            let fail = |kind| ParseError { kind, line: line.number };
            let mut last = line;
            match letter {
                b'o' => {
                    let address = NetworkAddress::last(bytes, value).ok_or_else(|| fail(ParseErrorKind::Origin))?;
                    session.mark(What::Origin(address));
                }
                b'c' => session.read_connection(value).ok_or_else(|| fail(ParseErrorKind::Connection))?,
                b'b' => session.read_bandwidth(value),
                b'm' => {
                    if session.media.len() == MAX_MEDIA {
                        return Err(fail(ParseErrorKind::TooManyMedia));
                    }
                    session.close_section(direction, std::mem::take(&mut section));
                    session.read_media(value).ok_or_else(|| fail(ParseErrorKind::Media))?;
                    while let Some(title) = lines.next_if(|next| matches!(next.field(bytes), Some((b'i', _)))) {
                        last = title;
                    }
                    session.mark(What::ConnectionSlot(last));
                }
                b'a' => {
                    let (name, argument) = attribute(bytes, value);
                    if let Some(found) = Direction::from_attribute(name) {
                        let level = if session.media.is_empty() { &mut direction } else { &mut section.direction };
                        level.get_or_insert(found);
                    } else {
                        session.read_attribute(line, name, argument).ok_or_else(|| fail(ParseErrorKind::Rtcp))?;
                    }
                }
                _ => {}
            }
            if !session.places.last().is_some_and(|place| place.is_line(line.whole)) {
                section.end = Some((session.places.len(), last));
            }
        }
        session.close_section(direction, section);
        Ok(session)
    }

    /// The media sections in their order.
    pub fn media(&self) -> &[Media<'a>] {
        &self.media
    }

    /// The bytes this was parsed from.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    fn mark(&mut self, what: What) {
        self.places.push(Place { section: self.media.len().checked_sub(1), what });
    }

    /// The session's direction applies where a section has none; its lines all come before the sections.
    fn close_section(&mut self, session: Option<Direction>, section: Section) {
        let Some(media) = self.media.last_mut() else { return };
        media.direction = section.direction.or(session).unwrap_or_default();
        if let Some((places, line)) = section.end.filter(|_| media.is_rtp() && !media.rtcp_mux) {
            let slot = Place { section: self.media.len().checked_sub(1), what: What::MuxSlot(line) };
            self.places.insert(places, slot);
        }
    }

    fn read_connection(&mut self, value: Span) -> Option<()> {
        let address = NetworkAddress::first(self.bytes, value)?;
        match self.media.last_mut() {
            None => {
                self.connection.get_or_insert(address);
            }
            Some(media) if !media.has_own_connection => {
                media.has_own_connection = true;
                media.connection = address.ip.into();
            }
            Some(_) => {}
        }
        self.mark(What::Connection(address));
        Some(())
    }

    /// `<media> <port>[/<count>] <proto> <fmt> ...` (RFC 4566 section 5.14).
    fn read_media(&mut self, value: Span) -> Option<()> {
        let bytes = self.bytes;
        let mut parts = tokens(bytes, value);
        let (kind, transport, protocol) = (parts.next()?, parts.next()?, parts.next()?);
        let formats = parts.next().map_or(&[][..], |first| Span { start: first.start, end: value.end }.of(bytes));
        let digits = transport.of(bytes).iter().take_while(|b| **b != b'/').count();
        let port = Span { start: transport.start, end: transport.start + u32::try_from(digits).ok()? };
        self.media.push(Media {
            kind: kind.of(bytes),
            port: number(port.of(bytes))?,
            protocol: protocol.of(bytes),
            formats: formats.trim_ascii_end(),
            direction: Direction::default(),
            rtcp_mux: false,
            rtpmaps: Vec::new(),
            bandwidth: None,
            packet_ms: None,
            connection: self.connection.map_or(Connection::Absent, |session| session.ip.into()),
            has_own_connection: false,
            rtcp: None,
        });
        self.mark(What::Port(port));
        Some(())
    }

    /// `<type>:<number>`. Other types than those that bound a section's rate say nothing here, nor do the session's,
    /// which are of all sections together.
    fn read_bandwidth(&mut self, value: Span) {
        let (name, argument) = attribute(self.bytes, value);
        let unit = match name {
            b"AS" => 1_000,
            b"TIAS" => 1,
            _ => return,
        };
        let digits = std::str::from_utf8(argument.of(self.bytes)).unwrap_or_default().trim();
        if let (Some(media), Ok(number)) = (self.media.last_mut(), digits.parse::<u64>()) {
            media.bandwidth = media.bandwidth.max(Some(number.saturating_mul(unit)));
        }
    }

    fn read_attribute(&mut self, line: Line, name: &[u8], argument: Span) -> Option<()> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let shows_host = is("candidate") || is("remote-candidates") || is("end-of-candidates");
        if shows_host || (is("ssrc") && self.is_host_cname(argument)) {
            self.mark(What::Topology(line.whole));
        } else if is("rtcp-mux") || is("rtcp-mux-only") {
            if let Some(media) = self.media.last_mut() {
                media.rtcp_mux |= is("rtcp-mux");
                self.mark(What::Mux(line.whole));
            }
        } else if is("ptime") {
            let packet_ms = number(argument.of(self.bytes).trim_ascii()).filter(|ms| *ms > 0);
            if let Some(media) = self.media.last_mut() {
                media.packet_ms = media.packet_ms.or(packet_ms);
            }
        } else if is("rtpmap") {
            let map = RtpMap::read(argument.of(self.bytes));
            if let Some((media, map)) = self.media.last_mut().filter(|media| media.rtpmaps.len() < MAX_RTPMAPS).zip(map)
            {
                media.rtpmaps.push(map);
            }
        } else if is("rtcp") {
            let Some(media) = self.media.last_mut() else {
                self.mark(What::Topology(line.whole));
                return Some(());
            };
            let mut parts = tokens(self.bytes, argument);
            let port = parts.next()?;
            let number = number(port.of(self.bytes))?;
            let address = match parts.next() {
                Some(_) => Some(NetworkAddress::first(self.bytes, Span { start: port.end, end: argument.end })?),
                None => None,
            };
            media.rtcp.get_or_insert((number, address.map(|address| address.ip.into())));
            self.mark(What::Rtcp { port, number, address });
        }
        Some(())
    }
}

impl Session<'_> {
    /// Whether the argument of `a=ssrc` is a canonical name of the form user@host (RFC 3550 section 6.5.1), as
    /// opposed to the random ones of RFC 7022.
    fn is_host_cname(&self, argument: Span) -> bool {
        let attribute = tokens(self.bytes, argument).nth(1).map(|attribute| attribute.of(self.bytes));
        attribute.is_some_and(|attribute| attribute.starts_with(b"cname:") && attribute.contains(&b'@'))
    }
}

/// Splits `name[:argument]`, blanks around the name left out.
pub(crate) fn attribute(bytes: &[u8], value: Span) -> (&[u8], Span) {
    let text = value.of(bytes);
    let length = text.iter().position(|b| *b == b':').unwrap_or(text.len());
    let name = text.get(..length).unwrap_or_default();
    let start = value.start + u32::try_from(length + 1).unwrap_or(u32::MAX);
    (trim_blanks(name), Span { start: start.min(value.end), end: value.end })
}

fn trim_blanks(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_blank(*first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && is_blank(*last)
    {
        text = rest;
    }
    text
}

/// Why a description could not be read, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("SDP line {line}: {kind}")]
pub struct ParseError {
    /// What is wrong.
    pub kind: ParseErrorKind,
    /// The line, counted from 1.
    pub line: u32,
}

/// The kinds of [`ParseError`]. The party that wrote the description is at fault in all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// Longer than [`MAX_BYTES`].
    #[error("the description is longer than 65536 bytes")]
    TooLong,
    /// More sections than [`MAX_MEDIA`].
    #[error("more than 32 media sections")]
    TooManyMedia,
    /// It does not begin with `v=`, so it is no session description.
    #[error("the description does not begin with v=")]
    NoVersion,
    /// `o=` does not end in `IN <addrtype> <address>`.
    #[error("o= does not end in a network type, an address type and an address")]
    Origin,
    /// `c=` is not `IN <addrtype> <address>`.
    #[error("c= is not a network type, an address type and an address")]
    Connection,
    /// `m=` lacks a part or its port is not a 16-bit number.
    #[error("m= is not a media type, a port and a protocol")]
    Media,
    /// `a=rtcp` is not a port, alone or with an address.
    #[error("a=rtcp is not a port, alone or with an address")]
    Rtcp,
}

#[cfg(test)]
mod tests;
