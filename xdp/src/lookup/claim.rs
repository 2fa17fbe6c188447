//! Which instance has which ports, within a network namespace.
//!
//! Two lookup programs on the same ports would take each other's packets without a word. So an instance claims its
//! ranges by Unix sockets with names in the abstract namespace, which is as wide as the network namespace and which
//! the kernel clears however the process ends. A name says which ports it stands for, and everybody's names
//! can be listed.

use std::fs::read_to_string;
use std::net::IpAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use super::{LookupError, LookupRange, of};

const PREFIX: &str = "moorline-media/";

/// A range as its name says it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Claim {
    first: IpAddr,
    addresses: u32,
    first_port: u32,
    ports: u32,
    /// An interface's index, or 0 for all.
    interface: u32,
}

/// Claims all ranges; the claims last as long as the sockets.
pub(super) fn claim(ranges: &[LookupRange]) -> Result<Vec<UnixDatagram>, LookupError> {
    let mut sockets = Vec::with_capacity(ranges.len());
    let claims: Vec<Claim> = ranges.iter().map(Claim::of).collect();
    for claim in &claims {
        let address = SocketAddr::from_abstract_name(claim.name()).map_err(of("naming a socket"))?;
        match UnixDatagram::bind_addr(&address) {
            Ok(socket) => sockets.push(socket),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                return Err(LookupError::Taken(claim.words()));
            }
            Err(error) => return Err(of("claiming the media ports")(error)),
        }
    }
    // Claimed first and looked after, so that of two that start at once not both find nothing.
    match claimed()?.into_iter().find(|other| !claims.contains(other) && claims.iter().any(|c| c.overlaps(other))) {
        Some(other) => Err(LookupError::Taken(other.words())),
        None => Ok(sockets),
    }
}

/// Whether nobody has claimed any of these ranges.
pub(super) fn unclaimed(ranges: &[LookupRange]) -> Result<(), LookupError> {
    let overlaps = |other: &Claim| ranges.iter().any(|range| Claim::of(range).overlaps(other));
    claimed()?.into_iter().find(overlaps).map_or(Ok(()), |other| Err(LookupError::Taken(other.words())))
}

/// All claims of this network namespace.
fn claimed() -> Result<Vec<Claim>, LookupError> {
    let sockets = read_to_string("/proc/net/unix").map_err(of("reading /proc/net/unix"))?;
    let names = sockets.lines().filter_map(|line| line.split_once('@'));
    Ok(names.filter_map(|(_, name)| Claim::parse(name)).collect())
}

impl Claim {
    fn of(range: &LookupRange) -> Claim {
        Claim {
            first: range.first.to_canonical(),
            addresses: range.addresses,
            first_port: range.first_port.into(),
            ports: range.ports,
            interface: range.interface.unwrap_or(0),
        }
    }

    fn name(&self) -> String {
        let Claim { first, addresses, first_port, ports, interface } = self;
        format!("{PREFIX}{first}+{addresses}/{first_port}+{ports}/{interface}")
    }

    fn parse(name: &str) -> Option<Claim> {
        let (addresses, rest) = name.strip_prefix(PREFIX)?.split_once('/')?;
        let (ports, interface) = rest.split_once('/')?;
        let (first, addresses) = addresses.split_once('+')?;
        let (first_port, ports) = ports.split_once('+')?;
        let claim = Claim {
            first: first.parse().ok()?,
            addresses: addresses.parse().ok()?,
            first_port: first_port.parse().ok()?,
            ports: ports.parse().ok()?,
            interface: interface.parse().ok()?,
        };
        // Any user can bind such a name.
        let stands_for_ports = claim.addresses > 0 && claim.ports > 0;
        let last_port = u64::from(claim.first_port) + u64::from(claim.ports);
        (stands_for_ports && last_port <= 1 << 16).then_some(claim)
    }

    fn words(&self) -> String {
        let last = u64::from(self.first_port) + u64::from(self.ports.saturating_sub(1));
        format!("ports {} to {last} of {} and {} following addresses", self.first_port, self.first, self.addresses - 1)
    }

    fn overlaps(&self, other: &Claim) -> bool {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        let (a, b) = (bits(self.first), bits(other.first));
        let addresses = b.wrapping_sub(a) < self.addresses.into() || a.wrapping_sub(b) < other.addresses.into();
        let ports = other.first_port.wrapping_sub(self.first_port) < self.ports
            || self.first_port.wrapping_sub(other.first_port) < other.ports;
        let interfaces = self.interface == 0 || other.interface == 0 || self.interface == other.interface;
        addresses && ports && interfaces
    }
}

#[cfg(test)]
mod tests {
    use super::claim as claim_ranges;
    use super::*;

    fn claim(first: &str, addresses: u32, first_port: u32, ports: u32, interface: u32) -> Claim {
        Claim { first: first.parse().unwrap(), addresses, first_port, ports, interface }
    }

    #[test]
    fn names_round_trip_and_others_names_are_no_claims() {
        for claim in [claim("127.0.0.1", 30, 16384, 16384, 0), claim("2001:db8::1", 1024, 1024, 64_000, 7)] {
            assert_eq!(Claim::parse(&claim.name()), Some(claim.clone()));
            // Abstract names have 107 bytes.
            assert!(claim.name().len() < 100);
        }
        for name in ["", "moorline-media/", "moorline-media/1.2.3.4+1/5+6", "moorline-media/x+1/5+6/7", "/run/x"] {
            assert_eq!(Claim::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_name_that_anybody_can_make_up_is_no_claim_unless_it_stands_for_ports() {
        let names =
            ["127.0.0.1+0/1000+100/0", "127.0.0.1+1/1000+0/0", "127.0.0.1+1/70000+100/0", "127.0.0.1+1/1000+99999/0"];
        for name in names {
            assert_eq!(Claim::parse(&format!("{PREFIX}{name}")), None, "{name}");
        }
        let theirs = "127.79.7.1+0/20000+64/0";
        let address = SocketAddr::from_abstract_name(format!("{PREFIX}{theirs}")).unwrap();
        let _squatter = UnixDatagram::bind_addr(&address).unwrap();
        let first = "127.79.7.0".parse().unwrap();
        claim_ranges(&[LookupRange { first, addresses: 4, first_port: 20_000, ports: 64, interface: None }]).unwrap();
    }

    #[test]
    fn claims_overlap_where_they_share_a_port_of_an_address_and_interface() {
        let own = claim("127.0.0.10", 10, 1000, 100, 0);
        let cases = [
            (claim("127.0.0.10", 10, 1000, 100, 0), true),
            (claim("127.0.0.19", 1, 1099, 1, 3), true),
            (claim("127.0.0.1", 10, 900, 101, 0), true),
            (claim("127.0.0.1", 9, 900, 101, 0), false),
            (claim("127.0.0.20", 1, 1000, 100, 0), false),
            (claim("127.0.0.10", 10, 900, 100, 0), false),
            (claim("127.0.0.10", 10, 1100, 100, 0), false),
            (claim("::ffff:127.0.0.10", 1, 1000, 1, 0), true),
            (claim("2001:db8::10", 1000, 1000, 100, 0), false),
        ];
        for (other, overlap) in cases {
            assert_eq!((own.overlaps(&other), other.overlaps(&own)), (overlap, overlap), "{other:?}");
        }
        let [eth0, eth1] = [1, 2].map(|interface| Claim { interface, ..own.clone() });
        assert!(!eth0.overlaps(&eth1) && eth0.overlaps(&own));
    }
}
