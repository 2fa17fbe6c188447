//! The log: lines on standard error, written by a thread of their own.
//!
//! Who logs waits for nobody: not for a pipe that is full, a journal that is frozen, or a disk that hangs. Lines for which
//! there is no room meanwhile are lost and counted, and that is said once lines flow again.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Arguments;
use std::io::{self, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// The most lines that wait to be written: about two megabytes.
const ROOM: usize = 8192;

/// How long the last lines may take.
const LAST_MOMENTS: Duration = Duration::from_secs(1);

/// How long a standard error is left alone that takes nothing now, and does not wait either.
const PAUSE: Duration = Duration::from_millis(10);

/// The log of this process. Dropped, by a panic too, it writes what there is.
pub(crate) struct Log {
    lines: NonBlocking,
    guard: Option<WorkerGuard>,
    lost: Lost,
    /// Hung up when the last line is written.
    written: mpsc::Receiver<()>,
}

/// The lines that were lost.
#[derive(Clone, Default)]
struct Lost {
    /// For want of room.
    no_room: Arc<OnceLock<ErrorCounter>>,
    /// Because standard error refused them.
    refused: Arc<AtomicU64>,
}

impl Log {
    /// From now on everything that is logged goes to standard error, and so does what panics say.
    pub(crate) fn start(level: LevelFilter) -> Log {
        let log = Log::to(io::stderr());
        tracing_subscriber::fmt()
            .with_max_level(level)
            .with_writer(log.lines.clone())
            .with_ansi(io::stderr().is_terminal())
            .init();
        let lines = log.lines.clone();
        // The one that there is by default writes itself, and a thread that waits there does not end.
        std::panic::set_hook(Box::new(move |panic| say_panic(lines.clone(), panic)));
        log
    }

    fn to(to: impl Write + Send + 'static) -> Log {
        let lost = Lost::default();
        let (writes, written) = mpsc::channel();
        let writer = Lines { to, lost: lost.clone(), said: 0, _writes: writes };
        let (lines, guard) = NonBlockingBuilder::default().buffered_lines_limit(ROOM).thread_name("log").finish(writer);
        lost.no_room.get_or_init(|| lines.error_counter());
        Log { lines, guard: Some(guard), lost, written }
    }

    /// How many lines were lost, whenever it is asked.
    pub(crate) fn lost_lines(&self) -> Arc<dyn Fn() -> u64 + Send + Sync> {
        let lost = self.lost.clone();
        Arc::new(move || lost.count())
    }

    /// Writes what there is. False if nobody takes it: whoever writes there now waits for long.
    pub(crate) fn end(&mut self) -> bool {
        let Some(guard) = self.guard.take() else { return true };
        // On a thread of its own, for where there is no room it tells standard output, which may hang as well.
        let ends = thread::Builder::new().name("log-end".into()).spawn(move || drop(guard));
        ends.is_ok() && self.written.recv_timeout(LAST_MOMENTS) == Err(RecvTimeoutError::Disconnected)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.end();
    }
}

impl Lost {
    fn count(&self) -> u64 {
        let no_room = self.no_room.get().map_or(0, ErrorCounter::dropped_lines);
        no_room as u64 + self.refused.load(Ordering::Relaxed)
    }
}

/// The thread's end.
struct Lines<W> {
    to: W,
    lost: Lost,
    /// So many of them were told of.
    said: u64,
    /// Hangs up with the thread.
    _writes: mpsc::Sender<()>,
}

impl<W: Write> Lines<W> {
    fn put(&mut self, mut text: &[u8]) -> io::Result<()> {
        while !text.is_empty() {
            match self.to.write(text) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => text = &text[length..],
                Err(refused) if refused.kind() == io::ErrorKind::WouldBlock => thread::sleep(PAUSE),
                Err(refused) if refused.kind() == io::ErrorKind::Interrupted => {}
                Err(refused) => return Err(refused),
            }
        }
        Ok(())
    }
}

impl<W: Write> Write for Lines<W> {
    /// Given a whole line.
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if self.put(text).is_err() {
            self.lost.refused.fetch_add(1, Ordering::Relaxed);
        }
        Ok(text.len())
    }

    /// There are no more lines now: here those are missing that were lost.
    fn flush(&mut self) -> io::Result<()> {
        let lost = self.lost.count();
        if lost > self.said {
            let more = lost - self.said;
            let text = line("WARN", format_args!("{more} lines were lost: whoever reads the log has not taken them"));
            if self.put(text.as_bytes()).is_ok() {
                self.said = lost;
            }
        }
        Ok(())
    }
}

/// What a panic says, with its backtrace where that is wanted (`RUST_BACKTRACE`).
fn say_panic(mut lines: NonBlocking, panic: &PanicHookInfo<'_>) {
    let trace = Backtrace::capture();
    let trace = if trace.status() == BacktraceStatus::Captured { format!("\n{trace}") } else { String::new() };
    let thread = thread::current();
    let name = thread.name().unwrap_or("without a name");
    // Where there is no room for it, it is counted.
    let _taken = lines.write_all(line("ERROR", format_args!("thread {name} {panic}{trace}")).as_bytes());
}

/// A line as the others are.
fn line(level: &str, what: Arguments<'_>) -> String {
    let mut time = String::new();
    // Writing into a string does not fail.
    let _written = SystemTime.format_time(&mut Writer::new(&mut time));
    format!("{time} {level:>5} moorline::log: {what}\n")
}

#[cfg(test)]
mod tests;
