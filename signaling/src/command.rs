//! Commands of operators to a running process, on a Unix socket: a line of JSON each way ([`Request`], [`Reply`]),
//! or HTTP ([`crate::OPENAPI`]).
//!
//! Only root and the user that runs the process get through: the file has mode 0600, and who connects is asked for
//! credentials besides. Lines, connections and patience are bounded.

mod commands;
mod desk;
mod http;
pub(crate) mod json;
mod protocol;
mod replies;
mod socket;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::Uid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

pub(crate) use commands::{Commands, Fault};
use http::Conversation;
pub use protocol::{DirectionReply, ListReply, ListedRow, Reply, Request, TrunkReply, UserReply};
pub use replies::{
    CallCounts, CallDetail, CallRow, CallsReply, DrainReply, HungUpReply, ListenerReply, RecordsReply, SinkReply,
    StatusReply, StreamFigures, TrunkState,
};
pub(crate) use socket::CommandSocket;
pub use socket::ask;

/// The longest line.
const MAX_LINE: usize = 64 * 1024;

/// Connections at once.
const MAX_CONNECTIONS: usize = 8;

/// Connections that are told so where there are too many; those beyond are hung up on.
const MAX_TURNED_AWAY: usize = 32;

/// What they are told.
const TOO_MANY: &str = "too many commands at once: wait for them, and try again";

/// How long a connection may say nothing, or not take what it asked for.
const PATIENCE: Duration = Duration::from_secs(30);

/// After a failed accept, so that a lack of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves for ever; inside a `LocalSet`.
pub(crate) async fn serve(listener: UnixListener, commands: Commands) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let waiting = Arc::new(Semaphore::new(MAX_TURNED_AWAY));
    let hand = http::start(commands.clone());
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!("command socket: {error}");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if !admits(&stream) {
            continue;
        }
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            if let Ok(place) = Arc::clone(&waiting).try_acquire_owned() {
                spawn_local(async move {
                    // One that does not listen has missed nothing.
                    drop(timeout(PATIENCE, turn_away(stream)).await);
                    drop(place);
                });
            }
            continue;
        };
        let (commands, hand) = (commands.clone(), hand.clone());
        spawn_local(async move {
            let served = begin(stream, place, commands, hand).await;
            if let Err(error) = served {
                info!("command socket: {error}");
            }
        });
    }
}

fn admits(stream: &UnixStream) -> bool {
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == 0 || Uid::from_raw(peer.uid()) == Uid::effective() => true,
        Ok(peer) => {
            warn!(uid = peer.uid(), pid = peer.pid(), "command socket: a user was turned away");
            false
        }
        Err(error) => {
            warn!(%error, "command socket: a client without credentials was turned away");
            false
        }
    }
}

/// Reads the first byte: a capital letter begins the method of an HTTP request, and no line of JSON.
async fn begin(
    mut stream: UnixStream,
    place: OwnedSemaphorePermit,
    commands: Commands,
    hand: mpsc::Sender<Conversation>,
) -> io::Result<()> {
    let mut first = [0];
    if timeout(PATIENCE, stream.read(&mut first)).await?? == 0 {
        return Ok(());
    }
    if first[0].is_ascii_uppercase() {
        let handed = hand.send(Conversation::new(first[0], stream, place)).await;
        return handed.map_err(|_| io::Error::other("the HTTP server has ended"));
    }
    let served = converse(first, stream, commands).await;
    drop(place);
    served
}

/// Tells one too many that it is.
async fn turn_away(mut stream: UnixStream) -> io::Result<()> {
    let mut request = [0; 1024];
    if stream.read(&mut request[..1]).await? == 0 {
        return Ok(());
    }
    let text = if request[0].is_ascii_uppercase() {
        http::unavailable(TOO_MANY)
    } else {
        serde_json::to_string(&Reply::Error(TOO_MANY.to_owned()))? + "\n"
    };
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await?;
    // Closed before it has said everything, it would hear of that instead.
    let mut left = MAX_LINE;
    while left > 0 {
        match stream.read(&mut request).await? {
            0 => break,
            length => left = left.saturating_sub(length),
        }
    }
    Ok(())
}

/// Answers line by line.
async fn converse(first: [u8; 1], stream: UnixStream, commands: Commands) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(io::Cursor::new(first).chain(read));
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut read).take(MAX_LINE as u64 + 1);
        let length = timeout(PATIENCE, bounded.read_until(b'\n', &mut line)).await??;
        if length == 0 {
            return Ok(());
        }
        let whole = line.ends_with(b"\n");
        let reply = if whole {
            answer(&line, &commands).await
        } else {
            Reply::Error(format!("a request is a line of at most {MAX_LINE} bytes"))
        };
        let text = serde_json::to_string(&reply)? + "\n";
        timeout(PATIENCE, write.write_all(text.as_bytes())).await??;
        if !whole {
            return Ok(());
        }
    }
}

/// What a line asks for, done.
async fn answer(line: &[u8], commands: &Commands) -> Reply {
    let request: Request = match json::read(line) {
        Ok(request) => request,
        Err(fault) => return Reply::Error(format!("not understood: {fault}")),
    };
    commands.carry_out(request).await.unwrap_or_else(|fault| Reply::Error(fault.to_string()))
}

#[cfg(test)]
mod tests;
