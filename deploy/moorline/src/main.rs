//! The executable of Moorline: it composes the signaling process, the media process and the load generator,
//! and gives operators their commands.
#![forbid(unsafe_code)]

mod check;
mod child;
mod cli;
mod config;
mod demo;
mod host;
mod limits;
mod load;
mod log;
mod ops;
mod preset;
mod reload;
mod session;
mod supervise;
mod up;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command, SessionCommand};
use log::Log;
use nix::sys::signal::{SigSet, Signal};

/// What a command comes to: done, or failed with something already said, or failed with this to say.
pub(crate) type Outcome = Result<ExitCode, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    // Usage errors end here, with status 2.
    let cli = Cli::parse();
    if matches!(cli.command, Command::Up(_) | Command::Signaling(_) | Command::Media(_)) {
        hold_back_hangups();
    }
    let mut log = Log::start(cli.log_level);
    let outcome = carry_out(&cli, &log);
    // What is printed now comes after what was logged, and nowhere where that hangs.
    let read = log.end();
    match outcome {
        Ok(status) => status,
        Err(error) if has_no_reader(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            if read {
                // Where it is closed there is nobody to tell.
                let _told = writeln!(io::stderr(), "moorline: {error}");
            }
            ExitCode::FAILURE
        }
    }
}

/// SIGHUP has processes read files again, and ends those that do not expect it yet. It comes when they do: threads that
/// are made from here on hold it back too, until the process takes it.
fn hold_back_hangups() {
    // It fails for no valid signal.
    let _held = SigSet::from(Signal::SIGHUP).thread_block();
}

fn carry_out(cli: &Cli, log: &Log) -> Outcome {
    match &cli.command {
        Command::Up(args) => up::run(args, cli.log_level),
        Command::Signaling(args) => child::signaling(args, log),
        Command::Media(args) => child::media(args, log),
        Command::Check(args) => check::run(args),
        Command::Preset(command) => preset::run(command),
        Command::Session(SessionCommand::Open(args)) => session::open(args),
        Command::Session(SessionCommand::List(args)) => session::show::list(args),
        Command::Session(SessionCommand::Show(args)) => session::show::show(args),
        Command::Status(args) => ops::status(args),
        Command::Trunks(args) => ops::trunks(args),
        Command::Calls(args) => ops::calls(args),
        Command::Call(args) => ops::call(args),
        Command::Hangup(args) => ops::hang_up(args),
        Command::Drain(args) => ops::drain(args),
        Command::Openapi => limits::print(moorline_signaling::OPENAPI),
        Command::Limits(command) => limits::run(command),
        Command::Blacklist(command) => limits::list(command, false),
        Command::Whitelist(command) => limits::list(command, true),
        Command::Reload(args) => reload::reload(args),
        Command::Rollback(args) => reload::rollback(args),
        Command::Demo(args) => demo::run(args),
        Command::Load(args) => load::run(args),
    }
}

/// True where the output's reader, such as `head`, has had enough.
fn has_no_reader(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
