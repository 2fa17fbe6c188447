//! `moorline-bench`: load, measurements, and what the network lab's tests are checked with.
#![forbid(unsafe_code)]

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Load, measurements and checks for Moorline.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Relay(commands::relay::Args),
    Signaling(commands::signaling::Args),
    /// Place calls through a running Moorline and verify every packet.
    Load(commands::load::Args),
    /// Judge captures of both sides of Moorline: loss, order, content, addresses, crossing of calls.
    VerifyCaptures(commands::verify_captures::Args),
    /// Judge the media of both captures alone, where the signaling is encrypted.
    VerifyMedia(commands::verify_media::Args),
    /// Print figures of a running Moorline from its metrics.
    Scrape(commands::scrape::Args),
    /// Send datagrams that are neither SIP nor media, or only parts of it.
    Garbage(commands::garbage::Args),
    /// Forge media packets for the ports of other people's calls.
    Attack(commands::attack::Args),
    Soak(commands::soak::Args),
    /// Write a G.711 A-law file in which no 20 ms are like others.
    Speech(commands::speech::Args),
    /// Simulate random call flows through the cores, in virtual time, and check both ends of each.
    Sim(commands::sim::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Relay(args) => commands::relay::run(&args),
        Command::Signaling(args) => commands::signaling::run(&args),
        Command::Load(args) => commands::load::run(&args),
        Command::VerifyCaptures(args) => commands::verify_captures::run(&args),
        Command::VerifyMedia(args) => commands::verify_media::run(&args),
        Command::Scrape(args) => commands::scrape::run(&args),
        Command::Garbage(args) => commands::garbage::run(&args),
        Command::Attack(args) => commands::attack::run(&args),
        Command::Soak(args) => commands::soak::run(&args),
        Command::Speech(args) => commands::speech::run(&args),
        Command::Sim(args) => commands::sim::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("moorline-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
