//! `moorline session`: plain media sessions by hand, for measurements and for operators, and what is known of those
//! that are open.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use moorline_control::connection::{Receiver, Sender, connect};
use moorline_control::{
    ClientFrame, ClientHello, LegSpec, Refusal, RefusalCode, Reply, Request, ServerFrame, ServerHello, SessionId,
    SessionSpec, StreamSpec,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::Outcome;
use crate::cli::SessionOpenArgs;
use crate::config::Configuration;

pub(crate) mod show;

/// How long the sessions outlive this process if it is killed.
const LEASE_MS: u32 = 2_000;

/// Requests sent before their answers: below every bound of the media process's mailboxes.
const WINDOW: usize = 64;

/// What is sent to [`SessionOpenArgs::increment_ports`] sessions differs by an RTP and an RTCP port.
const PORT_STEP: u32 = 2;

type Error = Box<dyn std::error::Error>;

pub(crate) fn open(args: &SessionOpenArgs) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(open_until_stopped(args))
}

async fn open_until_stopped(args: &SessionOpenArgs) -> Outcome {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (mut control, server) = Control::connect(args.control.as_deref(), "session-open").await?;
    let range = match (&args.range, server.ranges.first()) {
        (Some(range), _) => range.clone(),
        (None, Some(first)) => first.name.clone(),
        (None, None) => return Err("the media process has no media range".into()),
    };
    let ids =
        (0..args.count).map(|_| Ok(SessionId { node: u16::MAX, virtual_shard: random()? as u8, random: random()? }));
    let ids: Vec<SessionId> = ids.collect::<Result<_, Error>>()?;

    let opening = ids.iter().zip(0..).map(|(id, number)| {
        let spec = specification(args, &range, number)?;
        Ok(Request::Open { session: *id, spec })
    });
    let replies = control.ask_all(opening.collect::<Result<_, Error>>()?, args.per_second).await?;
    let mut out = std::io::stdout().lock();
    for reply in replies {
        let Reply::Opened(local) = reply else { return Err(format!("unexpected answer: {reply:?}").into()) };
        let relay = |leg: usize| local.legs.get(leg).and_then(|streams| streams.first().copied().flatten());
        match (relay(0), relay(1)) {
            (Some(a), Some(b)) => writeln!(out, "{} {}", a.rtp, b.rtp)?,
            _ => return Err("the media process gave no address for a leg".into()),
        }
    }
    out.flush()?;
    drop(out);

    let mut end_of_input = end_of_piped_input();
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        Ok(()) = &mut end_of_input => {}
        error = control.lost() => return Err(error),
    }
    control.ask_all(ids.into_iter().map(|session| Request::Close { session }).collect(), None).await?;
    Ok(ExitCode::SUCCESS)
}

fn specification(args: &SessionOpenArgs, range: &str, number: u32) -> Result<SessionSpec, Error> {
    let leg = |range: &str, far: SocketAddr| -> Result<LegSpec, Error> {
        let step = if args.increment_ports { PORT_STEP * number } else { 0 };
        let port = u16::try_from(u32::from(far.port()) + step)
            .map_err(|_| format!("the far ports of {} sessions do not fit above {far}", args.count))?;
        let remote_rtp = Some(SocketAddr::new(far.ip(), port));
        let stream = StreamSpec { active: true, remote_rtp, one_ssrc: true, ..StreamSpec::default() };
        Ok(LegSpec { range: range.to_owned(), streams: vec![stream] })
    };
    let legs = vec![leg(range, args.a)?, leg(args.range_b.as_deref().unwrap_or(range), args.b)?];
    Ok(SessionSpec { legs, media_timeout_ms: 0, snapshot: Vec::new() })
}

/// The connection to the media process, its requests in a window.
struct Control {
    sender: Sender,
    receiver: Receiver,
}

impl Control {
    /// Connects to the media process at a socket, or at the built-in configuration's.
    async fn connect(path: Option<&Path>, client: &str) -> Result<(Control, ServerHello), Error> {
        let path = match path {
            Some(path) => path.to_owned(),
            None => Configuration::load(None)?.media.control,
        };
        let hello = ClientHello { version: moorline_control::VERSION, client: client.to_owned(), lease_ms: LEASE_MS };
        let (sender, receiver, server) = connect(&path, hello).await.map_err(|error| {
            format!("{}: {error}; start a media process there, or name its socket with --control", path.display())
        })?;
        Ok((Control { sender, receiver }, server))
    }

    /// Asks one thing.
    async fn ask(&mut self, request: Request) -> Result<Reply, Error> {
        self.sender.send(&ClientFrame::Request { id: 0, request }).await?;
        loop {
            // Events are of sessions that this connection owns: it has none.
            if let ServerFrame::Reply { reply, .. } = self.receiver.receive().await? {
                return Ok(reply);
            }
        }
    }

    /// Asks everything, at most a window ahead and at most so many a second; the answers in the order of the requests.
    async fn ask_all(&mut self, requests: Vec<Request>, per_second: Option<u32>) -> Result<Vec<Reply>, Error> {
        let mut replies: Vec<Option<Reply>> = vec![None; requests.len()];
        let mut waiting: VecDeque<usize> = (0..requests.len()).collect();
        let mut outstanding = 0;
        let (start, mut asked) = (Instant::now(), 0);
        while outstanding > 0 || !waiting.is_empty() {
            let due = per_second.map_or(f64::INFINITY, |rate| 1.0 + start.elapsed().as_secs_f64() * f64::from(rate));
            while outstanding < WINDOW
                && f64::from(asked) < due.floor()
                && let Some(index) = waiting.pop_front()
            {
                let id = u32::try_from(index)?;
                self.sender.feed(&ClientFrame::Request { id, request: requests[index].clone() }).await?;
                (outstanding, asked) = (outstanding + 1, asked + 1);
            }
            self.sender.flush().await?;
            if outstanding == 0 {
                // All that was due is answered.
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
            let ServerFrame::Reply { id, reply } = self.receiver.receive().await? else { continue };
            let index = usize::try_from(id)?;
            outstanding -= 1;
            match reply {
                Reply::Refused(Refusal { code: RefusalCode::Busy, .. }) => waiting.push_back(index),
                Reply::Refused(refusal) => {
                    return Err(format!("session {} of {}: {refusal}", index + 1, requests.len()).into());
                }
                reply => *replies.get_mut(index).ok_or("an answer to nothing")? = Some(reply),
            }
        }
        Ok(replies.into_iter().flatten().collect())
    }

    /// Reads and leaves events until the connection is gone; says why it is.
    async fn lost(&mut self) -> Error {
        loop {
            if let Err(error) = self.receiver.receive::<ServerFrame>().await {
                return format!("the sessions are lost: {error}").into();
            }
        }
    }
}

/// Ready at the end of standard input, where that is a pipe: a script that holds the other end ends the
/// sessions by ending. A terminal or /dev/null says nothing.
fn end_of_piped_input() -> oneshot::Receiver<()> {
    let (ended, end) = oneshot::channel();
    let kind = std::fs::metadata("/proc/self/fd/0").map(|found| found.file_type());
    if !kind.is_ok_and(|kind| kind.is_fifo() || kind.is_socket()) {
        return end;
    }
    std::thread::spawn(move || {
        let mut scratch = [0; 256];
        while std::io::stdin().lock().read(&mut scratch).is_ok_and(|read| read > 0) {}
        // The other side is gone when another signal came first.
        let _stopping = ended.send(());
    });
    end
}

/// 64 random bits from the kernel.
fn random() -> Result<u64, Error> {
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}
