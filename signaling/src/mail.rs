//! What threads tell each other: bounded queues, and nothing shared but counts.

use moorline_b2bua::News;
use moorline_sip::transaction::Flow;
use tokio::sync::mpsc;

/// What a worker is told by other threads of this process.
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
    /// A stream is gone.
    Broken {
        /// Which.
        flow: Flow,
    },
}

/// News that one worker may have before it. Others wait with their senders.
const NEWS: usize = 1024;

/// What one worker is told.
#[derive(Debug)]
pub(crate) struct Inbox {
    /// Letters, of which there may be too many.
    pub(crate) mail: mpsc::Receiver<Mail>,
    /// What another worker has told all others: apart, so that no flood of messages keeps it away.
    pub(crate) news: mpsc::Receiver<News>,
}

/// The ways to all workers.
#[derive(Debug, Clone)]
pub(crate) struct Workers {
    inboxes: Vec<mpsc::Sender<Mail>>,
    news: Vec<mpsc::Sender<News>>,
}

impl Workers {
    /// Inboxes of so many letters for so many workers, and their other ends.
    pub(crate) fn new(workers: usize, letters: usize) -> (Workers, Vec<Inbox>) {
        let (inboxes, mail): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::channel(letters)).unzip();
        let (told, news): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::channel(NEWS)).unzip();
        let ends = mail.into_iter().zip(news).map(|(mail, news)| Inbox { mail, news });
        (Workers { inboxes, news: told }, ends.collect())
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.inboxes.len()
    }

    /// False if its inbox is full.
    pub(crate) fn offer(&self, worker: usize, mail: Mail) -> bool {
        self.inboxes.get(worker).is_some_and(|inbox| inbox.try_send(mail).is_ok())
    }

    /// Tells a worker news, or returns them where there is no room. One that has ended needs none.
    pub(crate) fn tell(&self, worker: usize, news: News) -> Result<(), News> {
        match self.news.get(worker).map(|inbox| inbox.try_send(news)) {
            Some(Err(mpsc::error::TrySendError::Full(news))) => Err(news),
            _ => Ok(()),
        }
    }

    /// Waits for room. A worker that has ended takes nothing any more.
    pub(crate) async fn send(&self, worker: usize, mail: Mail) {
        if let Some(inbox) = self.inboxes.get(worker) {
            let _ended = inbox.send(mail).await;
        }
    }
}
