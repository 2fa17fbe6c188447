//! Where call detail records go: `[signaling.cdr]`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::fault::Faults;
use crate::radius::{DigestAttributes, RadiusConfig, SharedSecret};

/// The directory of what outlives the process where none is configured.
const STATE: &str = "/var/lib/moorline";

/// Call detail records: `[signaling.cdr]`.
///
/// Every record is written to a journal first, before the caller hears what it tells of; from there it goes to each of
/// the sinks that are named here, which take it once, and later if they cannot take it now. Calls never wait for them.
/// What a server refuses for good is set aside beside the journal, in `refused.postgres.jsonl` or `refused.radius.jsonl`,
/// with the reason; more than 100 such records in a row wait instead, for the server is at fault then.
/// If no sink is named, records become JSON Lines in `directory`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CdrConfig {
    /// Whether calls are recorded at all.
    pub enabled: bool,
    /// Where the journal is, on a disk of this host, and by default the files of the sinks. If left out, `cdr` in
    /// `signaling.state`, or in `/var/lib/moorline` where that is there and can be written; else nothing is recorded.
    pub directory: Option<PathBuf>,
    /// The most megabytes of the journal, which grows while a sink cannot take records: 16 to 1000000. A call takes about
    /// four kilobytes.
    pub journal_mb: u32,
    /// What is done when the journal has grown to its bound, or its disk is full, fails, or takes nothing for 2 s: `drop` loses
    /// records, the oldest that a sink has not taken or those that find no room in memory either, and counts them; `refuse`
    /// answers new calls 503 until there is room. Calls that are up go on.
    pub when_full: WhenJournalFullConfig,
    /// Files of JSON Lines.
    pub json: Option<FilesConfig>,
    /// Files of comma-separated values (RFC 4180), with a line of names. A text that a spreadsheet would calculate, such as
    /// a name that begins with `=`, has an apostrophe before it.
    pub csv: Option<FilesConfig>,
    /// A table in an SQLite file.
    pub sqlite: Option<SqliteConfig>,
    /// A table of a PostgreSQL server.
    pub postgres: Option<PostgresConfig>,
    /// RADIUS accounting.
    pub radius: Option<AccountingConfig>,
}

/// What is done when there is no room for records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenJournalFullConfig {
    /// Calls go on, records are lost.
    #[default]
    Drop,
    /// New calls are refused.
    Refuse,
}

/// Files of records, one after the other: `[signaling.cdr.json]`, `[signaling.cdr.csv]`. The one that is written is
/// `records.jsonl` or `records.csv`; when it is full or old it is renamed to `records-` and the time, and is complete.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FilesConfig {
    /// Where they are; if left out, beside the journal.
    pub directory: Option<PathBuf>,
    /// A file with so many megabytes is complete: 1 to 10000.
    pub rotate_mb: u32,
    /// A file so many seconds old is complete, if there is anything in it: 60 or more.
    pub rotate_s: u32,
    /// How many complete files are kept, the youngest; 0 keeps all.
    pub keep: u32,
}

/// The table `records` of an SQLite file: `[signaling.cdr.sqlite]`. Others may read it at any time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SqliteConfig {
    /// The file; if left out, `records.sqlite` beside the journal.
    pub file: Option<PathBuf>,
    /// For how many days records are kept; 0 keeps all.
    pub keep_days: u32,
}

/// A table of a PostgreSQL server: `[signaling.cdr.postgres]`. It is made if it is not there, and so are columns that a
/// new version has. The connection is not encrypted: use a Unix socket, or a network that is trusted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresConfig {
    /// The server's name or address, or the directory of its Unix socket.
    pub host: String,
    /// Its port.
    #[serde(default = "default_postgres_port")]
    pub port: u16,
    /// The database.
    pub database: String,
    /// The user, who may make the table or has it.
    pub user: String,
    /// The file that holds the user's password, for its owner and group alone; not needed where the server trusts us.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// The table, with its schema if need be: lower-case letters, digits, `_` and one `.`.
    #[serde(default = "default_table")]
    pub table: String,
}

/// RADIUS accounting (RFC 2866): `[signaling.cdr.radius]`. A server is told of the answer (start), now and then of what
/// was relayed (interim), and of the end (stop), that of calls without an answer too. What is told again after a failure
/// has the same Acct-Session-Id. A request about a usual call fits a frame of Ethernet; none is longer than 4096 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountingConfig {
    /// The servers, in order of preference, such as `127.0.0.1:1813`.
    pub servers: Vec<SocketAddr>,
    /// The file that holds the secret shared with them, for its owner and group alone.
    pub secret_file: PathBuf,
    /// How long an answer is waited for before a request is sent again, in milliseconds.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u32,
    /// How often a request is sent to one server before the next is asked.
    #[serde(default = "default_attempts")]
    pub attempts: u32,
    /// How often a server is told of a call that is up, in seconds: 60 or more, 0 for never.
    #[serde(default)]
    pub interim_s: u32,
    /// The name that Moorline gives itself (NAS-Identifier).
    #[serde(default = "default_identifier")]
    pub nas_identifier: String,
    /// Whether what RFC 2866 has no attributes for is told too: `cisco` or `none`.
    #[serde(default)]
    pub vendor_attributes: VendorAttributes,
}

/// How a RADIUS server is told what RFC 2866 has no attributes for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VendorAttributes {
    /// By Cisco's (vendor 9), which FreeRADIUS knows: `h323-setup-time`, `h323-connect-time`, `h323-disconnect-time`,
    /// `h323-remote-address` (the called side's), and for each other column of the tables a `Cisco-AVPair`, such as
    /// `callee_trunk=carrier`, cut to 247 bytes; where a call was tried in several places, `try=486 udp 192.0.2.1:5060
    /// carrier: Busy Here` for each. Of what does not fit a packet the longest are left out, and `left_out=` says how many.
    /// They are left out too of a request that a server has twice left without an answer while it answered to others.
    #[default]
    Cisco,
    /// Not at all: for a server that stumbles over them, or a network that passes no fragments.
    None,
}

fn default_postgres_port() -> u16 {
    5432
}

fn default_table() -> String {
    "moorline_records".into()
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

impl Default for CdrConfig {
    fn default() -> Self {
        CdrConfig {
            enabled: true,
            directory: None,
            journal_mb: 1024,
            when_full: WhenJournalFullConfig::Drop,
            json: None,
            csv: None,
            sqlite: None,
            postgres: None,
            radius: None,
        }
    }
}

impl Default for FilesConfig {
    fn default() -> Self {
        FilesConfig { directory: None, rotate_mb: 64, rotate_s: 24 * 3600, keep: 0 }
    }
}

impl CdrConfig {
    /// Where the journal is to be, and whether that was asked for: then it must be usable.
    pub(crate) fn place(&self, state: Option<&Path>) -> Option<(PathBuf, bool)> {
        if !self.enabled {
            return None;
        }
        let asked = *self != CdrConfig::default();
        match (&self.directory, state) {
            (Some(directory), _) => Some((directory.clone(), true)),
            (None, Some(state)) => Some((state.join("cdr"), true)),
            (None, None) if asked || Path::new(STATE).is_dir() => Some((Path::new(STATE).join("cdr"), asked)),
            (None, None) => None,
        }
    }

    /// The files of JSON Lines, if there are to be any.
    pub(crate) fn json(&self) -> Option<FilesConfig> {
        let others = [self.csv.is_some(), self.sqlite.is_some(), self.postgres.is_some(), self.radius.is_some()];
        self.json.clone().or_else(|| (!others.contains(&true)).then(FilesConfig::default))
    }

    /// How often a call that is up is marked.
    pub(super) fn interim_ns(&self) -> u64 {
        self.radius.as_ref().map_or(0, |radius| u64::from(radius.interim_s) * 1_000_000_000)
    }

    pub(super) fn check(&self, faults: &mut Faults) {
        if !(16..=1_000_000).contains(&self.journal_mb) {
            let problem = format!("{} is out of bounds", self.journal_mb);
            faults.add("cdr.journal_mb", problem, "use 16 to 1000000");
        }
        let directories = [
            ("directory", self.directory.as_ref()),
            ("json.directory", self.json.as_ref().and_then(|files| files.directory.as_ref())),
            ("sqlite.file", self.sqlite.as_ref().and_then(|sqlite| sqlite.file.as_ref())),
            ("csv.directory", self.csv.as_ref().and_then(|files| files.directory.as_ref())),
        ];
        for (key, directory) in directories {
            if let Some(directory) = directory.filter(|directory| !directory.is_absolute()) {
                let problem = format!("{} is no absolute path", directory.display());
                faults.add(format!("cdr.{key}"), problem, "write it from the root, such as \"/var/lib/moorline/cdr\"");
            }
        }
        for (key, files) in [("json", &self.json), ("csv", &self.csv)] {
            let Some(files) = files else { continue };
            if !(1..=10_000).contains(&files.rotate_mb) {
                let problem = format!("{} is out of bounds", files.rotate_mb);
                faults.add(format!("cdr.{key}.rotate_mb"), problem, "use 1 to 10000");
            }
            if files.rotate_s < 60 {
                let problem = format!("a new file every {} seconds", files.rotate_s);
                faults.add(format!("cdr.{key}.rotate_s"), problem, "use 60 or more");
            }
        }
        self.postgres.iter().for_each(|postgres| postgres.check(faults));
        self.radius.iter().for_each(|radius| radius.check(faults));
    }
}

impl PostgresConfig {
    fn check(&self, faults: &mut Faults) {
        for (key, value) in [("host", &self.host), ("database", &self.database), ("user", &self.user)] {
            if value.is_empty() {
                faults.add(format!("cdr.postgres.{key}"), "an empty name", "say which");
            }
        }
        let part = |part: &str| {
            let letters = part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
            letters && part.bytes().next().is_some_and(|first| !first.is_ascii_digit())
        };
        if self.table.split('.').count() > 2 || !self.table.split('.').all(part) {
            let problem = format!("{:?} is no name of a table", self.table);
            faults.add("cdr.postgres.table", problem, "use lower-case letters, digits, _ and one .");
        }
        if let Some(wrong) = self.password_file.as_ref().and_then(|file| SharedSecret::read(file).err()) {
            faults.add("cdr.postgres.password_file", wrong.to_string(), wrong.remedy());
        }
    }
}

impl AccountingConfig {
    fn check(&self, faults: &mut Faults) {
        // The same as of servers that judge credentials.
        let same = RadiusConfig {
            servers: self.servers.clone(),
            secret_file: self.secret_file.clone(),
            timeout_ms: self.timeout_ms,
            attempts: self.attempts,
            attributes: DigestAttributes::default(),
            require_message_authenticator: false,
            nas_identifier: self.nas_identifier.clone(),
        };
        for (key, problem, remedy) in same.faults() {
            faults.add(format!("cdr.radius.{key}"), problem, remedy);
        }
        if (1..60).contains(&self.interim_s) {
            let problem = format!("an update every {} seconds", self.interim_s);
            faults.add("cdr.radius.interim_s", problem, "use 60 or more, or 0 for none");
        }
    }
}

#[cfg(test)]
mod tests;
