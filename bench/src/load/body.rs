//! The session descriptions of a call, and the check that one crossed with nothing but its addresses
//! changed.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use moorline_sdp::Session;

/// What tells one description of a run from another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Description {
    pub(crate) call: u32,
    /// By the caller; the callee's answer otherwise.
    pub(crate) is_offer: bool,
    pub(crate) seed: u64,
    pub(crate) packet_ms: u32,
}

/// Where a received description wants media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Far {
    pub(crate) rtp: SocketAddr,
    pub(crate) rtcp: SocketAddr,
}

impl Description {
    /// Writes the description. The unknown lines and the huge version are there to be preserved.
    pub(crate) fn write(&self, origin: IpAddr, media: SocketAddr) -> String {
        let Description { call, is_offer, seed, packet_ms } = *self;
        let user = if is_offer { "caller" } else { "callee" };
        let network = |ip: IpAddr| format!("IN {} {ip}", if ip.is_ipv4() { "IP4" } else { "IP6" });
        format!(
            "v=0\r\no={user} {seed} 18446744073709551616{call} {}\r\ns=load \r\nc={}\r\nt=0 0\r\n\
             q=a line of no known type\r\na=x-call:{call}\r\nm=audio {} RTP/AVP 0\r\n\
             a=rtpmap:0 PCMU/8000\r\na=ptime:{packet_ms}\r\na=x-{user}: 10.99.0.1  {seed:x}\r\na=sendrecv\r\n",
            network(origin),
            network(media.ip()),
            media.port(),
        )
    }

    /// Reads what [`Description::write`] made after it has crossed. The error is a reason to fail the
    /// call.
    pub(crate) fn read(&self, body: &[u8], relays: &[IpNet]) -> Result<Far, &'static str> {
        let session = Session::parse(body).map_err(|_| "SDP is not readable")?;
        let [media] = session.media() else { return Err("SDP has not one media section") };
        let rtp = media.rtp().ok_or("SDP has no media address")?;
        let text = std::str::from_utf8(body).map_err(|_| "SDP is not readable")?;
        let origin = text.lines().find_map(|line| line.strip_prefix("o=")?.rsplit(' ').next()?.parse().ok());
        let origin = origin.ok_or("SDP has no origin address")?;
        if self.write(origin, rtp) != text {
            return Err("SDP changed in more than its addresses");
        }
        if !relays.is_empty() && !relays.iter().any(|network| network.contains(&rtp.ip())) {
            return Err("SDP names a media address that is not the relay's");
        }
        Ok(Far { rtp, rtcp: media.rtcp().unwrap_or(crate::media::rtcp_after(rtp)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: Description = Description { call: 7, is_offer: true, seed: 42, packet_ms: 20 };

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
}
