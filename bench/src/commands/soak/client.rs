//! A client of the control socket that sends requests by the batch and waits for the answers.

use std::io::{BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use moorline_control::{
    ClientFrame, ClientHello, LegSpec, LocalSession, Reply, Request, ServerFrame, SessionId, SessionSpec, StreamSpec,
    VERSION, codec,
};

use crate::commands::process::Error;

/// Requests on their way at once: below the bounds of the media process's mailboxes.
pub(super) const WINDOW: usize = 64;
/// Where the relay is heard from, and so what each of a session's sides sends to.
pub(super) type Sides = (SocketAddr, SocketAddr);

pub(super) struct Client {
    stream: UnixStream,
    reader: BufReader<UnixStream>,
    last: u32,
    next_session: u64,
    /// How many sessions stay to the end, the first ones.
    steady: u64,
}

impl Client {
    pub(super) fn connect(path: &Path) -> Result<Client, Error> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let reader = BufReader::new(stream.try_clone()?);
        let mut client = Client { stream, reader, last: 0, next_session: 0, steady: 0 };
        let hello = ClientHello { version: VERSION, client: "soak".into(), lease_ms: 1_000 };
        client.write(&[ClientFrame::Hello(hello)])?;
        match client.read()? {
            ServerFrame::Hello(_) => Ok(client),
            other => Err(format!("no hello but {other:?}").into()),
        }
    }

    /// A request for a session that was not there before.
    pub(super) fn opening(&mut self, (a, b): Sides) -> (SessionId, Request) {
        let leg = |to| LegSpec {
            range: "bench".into(),
            streams: vec![StreamSpec { active: true, remote_rtp: Some(to), ..StreamSpec::default() }],
        };
        let spec = SessionSpec { legs: vec![leg(a), leg(b)], media_timeout_ms: 0, snapshot: Vec::new() };
        self.next_session += 1;
        let session = id(self.next_session);
        (session, Request::Open { session, spec })
    }

    /// Ids of the sessions opened by [`open_all`](Self::open_all).
    pub(super) fn steady(&self) -> impl Iterator<Item = SessionId> + use<> {
        (1..=self.steady).map(id)
    }

    /// Sends all, and gives each answer to `answered` with its place among the requests.
    pub(super) fn ask(&mut self, requests: Vec<Request>, mut answered: impl FnMut(usize, Reply)) -> Result<(), Error> {
        let first = self.last.wrapping_add(1);
        let mut frames = Vec::with_capacity(requests.len());
        for request in requests {
            self.last = self.last.wrapping_add(1);
            frames.push(ClientFrame::Request { id: self.last, request });
        }
        let mut place = 0;
        for frames in frames.chunks(WINDOW) {
            self.write(frames)?;
            for _ in 0..frames.len() {
                match self.reply()? {
                    (id, reply) if id == first.wrapping_add(place as u32) => answered(place, reply),
                    (id, _) => return Err(format!("an answer to request {id}, out of turn").into()),
                }
                place += 1;
            }
        }
        Ok(())
    }

    /// Opens sessions between the two sides; what each side sends to.
    pub(super) fn open_all(&mut self, count: u32, sides: Sides) -> Result<Vec<Sides>, Error> {
        let requests = (0..count).map(|_| self.opening(sides).1).collect();
        self.steady = self.next_session;
        let mut pairs = Vec::with_capacity(count as usize);
        let mut refused = None;
        self.ask(requests, |_, reply| match reply {
            Reply::Opened(local) => pairs.extend(pair(&local)),
            other => refused = Some(format!("not opened: {other:?}")),
        })?;
        match refused {
            None if pairs.len() == count as usize => Ok(pairs),
            refused => Err(refused.unwrap_or_else(|| "a session without addresses".into()).into()),
        }
    }

    fn reply(&mut self) -> Result<(u32, Reply), Error> {
        loop {
            match self.read()? {
                ServerFrame::Reply { id, reply } => return Ok((id, reply)),
                ServerFrame::Event(_) => {}
                other => return Err(format!("the media process says {other:?}").into()),
            }
        }
    }

    fn write(&mut self, frames: &[ClientFrame]) -> Result<(), Error> {
        let mut bytes = Vec::with_capacity(frames.len() * 128);
        for frame in frames {
            let body = codec::encode(frame).map_err(|refusal| refusal.to_string())?;
            bytes.extend(u32::try_from(body.len())?.to_be_bytes());
            bytes.extend(body);
        }
        Ok(self.stream.write_all(&bytes)?)
    }

    fn read(&mut self) -> Result<ServerFrame, Error> {
        let mut length = [0; 4];
        self.reader.read_exact(&mut length)?;
        let mut body = vec![0; (u32::from_be_bytes(length) as usize).min(moorline_control::MAX_FRAME)];
        self.reader.read_exact(&mut body)?;
        Ok(codec::decode(&body).map_err(|refusal| refusal.to_string())?)
    }
}

fn id(random: u64) -> SessionId {
    SessionId { node: u16::MAX, virtual_shard: 0, random }
}

fn pair(local: &LocalSession) -> Option<Sides> {
    let relay = |leg: usize| local.legs.get(leg)?.first().copied().flatten().map(|addresses| addresses.rtp);
    Some((relay(0)?, relay(1)?))
}
