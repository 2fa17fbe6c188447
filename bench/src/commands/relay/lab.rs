//! The network of the measurement: three namespaces and the two links between them.
//!
//! ```text
//! core 192.0.2.10 ---- 192.0.2.1, 192.0.2.64/27 sbc 198.51.100.1, 47.103.169.64/27 ---- 198.51.100.20 carrier
//! 198.18.1.10                                                                                198.18.2.20
//! ```
//!
//! The load's own addresses are behind those of the links, as those of most parties are behind a router.
//!
//! The links are veth pairs whose receive work is done by kernel threads (threaded NAPI): those of the SBC's ends run
//! on the relay's core and before all else there, as a network card's interrupts would; those of the other ends run on
//! the load's core, where they wait until the load yields, which it does all the time: the relay must not pay for an
//! interrupt of the load's core with each packet that it sends, which no network card asks for. It all hangs on this
//! process, and goes with it.
//!
//! The kernel's other threads keep off the relay's core meanwhile, as they do where an operator has set cores apart. One
//! that looks through memory for some milliseconds, and goes to the idlest core, which the load's never is, would else
//! be what the worst hundredth of all latencies shows, of every relay alike.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;

use moorline_bench::media::Endpoint;
use nix::sched::{CloneFlags, CpuSet, sched_getaffinity, sched_setaffinity, setns, unshare};
use nix::unistd::{Pid, geteuid};

use crate::commands::process::Error;

pub(super) const CORE: SocketAddr = address([198, 18, 1, 10]);
pub(super) const CARRIER: SocketAddr = address([198, 18, 2, 20]);
pub(super) const SBC_CORE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(super) const SBC_CARRIER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// Moorline's media addresses towards the core, and towards the carrier.
pub(super) const CORE_RANGE: &str = "192.0.2.64/27";
pub(super) const MEDIA_RANGE: &str = "47.103.169.64/27";

const fn address(ip: [u8; 4]) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(ip[0], ip[1], ip[2], ip[3])), 40_000)
}

/// A namespace of the lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Core,
    Sbc,
    Carrier,
}

/// The network. The calling thread stays outside of its namespaces but for [`Lab::within`].
#[derive(Debug)]
pub(super) struct Lab {
    outside: File,
    namespaces: [File; 3],
    /// The kernel threads that receive for the relay, and that do its core's other network work.
    pub(super) relay_kthreads: Vec<u32>,
    /// Those that receive for the load.
    pub(super) load_kthreads: Vec<u32>,
    /// The kernel's other threads that were moved, with the cores that they had.
    moved: Vec<(Pid, CpuSet)>,
}

impl Lab {
    /// Builds it. Before this process has other threads, as it moves into namespaces of its own.
    pub(super) fn enter(relay_core: usize, load_core: usize) -> Result<Lab, Error> {
        if !geteuid().is_root() {
            return Err("network namespaces, and threads of the kernel to pin, need root: run this as root".into());
        }
        let tools = [("ip", "iproute2"), ("ethtool", "ethtool"), ("mount", "mount"), ("chrt", "util-linux")];
        let missing: Vec<&str> =
            tools.iter().filter(|(tool, _)| !is_there(tool)).map(|(_, package)| *package).collect();
        if !missing.is_empty() {
            return Err(format!("not installed: apt-get install {}", missing.join(" ")).into());
        }
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)
            .map_err(|error| format!("network namespaces of our own: {error}"))?;
        // Names of namespaces are files in /run/netns: in one that nobody else sees.
        shell("mount --make-rprivate / && mount -t tmpfs -o mode=0755 lab /run && mkdir /run/netns")?;
        let id = std::process::id();
        shell(&network(id))?;
        let open = |name: &str| File::open(Path::new("/run/netns").join(name));
        let namespaces = [open("core")?, open("sbc")?, open("carrier")?];
        let outside = File::open("/proc/thread-self/ns/net")?;
        let napi = |device: String| kthreads(|name| name.starts_with(&format!("napi/{device}-")));
        let mut relay_kthreads = napi(format!("core{id}"))?;
        relay_kthreads.extend(napi(format!("carrier{id}"))?);
        let load_kthreads = napi(format!("sbc{id}"))?;
        if relay_kthreads.len() != 2 || load_kthreads.len() != 2 {
            return Err("this kernel has no threaded NAPI on veth: 5.13 or later is needed".into());
        }
        for (kthreads, core) in [(&relay_kthreads, relay_core), (&load_kthreads, load_core)] {
            let mut cores = CpuSet::new();
            cores.set(core)?;
            for id in kthreads {
                sched_setaffinity(Pid::from_raw(i32::try_from(*id)?), &cores)
                    .map_err(|error| format!("core {core} for a thread of the kernel: {error}"))?;
            }
        }
        for id in &load_kthreads {
            shell(&format!("chrt --batch --pid 0 {id} && renice -n -20 -p {id} > /dev/null"))?;
        }
        relay_kthreads.extend(kthreads(|name| name == format!("ksoftirqd/{relay_core}"))?);
        let mut lab = Lab { outside, namespaces, relay_kthreads, load_kthreads, moved: Vec::new() };
        lab.refuse_way_out(id)?;
        lab.clear(relay_core, load_core)?;
        Ok(lab)
    }

    /// Does something in a namespace; what it starts and opens stays there.
    pub(super) fn within<T>(&self, place: Place, act: impl FnOnce() -> T) -> Result<T, Error> {
        setns(&self.namespaces[place as usize], CloneFlags::CLONE_NEWNET)?;
        let done = act();
        setns(&self.outside, CloneFlags::CLONE_NEWNET)?;
        Ok(done)
    }

    /// How many packets the relay's ends have given up so far, because the ring of the load's end was full: 256 packets,
    /// a few milliseconds in which the load's core did not run. The relay had relayed them.
    pub(super) fn spilled(&self) -> Result<u64, Error> {
        let devices = self.within(Place::Sbc, || std::fs::read_to_string("/proc/thread-self/net/dev"))??;
        Ok(transmit_drops(&devices))
    }

    /// The sockets of the load: side A in the core, side B at the carrier.
    pub(super) fn endpoints(&self) -> Result<[Endpoint; 2], Error> {
        let bind = |place, address: SocketAddr| -> Result<Endpoint, Error> {
            Ok(self.within(place, || Endpoint::from_sockets(UdpSocket::bind(address)?, None))??)
        };
        Ok([bind(Place::Core, CORE)?, bind(Place::Carrier, CARRIER)?])
    }

    /// Moves the kernel's threads that may run elsewhere away from the relay's core.
    fn clear(&mut self, relay_core: usize, load_core: usize) -> Result<(), Error> {
        if relay_core == load_core {
            return Ok(());
        }
        for id in kthreads(|_| true)? {
            let own = self.relay_kthreads.contains(&id) || self.load_kthreads.contains(&id);
            let pid = Pid::from_raw(i32::try_from(id)?);
            // One that has ended, or that belongs where it is, stays as it was.
            let Ok(cores) = sched_getaffinity(pid) else { continue };
            let mut others = cores;
            others.unset(relay_core)?;
            if own || !cores.is_set(relay_core)? || others == CpuSet::new() {
                continue;
            }
            if sched_setaffinity(pid, &others).is_ok() {
                self.moved.push((pid, cores));
            }
        }
        Ok(())
    }

    /// Looks at every namespace for links and routes that lead elsewhere.
    fn refuse_way_out(&self, id: u32) -> Result<(), Error> {
        let own = ["lo".to_owned(), format!("core{id}"), format!("carrier{id}"), format!("sbc{id}")];
        for place in [None, Some(Place::Core), Some(Place::Sbc), Some(Place::Carrier)] {
            let look = || Ok::<_, Error>((output("ip -o link show up")?, output("ip route show default")?));
            let (links, routes) = place.map_or_else(|| Ok(look()), |place| self.within(place, look))??;
            let foreign = links.lines().filter_map(link_name).find(|name| !own.iter().any(|own| own == name));
            if let Some(way_out) = foreign.or(routes.lines().next()) {
                return Err(format!("there is a way out of the lab, nothing was run: {way_out}").into());
            }
        }
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for (pid, cores) in &self.moved {
            // One that has ended needs no core.
            let _ = sched_setaffinity(*pid, cores);
        }
    }
}

/// The commands that make the network. Neighbours are told, so that no packet waits for ARP.
fn network(id: u32) -> String {
    let links = [
        ("core", "192.0.2.10/24", "192.0.2.1/24", "02:00:00:00:01", CORE.ip()),
        ("carrier", "198.51.100.20/24", "198.51.100.1/24", "02:00:00:00:02", CARRIER.ip()),
    ];
    let mut text = String::from("set -e\n");
    for place in ["core", "sbc", "carrier"] {
        text += &format!(
            "ip netns add {place}\n\
             in_{place}() {{ ip netns exec {place} \"$@\"; }}\n\
             in_{place} sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 \
             net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0\n\
             in_{place} ip link set lo up\n"
        );
    }
    for (place, far, near, mac, load) in links {
        let (near_ip, far_ip) = (near.trim_end_matches("/24"), far.trim_end_matches("/24"));
        text += &format!(
            "ip link add sbc{id} netns {place} address {mac}:02 type veth peer name {place}{id} netns sbc address {mac}:01\n\
             in_{place} ip address add {far} dev sbc{id}\n\
             in_{place} ip address add {load}/32 dev lo\n\
             in_sbc ip address add {near} dev {place}{id}\n\
             in_{place} ip link set sbc{id} up\n\
             in_sbc ip link set {place}{id} up\n\
             in_{place} ip neighbour replace {near_ip} lladdr {mac}:01 nud permanent dev sbc{id}\n\
             in_sbc ip neighbour replace {far_ip} lladdr {mac}:02 nud permanent dev {place}{id}\n\
             in_sbc ip route add {load}/32 via {far_ip}\n"
        );
        for (place, device) in [(place, format!("sbc{id}")), ("sbc", format!("{place}{id}"))] {
            // A veth end receives by NAPI as long as it has GRO and the other end no TSO, and NAPI may have threads.
            text += &format!(
                "in_{place} ethtool -K {device} gro on tso off\n\
                 in_{place} sh -c 'echo 1 > /sys/class/net/{device}/threaded'\n"
            );
        }
    }
    for host in 64..96 {
        text += &format!(
            "in_sbc ip address add 47.103.169.{host}/32 dev carrier{id}\n\
             in_sbc ip address add 192.0.2.{host}/32 dev core{id}\n"
        );
    }
    text += &format!(
        "in_core ip route add {CORE_RANGE} via {SBC_CORE}\n\
         in_carrier ip route add {MEDIA_RANGE} via {SBC_CARRIER}\n"
    );
    text
}

/// `2: sbc7@if3: <...`: the name without its peer.
fn link_name(line: &str) -> Option<&str> {
    line.split(": ").nth(1)?.split('@').next()
}

/// The sum over all devices of the packets that were not sent, by /proc/net/dev.
fn transmit_drops(devices: &str) -> u64 {
    // After the name: eight columns of what was received, and bytes, packets, errors and drops of what was sent.
    let drops = |line: &str| line.split_once(':')?.1.split_whitespace().nth(11)?.parse::<u64>().ok();
    devices.lines().filter_map(drops).sum()
}

/// The threads of the kernel that have such a name.
fn kthreads(is_wanted: impl Fn(&str) -> bool) -> Result<Vec<u32>, Error> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        let id = path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
        // One that has ended meanwhile is none of ours.
        let stat = std::fs::read_to_string(path.join("stat")).unwrap_or_default();
        found.extend(id.filter(|_| kthread_name(&stat).is_some_and(&is_wanted)));
    }
    Ok(found)
}

/// The name of a thread of the kernel, by its line in /proc; `None` for any other thread.
fn kthread_name(stat: &str) -> Option<&str> {
    const PF_KTHREAD: u32 = 0x0020_0000;
    // `7 (a name) S 2 0 0 0 -1 69238880 ...`: the name may hold anything.
    let (before, after) = stat.rsplit_once(") ")?;
    let flags: u32 = after.split(' ').nth(6)?.parse().ok()?;
    (flags & PF_KTHREAD != 0).then_some(before.split_once('(')?.1)
}

pub(super) fn shell(script: &str) -> Result<(), Error> {
    output(script).map(drop)
}

fn output(script: &str) -> Result<String, Error> {
    let output = Command::new("sh").args(["-c", script]).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let script = if script.len() > 200 { "making the network" } else { script };
    Err(format!("{script}: {}", String::from_utf8_lossy(&output.stderr).trim()).into())
}

/// Whether a command is in the path.
pub(super) fn is_there(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(tool).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_named_without_their_peers() {
        assert_eq!(link_name("2: sbc7@if3: <BROADCAST,UP> mtu 1500"), Some("sbc7"));
        assert_eq!(link_name("1: lo: <LOOPBACK,UP> mtu 65536"), Some("lo"));
        assert_eq!(link_name("nothing"), None);
    }

    #[test]
    fn threads_of_the_kernel_are_told_from_others() {
        let kdamond = "57 (kdamond.0) S 2 0 0 0 -1 2129984 0 0";
        assert_eq!(kthread_name(kdamond), Some("kdamond.0"));
        assert_eq!(kthread_name("58 (napi/a) b (c) S 2 0 0 0 -1 2129984 0"), Some("napi/a) b (c"));
        assert_eq!(kthread_name("9 (bash) S 1 9 9 0 -1 4194304 0"), None);
        assert_eq!(kthread_name(""), None);
        assert!(kthreads(|name| name == "kthreadd").unwrap().contains(&2));
    }

    #[test]
    fn drops_are_read() {
        let devices = "Inter-|   Receive                  |  Transmit\n face |bytes packets errs drop fifo frame compressed \
                       multicast|bytes packets errs drop fifo colls carrier compressed\n\
                       lo: 1 2 3 4 5 6 7 8 9 10 11 0 13 14 15 16\n  core7:  1 2 3 4 5 6 7 8 9 10 11 120 13 14 15 16\n";
        assert_eq!(transmit_drops(devices), 120);
    }

    #[test]
    fn names_of_devices_fit() {
        // The longest process number that Linux gives; IFNAMSIZ without its NUL.
        assert!(format!("carrier{}", 1 << 22).len() <= 15);
        assert!(network(7).contains("ip link add sbc7 netns carrier"));
    }
}
