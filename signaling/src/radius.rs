//! A RADIUS client: it asks a server whether digest credentials are right.
//!
//! The question is an Access-Request (RFC 2865) with the credentials in the attributes of draft-sterman-aaa-sip,
//! which FreeRADIUS's `digest` module reads, or in those of RFC 5090. The server knows the password, and Moorline
//! never sees it. Servers are asked in their order; one that does not answer rests.

mod client;
mod secret;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use moorline_b2bua::radius::{Form, MAX_VALUE};
use moorline_b2bua::verify::{DigestQuestion, Verdict};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub use secret::{SecretFault, SharedSecret};

use client::Client;

/// The most questions that are asked at once; each has a socket of its own.
const MAX_ASKED: usize = 256;

/// The most questions that wait.
const MAX_QUEUED: usize = 1024;

/// The longest that one server is waited for before the question is sent again.
const MAX_TIMEOUT_MS: u32 = 10_000;

/// The most times that a server is sent a question.
const MAX_ATTEMPTS: u32 = 5;

/// The RADIUS servers: `[signaling.radius]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RadiusConfig {
    /// The servers, in order of preference, such as `127.0.0.1:1812`.
    pub servers: Vec<SocketAddr>,
    /// The file that holds the secret shared with them, for its owner and group alone.
    pub secret_file: PathBuf,
    /// How long an answer is waited for before the question is sent again, in milliseconds.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u32,
    /// How often a question is sent to one server before the next is asked.
    #[serde(default = "default_attempts")]
    pub attempts: u32,
    /// How the credentials are written down.
    #[serde(default)]
    pub attributes: DigestAttributes,
    /// Whether an answer without Message-Authenticator is dropped. With it nobody between here and the server can
    /// forge one (CVE-2024-3596), but servers of before 2024, such as FreeRADIUS 3.2.1, do not send it.
    #[serde(default)]
    pub require_message_authenticator: bool,
    /// The name that Moorline gives itself (NAS-Identifier).
    #[serde(default = "default_identifier")]
    pub nas_identifier: String,
}

/// The attributes in which digest credentials are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DigestAttributes {
    /// Digest-Response and Digest-Attributes (206 and 207) of draft-sterman-aaa-sip, which FreeRADIUS reads.
    #[default]
    Sterman,
    /// The attributes of RFC 5090 (103 and on).
    Rfc5090,
}

fn default_timeout_ms() -> u32 {
    1000
}

fn default_attempts() -> u32 {
    2
}

fn default_identifier() -> String {
    "moorline".into()
}

impl RadiusConfig {
    /// What is wrong with it: the key, the problem, the remedy.
    pub fn faults(&self) -> Vec<(String, String, String)> {
        let mut faults = Vec::new();
        let mut fault = |key: &str, problem: String, remedy: String| faults.push((key.to_owned(), problem, remedy));
        if self.servers.is_empty() {
            fault("servers", "no server".into(), "name at least one, such as \"127.0.0.1:1812\"".into());
        }
        let mut seen = BTreeSet::new();
        for (index, server) in self.servers.iter().enumerate() {
            let key = format!("servers[{index}]");
            if server.port() == 0 || server.ip().is_unspecified() || server.ip().is_multicast() {
                fault(&key, format!("{server} cannot be asked"), "name a server's address and port".into());
            } else if !seen.insert(server) {
                fault(&key, format!("{server} is named before"), "remove one of the two".into());
            }
        }
        for (key, value, most) in
            [("timeout_ms", self.timeout_ms, MAX_TIMEOUT_MS), ("attempts", self.attempts, MAX_ATTEMPTS)]
        {
            if !(1..=most).contains(&value) {
                fault(key, format!("{value} is out of bounds"), format!("use 1 to {most}"));
            }
        }
        if !(1..=MAX_VALUE).contains(&self.nas_identifier.len()) {
            let problem = format!("{} bytes do not fit an attribute", self.nas_identifier.len());
            fault("nas_identifier", problem, format!("use 1 to {} bytes", MAX_VALUE));
        }
        if let Err(wrong) = SharedSecret::read(&self.secret_file) {
            fault("secret_file", wrong.to_string(), wrong.remedy().into());
        }
        faults
    }
}

/// A verdict, with the number of its question.
pub type Judged = (u64, Verdict);

/// Where questions are put.
#[derive(Debug, Clone)]
pub struct Questions(mpsc::Sender<(u64, DigestQuestion)>);

impl Questions {
    /// Puts a question; false if too many wait. It is then as if no server had answered.
    pub fn put(&self, number: u64, question: DigestQuestion) -> bool {
        self.0.try_send((number, question)).is_ok()
    }
}

/// Starts to ask, on the runtime of the caller, until the [`Questions`] are gone. Each question gets one verdict.
///
/// # Errors
/// If the secret cannot be used.
pub fn start(config: &RadiusConfig) -> Result<(Questions, mpsc::Receiver<Judged>), SecretFault> {
    let secret = SharedSecret::read(&config.secret_file)?;
    let (questions, asked) = mpsc::channel(MAX_QUEUED);
    let (verdicts, judged) = mpsc::channel(MAX_QUEUED);
    tokio::spawn(serve(Arc::new(Client::new(config, secret)), asked, verdicts));
    Ok((Questions(questions), judged))
}

async fn serve(client: Arc<Client>, mut asked: mpsc::Receiver<(u64, DigestQuestion)>, verdicts: mpsc::Sender<Judged>) {
    let mut asking = JoinSet::new();
    loop {
        tokio::select! {
            question = asked.recv(), if asking.len() < MAX_ASKED => {
                let Some((number, question)) = question else { return };
                let client = client.clone();
                asking.spawn(async move { (number, client.verify(&question).await) });
            }
            Some(done) = asking.join_next() => {
                // A question that ended otherwise is left to the asker's timeout.
                if let Ok(judged) = done
                    && verdicts.send(judged).await.is_err()
                {
                    return;
                }
            }
        }
    }
}

impl From<DigestAttributes> for Form {
    fn from(attributes: DigestAttributes) -> Form {
        match attributes {
            DigestAttributes::Sterman => Form::Sterman,
            DigestAttributes::Rfc5090 => Form::Rfc5090,
        }
    }
}

#[cfg(test)]
mod tests;
