//! Records for a RADIUS server (RFC 2866): start at the answer, interim updates, stop at the end.

mod cisco;

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use moorline_b2bua::cdr::{Record, Stage};
use moorline_b2bua::radius::{self, Accounting, MAX_PACKET, MAX_VALUE, Status};

use super::cursor::Place;
use super::sink::{BATCH, Entry, Refused, Sink, SinkFault};
use crate::config::{AccountingConfig, VendorAttributes};
use crate::radius::SharedSecret;

/// Requests that are under way at once: a request has one of 256 identifiers.
const AT_ONCE: usize = 64;

/// A request is refused for good when it was left without an answer so many times, each time while others got theirs. A
/// server says in no other way that it does not like a request (RFC 2866 section 4.1).
const REFUSED_AFTER: u32 = 4;

/// Left without an answer so often, a request is sent without attributes of vendors: with them it may be too long for what
/// lies between, which passes no fragments.
const PLAIN_AFTER: u32 = 2;

/// For each time that a request was left without an answer, so many more records are looked at: others must be asked
/// about meanwhile.
const MORE: usize = 16;

/// What a request is about.
type Told = (String, Stage);

/// A sink that is a RADIUS server, or several: the first that answers.
pub(super) struct RadiusSink {
    config: AccountingConfig,
    secret: Option<SharedSecret>,
    /// What a server has acknowledged of records that will come again.
    taken: HashSet<Told>,
    /// How often a request was left without an answer while others got theirs.
    left_out: HashMap<Told, u32>,
    identifier: u8,
}

impl RadiusSink {
    pub(super) fn new(config: &AccountingConfig) -> RadiusSink {
        RadiusSink {
            config: config.clone(),
            secret: None,
            taken: HashSet::new(),
            left_out: HashMap::new(),
            identifier: 0,
        }
    }

    /// Asks one server to take these; those that it has are noted. An error where it has not all.
    fn ask(&mut self, server: SocketAddr, entries: &[&Entry]) -> Result<(), SinkFault> {
        let Some(secret) = self.secret.clone() else { return Err(SinkFault("no secret".into())) };
        let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let fault = |problem: io::Error| SinkFault(format!("{server}: {problem}"));
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(server).map_err(fault)?;
        let mut open = Vec::new();
        for entry in entries.iter().filter(|entry| !self.taken.contains(&told(entry))) {
            self.identifier = self.identifier.wrapping_add(1);
            let often = self.left_out.get(&told(entry)).is_some_and(|times| *times >= PLAIN_AFTER);
            let vendor = if often { VendorAttributes::None } else { self.config.vendor_attributes };
            let accounting = accounting(&entry.record, entry.stage, &self.config.nas_identifier, vendor);
            let packet = radius::accounting_request(self.identifier, secret.bytes(), &accounting);
            // Values are cut to size, so it fits.
            let packet = packet.map_err(|problem| SinkFault(problem.to_string()))?;
            open.push((packet, *entry));
        }
        let mut buffer = vec![0; MAX_PACKET];
        for _attempt in 0..self.config.attempts {
            for (packet, _) in &open {
                socket.send(packet).map_err(fault)?;
            }
            let deadline = Instant::now() + Duration::from_millis(self.config.timeout_ms.into());
            while !open.is_empty() {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                socket.set_read_timeout(Some(left))?;
                let length = match socket.recv(&mut buffer) {
                    Ok(length) => length,
                    Err(problem) if is_timeout(&problem) => break,
                    Err(problem) => return Err(fault(problem)),
                };
                let answers = |(packet, _): &(Vec<u8>, &Entry)| {
                    radius::accounting_answer(&buffer[..length], packet, secret.bytes()).is_ok()
                };
                if let Some(at) = open.iter().position(answers) {
                    let (_, entry) = open.swap_remove(at);
                    self.taken.insert(told(entry));
                }
            }
            if open.is_empty() {
                return Ok(());
            }
        }
        Err(SinkFault(format!("{server} does not answer")))
    }
}

impl Sink for RadiusSink {
    fn name(&self) -> &'static str {
        "radius"
    }

    fn wants(&self, stage: Stage) -> bool {
        matches!(stage, Stage::Answered | Stage::Going | Stage::Ended)
    }

    /// Whether a server is there is told by records alone.
    fn open(&mut self) -> Result<(), SinkFault> {
        self.prepare(&mut Place::default())
    }

    fn prepare(&mut self, _place: &mut Place) -> Result<(), SinkFault> {
        let secret = SharedSecret::read(&self.config.secret_file);
        self.secret = Some(secret.map_err(|fault| SinkFault(fault.to_string()))?);
        Ok(())
    }

    fn room(&self) -> usize {
        let most = self.left_out.values().max().copied().unwrap_or_default();
        BATCH + MORE * usize::try_from(most).unwrap_or_default()
    }

    fn take(&mut self, entries: &[Entry], _place: &mut Place) -> Result<Vec<Refused>, SinkFault> {
        let mut left: Vec<&Entry> = entries.iter().filter(|entry| !self.taken.contains(&told(entry))).collect();
        // Those that are taken for certain come first: they tell whether a server is there.
        left.sort_by_key(|entry| self.left_out.get(&told(entry)).copied().unwrap_or_default());
        let known = self.taken.len();
        let mut result = Ok(());
        for chunk in left.chunks(AT_ONCE) {
            let mut asked = Ok(());
            for server in self.config.servers.clone() {
                asked = self.ask(server, chunk);
                if asked.is_ok() {
                    break;
                }
            }
            result = result.and(asked);
            if result.is_err() && self.taken.len() == known {
                break;
            }
        }
        if self.taken.len() > known {
            for entry in left.iter().filter(|entry| !self.taken.contains(&told(entry))) {
                *self.left_out.entry(told(entry)).or_default() += 1;
            }
        }
        let refused = |entry: &Entry| self.left_out.get(&told(entry)).is_some_and(|times| *times >= REFUSED_AFTER);
        if entries.iter().any(|entry| !self.taken.contains(&told(entry)) && !refused(entry)) {
            return Err(result.err().unwrap_or_else(|| SinkFault("no server answers".into())));
        }
        let left = entries.iter().enumerate().filter(|(_, entry)| !self.taken.contains(&told(entry)));
        let why = || "no server answers to it, though they answer to others".to_owned();
        let refused = left.map(|(index, _)| Refused { index, why: why() }).collect();
        self.taken.clear();
        self.left_out.clear();
        Ok(refused)
    }
}

fn told(entry: &Entry) -> Told {
    (entry.record.id.clone(), entry.stage)
}

fn is_timeout(problem: &io::Error) -> bool {
    matches!(problem.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// What a server is told of a record.
fn accounting(record: &Record, stage: Stage, nas_identifier: &str, vendor: VendorAttributes) -> Accounting {
    let (status, at) = match stage {
        Stage::Ended => (Status::Stop, record.end),
        Stage::Going => (Status::Interim, None),
        _ => (Status::Start, record.answer),
    };
    let at = at.unwrap_or_else(|| {
        let answer = record.answer.unwrap_or(record.setup);
        let talked = i64::try_from(record.duration_ms).unwrap_or_default();
        moorline_b2bua::cdr::Time { unix_ms: answer.unix_ms.saturating_add(talked) }
    });
    let (caller, callee) = (&record.caller.media, &record.callee.media);
    let code = record.caller.code.map(|code| code.to_string()).unwrap_or_default();
    let codec = caller.codec.as_deref().or(callee.codec.as_deref()).unwrap_or_default();
    let cause = record.cause.as_deref().unwrap_or_default();
    Accounting {
        status,
        session: cut(&record.id, MAX_VALUE),
        call: cut(&record.caller.call_id, MAX_VALUE),
        user: cut(&record.account, MAX_VALUE),
        nas_identifier: cut(nas_identifier, MAX_VALUE),
        called: cut(&record.called_number, MAX_VALUE),
        calling: cut(&record.caller_number, MAX_VALUE),
        seconds: u32::try_from(record.duration_ms.div_ceil(1000)).unwrap_or(u32::MAX),
        octets: [caller.bytes, callee.bytes],
        packets: [caller.packets, callee.packets],
        at_unix_s: at.unix_s(),
        connection: cut([code.as_str(), cause, codec].join(" ").trim(), MAX_VALUE),
        terminate_cause: terminate_cause(cause),
        cisco: match vendor {
            VendorAttributes::Cisco => cisco::attributes(record, stage),
            VendorAttributes::None => Vec::new(),
        },
    }
}

/// As much of a text as fits, in whole characters.
fn cut(text: &str, most: usize) -> Vec<u8> {
    text.as_bytes()[..text.floor_char_boundary(most)].to_vec()
}

/// Acct-Terminate-Cause (RFC 2866 section 5.10).
fn terminate_cause(cause: &str) -> u32 {
    match cause {
        "caller_hung_up" | "callee_hung_up" | "cancelled" | "transferred" => 1,
        "media_timeout" | "expired" => 4,
        "too_long" => 5,
        "operator_hung_up" | "operator_cancelled" => 6,
        "no_ack" | "media_lost" => 2,
        "signaling_lost" => 11,
        // Of the called side, and of this host's policy.
        "refused" => 18,
        _ => 17,
    }
}
