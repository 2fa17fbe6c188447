//! The procedure of RFC 3263 section 4, over what is known: it finds the hops, or names what must be asked.

use std::net::SocketAddr;

use moorline_sip::Transport;

use super::MAX_HOPS;
use super::cache::{Cache, Cached, Key};
use super::order::{draw, services, srv_name};
use super::records::{RecordKind, Records};
use super::target::{Family, Hop, NotLocated, Target, normal};

/// The most services of one domain that are looked at.
const MAX_SERVICES: usize = 8;

/// Where a walk ended.
pub(super) enum Walk {
    /// At its end; `refresh` names what should be asked anew without waiting for it.
    Done { hops: Result<Vec<Hop>, NotLocated>, refresh: Vec<Key> },
    /// These must be asked first.
    Missing(Vec<Key>),
}

/// Walks once.
pub(super) fn walk(target: &Target, cache: &Cache, now: u64, since: u64, entropy: &mut dyn FnMut() -> u64) -> Walk {
    let mut walker = Walker {
        target,
        cache,
        now,
        since,
        hops: Vec::new(),
        missing: Vec::new(),
        doubtful: Vec::new(),
        refresh: Vec::new(),
        failed: false,
    };
    let end = walker.go(entropy);
    walker.finish(end)
}

struct Walker<'a> {
    target: &'a Target,
    cache: &'a Cache,
    now: u64,
    since: u64,
    hops: Vec<Hop>,
    missing: Vec<Key>,
    /// Failed when last asked: waited for only if there is nothing else.
    doubtful: Vec<Key>,
    refresh: Vec<Key>,
    failed: bool,
}

/// An answer as the walk sees it.
enum Found<'a> {
    Records(&'a Records),
    /// DNS says that there are none.
    Nothing,
    /// DNS failed.
    Failed,
    /// Not asked yet.
    Missing,
}

impl<'a> Walker<'a> {
    fn go(&mut self, entropy: &mut dyn FnMut() -> u64) -> Result<(), NotLocated> {
        let default = self.target.default_transport()?;
        let default_port = self.target.port.unwrap_or(default.default_port());
        if let Some(address) = self.target.literal() {
            if Family::of(address) == self.target.family {
                self.push(default, SocketAddr::new(address, default_port));
            }
            return Ok(());
        }
        let domain = self.target.name()?;
        // A port leaves nothing to find but the address (section 4.2).
        if self.target.port.is_some() {
            self.addresses(default, &domain, default_port);
            return Ok(());
        }
        let Some(services) = self.services(&domain) else { return Ok(()) };
        let mut none = true;
        for (transport, name) in services.into_iter().take(MAX_SERVICES) {
            match self.look(RecordKind::Srv, &name) {
                Found::Records(Records::Srv(records)) => {
                    none = false;
                    for record in draw(records, entropy) {
                        // A host of "." says that the service is decidedly not offered (RFC 2782): no name.
                        if let Some(host) = normal(&record.target) {
                            self.addresses(transport, &host, record.port);
                        }
                    }
                }
                Found::Records(_) | Found::Nothing => {}
                // Records may well be there: without them the address of the domain would be a guess.
                Found::Failed | Found::Missing => none = false,
            }
        }
        if none {
            self.addresses(default, &domain, default_port);
        }
        Ok(())
    }

    /// The transports to try and the names of their SRV records (section 4.1); `None` if NAPTR records must be
    /// asked for first. A server that cannot answer for NAPTR, as some old ones, is taken to have none.
    fn services(&mut self, domain: &str) -> Option<Vec<(Transport, String)>> {
        if self.target.transport.is_none() {
            match self.look(RecordKind::Naptr, domain) {
                Found::Records(Records::Naptr(records)) => {
                    let offered = services(records, self.target);
                    // They may all be of other protocols.
                    if !offered.is_empty() {
                        return Some(offered);
                    }
                }
                Found::Missing => return None,
                Found::Records(_) | Found::Nothing | Found::Failed => {}
            }
        }
        Some(self.target.usable().map(|transport| (transport, srv_name(transport, domain))).collect())
    }

    fn addresses(&mut self, transport: Transport, host: &str, port: u16) {
        // Beyond what can be used nothing is asked.
        if self.hops.len() + self.missing.len() >= MAX_HOPS {
            return;
        }
        let kind = match self.target.family {
            Family::V4 => RecordKind::A,
            Family::V6 => RecordKind::Aaaa,
        };
        if let Found::Records(Records::Addresses(found)) = self.look(kind, host) {
            for address in found {
                self.push(transport, SocketAddr::new(*address, port));
            }
        }
    }

    fn push(&mut self, transport: Transport, address: SocketAddr) {
        let hop = Hop { transport, address };
        // Nobody listens on port 0.
        if address.port() != 0 && self.hops.len() < MAX_HOPS && !self.hops.contains(&hop) {
            self.hops.push(hop);
        }
    }

    fn look(&mut self, kind: RecordKind, name: &str) -> Found<'a> {
        let key = (kind, name.to_owned());
        match self.cache.look(self.now, self.since, &key) {
            Cached::Answer { records, refresh } => {
                if refresh {
                    self.refresh.push(key);
                }
                records.map_or(Found::Nothing, Found::Records)
            }
            Cached::Failed => {
                self.failed = true;
                Found::Failed
            }
            Cached::Doubtful => {
                self.doubtful.push(key);
                Found::Failed
            }
            Cached::Unknown => {
                self.missing.push(key);
                Found::Missing
            }
        }
    }

    fn finish(mut self, end: Result<(), NotLocated>) -> Walk {
        if self.hops.is_empty() {
            self.missing.append(&mut self.doubtful);
        }
        if !self.missing.is_empty() {
            return Walk::Missing(self.missing);
        }
        self.refresh.append(&mut self.doubtful);
        let hops = match end {
            Err(fault) => Err(fault),
            Ok(()) if !self.hops.is_empty() => Ok(self.hops),
            Ok(()) if self.failed => Err(NotLocated::Unavailable),
            Ok(()) => Err(NotLocated::NoAddress),
        };
        Walk::Done { hops, refresh: self.refresh }
    }
}
