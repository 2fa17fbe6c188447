//! `moorline status`, `trunks`, `calls`, `call`, `hangup` and `drain`: what a running signaling process does, seen and
//! steered.

mod text;

use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use moorline_signaling::command::{Reply, Request};

use crate::Outcome;
use crate::cli::limits::SocketArgs;
use crate::cli::ops::{CallArgs, CallsArgs, DrainArgs, StatusArgs, TrunksArgs};
use crate::limits::{answer, print, unexpected};

/// The exit status where calls are left after the time to wait for them.
const CALLS_LEFT: u8 = 3;

/// Between two looks at how many calls are left.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

pub(crate) fn status(args: &StatusArgs) -> Outcome {
    show(&args.socket, args.json, &Request::Status, |reply| match reply {
        Reply::Status(status) => Some(text::status(status)),
        _ => None,
    })
}

pub(crate) fn trunks(args: &TrunksArgs) -> Outcome {
    show(&args.socket, args.json, &Request::Trunks { trunk: args.trunk.clone() }, |reply| match reply {
        Reply::Trunks(trunks) => Some(text::trunks(trunks)),
        _ => None,
    })
}

pub(crate) fn calls(args: &CallsArgs) -> Outcome {
    let mut after = args.after.clone();
    loop {
        let request = Request::Calls {
            trunk: args.trunk.clone(),
            number: args.number.clone(),
            state: args.state.map(Into::into),
            limit: Some(if args.all { 1000 } else { args.limit }),
            after,
        };
        let (reply, line) = answer(&args.socket, &request)?;
        let Reply::Calls(page) = reply else { return Err(unexpected(&reply)) };
        print(&if args.json { line + "\n" } else { text::calls(&page) })?;
        match page.next {
            Some(next) if args.all => after = Some(next),
            Some(next) if !args.json => {
                eprintln!("there may be more: --after {next}");
                return Ok(ExitCode::SUCCESS);
            }
            _ => return Ok(ExitCode::SUCCESS),
        }
    }
}

pub(crate) fn call(args: &CallArgs) -> Outcome {
    show(&args.socket, args.json, &Request::Call { call: args.call.to_string() }, |reply| match reply {
        Reply::Call(call) => Some(text::call(call)),
        _ => None,
    })
}

pub(crate) fn hang_up(args: &CallArgs) -> Outcome {
    show(&args.socket, args.json, &Request::HangUp { call: args.call.to_string() }, |reply| match reply {
        Reply::HungUp(_) => Some("ended\n".to_owned()),
        _ => None,
    })
}

pub(crate) fn drain(args: &DrainArgs) -> Outcome {
    let deadline = args.wait.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut request = Request::Drain { draining: Some(!args.off) };
    loop {
        let (reply, line) = answer(&args.socket, &request)?;
        let Reply::Drain(drain) = reply else { return Err(unexpected(&reply)) };
        let over = deadline.is_none_or(|deadline| Instant::now() >= deadline);
        if !drain.draining && !args.off {
            return Err("new calls are taken again: somebody has said so, or signaling has been started anew".into());
        }
        if drain.calls == 0 || over {
            print(&if args.json { line + "\n" } else { text::drain(&drain) })?;
            let left = deadline.is_some() && drain.calls > 0;
            return Ok(if left { ExitCode::from(CALLS_LEFT) } else { ExitCode::SUCCESS });
        }
        request = Request::Drain { draining: None };
        sleep(LOOK_AGAIN);
    }
}

/// Asks, and prints the answer.
fn show(socket: &SocketArgs, json: bool, request: &Request, text: fn(&Reply) -> Option<String>) -> Outcome {
    let (reply, line) = answer(socket, request)?;
    let described = text(&reply).ok_or_else(|| unexpected(&reply))?;
    print(&if json { line + "\n" } else { described })
}
