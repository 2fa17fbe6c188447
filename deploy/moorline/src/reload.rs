//! `moorline reload` and `moorline rollback`, and where a running process reads its configuration again.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use moorline_signaling::command::{Reply, Request};
use moorline_signaling::{Change, Config, Policy, ReloadReply, Source};

use crate::Outcome;
use crate::cli::reload::ReloadArgs;
use crate::config::{BUILT_IN_NAME, Configuration};
use crate::limits::{answer, print, unexpected};

/// The file that a process was started with, if there was one.
pub(crate) struct ConfigurationFile(pub(crate) Option<PathBuf>);

impl Source for ConfigurationFile {
    fn name(&self) -> String {
        self.0.as_ref().map_or_else(|| BUILT_IN_NAME.into(), |path| path.display().to_string())
    }

    fn text(&self) -> io::Result<Option<String>> {
        let read = |path: &PathBuf| Configuration::text(Some(path)).map(|(_, text)| text);
        self.0.as_ref().map(read).transpose().map_err(|error| io::Error::other(error.to_string()))
    }

    fn read(&self, text: &str, copies: Option<&Path>) -> Result<(Config, Policy), String> {
        let (configuration, policy) =
            Configuration::read(&self.name(), text, copies).map_err(|error| error.to_string())?;
        Ok((configuration.signaling, policy))
    }
}

/// `moorline reload`.
pub(crate) fn reload(args: &ReloadArgs) -> Outcome {
    ask(args, &Request::Reload { dry_run: args.dry_run })
}

/// `moorline rollback`.
pub(crate) fn rollback(args: &ReloadArgs) -> Outcome {
    ask(args, &Request::Rollback { dry_run: args.dry_run })
}

/// Exit status 1 where it was refused.
fn ask(args: &ReloadArgs, request: &Request) -> Outcome {
    let (reply, line) = answer(&args.socket, request)?;
    let Reply::Reload(reply) = reply else { return Err(unexpected(&reply)) };
    print(&if args.json { line + "\n" } else { described(&reply, args.dry_run) })?;
    Ok(if reply.refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// For people.
fn described(reply: &ReloadReply, dry_run: bool) -> String {
    let mut text: String = reply.changes.iter().map(line).collect();
    // Writing into a string does not fail.
    if reply.more > 0 {
        _ = writeln!(text, "  and {} more changes", reply.more);
    }
    let name = &reply.configuration;
    let count = reply.changes.len() + reply.more;
    _ = match (reply.applied, reply.refused.is_empty(), count) {
        (true, ..) => writeln!(text, "{name}: {count} changes, in force for all that begins from now on"),
        (false, false, _) => writeln!(text, "{name}: refused, nothing has changed"),
        (false, true, 0) => writeln!(text, "{name}: nothing to change"),
        (false, true, _) if dry_run => writeln!(text, "{name}: {count} changes, which could be made"),
        (false, true, _) => writeln!(text, "{name}: nothing has changed"),
    };
    for problem in &reply.refused {
        _ = writeln!(text, "{problem}");
    }
    for note in &reply.notes {
        _ = writeln!(text, "note: {note}");
    }
    text
}

fn line(change: &Change) -> String {
    let Change { key, before, after } = change;
    match (before, after) {
        (Some(before), Some(after)) => format!("~ {key}: {before} -> {after}\n"),
        (Some(before), None) => format!("- {key}: {before}\n"),
        (None, after) => format!("+ {key}: {}\n", after.as_deref().unwrap_or_default()),
    }
}
