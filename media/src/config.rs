//! The configuration of the media process. Every key has a default, and the defaults serve on loopback.

mod check;
mod offload;
mod xdp;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net};
use serde::Deserialize;

pub use check::ConfigFault;
pub(crate) use check::MAX_SHARDS;
pub use offload::OffloadChoice;
pub use xdp::{Xdp, ZeroCopy};

/// The media process's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The path of the control socket, a Unix stream socket. Its directory is made if it is not there; the
    /// file has mode 0600, or 0660 with [`control_users`](Self::control_users).
    pub control: PathBuf,
    /// Users that may connect to the control socket beside root and the media process's own user: the
    /// signaling process's, where it runs under another. They need access to the file as well: run the media
    /// process under a group that they are members of.
    pub control_users: Vec<String>,
    /// How packets get in and out. `"auto"` is AF_XDP if [`xdp.interfaces`](Xdp::interfaces) names any and the host
    /// offers it, else io_uring where the kernel offers that, else epoll; one that is named is used or the start fails.
    pub datapath: DatapathChoice,
    /// Whether the io_uring datapath has one socket for all ports of a shard, or one for each port. One is cheaper for
    /// every packet, and opens a session without a system call. It needs `CAP_BPF`, `CAP_NET_ADMIN` and
    /// `CAP_NET_RAW`. `"auto"` is shared where the host offers it; one that is named is used or the start fails.
    pub sockets: Sockets,
    /// How the io_uring datapath with shared sockets sends. `"direct"` names the interface and the next hop itself, as the
    /// kernel would have (routes, rules, neighbours and IPsec policies are followed when they change), which costs a fifth
    /// less for each packet; traffic control and captures see it, the host's firewall does not. `"routed"` has the kernel
    /// look all of that up for every packet. `"auto"` is direct while the host has no nftables chain and no iptables table
    /// for IP: one that only looks at what comes in may still want to have seen what went out.
    pub egress: Egress,
    /// More packets a second than this to one port are dropped where they arrive, so that a flooded port cannot
    /// fill the socket that it shares with others; counted as `port_flooded`. Far above what any codec sends: voice
    /// has 50, video up to some 1,000. For shared sockets only; 0 sets no ceiling.
    pub port_flood_pps: u32,
    /// Whether established flows of plain RTP are relayed in the network driver, by an XDP program on the media
    /// interfaces, beside the datapath: `true`, `false` or `"auto"`. Reports, media timeouts and metrics stay as they
    /// are. With AF_XDP and more than one core, flows that come by a queue of another shard's are relayed so in any
    /// case. What tells something new of a call comes up to the datapath: first packets, RTCP, telephone events, other
    /// sources. It needs shared sockets or AF_XDP and their capabilities, and [`xdp.interfaces`](Xdp::interfaces) or the
    /// ranges to name the interfaces. `"auto"` does without where the host does not offer it; with `true` the start
    /// fails then.
    pub offload: OffloadChoice,
    /// CPU cores, by their numbers, each of which gets a shard: a thread of its own. Empty means every core
    /// that the process may run on.
    pub cores: Vec<usize>,
    /// For how many microseconds a shard that has had packets looks for more before it sleeps. 0 sleeps at once,
    /// which costs least; 50 to 200 spare a busy shard the sleep and its wake-up, for latency, and take the rest of
    /// its core for it. An idle shard sleeps in any case. With io_uring the kernel is told as well: where the network
    /// card's driver allows, it looks into the card's queue itself for so long before the shard sleeps.
    pub busy_poll_us: u32,
    /// The loopback address of the read-only HTTP server with `/metrics` and `/healthz`.
    pub admin: SocketAddr,
    /// How many sessions may be open at once. Each needs four sockets, unless
    /// sockets are shared: the limit of open files is raised where that
    /// is allowed. Where it still leaves room for fewer, the start fails, except that the default of 4000 gives way
    /// with a warning.
    pub capacity: u32,
    /// How many seconds a freed port rests before another session gets it, so that late packets of one call
    /// do not fall into another.
    pub port_rest_s: u32,
    /// Reports of sessions name the latest DTMF digit of a party. Off by default: digits may be a card's number or a
    /// mailbox's secret. How many there were and how long is always told.
    pub report_digits: bool,
    /// A directory of announcements for callers who are refused: `NAME.wav` (8 kHz, one channel, 16-bit PCM or G.711),
    /// `NAME.al` (raw A-law) and `NAME.ul` (raw µ-law). One that has the name of a built-in announcement takes its
    /// place; upgrades do not touch it. Read at the start. If left out, the built-in ones are all that there are.
    pub announcements: Option<PathBuf>,
    /// Where sessions get their local addresses and ports from.
    pub ranges: Vec<Range>,
    /// What XDP does on the media interfaces.
    pub xdp: Xdp,
}

/// How packets get in and out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DatapathChoice {
    /// io_uring if the kernel offers what is needed (6.1 and later do), else epoll.
    Auto,
    /// One ring per shard: multishot receives into provided buffers, batched sends.
    IoUring,
    /// Kernel bypass: packets of media ports come from the network card's queues into memory of the process, and are
    /// sent from there. Where there is more than one shard, settled flows that come by a queue of another shard than
    /// their port's are relayed in the driver instead. Stands on io_uring with shared sockets, for what the kernel is left to do, and needs their
    /// capabilities.
    AfXdp,
    /// Readiness, `recvmmsg` and `sendmmsg`: any kernel.
    Epoll,
}

/// Which sockets the io_uring datapath has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sockets {
    /// Shared if the host offers what is needed, else one for each port.
    Auto,
    /// One for all ports of a shard, by a program in the kernel's socket lookup, and raw sockets to send by.
    Shared,
    /// One for each port, which needs no privilege.
    PerPort,
}

/// How packets leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Egress {
    /// Direct while the host has no firewall, else routed.
    Auto,
    /// By packet sockets to the next hop. Needs shared sockets.
    Direct,
    /// By raw sockets, or by the ports' own.
    Routed,
}

/// Local media addresses and ports.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Range {
    /// The name that trunks refer to.
    pub name: String,
    /// The addresses, such as `47.103.169.64/27`. They may be bound before they are up on an interface. Of
    /// a large network the first 1,024 addresses are used.
    pub network: IpNet,
    /// The lowest port. RTP gets an even port and RTCP the next odd one.
    pub first_port: u16,
    /// The highest port.
    pub last_port: u16,
    /// The address to write into SDP instead, behind a 1:1 NAT. Only for a range of one address.
    pub advertised: Option<IpAddr>,
    /// The whole network is routed to this host, so its network and broadcast addresses are used as well.
    pub routed: bool,
    /// The interface that media of this range comes in and goes out by, such as `eth1`; by default the
    /// routing table decides. One that is removed and made again under its name serves again: sessions opened from then
    /// on, and with shared sockets the open ones too, within 5 s.
    pub interface: Option<String>,
    /// The code point that tells routers how to treat media that is sent (DSCP, RFC 2474), 0 to 63. Voice is
    /// expedited forwarding, 46 (RFC 4594 section 4.1); networks that do not honour it ignore it.
    pub dscp: u8,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            control: PathBuf::from("/run/moorline/media.sock"),
            control_users: Vec::new(),
            datapath: DatapathChoice::Auto,
            sockets: Sockets::Auto,
            egress: Egress::Auto,
            port_flood_pps: 5000,
            offload: OffloadChoice::Off,
            cores: Vec::new(),
            busy_poll_us: 0,
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 9061)),
            capacity: 4000,
            port_rest_s: 5,
            report_digits: false,
            announcements: None,
            ranges: vec![Range::default()],
            xdp: Xdp::default(),
        }
    }
}

impl Default for Range {
    fn default() -> Range {
        Range {
            name: "edge".to_owned(),
            network: IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 103, 169, 64), 27)),
            first_port: 16_384,
            last_port: 32_767,
            advertised: None,
            routed: false,
            interface: None,
            dscp: 46,
        }
    }
}

impl Config {
    /// The ranges as the relay takes them.
    pub(crate) fn relay_ranges(&self) -> Vec<moorline_relay::Range> {
        let range = |range: &Range| moorline_relay::Range {
            name: range.name.clone(),
            network: range.network,
            first_port: range.first_port,
            last_port: range.last_port,
            advertised: range.advertised,
            routed: range.routed,
        };
        self.ranges.iter().map(range).collect()
    }

    /// The interfaces of media: those named for XDP, else those that ranges name.
    pub(crate) fn xdp_interfaces(&self) -> Vec<String> {
        let mut names = self.xdp.interfaces.clone();
        if names.is_empty() {
            names.extend(self.ranges.iter().filter_map(|range| range.interface.clone()));
            names.sort_unstable();
            names.dedup();
        }
        names
    }
}
