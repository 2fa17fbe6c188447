//! One question: asked of one server after the other until one answers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use moorline_b2bua::radius::{self, Form, MAX_PACKET, Reply, Stamp};
use moorline_b2bua::verify::{DigestQuestion, Verdict};
use tokio::net::UdpSocket;
use tokio::time::timeout_at;
use tracing::{info, warn};

use super::{RadiusConfig, SharedSecret};

/// How long a server that did not answer is asked last.
const REST: Duration = Duration::from_secs(30);

/// Asks the servers of a configuration.
pub(super) struct Client {
    servers: Vec<Server>,
    secret: SharedSecret,
    timeout: Duration,
    attempts: u32,
    form: Form,
    signed: bool,
    nas_identifier: String,
    start: Instant,
}

struct Server {
    address: SocketAddr,
    /// Until when it rests, in milliseconds since the start; 0 if it answers.
    rests_until: AtomicU64,
}

/// What became of asking one server.
enum Asked {
    Answered(Reply),
    Silent,
    Failed(io::Error),
}

impl Client {
    pub(super) fn new(config: &RadiusConfig, secret: SharedSecret) -> Client {
        let server = |address: &SocketAddr| Server { address: *address, rests_until: AtomicU64::new(0) };
        Client {
            servers: config.servers.iter().map(server).collect(),
            secret,
            timeout: Duration::from_millis(u64::from(config.timeout_ms)),
            attempts: config.attempts,
            form: config.attributes.into(),
            signed: config.require_message_authenticator,
            nas_identifier: config.nas_identifier.clone(),
            start: Instant::now(),
        }
    }

    pub(super) async fn verify(&self, question: &DigestQuestion) -> Verdict {
        for server in self.in_order() {
            let Some(stamp) = stamp() else { return Verdict::Unavailable };
            let request = radius::access_request(stamp, self.secret.bytes(), &self.nas_identifier, self.form, question);
            // What no server can be told, none accepts.
            let Ok(request) = request else { return Verdict::Rejected };
            match self.ask(server.address, &request, stamp).await {
                Asked::Answered(reply) => {
                    self.answers(server);
                    return match reply {
                        Reply::Accept => Verdict::Accepted,
                        Reply::Reject | Reply::Challenge => Verdict::Rejected,
                    };
                }
                Asked::Silent => self.rest(server, "no answer"),
                Asked::Failed(fault) => self.rest(server, &fault.to_string()),
            }
        }
        Verdict::Unavailable
    }

    /// The servers in the order of the configuration, but those that rest last.
    fn in_order(&self) -> Vec<&Server> {
        let now = self.now_ms();
        let mut servers: Vec<&Server> = self.servers.iter().collect();
        servers.sort_by_key(|server| server.rests_until.load(Ordering::Relaxed) > now);
        servers
    }

    fn answers(&self, server: &Server) {
        if server.rests_until.swap(0, Ordering::Relaxed) != 0 {
            info!(server = %server.address, "the RADIUS server answers again");
        }
    }

    fn rest(&self, server: &Server, why: &str) {
        let until = self.now_ms().saturating_add(millis(REST));
        // Said once, not for every question that was on its way.
        if server.rests_until.swap(until, Ordering::Relaxed) == 0 {
            warn!(server = %server.address, "the RADIUS server is asked last from now on: {why}");
        }
    }

    fn now_ms(&self) -> u64 {
        millis(self.start.elapsed())
    }

    /// Sends the same packet until an authentic answer comes (RFC 2865 section 2.5: a repetition has the same
    /// identifier and authenticator). The socket is this question's own: its port, drawn by the system, is one
    /// thing more that a forger would have to guess, and identifiers never run out.
    async fn ask(&self, server: SocketAddr, request: &[u8], stamp: Stamp) -> Asked {
        let socket = match connected(server).await {
            Ok(socket) => socket,
            Err(fault) => return Asked::Failed(fault),
        };
        let mut buffer = vec![0; MAX_PACKET];
        for _attempt in 0..self.attempts {
            if let Err(fault) = socket.send(request).await {
                return Asked::Failed(fault);
            }
            let deadline = tokio::time::Instant::now() + self.timeout;
            // Datagrams that are not the answer change nothing.
            while let Ok(received) = timeout_at(deadline, socket.recv(&mut buffer)).await {
                match received {
                    Ok(length) => {
                        let datagram = buffer.get(..length).unwrap_or_default();
                        if let Ok(reply) = radius::answer(datagram, stamp, self.secret.bytes(), self.signed) {
                            return Asked::Answered(reply);
                        }
                    }
                    // Nobody listens there.
                    Err(fault) => return Asked::Failed(fault),
                }
            }
        }
        Asked::Silent
    }
}

async fn connected(server: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    Ok(socket)
}

/// Random; `None` if the system has no random numbers, and then nothing can be asked.
fn stamp() -> Option<Stamp> {
    let mut random = [0; 17];
    getrandom::fill(&mut random).ok()?;
    let [identifier, authenticator @ ..] = random;
    Some(Stamp { identifier, authenticator })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
