//! Names to positions, and everything that can be known to be wrong before a socket is opened.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use moorline_b2bua::policy::{Limits, MediaNat, Policy, Records, Redirects, Resolved, Trunk};

use crate::clock::WallClock;

use super::fault::{Faults, choices};
use super::numbers::Plans;
use super::{CalleesFullConfig, Config, ConfigFault, MediaNatConfig, RedirectsConfig, TrunkConfig};

/// The longest path a Unix socket address holds (`sun_path`, less its final zero).
const MAX_SOCKET_PATH: usize = 107;

const SECOND_NS: u64 = 1_000_000_000;

/// The most callees of a day: 3.6 GB of memory.
const MAX_CALLEES: u32 = 100_000_000;

/// More threads than any host has calls for.
const MAX_WORKERS: usize = 16;

impl Config {
    /// The policy that this configuration says.
    ///
    /// # Errors
    /// Every fault found, in the order of the keys.
    pub fn policy(&self) -> Result<Policy, Vec<ConfigFault>> {
        let mut faults = Faults::default();
        self.check_process(&mut faults);
        let listeners = self.listeners(&mut faults);
        let plans = self.plans(&mut faults);
        let trunks = self.trunks(&mut faults, &plans);
        let routes = self.routes(&mut faults, &plans);
        let limits = self.limits(&mut faults);
        self.overload.check(&mut faults);
        self.streams.check(&mut faults);
        self.cdr.check(&mut faults);
        self.api.checked(&mut faults);
        let records = Records { kept: self.cdr.enabled, interim_ns: self.cdr.interim_ns() };
        self.read_lists(&mut faults);
        faults.or(Policy { listeners, trunks, order: None, routes, limits, records })
    }

    /// How many workers there are to be.
    pub(crate) fn workers(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get());
        self.workers.unwrap_or_else(|| cores() / 2).clamp(1, MAX_WORKERS)
    }

    /// Where commands are taken.
    pub fn command_path(&self) -> PathBuf {
        self.command.clone().unwrap_or_else(|| self.control.with_file_name("signaling.sock"))
    }

    fn check_process(&self, faults: &mut Faults) {
        let command = self.command.as_ref().map_or(1, |path| path.as_os_str().len());
        if command == 0 || command > MAX_SOCKET_PATH {
            let problem = format!("a socket path has 1 to {MAX_SOCKET_PATH} bytes, this one {command}");
            faults.add("command", problem, "use a short path such as /run/moorline-signaling/command.sock");
        }
        if self.command.as_ref() == Some(&self.control) {
            faults.add("command", "this is the media process's control socket", "name another path");
        }
        let length = self.control.as_os_str().len();
        if length == 0 || length > MAX_SOCKET_PATH {
            let problem = format!("a socket path has 1 to {MAX_SOCKET_PATH} bytes, this one {length}");
            faults.add("control", problem, "use a short path such as /run/moorline/media.sock");
        }
        if !self.admin.ip().is_loopback() {
            let remedy = format!("use 127.0.0.1:{} and let a local agent scrape it", self.admin.port());
            faults.add("admin", format!("{} is not a loopback address", self.admin.ip()), remedy);
        }
        if let Err(fault) = WallClock::new(self.time_zone.as_deref()) {
            faults.add("time_zone", fault.to_string(), "use a name such as \"Asia/Shanghai\" or \"UTC\"");
        }
        let longest = moorline_control::MAX_LEASE_MS / 1000;
        if !(1..=longest).contains(&self.lease_s) {
            faults.add("lease_s", format!("{} is out of bounds", self.lease_s), format!("use 1 to {longest}"));
        }
        for (key, problem, remedy) in self.dns.faults() {
            faults.add(format!("dns.{key}"), problem, remedy);
        }
        for (key, problem, remedy) in self.radius.iter().flat_map(|radius| radius.faults()) {
            faults.add(format!("radius.{key}"), problem, remedy);
        }
        if let Some(workers) = self.workers.filter(|workers| !(1..=MAX_WORKERS).contains(workers)) {
            let remedy = format!("use 1 to {MAX_WORKERS}, or leave the key out for half the cores");
            faults.add("workers", format!("{workers} is out of bounds"), remedy);
        }
        if self.user.as_deref() == Some("root") {
            faults.add("user", "signaling never runs as root", "name a user of its own, such as moorline-signaling");
        }
    }

    fn trunks(&self, faults: &mut Faults, plans: &Plans) -> Vec<Trunk> {
        if self.trunks.is_empty() {
            let remedy = "add [[signaling.trunks]] with name, listener, and sources or targets";
            faults.add("trunks", "no trunk: every request would be dropped", remedy);
        }
        unique(faults, "trunks", self.trunks.iter().map(|trunk| trunk.name.as_str()));
        let mut resolved = Vec::new();
        for (index, trunk) in self.trunks.iter().enumerate() {
            let found = self.listeners.iter().position(|listener| listener.name == trunk.listener);
            if found.is_none() {
                let names = choices(self.listeners.iter().map(|listener| listener.name.as_str()));
                let problem = format!("no listener is called {:?}", trunk.listener);
                faults.add(format!("trunks[{index}].listener"), problem, format!("use {names}"));
            }
            if trunk.sources.is_empty() && trunk.targets.is_empty() {
                let problem = format!("trunk {:?} has neither sources nor targets", trunk.name);
                let remedy = "add `sources` to take calls from it, `targets` to send calls to it";
                faults.add(format!("trunks[{index}]"), problem, remedy);
            }
            if trunk.media_range.is_empty() {
                let remedy = "name one of [[media.ranges]]";
                faults.add(format!("trunks[{index}].media_range"), "an empty name", remedy);
            }
            self.check_targets(faults, index, trunk, found);
            self.check_sources(faults, index, trunk);
            trunk.check_dialogs(faults, index);
            trunk.check_hops(faults, index);
            trunk.check_identities(&format!("trunks[{index}]"), found.map(|at| &self.listeners[at]), faults);
            let mut made = Trunk {
                name: trunk.name.clone(),
                listener: found.unwrap_or_default(),
                sources: trunk.sources.clone(),
                targets: trunk.targets.clone(),
                spread: trunk.spread,
                resolved: Resolved::default(),
                domain: trunk.domain.clone(),
                failover_ns: u64::from(trunk.failover_s) * SECOND_NS,
                probe_ns: u64::from(trunk.probe_s()) * SECOND_NS,
                media_range: trunk.media_range.clone(),
                media_sources: trunk.media_sources.clone(),
                media_nat: match trunk.media_nat {
                    MediaNatConfig::Off => MediaNat::Off,
                    MediaNatConfig::Auto => MediaNat::Auto,
                    MediaNatConfig::Always => MediaNat::Always,
                },
                private_media: trunk.private_media(),
                codecs: trunk.codecs(&format!("trunks[{index}]"), faults),
                no_answer_ns: u64::from(trunk.no_answer_s) * SECOND_NS,
                answers: trunk.answers(&format!("trunks[{index}]"), faults),
                link: trunk.link(
                    &format!("trunks[{index}]"),
                    found.map(|at| self.listeners[at].bind.is_ipv4()),
                    faults,
                ),
                relay: trunk.relay(),
                tls_identities: trunk.tls_identities.clone(),
                secret_prefix: trunk.secret_prefix(&format!("trunks[{index}]"), faults),
                headers: trunk.header_rules(&format!("trunks[{index}]"), faults),
                trusted: trunk.trusted,
                withhold_caller: trunk.withhold_caller,
                numbers: trunk.numbers(faults, index, plans),
                caller: trunk.caller(faults, index),
                large: trunk.large(),
                redirects: match trunk.redirects {
                    RedirectsConfig::Follow => Redirects::Follow,
                    RedirectsConfig::Pass => Redirects::Pass,
                },
                dialogs: trunk.dialogs(),
                limits: trunk.limits.limits(faults, &format!("trunks[{index}].limits")),
                ..Trunk::default()
            };
            trunk.accounts(&format!("trunks[{index}]"), self.radius.is_some(), &mut made, faults);
            resolved.push(made);
        }
        resolved
    }

    fn check_targets(&self, faults: &mut Faults, index: usize, trunk: &TrunkConfig, listener: Option<usize>) {
        for (position, target) in trunk.targets.iter().enumerate() {
            let key = format!("trunks[{index}].targets[{position}]");
            let address = target.address();
            if address.is_some_and(|address| !reachable(address)) || target.port == Some(0) {
                faults.add(&key, format!("calls cannot be sent to {target}"), "name one unicast address and a port");
            }
            let own = |at: SocketAddr| Some(at) == address;
            if let Some(other) = self.listeners.iter().find(|l| own(l.bind) || l.advertised.is_some_and(own)) {
                let problem = format!("{target} is this host's own listener {:?}: calls would loop", other.name);
                faults.add(&key, problem, "name the peer's address");
            }
            let same = |other: &&TrunkConfig| other.targets.contains(target) && !trunk.shows_other_than(other);
            if let Some(other) = self.peers_before(index, trunk).find(same) {
                let problem = format!("{target} is a target of trunk {:?} too: its requests fit both", other.name);
                faults.add(
                    &key,
                    problem,
                    "keep it in one of the two, tell them apart by `tls_identities`, or use another listener",
                );
            }
            let bind = listener.and_then(|at| self.listeners.get(at)).map(|l| l.bind);
            let other_family = |bind: &SocketAddr| address.is_some_and(|at| at.is_ipv4() != bind.is_ipv4());
            if let Some(bind) = bind.filter(other_family) {
                let problem = format!("{target} cannot be reached from {bind}: different address families");
                faults.add(&key, problem, format!("use a listener of the family of {target}"));
            }
        }
    }

    fn check_sources(&self, faults: &mut Faults, index: usize, trunk: &TrunkConfig) {
        for (position, source) in trunk.sources.iter().enumerate() {
            let same = |other: &&TrunkConfig| other.sources.iter().any(|net| net.trunc() == source.trunc());
            let same = |other: &&TrunkConfig| same(other) && !trunk.shows_other_than(other);
            if let Some(other) = self.peers_before(index, trunk).find(same) {
                let problem = format!("{source} is a source of trunk {:?} too: its requests fit both", other.name);
                let remedy = "narrow one of the two (the longest prefix wins), tell them apart by `tls_identities`, or use \
                              another listener";
                faults.add(format!("trunks[{index}].sources[{position}]"), problem, remedy);
            }
        }
    }

    /// The trunks earlier in the file that share `trunk`'s listener.
    fn peers_before<'a>(&'a self, index: usize, trunk: &'a TrunkConfig) -> impl Iterator<Item = &'a TrunkConfig> {
        self.trunks.iter().take(index).filter(|other| other.listener == trunk.listener)
    }

    pub(super) fn trunk(&self, faults: &mut Faults, key: String, name: &str) -> usize {
        self.trunks.iter().position(|trunk| trunk.name == name).unwrap_or_else(|| {
            let names = choices(self.trunks.iter().map(|trunk| trunk.name.as_str()));
            faults.add(key, format!("no trunk is called {name:?}"), format!("use {names}"));
            0
        })
    }

    fn limits(&self, faults: &mut Faults) -> Limits {
        let limits = &self.limits;
        for (key, value, meaning) in [
            ("calls", limits.calls, "no call would be admitted"),
            ("call_duration_s", limits.call_duration_s, "every call would end at its answer"),
            ("ring_s", limits.ring_s, "every call would be cancelled at once"),
            ("media_timeout_s", limits.media_timeout_s, "every call would end at its answer"),
            ("callees", limits.callees, "no callee could be counted"),
        ] {
            if value == 0 {
                faults.add(format!("limits.{key}"), format!("0: {meaning}"), "use 1 or more, or leave the key out");
            }
        }
        if limits.callees > MAX_CALLEES {
            let problem = format!(
                "{} callees would take {} GB of memory",
                limits.callees,
                limits.callees / 1_000_000 * 36 / 1000
            );
            faults.add("limits.callees", problem, format!("use {MAX_CALLEES} or fewer"));
        }
        Limits {
            calls: usize::try_from(limits.calls).unwrap_or(usize::MAX),
            call_duration_ns: u64::from(limits.call_duration_s) * SECOND_NS,
            ring_ns: u64::from(limits.ring_s) * SECOND_NS,
            media_timeout_ns: u64::from(limits.media_timeout_s) * SECOND_NS,
            announcements: usize::try_from(limits.announcements).unwrap_or(usize::MAX),
            pass_when_callees_full: limits.callees_full == CalleesFullConfig::Pass,
        }
    }
}

/// Faults for names that are empty or used before.
pub(super) fn unique<'a>(faults: &mut Faults, list: &str, names: impl Iterator<Item = &'a str>) {
    let mut seen = BTreeMap::new();
    for (index, name) in names.enumerate() {
        let key = format!("{list}[{index}].name");
        if name.is_empty() {
            faults.add(&key, "an empty name", "give it a name to refer to it by");
        } else if let Some(first) = seen.insert(name, index) {
            faults.add(&key, format!("{name:?} is the name of {list}[{first}] already"), "give it another name");
        }
    }
}

/// True for an address that a peer can send to.
pub(super) fn reachable(address: SocketAddr) -> bool {
    address.port() != 0 && !address.ip().is_unspecified() && !address.ip().is_multicast()
}
