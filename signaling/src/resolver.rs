//! The resolver: it asks DNS what a [`Locator`](moorline_b2bua::locate::Locator) wants to know.
//!
//! It keeps nothing of its own: what is kept, for how long, and what is asked again, the locator decides.

mod ask;

use std::net::SocketAddr;

use moorline_b2bua::locate::{Answer, Failure, Query};
use serde::Deserialize;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

/// The most questions that are asked at once; more wait their turn.
const MAX_ASKED: usize = 64;

/// The most questions that wait. A locator has no more under way.
const MAX_QUEUED: usize = 256;

/// The longest that one question may take.
const MAX_TIMEOUT_MS: u32 = 10_000;

/// How DNS is asked: `[signaling.dns]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DnsConfig {
    /// The servers, such as `127.0.0.1:53`; those of `/etc/resolv.conf` if left out. Names are taken as complete:
    /// search domains are not tried. Of `/etc/hosts` what is read at the start counts.
    pub servers: Vec<SocketAddr>,
    /// How long a question may take, all servers together, in milliseconds.
    pub timeout_ms: u32,
}

impl Default for DnsConfig {
    fn default() -> Self {
        DnsConfig { servers: Vec::new(), timeout_ms: 1900 }
    }
}

impl DnsConfig {
    /// What is wrong with it: the key, the problem, the remedy.
    pub fn faults(&self) -> Vec<(String, String, String)> {
        let mut faults = Vec::new();
        for (index, server) in self.servers.iter().enumerate() {
            if server.port() == 0 || server.ip().is_unspecified() || server.ip().is_multicast() {
                let problem = format!("{server} cannot be asked");
                faults.push((format!("servers[{index}]"), problem, "name a server's address and port".into()));
            }
        }
        if !(1..=MAX_TIMEOUT_MS).contains(&self.timeout_ms) {
            let problem = format!("{} is out of bounds", self.timeout_ms);
            faults.push(("timeout_ms".into(), problem, format!("use 1 to {MAX_TIMEOUT_MS}")));
        }
        faults
    }
}

/// An answer, with the number of its question.
pub type Answered = (u64, Result<Answer, Failure>);

/// Where questions are put.
#[derive(Debug, Clone)]
pub struct Questions {
    queries: mpsc::Sender<Query>,
    config: watch::Sender<DnsConfig>,
}

impl Questions {
    /// Puts a question; false if too many wait. It is then as if DNS had failed.
    pub fn put(&self, query: Query) -> bool {
        self.queries.try_send(query).is_ok()
    }

    /// Has those asked from now on that another configuration says. What is asked already is answered all the same.
    pub fn ask_by(&self, config: &DnsConfig) {
        self.config.send_if_modified(|before| {
            let differ = before != config;
            before.clone_from(config);
            differ
        });
    }
}

/// Starts to ask, on the runtime of the caller, until the [`Questions`] are gone. Each question gets one answer.
/// Where there is no server to ask, that is said once, and every question fails.
pub fn start(config: &DnsConfig) -> (Questions, mpsc::Receiver<Answered>) {
    let (queries, asked) = mpsc::channel(MAX_QUEUED);
    let (answers, answered) = mpsc::channel(MAX_QUEUED);
    let (config, configured) = watch::channel(config.clone());
    tokio::spawn(serve(configured, asked, answers));
    (Questions { queries, config }, answered)
}

/// The servers of a configuration, if there are any.
fn dns(config: &DnsConfig) -> Option<ask::Dns> {
    match ask::Dns::new(config) {
        Ok(dns) => {
            info!(servers = ?config.servers, "names are looked up, by those of /etc/resolv.conf if none are listed");
            Some(dns)
        }
        Err(fault) => {
            warn!("no name can be looked up: {fault}; set `signaling.dns.servers`, or mend /etc/resolv.conf");
            None
        }
    }
}

async fn serve(
    mut config: watch::Receiver<DnsConfig>,
    mut asked: mpsc::Receiver<Query>,
    answers: mpsc::Sender<Answered>,
) {
    let mut asking = JoinSet::new();
    let mut servers = dns(&config.borrow_and_update());
    loop {
        tokio::select! {
            // Before the questions that came after it.
            biased;
            Ok(()) = config.changed() => servers = dns(&config.borrow_and_update()),
            query = asked.recv(), if asking.len() < MAX_ASKED => {
                let Some(query) = query else { return };
                let dns = servers.clone();
                asking.spawn(async move {
                    let answer = match dns {
                        Some(dns) => dns.ask(query.kind, &query.name).await,
                        None => Err(Failure::Unavailable),
                    };
                    (query.number, answer)
                });
            }
            Some(done) = asking.join_next() => {
                // A lookup that ended otherwise leaves its question to the locator's timeout.
                if let Ok(answer) = done
                    && answers.send(answer).await.is_err()
                {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
