//! The order in which records are used: NAPTR by order and preference, SRV by priority and weight.

use std::cmp::Reverse;

use moorline_sip::Transport;

use super::records::{Naptr, Srv};
use super::target::{Target, normal};

/// The services that a domain offers and that the target may be reached over, as transports and names of SRV
/// records, the domain's preference first (RFC 3263 section 4.1).
///
/// RFC 3403 stops at the first order that fits. The other orders follow here, behind all of the first: with
/// them a call still has somewhere to go when what the domain likes best is down, as section 4.3 wants it
/// between SRV records.
pub(super) fn services(records: &[Naptr], target: &Target) -> Vec<(Transport, String)> {
    let mut usable: Vec<(&Naptr, Transport, String)> = records
        .iter()
        .filter(|record| record.flags.eq_ignore_ascii_case("s") && record.regexp.is_empty())
        .filter_map(|record| {
            let transport = service(&record.service)?;
            let offered = target.usable().any(|usable| usable == transport);
            offered.then_some(())?;
            Some((record, transport, normal(&record.replacement)?))
        })
        .collect();
    usable.sort_by_key(|(record, ..)| (record.order, record.preference));
    usable.into_iter().map(|(_, transport, name)| (transport, name)).collect()
}

/// The transport of a NAPTR service (RFC 3263 section 4.1).
fn service(name: &str) -> Option<Transport> {
    [("SIPS+D2T", Transport::Tls), ("SIP+D2T", Transport::Tcp), ("SIP+D2U", Transport::Udp)]
        .into_iter()
        .find(|(service, _)| name.eq_ignore_ascii_case(service))
        .map(|(_, transport)| transport)
}

/// The name of the SRV records of a domain for a transport (RFC 3263 section 4.1).
pub(super) fn srv_name(transport: Transport, domain: &str) -> String {
    let prefix = match transport {
        Transport::Udp => "_sip._udp",
        Transport::Tcp => "_sip._tcp",
        Transport::Tls => "_sips._tcp",
    };
    format!("{prefix}.{domain}")
}

/// The hosts of SRV records in the order in which one request tries them (RFC 2782): by priority, and within
/// one priority drawn at random, each with a chance of its weight's share of what is left.
pub(super) fn draw<'a>(records: &'a [Srv], entropy: &mut dyn FnMut() -> u64) -> Vec<&'a Srv> {
    let mut left: Vec<&Srv> = records.iter().collect();
    // Those without weight first, as RFC 2782 has it, so that they have a small chance too.
    left.sort_by_key(|record| (record.priority, Reverse(record.weight == 0)));
    let mut drawn = Vec::with_capacity(left.len());
    while let Some(first) = left.first() {
        let priority = first.priority;
        let group = left.iter().take_while(|record| record.priority == priority);
        let weights: Vec<u64> = group.map(|record| u64::from(record.weight)).collect();
        drawn.push(left.remove(choose(&weights, entropy)));
    }
    drawn
}

/// One position among weights, of which there is at least one.
fn choose(weights: &[u64], entropy: &mut dyn FnMut() -> u64) -> usize {
    let sum: u64 = weights.iter().sum();
    if sum == 0 {
        // RFC 2782 leaves this open; who gives no weights gets the load shared.
        return usize::try_from(below(entropy, weights.len() as u64)).unwrap_or_default();
    }
    let mark = below(entropy, sum + 1);
    let mut running = 0;
    let reached = weights.iter().position(|weight| {
        running += weight;
        running >= mark
    });
    // The last running sum is the whole, which no mark exceeds.
    reached.unwrap_or_default()
}

/// A number from 0 up to `bound`, that left out, evenly: 64 bits scaled down, which for a bound of 22 bits is
/// even to 1 in 2^42.
fn below(entropy: &mut dyn FnMut() -> u64, bound: u64) -> u64 {
    let scaled = (u128::from(entropy()) * u128::from(bound)) >> 64;
    u64::try_from(scaled).unwrap_or_default()
}
