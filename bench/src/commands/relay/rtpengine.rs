//! rtpengine in user space, with one thread: started, told of calls by its ng protocol, and stopped.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use super::bencode::{Entry, Value, dictionary};
use super::lab::{CARRIER, CORE, Place, SBC_CARRIER, SBC_CORE};
use super::system::{Counters, Pair, Setup, System};
use crate::commands::process::{Error, Running, pin, tied};

pub(super) struct Rtpengine {
    process: Running,
    control: UdpSocket,
    pairs: Vec<Pair>,
}

/// In the SBC's namespace, where nothing else is.
const NG: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 2223);

const PATIENCE: Duration = Duration::from_millis(500);
const ATTEMPTS: u32 = 6;

impl Rtpengine {
    pub(super) fn start(setup: &Setup) -> Result<Rtpengine, Error> {
        pin(setup.relay_core)?;
        let mut command = tied(Path::new("rtpengine"));
        command.args(["--config-file=none", "--table=-1", "--num-threads=1", "--foreground", "--log-stderr"]);
        command.args(["--log-level=4", "--port-min=10000", "--port-max=65000", "--delete-delay=0"]);
        // Calls that are open and silent between measurements stay; addresses are those of the descriptions, as nothing
        // is behind NAT, which spares it three seconds of learning for each stream.
        command.args(["--timeout=7200", "--silent-timeout=7200", "--offer-timeout=7200", "--endpoint-learning=off"]);
        command.arg(format!("--listen-ng={NG}"));
        command.arg(format!("--interface=core/{SBC_CORE}")).arg(format!("--interface=carrier/{SBC_CARRIER}"));
        let lab = &setup.lab;
        let mut process = lab.within(Place::Sbc, || Running::start("rtpengine", &mut command, &setup.directory))??;
        let control = lab.within(Place::Sbc, || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)))??;
        control.connect(NG)?;
        control.set_read_timeout(Some(PATIENCE))?;
        let ping = dictionary(&[("command", Entry::Text("ping"))]);
        process.await_ready(|| ask(&control, "ready", &ping).is_ok())?;
        Ok(Rtpengine { process, control, pairs: Vec::new() })
    }

    /// An offer by side A and the answer by side B.
    fn open_one(&self, number: usize) -> Result<Pair, Error> {
        let call = format!("call-{number}");
        let tags = [format!("a-{number}"), format!("b-{number}")];
        let description = |address: SocketAddr| {
            format!(
                "v=0\r\no=- 1 1 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\nm=audio {1} RTP/AVP 0\r\n",
                address.ip(),
                address.port()
            )
        };
        let ask = |command: &str, sdp: &str, more: (&str, Entry<'_>)| -> Result<SocketAddr, Error> {
            let request = [
                more,
                ("command", Entry::Text(command)),
                ("call-id", Entry::Text(&call)),
                ("from-tag", Entry::Text(&tags[0])),
                ("sdp", Entry::Text(sdp)),
                ("ICE", Entry::Text("remove")),
                ("flags", Entry::List(&["trust-address"])),
                ("replace", Entry::List(&["origin", "session-connection"])),
            ];
            let reply = ask(&self.control, &format!("{command}{number}"), &dictionary(&request))?;
            let sdp = reply.text("sdp").and_then(audio_address);
            sdp.ok_or_else(|| format!("rtpengine answered without a description: {reply:?}").into())
        };
        let for_b = ask("offer", &description(CORE), ("direction", Entry::List(&["core", "carrier"])))?;
        let for_a = ask("answer", &description(CARRIER), ("to-tag", Entry::Text(&tags[1])))?;
        Ok((for_a, for_b))
    }
}

impl System for Rtpengine {
    fn open(&mut self, setup: &Setup, count: usize) -> Result<Vec<Pair>, Error> {
        pin(setup.load_core)?;
        while self.pairs.len() < count {
            self.pairs.push(self.open_one(self.pairs.len())?);
        }
        Ok(self.pairs.iter().take(count).copied().collect())
    }

    fn process(&self) -> Option<&Running> {
        Some(&self.process)
    }

    fn counters(&self, _: &Setup) -> Result<Option<Counters>, Error> {
        Ok(None)
    }

    fn stop(self: Box<Self>, _: &Setup) -> Result<(), Error> {
        self.process.stop()
    }
}

/// Asks until there is an answer, which repeats for a repeated question.
fn ask(control: &UdpSocket, cookie: &str, request: &[u8]) -> Result<Value, Error> {
    let mut datagram = format!("{cookie} ").into_bytes();
    datagram.extend_from_slice(request);
    let mut buffer = vec![0; 65_536];
    for _ in 0..ATTEMPTS {
        control.send(&datagram)?;
        // What belongs to an earlier question is passed over.
        while let Ok(length) = control.recv(&mut buffer) {
            let Some(answer) =
                buffer[..length].strip_prefix(cookie.as_bytes()).and_then(|rest| rest.strip_prefix(b" "))
            else {
                continue;
            };
            let reply = Value::read(answer).ok_or("rtpengine's answer is not bencoded")?;
            return match reply.text("result") {
                Some("ok" | "pong") => Ok(reply),
                _ => Err(format!("rtpengine refused: {reply:?}").into()),
            };
        }
    }
    Err("no answer from rtpengine".into())
}

/// Where a description wants its first stream.
fn audio_address(sdp: &str) -> Option<SocketAddr> {
    let port = sdp.lines().find_map(|line| line.strip_prefix("m=audio ")?.split(' ').next()?.parse().ok())?;
    let ip = sdp.lines().find_map(|line| line.strip_prefix("c=IN IP4 ")?.trim().parse().ok())?;
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_read() {
        let sdp =
            "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 30000 RTP/AVP 0\r\n";
        assert_eq!(audio_address(sdp), Some("192.0.2.1:30000".parse().unwrap()));
        assert_eq!(audio_address("v=0\r\nm=audio 30000 RTP/AVP 0\r\n"), None);
    }
}
