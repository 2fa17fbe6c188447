//! What a configuration that parses can still have wrong.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::{Config, DatapathChoice, Egress, OffloadChoice, Range, Sockets};

/// The most shards: more would leave some without a fair part of the ports.
pub(crate) const MAX_SHARDS: usize = 64;
/// The most sessions of one process: bounds the memory taken at the start.
const MAX_CAPACITY: u32 = 1_000_000;
/// The longest rest of a port: an hour keeps any late packet out.
const MAX_PORT_REST_S: u32 = 3600;
/// The longest busy-poll: a shard that looks for longer than a packet time would never sleep.
const MAX_BUSY_POLL_US: u32 = 10_000;
/// The lowest ceiling of a port's packets: what is not to be cut is video.
const MIN_FLOOD_PPS: u32 = 1000;
/// The highest: the lookup program counts 16 bits in a quarter of a second.
const MAX_FLOOD_PPS: u32 = 200_000;
/// The highest code point: it has six bits.
const MAX_DSCP: u8 = 63;
/// How much memory the packets of a queue may have.
const FRAMES_PER_QUEUE: RangeInclusive<u32> = 256..=32_768;
/// The longest interface name (`IFNAMSIZ` without its NUL).
const MAX_INTERFACE: usize = 15;
/// The longest path of a Unix socket (`sun_path` without its NUL).
const MAX_SOCKET_PATH: usize = 107;

/// A setting that cannot work, found before anything is started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}; {remedy}")]
pub struct ConfigFault {
    /// The setting, such as `media.ranges[1].first_port`.
    pub path: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
}

fn fault(path: impl AsRef<str>, problem: impl Into<String>, remedy: impl Into<String>) -> Result<(), ConfigFault> {
    Err(ConfigFault { path: format!("media.{}", path.as_ref()), problem: problem.into(), remedy: remedy.into() })
}

impl Config {
    /// Checks what can be checked without the host it will run on.
    ///
    /// # Errors
    /// The first setting that cannot work.
    pub fn check(&self) -> Result<(), ConfigFault> {
        if self.control.as_os_str().is_empty() {
            return fault("control", "the path is empty", "name a file, such as /run/moorline/media.sock");
        }
        if self.control.as_os_str().len() > MAX_SOCKET_PATH {
            let problem = format!("the path is longer than {MAX_SOCKET_PATH} bytes");
            return fault("control", problem, "choose a shorter one");
        }
        if !self.admin.ip().is_loopback() {
            let problem = format!("{} is not a loopback address", self.admin);
            return fault("admin", problem, "use 127.0.0.1 or [::1]: the server has no access control");
        }
        if self.capacity == 0 || self.capacity > MAX_CAPACITY {
            let problem = format!("{} sessions", self.capacity);
            return fault("capacity", problem, format!("choose 1 to {MAX_CAPACITY}"));
        }
        if self.port_rest_s > MAX_PORT_REST_S {
            let problem = format!("{} seconds", self.port_rest_s);
            return fault("port_rest_s", problem, format!("choose 0 to {MAX_PORT_REST_S}"));
        }
        if self.busy_poll_us > MAX_BUSY_POLL_US {
            let problem = format!("{} microseconds", self.busy_poll_us);
            return fault("busy_poll_us", problem, format!("choose 0 to {MAX_BUSY_POLL_US}"));
        }
        if self.port_flood_pps != 0 && !(MIN_FLOOD_PPS..=MAX_FLOOD_PPS).contains(&self.port_flood_pps) {
            let problem = format!("{} packets a second", self.port_flood_pps);
            let remedy = format!("choose {MIN_FLOOD_PPS} to {MAX_FLOOD_PPS}, or 0 for no ceiling");
            return fault("port_flood_pps", problem, remedy);
        }
        if self.sockets == Sockets::PerPort && self.datapath == DatapathChoice::AfXdp {
            let remedy = "leave sockets out: AF_XDP has shared ones beneath it";
            return fault("sockets", "the af_xdp datapath has no socket for each port", remedy);
        }
        if self.sockets == Sockets::Shared && self.datapath == DatapathChoice::Epoll {
            let remedy = "set datapath = \"io_uring\", or leave sockets out";
            return fault("sockets", "the epoll datapath has a socket for each port", remedy);
        }
        if self.egress == Egress::Direct && (self.sockets == Sockets::PerPort || self.datapath == DatapathChoice::Epoll)
        {
            let remedy = "leave sockets and datapath out, or set egress = \"routed\"";
            return fault("egress", "only shared sockets send so", remedy);
        }
        self.check_cores()?;
        self.check_ranges()?;
        self.check_xdp()?;
        self.check_offload()
    }

    fn check_xdp(&self) -> Result<(), ConfigFault> {
        let frames = self.xdp.frames_per_queue;
        if !frames.is_power_of_two() || !FRAMES_PER_QUEUE.contains(&frames) {
            let remedy = "choose a power of two from 256 to 32768, such as 4096";
            return fault("xdp.frames_per_queue", format!("{frames} packets"), remedy);
        }
        for (index, name) in self.xdp.interfaces.iter().enumerate() {
            let at = format!("xdp.interfaces[{index}]");
            if !is_interface(name) {
                let problem = format!("\"{name}\" cannot be an interface");
                return fault(at, problem, "give its name as `ip link` shows it");
            }
            if self.xdp.interfaces[..index].contains(name) {
                return fault(at, format!("\"{name}\" is named twice"), "name it once");
            }
        }
        if self.datapath == DatapathChoice::AfXdp && self.xdp_interfaces().is_empty() {
            let remedy = "name the interfaces of media, such as interfaces = [\"eth0\"]";
            return fault("xdp.interfaces", "datapath = \"af_xdp\", and no interface is named", remedy);
        }
        Ok(())
    }

    fn check_offload(&self) -> Result<(), ConfigFault> {
        if self.offload != OffloadChoice::On {
            return Ok(());
        }
        if self.sockets == Sockets::PerPort || self.datapath == DatapathChoice::Epoll {
            let remedy = "leave sockets and datapath out, or set offload = false";
            return fault("offload", "what the driver does not relay needs shared sockets", remedy);
        }
        if self.xdp_interfaces().is_empty() {
            let remedy = "name the interfaces of media in xdp.interfaces, or those of the ranges";
            return fault("offload", "no interface is named for the program to be on", remedy);
        }
        Ok(())
    }

    fn check_cores(&self) -> Result<(), ConfigFault> {
        if self.cores.len() > MAX_SHARDS {
            let problem = format!("{} cores", self.cores.len());
            return fault("cores", problem, format!("name at most {MAX_SHARDS}"));
        }
        for (index, core) in self.cores.iter().enumerate() {
            if self.cores[..index].contains(core) {
                let problem = format!("core {core} is named twice");
                return fault(format!("cores[{index}]"), problem, "give each shard a core of its own");
            }
        }
        Ok(())
    }

    fn check_ranges(&self) -> Result<(), ConfigFault> {
        if self.ranges.is_empty() {
            return fault("ranges", "there is no range", "add a [[media.ranges]] with name and network");
        }
        for (index, range) in self.ranges.iter().enumerate() {
            let at = |key: &str| format!("ranges[{index}].{key}");
            check_range(range, at)?;
            for other in &self.ranges[..index] {
                if other.name == range.name {
                    let problem = format!("two ranges are named \"{}\"", range.name);
                    return fault(at("name"), problem, "give each its own name");
                }
                if overlap(range, other) {
                    let problem = format!("\"{}\" and \"{}\" share addresses and ports", other.name, range.name);
                    return fault(at("network"), problem, "separate their networks or their ports");
                }
            }
        }
        // What is left is the relay's to say, such as a range with too few ports for the shards.
        let relay = moorline_relay::Config {
            ranges: self.relay_ranges(),
            shard: 0,
            shards: self.cores.len().max(1) as u16,
            capacity: 1,
            port_rest_ns: 0,
            report_digits: false,
        };
        match moorline_relay::Relay::new(relay) {
            Ok(_) => Ok(()),
            Err(error) => fault("ranges", error.to_string(), "change the range that is named"),
        }
    }
}

fn check_range(range: &Range, at: impl Fn(&str) -> String) -> Result<(), ConfigFault> {
    if range.name.is_empty() {
        return fault(at("name"), "the name is empty", "name it, such as \"edge\"");
    }
    if range.network.addr().is_unspecified() || range.network.addr().is_multicast() {
        let problem = format!("{} holds no address that media can come to", range.network);
        return fault(at("network"), problem, "give the network of the media addresses, such as 47.103.169.64/27");
    }
    if range.network.addr() != range.network.network() {
        let problem = format!("{} has bits set behind its prefix", range.network);
        let remedy = format!("write {}, or one address with its full prefix length", range.network.trunc());
        return fault(at("network"), problem, remedy);
    }
    if range.first_port == 0 {
        return fault(at("first_port"), "port 0 cannot be bound", "choose 1024 to 65534");
    }
    // The first even port and the odd one behind it.
    if u32::from(range.first_port).next_multiple_of(2) + 1 > u32::from(range.last_port) {
        let problem = format!("{} to {} holds no even port with the next", range.first_port, range.last_port);
        return fault(at("last_port"), problem, "choose a higher last port, such as 32767");
    }
    if range.dscp > MAX_DSCP {
        let problem = format!("{} does not fit into six bits", range.dscp);
        return fault(at("dscp"), problem, "choose 0 to 63, such as 46 for voice");
    }
    if let Some(advertised) = range.advertised {
        check_advertised(range, advertised, &at)?;
    }
    match &range.interface {
        Some(name) if !is_interface(name) => {
            fault(at("interface"), format!("\"{name}\" cannot be an interface"), "give its name as `ip link` shows it")
        }
        _ => Ok(()),
    }
}

fn is_interface(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_INTERFACE && !name.contains('/')
}

fn check_advertised(range: &Range, advertised: IpAddr, at: impl Fn(&str) -> String) -> Result<(), ConfigFault> {
    let (network, path) = (range.network, at("advertised"));
    if advertised.is_unspecified() || advertised.is_multicast() {
        let problem = format!("nobody can send to {advertised}");
        return fault(path, problem, "give the public address of the 1:1 NAT, or leave it out");
    }
    if advertised.is_ipv4() != network.addr().is_ipv4() {
        let problem = format!("{advertised} is of another IP version than {network}");
        return fault(path, problem, "advertise an address of the same version");
    }
    if network.prefix_len() != network.max_prefix_len() {
        let problem = format!("one address is advertised for the many of {network}");
        return fault(path, problem, "make one range per address of the NAT, each with its full prefix length");
    }
    Ok(())
}

fn overlap(a: &Range, b: &Range) -> bool {
    let networks = a.network.contains(&b.network) || b.network.contains(&a.network);
    networks && a.first_port <= b.last_port && b.first_port <= a.last_port
}

#[cfg(test)]
mod tests;
