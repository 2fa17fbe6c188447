//! Moves the media of a description to a relay and touches nothing else.

use std::net::IpAddr;

use crate::address::{NetworkAddress, family_name, push_ip};
use crate::line::{Line, Span};
use crate::media::Media;
use crate::session::{Session, What};

/// Where a relay receives the media of one section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Anchor {
    /// The relay's address, as the receiver of the description reaches it.
    pub address: IpAddr,
    /// The port for RTP, or for whatever the section carries.
    pub rtp_port: u16,
    /// The port for RTCP.
    pub rtcp_port: u16,
    /// RTCP shares the RTP port (RFC 5761), as the receiver of the description is told.
    pub rtcp_mux: bool,
}

/// Returns the description with its media moved to `anchors`, one for each section in order; every byte
/// that is not named here is kept. Where there are fewer anchors than sections the rest have none; more
/// are ignored.
///
/// - `o=`: the address becomes `origin`; user name, id and version stay.
/// - `c=`: the address becomes the anchor's, without TTL and count. `0.0.0.0` and `::` stay: they hold
///   the call. The session's `c=` takes the anchor of the first section that relies on it; a section
///   that relies on it too but has another address gets a `c=` of its own, as does an anchored section
///   for which there is no `c=` at all.
/// - `m=`: the port becomes the anchor's; 0 and a count after `/` stay.
/// - `a=rtcp`: port and address become the anchor's. Where it named the RTP port, it does so again, unless
///   `a=rtcp-mux` goes.
/// - `a=rtcp-mux` is there where the anchor says so, of RTP, and else neither that nor `a=rtcp-mux-only` (RFC 8858).
/// - `a=candidate`, `a=remote-candidates`, `a=end-of-candidates` are removed: they show addresses and
///   lead past the relay. An ICE agent that finds no candidate for the default destination goes without
///   ICE (RFC 8839 section 4.2.5). `a=rtcp` at session level, where it has no meaning, is removed too.
/// - `a=ssrc:N cname:user@host` is removed: it shows the party's host, and nothing depends on it (RFC 5576
///   section 6.1). Other canonical names stay.
///
/// A section without an anchor is shown as refused (RFC 3264 section 6), so that no media goes past the
/// relay: its port becomes 0, its addresses become `origin`, its candidates go.
pub fn rewrite(session: &Session<'_>, origin: IpAddr, anchors: &[Option<Anchor>]) -> Vec<u8> {
    let shared = shared_connection(session, origin, anchors);
    let mut patch = Patch::new(session.bytes());
    for place in &session.places {
        let section = place.section.and_then(|index| Some((session.media().get(index)?, anchor_at(anchors, index))));
        let (active, anchor) = section.map_or((false, None), |(media, anchor)| (media.is_active(), anchor));
        // Where the addresses at this place move.
        let target = match (section, anchor) {
            (None, _) => shared,
            (Some(_), Some(anchor)) => anchor.address,
            (Some(_), None) => origin,
        };
        match place.what {
            What::Origin(address) => patch.set_address(address, origin),
            What::Connection(address) => patch.move_address(address, target),
            What::Topology(line) => patch.replace(line, ""),
            What::Port(span) if active => {
                patch.replace(span, anchor.map_or(0, |anchor| anchor.rtp_port).to_string());
            }
            What::Port(_) => {}
            What::ConnectionSlot(after) => {
                if let Some((media, Some(anchor))) = section {
                    insert_connection(&mut patch, after, session, media, anchor.address, shared);
                }
            }
            What::Mux(line) => {
                if active && anchor.is_some_and(|anchor| !anchor.rtcp_mux) {
                    patch.replace(line, "");
                }
            }
            What::MuxSlot(after) => {
                if active && anchor.is_some_and(|anchor| anchor.rtcp_mux) {
                    patch.insert_line(after, b"a=rtcp-mux");
                }
            }
            What::Rtcp { port, number, address } => {
                if let (true, Some((media, Some(anchor)))) = (active, section) {
                    let shared = number == media.port && (anchor.rtcp_mux || !media.rtcp_mux);
                    let new = if shared { anchor.rtp_port } else { anchor.rtcp_port };
                    patch.replace(port, new.to_string());
                }
                if let Some(address) = address {
                    patch.move_address(address, target);
                }
            }
        }
    }
    patch.finish()
}

fn anchor_at(anchors: &[Option<Anchor>], index: usize) -> Option<Anchor> {
    anchors.get(index).copied().flatten()
}

/// The address that the session's `c=` moves to.
fn shared_connection(session: &Session<'_>, origin: IpAddr, anchors: &[Option<Anchor>]) -> IpAddr {
    let anchored = || session.media().iter().zip(anchors).filter_map(|(media, anchor)| Some((media, (*anchor)?)));
    let mut relying = anchored().filter(|(media, _)| media.is_active() && !media.has_own_connection);
    relying.next().or_else(|| anchored().next()).map_or(origin, |(_, anchor)| anchor.address)
}

/// Gives an anchored section a `c=` of its own where the session's does not say what the section needs.
fn insert_connection(
    patch: &mut Patch<'_>,
    after: Line,
    session: &Session<'_>,
    media: &Media<'_>,
    address: IpAddr,
    shared: IpAddr,
) {
    if media.has_own_connection || !media.is_active() {
        return;
    }
    match session.connection {
        Some(written) if written.is_unspecified() || address == shared => {}
        _ => patch.insert_line(after, format!("c=IN {} {address}", family_name(address)).as_bytes()),
    }
}

/// The received bytes, copied up to `copied`, with replacements spliced in.
pub(crate) struct Patch<'a> {
    bytes: &'a [u8],
    copied: u32,
    out: Vec<u8>,
}

impl<'a> Patch<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Patch { bytes, copied: 0, out: Vec::with_capacity(bytes.len() + 128) }
    }

    /// Replaces `span`, which must come after all before it.
    pub(crate) fn replace(&mut self, span: Span, with: impl AsRef<[u8]>) {
        debug_assert!(self.copied <= span.start && span.start <= span.end, "places are in order");
        self.out.extend_from_slice(Span { start: self.copied, end: span.start }.of(self.bytes));
        self.out.extend_from_slice(with.as_ref());
        self.copied = span.end;
    }

    fn set_address(&mut self, place: NetworkAddress, ip: IpAddr) {
        self.replace(place.family, family_name(ip));
        self.replace(place.address, "");
        push_ip(&mut self.out, ip);
    }

    /// As [`Patch::set_address`], but an unspecified address stays: it holds the call.
    fn move_address(&mut self, place: NetworkAddress, to: IpAddr) {
        if !place.is_unspecified() {
            self.set_address(place, to);
        }
    }

    /// Inserts a line after `line`, ended as that one is. After a last line without an end, the new line
    /// becomes the last without an end, and the two are parted as the first line is ended.
    fn insert_line(&mut self, line: Line, text: &[u8]) {
        let place = Span::empty(line.whole.end);
        let end = Span { start: line.text.end, end: line.whole.end }.of(self.bytes);
        if end.is_empty() {
            self.replace(place, [first_line_end(self.bytes), text].concat());
        } else {
            self.replace(place, [text, end].concat());
        }
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.replace(Span::empty(length), "");
        self.out
    }
}

fn first_line_end(bytes: &[u8]) -> &[u8] {
    crate::line::lines(bytes)
        .next()
        .map_or(b"\r\n", |line| Span { start: line.text.end, end: line.whole.end }.of(bytes))
}

#[cfg(test)]
mod tests;
