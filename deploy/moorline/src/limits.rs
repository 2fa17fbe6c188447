//! `moorline limits`, `moorline blacklist` and `moorline whitelist`: limits of trunks, shown and set while calls are up.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use moorline_signaling::ListRowConfig;
use moorline_signaling::command::{DirectionReply, ListedRow, Reply, Request, TrunkReply, UserReply, ask};

use crate::Outcome;
use crate::cli::limits::{AddArgs, LimitsCommand, ListCommand, RowArgs, SocketArgs};
use crate::config::command_path;

/// Users in arrears who are named to people.
const NAMED: usize = 10;

type Error = Box<dyn std::error::Error>;

pub(crate) fn run(command: &LimitsCommand) -> Outcome {
    match command {
        LimitsCommand::Show(args) => {
            let (reply, line) = answer(&args.socket, &Request::LimitsShow { trunk: args.trunk.clone() })?;
            let Reply::Limits(trunks) = reply else { return Err(unexpected(&reply)) };
            let text = if args.json { line + "\n" } else { trunks.iter().map(described).collect() };
            print(&text)
        }
        LimitsCommand::Set(args) => {
            let mut values: BTreeMap<String, String> = BTreeMap::new();
            for (key, value) in &args.values {
                if values.insert(key.clone(), value.clone()).is_some() {
                    return Err(format!("{key} is there twice: say it once").into());
                }
            }
            let (trunk, user) = (args.trunk.clone(), args.user.clone());
            done(&args.socket, args.json, &Request::LimitsSet { trunk, user, values }, "set")
        }
    }
}

pub(crate) fn list(command: &ListCommand, white: bool) -> Outcome {
    match command {
        ListCommand::Add(AddArgs { row: args, percent }) => {
            done(&args.socket, args.json, &Request::ListAdd { white, row: row(args, *percent) }, "added")
        }
        ListCommand::Remove(args) => {
            done(&args.socket, args.json, &Request::ListRemove { white, row: row(args, None) }, "removed")
        }
        ListCommand::List(args) => {
            let mut from = 0;
            loop {
                let (reply, line) = answer(&args.socket, &Request::ListRows { white, from })?;
                let Reply::List(page) = reply else { return Err(unexpected(&reply)) };
                let text = if args.json { line + "\n" } else { page.rows.iter().map(listed).collect() };
                print(&text)?;
                match page.next {
                    Some(next) => from = next,
                    None => return Ok(ExitCode::SUCCESS),
                }
            }
        }
    }
}

fn row(args: &RowArgs, percent: Option<u8>) -> ListRowConfig {
    let RowArgs { caller, called, from, .. } = args;
    ListRowConfig { caller: caller.clone(), called: called.clone(), from: from.clone(), percent }
}

/// Asks for something that is done or not.
fn done(socket: &SocketArgs, json: bool, request: &Request, what: &str) -> Outcome {
    let (reply, line) = answer(socket, request)?;
    match reply {
        Reply::Done { .. } if json => print(&(line + "\n")),
        Reply::Done { kept, replaced } => {
            let kept = if kept { "" } else { "; it is forgotten at a restart: set `signaling.state`" };
            let instead = if replaced { " in place of a row of its like" } else { "" };
            print(&format!("{what}{instead}{kept}\n"))
        }
        other => Err(unexpected(&other)),
    }
}

pub(crate) fn answer(args: &SocketArgs, request: &Request) -> Result<(Reply, String), Error> {
    let path: PathBuf = match &args.socket {
        Some(path) => path.clone(),
        None => {
            let unknown = |error| format!("{error}, or the process's socket (--socket)");
            command_path(args.config.as_deref()).map_err(unknown)?
        }
    };
    let (reply, line) = ask(&path, request).map_err(|error| unanswered(&path, &error))?;
    match reply {
        Reply::Error(problem) => Err(problem.into()),
        reply => Ok((reply, line)),
    }
}

/// Why there is no answer, and what to do about it.
fn unanswered(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    let other = "start signaling there, or name its configuration (--config) or its socket (--socket)";
    match error.kind() {
        ErrorKind::PermissionDenied => format!("{path}: {error}; ask as root, or as the user that signaling runs as"),
        // So a timeout of a socket is called.
        ErrorKind::WouldBlock => format!("{path}: it does not answer in time; see what its log says, or {other}"),
        ErrorKind::InvalidData => format!("{path}: what it says is no answer that this version understands; {other}"),
        _ => format!("{path}: {error}; {other}"),
    }
}

pub(crate) fn unexpected(reply: &Reply) -> Error {
    format!("unexpected answer: {reply:?}").into()
}

pub(crate) fn print(text: &str) -> Outcome {
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// For people.
fn described(trunk: &TrunkReply) -> String {
    let arrears = if trunk.arrears { ": in arrears, no calls are taken from it" } else { "" };
    let mut text = format!("{}{arrears}\n", trunk.trunk);
    if trunk.users_in_arrears > 0 {
        let named = trunk.users.iter().filter(|user| user.arrears).take(NAMED).map(|user| user.user.as_str());
        let named = named.collect::<Vec<_>>().join(", ");
        let more = if trunk.users_in_arrears > NAMED { ", ..." } else { "" };
        // Writing into a string does not fail.
        _ = writeln!(text, "  in arrears: {} users: {named}{more}", trunk.users_in_arrears);
    }
    for (direction, calls) in [("inbound", &trunk.inbound), ("outbound", &trunk.outbound)] {
        let DirectionReply { calls, peak, callers, limits, refused } = calls;
        _ = writeln!(text, "  {direction:<10}{calls} calls of {callers} callers, {peak} at most");
        for (name, list) in [("limits", pairs(limits)), ("refused", pairs(refused))] {
            if !list.is_empty() {
                _ = writeln!(text, "    {name:<8}{list}");
            }
        }
    }
    for (key, configured) in &trunk.set {
        _ = writeln!(text, "  {key} was set by command; the configuration says {configured}");
    }
    for UserReply { user, configured, .. } in &trunk.users {
        if let Some(configured) = configured {
            _ = writeln!(text, "  arrears of user {user} was set by command; the configuration says {configured}");
        }
    }
    text
}

fn pairs(list: &BTreeMap<String, impl std::fmt::Display>) -> String {
    list.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
}

fn listed(row: &ListedRow) -> String {
    let percent = row.percent.map(|percent| format!(" {percent} %")).unwrap_or_default();
    let from = row.from.as_ref().map(|from| format!(" from {from}")).unwrap_or_default();
    format!("{} {}{percent}{from}\n", row.caller, row.called)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_who_is_in_arrears_and_what_was_set() {
        let calls = DirectionReply {
            calls: 0,
            peak: 2,
            callers: 0,
            limits: BTreeMap::new(),
            refused: [("arrears".to_owned(), 3)].into(),
        };
        let user = |name: &str, arrears, configured| UserReply { user: name.into(), arrears, configured };
        let trunk = TrunkReply {
            trunk: "phones".into(),
            arrears: false,
            users_in_arrears: 2,
            users: vec![user("6000", true, None), user("6001", false, Some(true)), user("6002", true, Some(false))],
            inbound: calls.clone(),
            outbound: DirectionReply { refused: BTreeMap::new(), ..calls },
            set: BTreeMap::new(),
        };
        let expected = "phones
  in arrears: 2 users: 6000, 6002
  inbound   0 calls of 0 callers, 2 at most
    refused arrears 3
  outbound  0 calls of 0 callers, 2 at most
  arrears of user 6001 was set by command; the configuration says true
  arrears of user 6002 was set by command; the configuration says false
";
        assert_eq!(described(&trunk), expected);
        let many = TrunkReply {
            users_in_arrears: 12,
            users: (0..12).map(|number| user(&format!("60{number:02}"), true, None)).collect(),
            ..trunk
        };
        assert!(described(&many).contains("in arrears: 12 users: 6000, 6001,"), "{}", described(&many));
        assert!(described(&many).contains(", 6009, ...\n"), "{}", described(&many));
    }
}
