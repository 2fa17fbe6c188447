//! A party: one user agent in one call, with transactions, a dialog and a session of its own making.
//!
//! It keeps RFC 3261 to the letter, so that whatever looks wrong to it is the fault of the other side. Only
//! the reading of messages is Moorline's; what is done with them shares nothing with `moorline_sip`'s
//! transactions and dialogs.

mod acts;
mod answers;
mod called;
mod client;
mod credentials;
mod identity;
mod inside;
mod message;
mod proxy;
mod record;
mod reliable;
mod server;
mod session;
mod timer;
mod transfer;
mod update;

use std::net::SocketAddr;

use moorline_sip::Message;
use moorline_sip::digest::Challenger;

use super::plan::{Action, Asks, Script};
use super::random::Random;
use acts::Due;
use client::Client;
pub(super) use credentials::{PASSWORD, USER};
pub(super) use identity::Identity;
use record::Record;
use reliable::{Early, Unpracked};
use server::Server;
use session::Session;
use timer::Timer;
use transfer::Transfers;

pub(super) const T1: u64 = 500_000_000;
pub(super) const T2: u64 = 4_000_000_000;
/// Timers B, F, H, and the patience with a 2xx that nobody acknowledges.
const TIMEOUT: u64 = 64 * T1;

/// No call lasts so long: Moorline ends it before.
const LONGEST_TALK: u64 = 900_000_000_000;

/// Which end of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Caller,
    /// The called party of this position.
    Callee(usize),
}

/// How far the party is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The call is being set up.
    Setup,
    /// There is a confirmed dialog.
    Up,
    /// There is none any more.
    Over,
}

/// The dialog, once it is confirmed.
#[derive(Debug, Clone)]
struct Dialog {
    local_tag: String,
    remote_tag: String,
    remote_target: String,
    routes: Vec<String>,
    remote_cseq: Option<u32>,
}

pub(super) struct Party {
    pub(super) name: String,
    pub(super) call: usize,
    pub(super) role: Role,
    /// Moorline's listener that it speaks to, by position, and its address.
    pub(super) listener: usize,
    moorline: SocketAddr,
    pub(super) address: SocketAddr,
    pub(super) call_id: String,
    pub(super) record: Record,
    /// What Moorline did wrong, as far as this party can tell.
    pub(super) faults: Vec<String>,
    /// Its link is dead from then on.
    pub(super) vanishes_at: Option<u64>,
    pub(super) joined_at: u64,
    /// When something last happened to it.
    pub(super) stirred_at: u64,
    reliable: bool,
    /// It speaks over TCP.
    streams: bool,
    script: Script,
    random: Random,
    phase: Phase,
    identity: Identity,
    /// Asks Moorline for credentials.
    challenger: Option<(Asks, Challenger)>,
    transfers: Transfers,
    /// The first INVITE, among the servers: the last of them, where others were challenged or refused for a header.
    first: usize,
    /// The called number.
    number: String,
    from: String,
    to: String,
    tags: [String; 2],
    dialog: Option<Dialog>,
    /// A caller's early dialogs.
    early: Vec<Early>,
    /// A reliable provisional answer has settled the session: the 2xx has nothing to add.
    settled: bool,
    /// The last RSeq that each device has used, and what waits for a PRACK.
    rseqs: [u32; 2],
    unpracked: Option<Unpracked>,
    /// The session's timer, and how many there were.
    timer: Option<Timer>,
    rounds: u32,
    /// The shortest session that the other side takes, as far as it has said so.
    floor: u64,
    /// The other side was told the shortest session.
    told_shortest: bool,
    /// The last CSeq in each device's dialog.
    remote_cseqs: [Option<u32>; 2],
    cseq: u32,
    branches: u32,
    clients: Vec<Client>,
    servers: Vec<Server>,
    /// ACKs to 2xx, by CSeq and To tag.
    acks: Vec<(u32, String, Vec<u8>)>,
    session: Session,
    /// The session before a re-INVITE that may fail.
    session_before: Option<Session>,
    agenda: Vec<(u64, Due)>,
    sends: Vec<Vec<u8>>,
    media: Vec<SocketAddr>,
    reinvites_left: u32,
    complaint: Option<String>,
    /// It has vanished, and nobody knows what it does.
    gone: bool,
}

/// What a party is made of.
pub(super) struct Origin {
    pub(super) call: usize,
    pub(super) role: Role,
    pub(super) listener: usize,
    pub(super) moorline: SocketAddr,
    pub(super) address: SocketAddr,
    pub(super) media_port: u16,
    pub(super) reliable: bool,
    pub(super) streams: bool,
    pub(super) script: Script,
    pub(super) identity: Identity,
    pub(super) asks: Option<Asks>,
    /// A REFER is carried.
    pub(super) transfers: bool,
}

impl Party {
    pub(super) fn new(now: u64, origin: Origin, mut random: Random) -> Party {
        let Origin {
            call,
            role,
            listener,
            moorline,
            address,
            media_port,
            reliable,
            streams,
            script,
            identity,
            asks,
            transfers,
        } = origin;
        let secret = super::SECRETS[listener];
        let mut token = |what: &str| format!("{what}{secret}{:08x}", random.next() as u32);
        let name = match role {
            Role::Caller => format!("caller-{call}"),
            Role::Callee(target) => format!("callee-{call}.{target}"),
        };
        let mut party = Party {
            call_id: token("id-"),
            tags: [token("t-"), token("t-")],
            number: format!("{}{call}", super::NUMBERS[1 - listener]),
            from: format!("\"{name}\" <sip:{name}@{}>", address.ip()),
            to: String::new(),
            name,
            call,
            role,
            listener,
            moorline,
            address,
            record: Record::default(),
            faults: Vec::new(),
            vanishes_at: script.vanishes_after.map(|after| now + after),
            joined_at: now,
            stirred_at: now,
            reliable,
            streams,
            phase: Phase::Setup,
            identity,
            challenger: asks.map(|asks| (asks, credentials::challenger(asks, random.next()))),
            transfers: Transfers::new(transfers),
            first: 0,
            dialog: None,
            early: Vec::new(),
            settled: false,
            rseqs: [0; 2],
            unpracked: None,
            timer: None,
            rounds: 0,
            floor: 0,
            told_shortest: false,
            remote_cseqs: [None; 2],
            cseq: 0,
            branches: 0,
            clients: Vec::new(),
            servers: Vec::new(),
            acks: Vec::new(),
            session: Session::new(address.ip(), media_port),
            session_before: None,
            agenda: Vec::new(),
            sends: Vec::new(),
            media: Vec::new(),
            reinvites_left: 12,
            complaint: None,
            gone: false,
            script,
            random,
        };
        if role == Role::Caller {
            party.to = format!("<sip:{}@{}>", party.number, moorline.ip());
            party.at(now, Due::Call);
        }
        party
    }

    /// A message that was received.
    pub(super) fn handle(&mut self, now: u64, message: Message<'_>) {
        self.stirred_at = now;
        if message.is_request() {
            self.check_identity(message);
            self.request(now, message);
        } else {
            self.response(now, message);
        }
    }

    /// The time of [`next_timeout`](Self::next_timeout) has come.
    pub(super) fn handle_timeout(&mut self, now: u64) {
        if self.has_vanished(now) {
            self.gone = true;
            return;
        }
        self.run_clients(now);
        self.run_servers(now);
        self.run_unpracked(now);
        while let Some(position) = self.next_due().filter(|position| self.agenda[*position].0 <= now) {
            let (_, due) = self.agenda.remove(position);
            self.act(now, due);
        }
    }

    pub(super) fn next_timeout(&self) -> Option<u64> {
        if self.gone {
            return None;
        }
        let clients = self.clients.iter().filter_map(Client::next_timeout);
        let servers = self.servers.iter().filter_map(Server::next_timeout);
        let unpracked = self.unpracked.iter().map(Unpracked::next_timeout);
        clients.chain(servers).chain(unpracked).chain(self.agenda.iter().map(|(at, _)| *at)).min()
    }

    /// Messages to send to Moorline.
    pub(super) fn take_sends(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.sends)
    }

    /// Where packets of media are to be sent.
    pub(super) fn take_media(&mut self) -> Vec<SocketAddr> {
        std::mem::take(&mut self.media)
    }

    pub(super) fn has_vanished(&self, now: u64) -> bool {
        self.vanishes_at.is_some_and(|at| at <= now)
    }

    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// In a call with nothing under way.
    pub(super) fn is_settled(&self) -> bool {
        self.phase == Phase::Up
            && self.clients.iter().all(Client::is_done)
            && self.servers.iter().all(Server::is_done)
            && self.session_before.is_none()
            && self.unpracked.is_none()
            && self.transfers.is_quiet()
    }

    /// Where its media comes from and goes to.
    pub(super) fn media_address(&self) -> SocketAddr {
        self.session.address()
    }

    /// Where it sends media.
    pub(super) fn media_target(&self) -> Option<SocketAddr> {
        self.session.target()
    }

    /// It takes media.
    pub(super) fn listens(&self) -> bool {
        self.session.listens()
    }

    fn at(&mut self, at: u64, due: Due) {
        self.agenda.push((at, due));
    }

    fn next_due(&self) -> Option<usize> {
        // The first of the earliest: what was noted first is done first.
        let earliest = self.agenda.iter().map(|(at, _)| *at).min()?;
        self.agenda.iter().position(|(at, _)| *at == earliest)
    }

    fn fault(&mut self, what: impl std::fmt::Display) {
        self.faults.push(format!("{}: {what}", self.name));
    }

    /// The dialog is confirmed: the talk begins.
    fn begin(&mut self, now: u64) {
        self.phase = Phase::Up;
        self.record.answered = true;
        for (after, action) in self.script.talk.clone() {
            self.at(now + after, Due::Act(action));
        }
        if !self.script.silent {
            self.at(now, Due::SendMedia);
        }
        self.at(now + LONGEST_TALK, Due::Outlast);
    }

    /// There is no dialog any more: what was planned in it is off.
    fn end(&mut self, now: u64) {
        self.phase = Phase::Over;
        self.agenda.retain(|(_, due)| matches!(due, Due::OtherAnswer));
        self.unpracked = None;
        self.transfers.end();
        self.refuse_pending(now);
    }
}
