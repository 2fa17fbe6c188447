//! The session descriptions of a call, and the check that one crossed with nothing but its addresses
//! changed.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use moorline_sdp::{Media, Session};

use super::Codec;

/// What tells one description of a run from another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Description {
    pub(crate) call: u32,
    /// By the caller; the callee's answer otherwise.
    pub(crate) is_offer: bool,
    pub(crate) seed: u64,
    pub(crate) packet_ms: u32,
    pub(crate) codec: Codec,
    /// With lines of no known type, and nothing but addresses may change.
    pub(crate) verbatim: bool,
}

/// Where a received description wants media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Far {
    pub(crate) rtp: SocketAddr,
    pub(crate) rtcp: SocketAddr,
}

impl Description {
    /// Writes the description. If it is to cross verbatim, the unknown lines and the huge version are there
    /// to be preserved.
    pub(crate) fn write(&self, origin: IpAddr, media: SocketAddr) -> String {
        let Description { call, is_offer, seed, packet_ms, codec, verbatim } = *self;
        let user = if is_offer { "caller" } else { "callee" };
        let network = |ip: IpAddr| format!("IN {} {ip}", if ip.is_ipv4() { "IP4" } else { "IP6" });
        let (kind, name) = (codec.payload_type(), codec.name());
        let version = if verbatim { "18446744073709551616" } else { "1" };
        let [before, after] = if verbatim {
            [
                format!("q=a line of no known type\r\na=x-call:{call}\r\n"),
                format!("a=x-{user}: 10.99.0.1  {seed:x}\r\n"),
            ]
        } else {
            [String::new(), String::new()]
        };
        format!(
            "v=0\r\no={user} {seed} {version}{call} {}\r\ns=load \r\nc={}\r\nt=0 0\r\n{before}\
             m=audio {} RTP/AVP {kind}\r\na=rtpmap:{kind} {name}/8000\r\na=ptime:{packet_ms}\r\n{after}a=sendrecv\r\n",
            network(origin),
            network(media.ip()),
            media.port(),
        )
    }

    /// Reads what [`Description::write`] made after it has crossed, or what took its place. The error is a
    /// reason to fail the call.
    pub(crate) fn read(&self, body: &[u8], relays: &[IpNet]) -> Result<Far, &'static str> {
        let session = Session::parse(body).map_err(|_| "SDP is not readable")?;
        let media = if self.verbatim { self.read_verbatim(&session, body)? } else { self.choose(&session)? };
        let rtp = media.rtp().ok_or("SDP has no media address")?;
        if !relays.is_empty() && !relays.iter().any(|network| network.contains(&rtp.ip())) {
            return Err("SDP names a media address that is not the relay's");
        }
        let beside = if media.rtcp_mux { rtp } else { crate::media::rtcp_after(rtp) };
        Ok(Far { rtp, rtcp: media.rtcp().unwrap_or(beside) })
    }

    fn read_verbatim<'s, 'b>(&self, session: &'s Session<'b>, body: &[u8]) -> Result<&'s Media<'b>, &'static str> {
        let [media] = session.media() else { return Err("SDP has not one media section") };
        let rtp = media.rtp().ok_or("SDP has no media address")?;
        let text = std::str::from_utf8(body).map_err(|_| "SDP is not readable")?;
        let origin = text.lines().find_map(|line| line.strip_prefix("o=")?.rsplit(' ').next()?.parse().ok());
        let origin = origin.ok_or("SDP has no origin address")?;
        if self.write(origin, rtp) != text {
            return Err("SDP changed in more than its addresses");
        }
        Ok(media)
    }

    /// The audio that this load can send: the first section of its kind, with its payload type.
    fn choose<'s, 'b>(&self, session: &'s Session<'b>) -> Result<&'s Media<'b>, &'static str> {
        let mut audio = session.media().iter().filter(|media| media.kind == b"audio" && is_plain(media));
        let media = audio.find(|media| media.is_active()).ok_or("SDP has no audio over plain RTP")?;
        let kind = self.codec.payload_type().to_string();
        let mut formats = media.formats.split(u8::is_ascii_whitespace);
        if !formats.any(|format| format == kind.as_bytes()) {
            return Err("SDP does not have the codec");
        }
        if media.is_held() {
            return Err("SDP puts the call on hold");
        }
        Ok(media)
    }
}

/// Without encryption, which this load does not speak.
fn is_plain(media: &Media<'_>) -> bool {
    [&b"RTP/AVP"[..], b"RTP/AVPF"].iter().any(|profile| media.protocol.eq_ignore_ascii_case(profile))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: Description =
        Description { call: 7, is_offer: true, seed: 42, packet_ms: 20, codec: Codec::Pcma, verbatim: true };

    fn read(text: &str, relays: &[&str]) -> Result<Far, &'static str> {
        let relays: Vec<IpNet> = relays.iter().map(|network| network.parse().unwrap()).collect();
        OFFER.read(text.as_bytes(), &relays)
    }

    #[test]
    fn changed_addresses_are_read() {
        let text = OFFER.write("192.0.2.1".parse().unwrap(), "[2001:db8::5]:4000".parse().unwrap());
        let far = Far { rtp: "[2001:db8::5]:4000".parse().unwrap(), rtcp: "[2001:db8::5]:4001".parse().unwrap() };
        assert_eq!(read(&text, &[]), Ok(far));
        assert_eq!(read(&text, &["10.0.0.0/8", "2001:db8::/64"]), Ok(far));
        assert_eq!(read(&text, &["10.0.0.0/8"]), Err("SDP names a media address that is not the relay's"));
    }

    #[test]
    fn any_other_change_fails() {
        let text = OFFER.write("192.0.2.1".parse().unwrap(), "192.0.2.1:4000".parse().unwrap());
        for (from, to) in [("q=", "z="), ("s=load ", "s=load"), ("\r\nt=0 0", "\nt=0 0"), ("a=sendrecv\r\n", "")] {
            assert!(text.contains(from));
            let changed = text.replace(from, to);
            assert_eq!(read(&changed, &[]), Err("SDP changed in more than its addresses"), "{from}");
        }
        assert_eq!(read("v=0\r\n", &[]), Err("SDP has not one media section"));
        assert_eq!(read("", &[]), Err("SDP is not readable"));
    }

    #[test]
    fn other_borders_may_write_descriptions_of_their_own() {
        let offer = Description { verbatim: false, ..OFFER };
        let far = |text: &str| offer.read(text.as_bytes(), &[]).map(|far| (far.rtp.to_string(), far.rtcp.to_string()));
        let rewritten = "v=0\no=- 1 2 IN IP4 192.0.2.9\ns=sbc\nc=IN IP4 192.0.2.9\nt=0 0\nm=video 0 RTP/AVP 96\n\
            m=audio 4000 RTP/AVP 0 8 101\na=rtpmap:101 telephone-event/8000\n";
        let address = |port: u16| format!("192.0.2.9:{port}");
        assert_eq!(far(rewritten), Ok((address(4000), address(4001))));
        assert_eq!(far(&format!("{rewritten}a=rtcp-mux\n")), Ok((address(4000), address(4000))));
        assert_eq!(far(&format!("{rewritten}a=rtcp:4005\n")), Ok((address(4000), address(4005))));
        assert_eq!(far(&rewritten.replace(" 8 ", " ")), Err("SDP does not have the codec"));
        assert_eq!(far(&rewritten.replace("RTP/AVP 0", "RTP/SAVP 0")), Err("SDP has no audio over plain RTP"));
        assert_eq!(far(&rewritten.replace("audio 4000", "audio 0")), Err("SDP has no audio over plain RTP"));
        assert_eq!(far(""), Err("SDP is not readable"));
        let own = offer.write("192.0.2.1".parse().unwrap(), "192.0.2.1:4000".parse().unwrap());
        assert!(own.contains("m=audio 4000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"), "{own}");
        assert!(!own.contains("q="), "nothing unknown where it is not asked for");
    }
}
