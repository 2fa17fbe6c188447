//! What threads tell each other: bounded queues, and nothing shared but counts.

use moorline_b2bua::News;
use moorline_sip::transaction::Flow;
use tokio::sync::mpsc;

/// What a worker is told by others of this process.
///
/// News of a new kind is a variant here, and a line in the event loop.
#[derive(Debug)]
pub(crate) enum Mail {
    /// A message that another thread received.
    Message {
        /// How it came.
        flow: Flow,
        /// The message.
        bytes: Box<[u8]>,
        /// When it came, in the time of the clock.
        received_at: u64,
    },
    /// What another worker has told all others.
    News(News),
    /// A stream is gone.
    Broken {
        /// Which.
        flow: Flow,
    },
}

/// The ways to all workers.
#[derive(Debug, Clone)]
pub(crate) struct Workers {
    inboxes: Vec<mpsc::Sender<Mail>>,
}

impl Workers {
    /// Inboxes of so many letters for so many workers, and their other ends.
    pub(crate) fn new(workers: usize, letters: usize) -> (Workers, Vec<mpsc::Receiver<Mail>>) {
        let (inboxes, ends) = (0..workers).map(|_| mpsc::channel(letters)).unzip();
        (Workers { inboxes }, ends)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.inboxes.len()
    }

    /// False if its inbox is full.
    pub(crate) fn offer(&self, worker: usize, mail: Mail) -> bool {
        self.inboxes.get(worker).is_some_and(|inbox| inbox.try_send(mail).is_ok())
    }

    /// Waits for room. A worker that has ended takes nothing any more.
    pub(crate) async fn send(&self, worker: usize, mail: Mail) {
        if let Some(inbox) = self.inboxes.get(worker) {
            let _ended = inbox.send(mail).await;
        }
    }
}
