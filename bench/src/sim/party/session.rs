//! A party's media: what it offers, what it answers, and where it sends (RFC 3264).

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use moorline_sdp::{Direction, Session as Description};

#[derive(Debug, Clone)]
pub(super) struct Session {
    ip: IpAddr,
    port: u16,
    version: u32,
    /// The streams of the session: whether each is in use. The first is audio, the second video.
    streams: Vec<bool>,
    /// It has put the other side on hold: with sendonly or with inactive.
    hold: Option<&'static str>,
    direction: Direction,
    /// Where the other side receives audio.
    target: Option<SocketAddr>,
    described: bool,
}

impl Session {
    pub(super) fn new(ip: IpAddr, port: u16) -> Session {
        Session {
            ip,
            port,
            version: 1,
            streams: vec![true],
            hold: None,
            direction: Direction::SendRecv,
            target: None,
            described: false,
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port)
    }

    /// Where to send, if the other side listens and this one talks.
    pub(super) fn target(&self) -> Option<SocketAddr> {
        self.target.filter(|_| matches!(self.direction, Direction::SendRecv | Direction::SendOnly))
    }

    pub(super) fn listens(&self) -> bool {
        self.described && matches!(self.direction, Direction::SendRecv | Direction::RecvOnly)
    }

    pub(super) fn add_video(&mut self) {
        self.streams.resize(2, true);
    }

    pub(super) fn hold(&mut self, how: Option<&'static str>) {
        self.hold = how;
    }

    /// An offer of what is in use.
    pub(super) fn offer(&mut self) -> String {
        self.version += 1;
        self.direction = match self.hold {
            None => Direction::SendRecv,
            Some("inactive") => Direction::Inactive,
            Some(_) => Direction::SendOnly,
        };
        self.write()
    }

    /// The call is with this device, which listens elsewhere than the first.
    pub(super) fn take_device(&mut self, device: usize) {
        self.port += 2 * device as u16;
    }

    /// An early answer of one of the party's devices, which listens elsewhere.
    pub(super) fn early_answer(&self, offer: &[u8], device: usize) -> Result<String, String> {
        let mut early = self.clone();
        early.port += 2 * device as u16;
        early.answer(offer)
    }

    /// The answer to an offer: its streams in their order, those of a kind not wanted refused.
    pub(super) fn answer(&mut self, offer: &[u8]) -> Result<String, String> {
        let offer = self.take(offer)?;
        self.version += 1;
        self.direction = match (offer, self.hold) {
            (Direction::SendRecv, None) => Direction::SendRecv,
            (Direction::SendRecv | Direction::RecvOnly, Some("inactive")) => Direction::Inactive,
            (Direction::SendRecv, Some(_)) | (Direction::RecvOnly, _) => Direction::SendOnly,
            (Direction::SendOnly, None) => Direction::RecvOnly,
            (Direction::SendOnly, Some(_)) | (Direction::Inactive, _) => Direction::Inactive,
        };
        Ok(self.write())
    }

    /// An answer to the own offer.
    pub(super) fn answered(&mut self, answer: &[u8]) -> Result<(), String> {
        let offered = self.streams.len();
        let direction = self.take(answer)?;
        if self.streams.len() != offered {
            return Err(format!("an answer with {} streams to an offer with {offered}", self.streams.len()));
        }
        let mine = self.direction;
        self.direction = match direction {
            Direction::Inactive => Direction::Inactive,
            Direction::SendOnly if mine == Direction::SendRecv => Direction::RecvOnly,
            Direction::RecvOnly if mine == Direction::SendRecv => Direction::SendOnly,
            Direction::SendRecv if mine == Direction::SendOnly => {
                return Err("sendrecv answered to sendonly (RFC 3264 6.1)".into());
            }
            _ => mine,
        };
        Ok(())
    }

    /// Takes in what the other side said: which streams there are, and its direction in the first.
    fn take(&mut self, description: &[u8]) -> Result<Direction, String> {
        let description = Description::parse(description).map_err(|error| format!("unreadable SDP: {error}"))?;
        let media = description.media();
        let Some(audio) = media.first() else { return Err("SDP without streams".into()) };
        self.streams = media.iter().map(moorline_sdp::Media::is_active).collect();
        self.target = audio.rtp().filter(|rtp| !rtp.ip().is_unspecified());
        self.described = true;
        Ok(audio.direction)
    }

    fn write(&self) -> String {
        let ip = self.ip;
        let direction = match self.direction {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        };
        let mut out = format!("v=0\r\no=- 1 {} IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n", self.version);
        for (index, active) in self.streams.iter().enumerate() {
            let (kind, format) = if index == 0 { ("audio", 8) } else { ("video", 34) };
            let port = if *active { self.port + 100 * index as u16 } else { 0 };
            // Writing to a string does not fail.
            let _ = write!(out, "m={kind} {port} RTP/AVP {format}\r\na={direction}\r\n");
        }
        out
    }
}
