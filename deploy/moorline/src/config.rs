//! One file configures both processes: `[signaling]` and `[media]`, each documented where it is owned.

mod announcements;
mod command_path;
mod control_path;
mod fault;
mod locate;
mod read;
mod tables;
mod text;

use std::path::{Path, PathBuf};

use moorline_media::Config as MediaConfig;
use moorline_signaling::{Config as SignalingConfig, Policy};
use serde::Deserialize;

pub(crate) use command_path::command_path;
pub(crate) use control_path::{default_control_path, make_private_directory};
pub(crate) use fault::{ConfigError, Fault};

/// What serves without a file: loopback, no root.
pub(crate) const BUILT_IN: &str = include_str!("../../examples/default.toml");

/// The name of [`BUILT_IN`] in messages.
pub(crate) const BUILT_IN_NAME: &str = "(built-in configuration)";

/// A configuration file's sections.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    signaling: SignalingConfig,
    media: MediaConfig,
}

/// A configuration without faults.
#[derive(Debug)]
pub(crate) struct Configuration {
    /// The file, or [`BUILT_IN_NAME`].
    pub(crate) name: String,
    pub(crate) signaling: SignalingConfig,
    pub(crate) media: MediaConfig,
    /// The control socket's directory, where it is the per-user one that has to be made first.
    pub(crate) private_directory: Option<PathBuf>,
}

impl Configuration {
    /// Reads and checks a file, or the built-in configuration.
    ///
    /// # Errors
    /// An unreadable file, or every fault found: first those of syntax, then of keys and types, and only in
    /// a file without those the ones of meaning.
    pub(crate) fn load(path: Option<&Path>) -> Result<Configuration, ConfigError> {
        let (name, text) = Configuration::text(path)?;
        Configuration::parse(&name, &text)
    }

    /// A file's name and text, or those of the built-in configuration.
    ///
    /// # Errors
    /// An unreadable file.
    pub(crate) fn text(path: Option<&Path>) -> Result<(String, String), ConfigError> {
        let Some(path) = path else { return Ok((BUILT_IN_NAME.to_owned(), BUILT_IN.to_owned())) };
        Ok((path.display().to_string(), text::read(path)?))
    }

    /// Where in the text of a configuration without faults something is said, in the order of the text: each is a key, a
    /// problem and a remedy.
    pub(crate) fn located(text: &str, found: Vec<[String; 3]>) -> Vec<Fault> {
        let Ok((_, document)) = read::read(text) else { return Vec::new() };
        let fault = |[key, problem, remedy]: [String; 3]| document.fault(key, problem, remedy);
        let mut faults: Vec<Fault> = found.into_iter().map(fault).collect();
        faults.sort_by_key(|fault| (fault.line, fault.column));
        faults
    }

    /// Checks a file's text.
    pub(crate) fn parse(name: &str, text: &str) -> Result<Configuration, ConfigError> {
        Configuration::read(name, text, None).map(|(configuration, _)| configuration)
    }

    /// The same with what follows for calls, and with copies of the files that it names, where there are some.
    pub(crate) fn read(name: &str, text: &str, copies: Option<&Path>) -> Result<(Configuration, Policy), ConfigError> {
        let faults = |faults| ConfigError::Faults { file: name.to_owned(), faults };
        let (file, document) = read::read(text).map_err(faults)?;
        let File { mut signaling, mut media } = file;

        // A path said once is meant for both; said nowhere, it is this user's own.
        let said = |section: &str| document.position(&format!("{section}.control")).is_exact();
        let mut private_directory = None;
        match (said("signaling"), said("media")) {
            (true, true) => {}
            (true, false) => media.control.clone_from(&signaling.control),
            (false, true) => signaling.control.clone_from(&media.control),
            (false, false) => {
                let path = default_control_path();
                private_directory = path.parent().map(Path::to_owned);
                signaling.control.clone_from(&path);
                media.control = path;
            }
        }

        // The media process must let in whom the signaling process becomes.
        media.control_users.extend(signaling.user.clone().filter(|user| !media.control_users.contains(user)));

        if let Some(copies) = copies {
            signaling.use_copies(copies);
        }
        let mut found = Vec::new();
        let policy = signaling.policy().unwrap_or_else(|list| {
            found.extend(list.into_iter().map(|f| document.fault(f.path, f.problem, f.remedy)));
            Policy::default()
        });
        if let Err(f) = media.check() {
            found.push(document.fault(f.path, f.problem, f.remedy));
        }
        check_agreement(&signaling, &media, private_directory.is_some(), |path, problem, remedy| {
            found.push(document.fault(path, problem, remedy));
        });
        // What a rollback goes back to has been looked at when it came, and media keeps what it has read.
        if copies.is_none() {
            let unknown = announcements::unknown(&signaling, &media).into_iter();
            found.extend(unknown.map(|[path, problem, remedy]| document.fault(path, problem, remedy)));
        }
        if !found.is_empty() {
            found.sort_by_key(|fault| (fault.line, fault.column));
            return Err(faults(found));
        }
        Ok((Configuration { name: name.to_owned(), signaling, media, private_directory }, policy))
    }
}

/// What neither process can see alone: the two sections must fit each other.
fn check_agreement(
    signaling: &SignalingConfig,
    media: &MediaConfig,
    private: bool,
    mut fault: impl FnMut(String, String, String),
) {
    if signaling.control != media.control {
        let problem =
            format!("{} is not the media process's socket, {}", signaling.control.display(), media.control.display());
        fault("signaling.control".into(), problem, "say it once, in [media]".into());
    }
    if let Some(user) = signaling.user.as_ref().filter(|_| private) {
        let problem = format!("the default control socket is in a directory that user {user:?} may not enter");
        let remedy = "set `control` to a path that both users reach, such as /run/moorline/media.sock";
        fault("signaling.user".into(), problem, remedy.into());
    }
    if signaling.admin == media.admin {
        let problem = format!("both processes would serve {}", media.admin);
        fault("media.admin".into(), problem, "give each its own port".into());
    }
    let names = media.ranges.iter().map(|range| format!("{:?}", range.name)).collect::<Vec<_>>().join(" or ");
    for (index, trunk) in signaling.trunks.iter().enumerate() {
        if !media.ranges.iter().any(|range| range.name == trunk.media_range) {
            let problem = format!("no media range is called {:?}", trunk.media_range);
            fault(format!("signaling.trunks[{index}].media_range"), problem, format!("use {names}"));
        }
    }
    for (index, listener) in signaling.listeners.iter().enumerate() {
        let (ip, port) = (listener.bind.ip(), listener.bind.port());
        let mut ranges = media.ranges.iter();
        if let Some(range) = ranges.find(|r| r.network.contains(&ip) && (r.first_port..=r.last_port).contains(&port)) {
            let problem = format!("{} is one of the ports of media range {:?}", listener.bind, range.name);
            let remedy = "choose a SIP port outside the range's ports".to_owned();
            fault(format!("signaling.listeners[{index}].bind"), problem, remedy);
        }
    }
}

#[cfg(test)]
mod tests;
