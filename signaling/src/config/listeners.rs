//! `[[signaling.listeners]]` and what their connections are bounded by.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use moorline_b2bua::policy::Listener;
use moorline_sip::Transport;
use serde::Deserialize;

use super::Config;
use super::fault::Faults;
use super::resolve::{reachable, unique};
use crate::transport::tls;

/// One SIP address of this host: `[[signaling.listeners]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerConfig {
    /// The name that trunks refer to.
    pub name: String,
    /// The address to bind, such as `127.0.0.1:5060` or `[::1]:5060`.
    pub bind: SocketAddr,
    /// The address that peers are shown in Via and Contact, behind a 1:1 NAT; the bound one if left out.
    #[serde(default)]
    pub advertised: Option<SocketAddr>,
    /// What is served there: `["udp", "tcp"]` if left out. TLS needs a port without TCP, by custom 5061.
    #[serde(default = "udp_and_tcp")]
    pub transports: Vec<TransportConfig>,
    /// The certificates of TLS.
    #[serde(default)]
    pub tls: Option<TlsConfig>,
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransportConfig {
    /// Datagrams.
    Udp,
    /// Streams.
    Tcp,
    /// Streams under TLS 1.2 or 1.3.
    Tls,
}

/// The certificates of a listener: `[signaling.listeners.tls]`, PEM files. They are read again on SIGHUP, and within
/// a minute after one has changed; connections that stand are left alone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// This host's certificate, with the intermediate ones behind it. It is shown to servers that ask for one, too.
    pub certificate: PathBuf,
    /// Its private key. The user that signaling becomes must be able to read it.
    pub key: PathBuf,
    /// The authorities of servers that are connected to; those of the system if left out.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// The authorities of clients (mutual TLS); clients are asked for no certificate if left out.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
    /// Whether a client may do without a certificate, where `client_ca` is set.
    #[serde(default)]
    pub clients: ClientsConfig,
}

/// What is asked of TLS clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientsConfig {
    /// A certificate of one of the authorities.
    #[default]
    Require,
    /// The same, or none.
    Allow,
}

/// Bounds of TCP and TLS connections: `[signaling.streams]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StreamsConfig {
    /// The most connections at once.
    pub connections: usize,
    /// The most connections at once with one address.
    pub connections_per_source: usize,
    /// A connection on which nothing was sent or received for this long is closed, in seconds.
    pub idle_s: u32,
    /// How long a connection that is opened here may take, TLS included, in seconds. The same holds for the TLS
    /// handshake of one that was accepted.
    pub connect_s: u32,
    /// How long a message may take from its first byte to its last, in seconds.
    pub message_s: u32,
}

impl Default for StreamsConfig {
    fn default() -> Self {
        StreamsConfig { connections: 8192, connections_per_source: 2048, idle_s: 600, connect_s: 5, message_s: 30 }
    }
}

impl StreamsConfig {
    pub(super) fn check(&self, faults: &mut Faults) {
        let numbers = [
            ("connections", self.connections),
            ("connections_per_source", self.connections_per_source),
            ("idle_s", self.idle_s as usize),
            ("connect_s", self.connect_s as usize),
            ("message_s", self.message_s as usize),
        ];
        for (key, _) in numbers.iter().filter(|(_, value)| *value == 0) {
            let problem = "0: no connection would live";
            faults.add(format!("streams.{key}"), problem, "use 1 or more, or leave the key out");
        }
    }

    pub(crate) fn idle(&self) -> Duration {
        Duration::from_secs(self.idle_s.into())
    }

    pub(crate) fn connect(&self) -> Duration {
        Duration::from_secs(self.connect_s.into())
    }

    pub(crate) fn message(&self) -> Duration {
        Duration::from_secs(self.message_s.into())
    }
}

impl ListenerConfig {
    /// UDP and TCP on an address.
    pub(crate) fn new(name: &str, bind: SocketAddr) -> ListenerConfig {
        ListenerConfig { name: name.into(), bind, advertised: None, transports: udp_and_tcp(), tls: None }
    }

    /// Whether it serves a transport.
    pub(crate) fn serves(&self, transport: TransportConfig) -> bool {
        self.transports.contains(&transport)
    }
}

impl TransportConfig {
    /// As people write it: `UDP`.
    pub fn name(self) -> &'static str {
        Transport::from(self).name()
    }
}

impl From<TransportConfig> for Transport {
    fn from(transport: TransportConfig) -> Transport {
        match transport {
            TransportConfig::Udp => Transport::Udp,
            TransportConfig::Tcp => Transport::Tcp,
            TransportConfig::Tls => Transport::Tls,
        }
    }
}

fn udp_and_tcp() -> Vec<TransportConfig> {
    vec![TransportConfig::Udp, TransportConfig::Tcp]
}

impl Config {
    pub(super) fn listeners(&self, faults: &mut Faults) -> Vec<Listener> {
        if self.listeners.is_empty() {
            faults.add("listeners", "no listener", "add [[signaling.listeners]] with name and bind");
        }
        unique(faults, "listeners", self.listeners.iter().map(|listener| listener.name.as_str()));
        let mut resolved: Vec<Listener> = Vec::new();
        for (index, listener) in self.listeners.iter().enumerate() {
            let key = |field: &str| format!("listeners[{index}].{field}");
            let advertised = listener.advertised.unwrap_or(listener.bind);
            if listener.bind.port() == 0 {
                faults.add(key("bind"), "port 0 means any port, and peers could not know which", "name a port");
            }
            if let Some(other) = resolved.iter().find(|other| other.bind == listener.bind) {
                let problem = format!("{} is bound by listener {:?} already", listener.bind, other.name);
                faults.add(key("bind"), problem, "give each listener its own address or port");
            }
            if listener.bind.ip().is_unspecified() && listener.advertised.is_none() {
                let problem = format!("peers cannot answer to {}", listener.bind.ip());
                faults.add(key("bind"), problem, "bind one address, or set `advertised` to the one peers reach");
            } else if !reachable(advertised) {
                let problem = format!("peers cannot answer to {advertised}");
                faults.add(key("advertised"), problem, "name one unicast address and a port");
            } else if advertised.is_ipv4() != listener.bind.is_ipv4() {
                let problem = format!("{advertised} and {} are of different families", listener.bind);
                faults.add(key("advertised"), problem, "use one listener for IPv4 and one for IPv6");
            }
            self.check_transports(faults, index, listener);
            let transports = listener.transports.iter().copied().map(Transport::from).collect();
            let (name, bind) = (listener.name.clone(), listener.bind);
            resolved.push(Listener { name, bind, transports, advertised });
        }
        resolved
    }

    fn check_transports(&self, faults: &mut Faults, index: usize, listener: &ListenerConfig) {
        let key = |field: &str| format!("listeners[{index}].{field}");
        let transports = &listener.transports;
        if transports.is_empty() {
            faults.add(key("transports"), "nothing would be served", "use some of \"udp\", \"tcp\" and \"tls\"");
        }
        if let Some((_, twice)) = transports.iter().enumerate().find(|(at, one)| transports[..*at].contains(one)) {
            faults.add(key("transports"), format!("{} twice", Transport::from(*twice)), "name each once");
        }
        if listener.serves(TransportConfig::Tls) && listener.serves(TransportConfig::Tcp) {
            let remedy = "add a listener with another port, such as 5061, and transports = [\"tls\"]";
            faults.add(key("transports"), "TCP and TLS cannot share a port", remedy);
        }
        match &listener.tls {
            None if listener.serves(TransportConfig::Tls) => {
                let remedy = "add [signaling.listeners.tls] with certificate and key";
                faults.add(key("transports"), "TLS without a certificate", remedy);
            }
            Some(_) if !listener.serves(TransportConfig::Tls) => {
                faults.add(key("tls"), "certificates, but no TLS", "add \"tls\" to transports, or remove the section");
            }
            Some(files) => {
                if let Err(unusable) = tls::load(files) {
                    faults.add(key(&format!("tls.{}", unusable.key)), unusable.problem, unusable.remedy);
                }
            }
            None => {}
        }
    }
}
