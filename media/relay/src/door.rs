//! What is checked of a specification before anything is done: bounds, names, addresses.

use std::net::SocketAddr;

use moorline_control::{LegSpec, MAX_LEGS, MAX_SNAPSHOT, MAX_STREAMS, Refusal, RefusalCode, SessionSpec, StreamSpec};

use crate::Range;
use crate::session::is_nowhere;

/// More networks than any trunk has; the control codec has the same bound.
const MAX_NETWORKS: usize = 64;

/// The burst that is let in must hold a packet of any size.
const MIN_BYTES_PER_S: u32 = 2_048;

/// Checks a specification and finds the range of each leg.
pub(crate) fn check(ranges: &[Range], spec: &SessionSpec) -> Result<Vec<usize>, Refusal> {
    if spec.legs.len() > MAX_LEGS {
        return Err(unacceptable(format!("{} legs, {MAX_LEGS} at most", spec.legs.len())));
    }
    if spec.snapshot.len() > MAX_SNAPSHOT {
        return Err(unacceptable(format!("a snapshot of {} bytes, {MAX_SNAPSHOT} at most", spec.snapshot.len())));
    }
    spec.legs.iter().enumerate().map(|(position, leg)| check_leg(ranges, position, leg)).collect()
}

fn check_leg(ranges: &[Range], position: usize, leg: &LegSpec) -> Result<usize, Refusal> {
    let Some(range) = ranges.iter().position(|range| range.name == leg.range) else {
        let detail = format!("leg {position} names the range \"{}\", which is not configured", leg.range);
        return Err(Refusal::new(RefusalCode::NoSuchRange, detail));
    };
    if leg.streams.len() > MAX_STREAMS {
        let detail = format!("leg {position} has {} streams, {MAX_STREAMS} at most", leg.streams.len());
        return Err(unacceptable(detail));
    }
    let is_ipv4 = ranges[range].network.addr().is_ipv4();
    for (index, stream) in leg.streams.iter().enumerate() {
        check_stream(stream, is_ipv4)
            .map_err(|detail| unacceptable(format!("leg {position}, stream {index}: {detail}")))?;
    }
    Ok(range)
}

fn check_stream(stream: &StreamSpec, is_ipv4: bool) -> Result<(), String> {
    if let Some(latch) = &stream.latch {
        if latch.sources.is_empty() {
            return Err("a latch without source networks would follow anybody".to_owned());
        }
        if latch.sources.len() > MAX_NETWORKS {
            return Err(format!("{} latch networks, {MAX_NETWORKS} at most", latch.sources.len()));
        }
    }
    if stream.sources.len() > MAX_NETWORKS {
        return Err(format!("{} source networks, {MAX_NETWORKS} at most", stream.sources.len()));
    }
    if stream.ceiling.is_some_and(|ceiling| ceiling.packets_per_s == 0 || ceiling.bytes_per_s < MIN_BYTES_PER_S) {
        return Err(format!("a ceiling below one packet or {MIN_BYTES_PER_S} bytes in a second would let nothing in"));
    }
    [stream.remote_rtp, stream.remote_rtcp].into_iter().flatten().try_for_each(|remote| check_remote(remote, is_ipv4))
}

fn check_remote(remote: SocketAddr, is_ipv4: bool) -> Result<(), String> {
    let ip = remote.ip().to_canonical();
    if is_nowhere(remote) {
        return Ok(());
    }
    if ip.is_multicast() || ip == std::net::Ipv4Addr::BROADCAST {
        return Err(format!("media is not sent to {ip}, which is many receivers"));
    }
    if ip.is_ipv4() != is_ipv4 {
        return Err(format!("{remote} is of another IP version than the leg's range"));
    }
    Ok(())
}

fn unacceptable(detail: String) -> Refusal {
    Refusal::new(RefusalCode::Unacceptable, detail)
}
