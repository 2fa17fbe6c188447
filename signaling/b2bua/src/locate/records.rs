//! What is asked of DNS, and what it answers.

use std::net::IpAddr;

/// A question for DNS. The answer goes to [`Locator::answer`](super::Locator::answer) with the same number. A
/// question that is asked again keeps its number, and the first answer counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The number.
    pub number: u64,
    /// The kind of records.
    pub kind: RecordKind,
    /// The owner's name, without the final dot.
    pub name: String,
}

/// A kind of DNS records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordKind {
    /// Which services a domain offers (RFC 3403).
    Naptr,
    /// Which hosts offer a service (RFC 2782).
    Srv,
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
}

/// Records, and how long they may be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The records of the kind that was asked for, aliases followed.
    pub records: Records,
    /// The least time to live among them, in seconds.
    pub ttl_s: u32,
}

/// Records of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Records {
    /// NAPTR records.
    Naptr(Vec<Naptr>),
    /// SRV records.
    Srv(Vec<Srv>),
    /// A or AAAA records.
    Addresses(Vec<IpAddr>),
}

/// A NAPTR record (RFC 3403 section 4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naptr {
    /// Lower goes first.
    pub order: u16,
    /// Among those of the same order, lower goes first.
    pub preference: u16,
    /// `s`: the replacement has SRV records.
    pub flags: String,
    /// Such as `SIPS+D2T`.
    pub service: String,
    /// A substitution; empty where there is a replacement.
    pub regexp: String,
    /// The next name to look up.
    pub replacement: String,
}

/// An SRV record (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srv {
    /// Lower goes first.
    pub priority: u16,
    /// The share among those of the same priority.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host; `.` where the service is decidedly not offered.
    pub target: String,
}

/// Why there are no records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// DNS says that there are none (NXDOMAIN, or a name without records of this kind), for so long.
    NoRecords {
        /// How long this may be kept (RFC 2308), in seconds.
        ttl_s: u32,
    },
    /// No server answered, or all of them failed.
    Unavailable,
}

impl RecordKind {
    /// As DNS calls it.
    pub const fn name(self) -> &'static str {
        match self {
            RecordKind::Naptr => "NAPTR",
            RecordKind::Srv => "SRV",
            RecordKind::A => "A",
            RecordKind::Aaaa => "AAAA",
        }
    }
}

impl Records {
    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        match self {
            Records::Naptr(list) => list.is_empty(),
            Records::Srv(list) => list.is_empty(),
            Records::Addresses(list) => list.is_empty(),
        }
    }

    /// True if they answer a question for `kind`.
    pub(super) fn answers(&self, kind: RecordKind) -> bool {
        match self {
            Records::Naptr(_) => kind == RecordKind::Naptr,
            Records::Srv(_) => kind == RecordKind::Srv,
            Records::Addresses(list) => list.iter().all(|address| match kind {
                RecordKind::A => address.is_ipv4(),
                RecordKind::Aaaa => address.is_ipv6(),
                RecordKind::Naptr | RecordKind::Srv => false,
            }),
        }
    }
}
