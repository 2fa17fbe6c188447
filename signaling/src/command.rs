//! Commands of operators to a running process, on a Unix socket: a line of JSON each way ([`Request`], [`Reply`]).
//!
//! Only root and the user that runs the process get through: the file has mode 0600, and who connects is asked for
//! credentials besides. Lines, connections and patience are bounded.

mod protocol;
mod socket;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use moorline_b2bua::policy::limit::{Key, LimitFault, Verdict};
use nix::unistd::Uid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::{spawn_blocking, spawn_local};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::limits::Limits;
use crate::reload::Reload;
pub use protocol::{DirectionReply, ListReply, ListedRow, Reply, Request, TrunkReply};
pub(crate) use socket::CommandSocket;
pub use socket::ask;

/// The longest line.
const MAX_LINE: usize = 64 * 1024;

/// Connections at once.
const MAX_CONNECTIONS: usize = 8;

/// How long a connection may say nothing, or not take what it asked for.
const PATIENCE: Duration = Duration::from_secs(30);

/// After a failed accept, so that a lack of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Rows of the list in one reply.
const PAGE: usize = 5000;

/// Serves for ever; inside a `LocalSet`.
pub(crate) async fn serve(listener: UnixListener, limits: Arc<Limits>, reload: Arc<Reload>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
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
        // Whoever comes when there are too many is hung up on.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let (limits, reload) = (Arc::clone(&limits), Arc::clone(&reload));
        spawn_local(async move {
            let served = converse(stream, limits, reload).await;
            drop(place);
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

/// Answers line by line.
async fn converse(stream: UnixStream, limits: Arc<Limits>, reload: Arc<Reload>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut read).take(MAX_LINE as u64 + 1);
        let length = timeout(PATIENCE, bounded.read_until(b'\n', &mut line)).await??;
        if length == 0 {
            return Ok(());
        }
        let whole = line.ends_with(b"\n");
        let reply = if whole {
            let (limits, reload) = (Arc::clone(&limits), Arc::clone(&reload));
            // It may wait for the disk.
            spawn_blocking(move || answer(&line, &limits, &reload)).await.map_err(io::Error::other)?
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
fn answer(line: &[u8], limits: &Limits, reload: &Reload) -> Reply {
    let request: Request = match serde_json::from_slice(line) {
        Ok(request) => request,
        Err(fault) => return Reply::Error(format!("not understood: {fault}")),
    };
    carry_out(request, limits, reload).unwrap_or_else(Reply::Error)
}

fn carry_out(request: Request, limits: &Limits, reload: &Reload) -> Result<Reply, String> {
    let done = |replaced: bool| Reply::Done { kept: limits.keeps(), replaced };
    match request {
        Request::Reload { dry_run } => Ok(Reply::Reload(reload.reload(dry_run))),
        Request::Rollback { dry_run } => Ok(Reply::Reload(reload.roll_back(dry_run))),
        Request::LimitsShow { trunk } => {
            let all = limits.limiter.view();
            let shown = all.into_iter().filter(|view| trunk.as_ref().is_none_or(|name| view.name == *name));
            let shown: Vec<TrunkReply> = shown.map(TrunkReply::from).collect();
            match trunk {
                // Said in the words of whoever sets something.
                Some(name) if shown.is_empty() => {
                    limits.limiter.set(&name, &[]).map_err(|fault| fault.to_string())?;
                    Ok(Reply::Limits(shown))
                }
                _ => Ok(Reply::Limits(shown)),
            }
        }
        Request::LimitsSet { trunk, values } => {
            let read = |(key, value): (&String, &String)| -> Result<_, LimitFault> {
                let key: Key = key.parse()?;
                Ok((key, key.read(value)?))
            };
            let read: Result<Vec<_>, LimitFault> = values.iter().map(read).collect();
            let values_read = read.map_err(|fault| fault.to_string())?;
            limits.set(&trunk, &values_read).map_err(|fault| fault.to_string())?;
            info!(trunk, ?values, "limits set by an operator");
            Ok(done(false))
        }
        Request::ListAdd { white, row } => {
            let (row, verdict) =
                row.row(white).map_err(|(key, problem, remedy)| format!("{key}: {problem}; {remedy}"))?;
            if let Some(from) = &row.from {
                limits.limiter.set(from, &[]).map_err(|fault| fault.to_string())?;
            }
            let before = limits.add_row(&row, verdict).map_err(|fault| fault.to_string())?;
            info!(?row, ?verdict, "row added by an operator");
            Ok(done(before.is_some()))
        }
        Request::ListRemove { white, row } => {
            let row = crate::config::ListRowConfig { percent: None, ..row };
            let (row, _) = row.row(white).map_err(|(key, problem, remedy)| format!("{key}: {problem}; {remedy}"))?;
            limits.remove_row(&row, white).map_err(|fault| fault.to_string())?;
            info!(?row, white, "row removed by an operator");
            Ok(done(false))
        }
        Request::ListRows { white, from } => {
            let rows = limits.limiter.rows().into_iter().filter(|(_, verdict)| (*verdict == Verdict::White) == white);
            let mut rows = rows.skip(from);
            let page: Vec<ListedRow> =
                rows.by_ref().take(PAGE).map(|(row, verdict)| ListedRow::of(&row, verdict)).collect();
            let next = rows.next().map(|_| from + page.len());
            Ok(Reply::List(ListReply { rows: page, next }))
        }
    }
}

#[cfg(test)]
mod tests;
