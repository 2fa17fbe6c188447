//! Forged media: what an attacker sends to the ports of calls that are not his, at a rate of his own.
//!
//! IPv4 packets are written whole and leave by a raw socket, so that they carry any source address. Every
//! datagram of [`MARK_END`] bytes or more carries [`MARK`], by which a firewall rule on the far side knows it; the
//! media engine of this crate knows its own packets by every byte, and so counts any of these as corrupted.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use crate::clock;
use crate::random::Random;

mod content;
mod datagram;
mod outlet;

pub use content::Content;
pub use content::{MARK, MARK_END, MARK_START};
use outlet::Outlet;

/// Somebody's port at the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The relay's address.
    pub to: SocketAddrV4,
    /// Where the relay expects packets from, if the attacker knows.
    pub party: Option<SocketAddrV4>,
}

/// The source that forged packets show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// An address that is no party of any call; the port changes with each packet.
    Stranger(Ipv4Addr),
    /// The party's own address, but not its port: another host behind the same NAT.
    Neighbour,
    /// Exactly the party.
    Party,
}

/// What to send.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The ports attacked, in turn.
    pub targets: Vec<Target>,
    /// Where the packets say that they come from.
    pub source: Source,
    /// What they are.
    pub content: Content,
    /// Datagrams per second over all targets.
    pub rate_per_s: u32,
    /// How long.
    pub duration: Duration,
    /// Determines everything that looks random.
    pub seed: u64,
}

/// What was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Datagrams that left whole, be it in fragments.
    pub datagrams: u64,
    /// First fragments without a second one: no receiver ever sees these.
    pub lone_fragments: u64,
    /// Datagrams that the kernel did not take.
    pub refused: u64,
    /// From the first to the last.
    pub elapsed: Duration,
}

/// The sender wakes this often.
const TICK_NS: u64 = 1_000_000;

/// What is due from longer ago than this is left out: a sender that was held up does not make up for it by a burst
/// that no attacker at that rate would send.
const CATCH_UP_NS: u64 = 20_000_000;

/// Sends for the duration. Blocks the calling thread, which does all the work. Needs `CAP_NET_RAW` in the network
/// namespace of the thread.
///
/// # Errors
/// A plan that cannot be carried out, or no raw socket.
pub fn run(plan: &Plan) -> io::Result<Report> {
    check(plan).map_err(|text| io::Error::new(io::ErrorKind::InvalidInput, text))?;
    let mut outlet = Outlet::open()?;
    let mut forger = Forger { plan, random: Random::new(plan.seed), next: 0, round: 0 };
    let mut report = Report::default();
    let per_ns = f64::from(plan.rate_per_s) / 1e9;
    let start = clock::monotonic();
    let end = start + clock::nanos(plan.duration);
    let mut paid_until = start;
    let mut wake = start;
    loop {
        let now = clock::monotonic().min(end);
        paid_until = paid_until.max(now.saturating_sub(CATCH_UP_NS));
        // Whole datagrams only; what is left of one stays due.
        let due = (now.saturating_sub(paid_until) as f64 * per_ns) as u64;
        for _ in 0..due {
            forger.forge(&mut outlet, &mut report);
        }
        outlet.flush(&mut report);
        paid_until += (due as f64 / per_ns) as u64;
        if now >= end {
            break;
        }
        wake = (wake + TICK_NS).max(now);
        clock::sleep_until(wake);
    }
    report.elapsed = Duration::from_nanos(clock::monotonic() - start);
    Ok(report)
}

fn check(plan: &Plan) -> Result<(), &'static str> {
    if plan.targets.is_empty() {
        return Err("there is no port to attack");
    }
    if plan.rate_per_s == 0 {
        return Err("the rate is at least 1");
    }
    if !matches!(plan.source, Source::Stranger(_)) && plan.targets.iter().any(|target| target.party.is_none()) {
        return Err("whose source is forged must be known: the party of a target is missing");
    }
    Ok(())
}

/// Makes one datagram after the other.
struct Forger<'a> {
    plan: &'a Plan,
    random: Random,
    next: usize,
    /// How many datagrams each port before the next one has got.
    round: u32,
}

impl Forger<'_> {
    fn forge(&mut self, outlet: &mut Outlet, report: &mut Report) {
        let targets = &self.plan.targets;
        let (stream, index) = (self.next, self.round);
        let target = targets[stream];
        self.next += 1;
        if self.next == targets.len() {
            (self.next, self.round) = (0, self.round.wrapping_add(1));
        }
        let from = self.source(target);
        let mut payload = [0; content::LONGEST];
        let forged = self.plan.content.write(&mut self.random, stream as u32, index, &mut payload);
        outlet.put(from, target.to, &payload[..forged.length], forged.carriage, &mut self.random, report);
    }

    fn source(&mut self, target: Target) -> SocketAddrV4 {
        // Any port of a media range, even or odd.
        let port = 1024 + self.random.below(64_512) as u16;
        match (self.plan.source, target.party) {
            (Source::Stranger(ip), _) => SocketAddrV4::new(ip, port),
            (Source::Neighbour, Some(party)) => {
                let other = if port == party.port() { port ^ 1 } else { port };
                SocketAddrV4::new(*party.ip(), other)
            }
            (Source::Party, Some(party)) => party,
            // `check` has refused these.
            (_, None) => SocketAddrV4::new(Ipv4Addr::LOCALHOST, port),
        }
    }
}

#[cfg(test)]
mod tests;
