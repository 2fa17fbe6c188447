//! What a configuration names and this host does not have. A file that is meant for another host is checked with
//! `--offline`.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use moorline_media::Range;

use super::Finding;
use crate::config::Configuration;

/// Of a large network no more are used (`media.ranges`).
const MOST_ADDRESSES: usize = 1024;

/// What cannot work here: addresses, interfaces and directories that are not there.
pub(super) fn missing(configuration: &Configuration) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, listener) in configuration.signaling.listeners.iter().enumerate() {
        let ip = listener.bind.ip();
        if is_missing(ip) {
            let problem = format!("{ip} is on no interface of this host");
            let remedy =
                format!("ip address add {ip} dev ..., or correct it; `--offline` if the file is for another host");
            found.push(Finding::new(format!("signaling.listeners[{index}].bind"), problem, remedy));
        }
    }
    for (index, range) in configuration.media.ranges.iter().enumerate() {
        let key = |name: &str| format!("media.ranges[{index}].{name}");
        if let Some(problem) = lacking(range) {
            let remedy = format!(
                "ip route add local {} dev lo, where the network is routed to this host, or ip address add for each \
                 address; `--offline` if the file is for another host",
                range.network
            );
            found.push(Finding::new(key("network"), problem, remedy));
        }
        interface(key("interface"), range.interface.as_ref(), &mut found);
    }
    for (index, name) in configuration.media.xdp.interfaces.iter().enumerate() {
        interface(format!("media.xdp.interfaces[{index}]"), Some(name), &mut found);
    }
    for (key, path) in directories(configuration) {
        // What is not there yet is made, but not in a file.
        let there = path.ancestors().find(|path| path.exists());
        if let Some(file) = there.filter(|there| !there.is_dir()) {
            let problem = format!("{} is a file and no directory", file.display());
            found.push(Finding::new(format!("signaling.{key}"), problem, "name a directory".into()));
        }
    }
    found
}

/// What is not there now, and may come.
pub(super) fn absent(configuration: &Configuration) -> Vec<Finding> {
    let postgres = configuration.signaling.cdr.postgres.iter();
    let sockets = postgres.filter(|postgres| postgres.host.starts_with('/') && !Path::new(&postgres.host).is_dir());
    let finding = |postgres: &moorline_signaling::PostgresConfig| {
        let problem = format!("there is no {}: records wait in the journal until a server is there", postgres.host);
        let remedy = "start PostgreSQL, or name the directory of its socket";
        Finding::new("signaling.cdr.postgres.host".into(), problem, remedy.into())
    };
    sockets.map(finding).collect()
}

/// Which of a range's addresses are not this host's.
fn lacking(range: &Range) -> Option<String> {
    let all: Vec<IpAddr> = match range.routed {
        true => each(range.network).take(MOST_ADDRESSES).collect(),
        false => range.network.hosts().take(MOST_ADDRESSES).collect(),
    };
    let missing: Vec<&IpAddr> = all.iter().filter(|ip| is_missing(**ip)).collect();
    let first = missing.first()?;
    let (which, verb) = match (missing.len(), all.len()) {
        (1, _) => (first.to_string(), "is"),
        (missing, all) if missing == all => (format!("none of the {all} addresses of {}", range.network), "is"),
        (missing, all) => (format!("{first} and {} more of the {all} addresses", missing - 1), "are"),
    };
    let on = if which.starts_with("none") { "an interface" } else { "no interface" };
    Some(format!("{which} {verb} on {on} of this host: what is sent there does not arrive"))
}

/// Every address of a network, first and last included.
fn each(network: IpNet) -> Box<dyn Iterator<Item = IpAddr>> {
    match network {
        IpNet::V4(network) => {
            let (first, last) = (u32::from(network.network()), u32::from(network.broadcast()));
            Box::new((first..=last).map(|ip| IpAddr::V4(ip.into())))
        }
        IpNet::V6(network) => Box::new(network.hosts().map(IpAddr::V6)),
    }
}

fn interface(key: String, name: Option<&String>, found: &mut Vec<Finding>) {
    let there = |name: &str| Path::new("/sys/class/net").join(name).exists();
    if let Some(name) = name.filter(|name| !there(name)) {
        let problem = format!("this host has no interface {name:?}");
        let remedy = "give a name as `ip link` shows it; `--offline` if the file is for another host";
        found.push(Finding::new(key, problem, remedy.into()));
    }
}

/// What is to be written to, by its key.
fn directories(configuration: &Configuration) -> Vec<(&'static str, PathBuf)> {
    let signaling = &configuration.signaling;
    let cdr = &signaling.cdr;
    let parent = |file: &PathBuf| file.parent().map(Path::to_owned);
    let named = [
        ("state", signaling.state.clone()),
        ("cdr.directory", cdr.directory.clone()),
        ("cdr.json.directory", cdr.json.as_ref().and_then(|files| files.directory.clone())),
        ("cdr.csv.directory", cdr.csv.as_ref().and_then(|files| files.directory.clone())),
        ("cdr.sqlite.file", cdr.sqlite.as_ref().and_then(|sqlite| parent(sqlite.file.as_ref()?))),
    ];
    named.into_iter().filter_map(|(key, path)| Some((key, path?))).collect()
}

/// True if the kernel will not bind the address.
fn is_missing(ip: IpAddr) -> bool {
    let bound = UdpSocket::bind(SocketAddr::new(ip, 0));
    bound.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrNotAvailable)
}
