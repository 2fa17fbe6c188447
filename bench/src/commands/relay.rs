//! `moorline-bench relay`.

use super::Outcome;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many two-way calls: each is 100 packets a second into the relay.
    #[arg(long, default_value_t = 500)]
    calls: u32,
}

pub(crate) fn run(args: &Args) -> Outcome {
    Err(format!("{}", args.calls).into())
}
