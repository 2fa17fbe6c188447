//! What this host lacks for a configuration: advice, for nothing here is certain until it is tried.

mod cards;
mod placement;

use std::collections::BTreeSet;
use std::fs::read_to_string;
use std::net::IpAddr;
use std::path::Path;

use moorline_media::{DatapathChoice, Egress, OffloadChoice, Sockets};
use nix::ifaddrs::getifaddrs;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{Pid, User};

use crate::config::Configuration;

/// Sockets of an ordinary session: RTP and RTCP on two legs.
const SOCKETS_PER_SESSION: u64 = 4;

/// Descriptors beside the sessions': rings, control connections, HTTP, standard streams.
const OTHER_DESCRIPTORS: u64 = 256;

/// What the SIP sockets ask of the kernel (deploy/sysctl raises its limit).
const WANTED_RMEM: u64 = 8 << 20;

/// One line each: what, and what to do.
pub(crate) fn advice(configuration: &Configuration) -> Vec<String> {
    let mut advice = Vec::new();
    if shared_sockets(configuration, &mut advice) {
        egress(configuration, &mut advice);
    } else {
        descriptors(configuration, &mut advice);
    }
    offload(configuration, &mut advice);
    io_uring(&mut advice);
    af_xdp(configuration, &mut advice);
    let (cores, named) = cores(configuration);
    advice.extend(placement::advice(Path::new("/"), &interfaces(configuration), &cores, named));
    if let Some(user) = &configuration.signaling.user
        && !matches!(User::from_name(user), Ok(Some(_)))
    {
        advice.push(format!("there is no user {user:?} here: useradd --system {user}"));
    }
    if let Some(limit) = number("/proc/sys/net/core/rmem_max").filter(|limit| *limit < WANTED_RMEM) {
        advice.push(format!(
            "net.core.rmem_max is {limit}: bursts above that are lost; install deploy/sysctl/90-moorline.conf"
        ));
    }
    advice
}

/// Whether media ports share sockets here, so that sessions need no descriptors.
fn shared_sockets(configuration: &Configuration, advice: &mut Vec<String>) -> bool {
    let media = &configuration.media;
    if media.sockets == Sockets::PerPort || media.datapath == DatapathChoice::Epoll {
        return false;
    }
    let Err(missing) = moorline_media::shared_sockets() else { return true };
    let remedy = "give it to the media process (deploy/systemd), or set media.sockets = \"per_port\"";
    advice.push(match media.sockets {
        Sockets::Shared => format!("media.sockets = \"shared\" cannot work for this user: {missing}; {remedy}"),
        _ => format!("every media port gets a socket of its own for this user, which costs more: {missing}; {remedy}"),
    });
    false
}

/// Whether the host's firewall keeps media from being sent past the kernel's routing.
fn egress(configuration: &Configuration, advice: &mut Vec<String>) {
    let media = &configuration.media;
    if media.egress == Egress::Auto && media.datapath != DatapathChoice::AfXdp && moorline_media::has_firewall() {
        advice.push(
            "the host has a firewall, so the kernel routes each media packet that is sent, which costs more: where it is \
             not to see media, set media.egress = \"direct\""
                .to_owned(),
        );
    }
}

/// Whether flows can be relayed in the network driver, where that is wanted.
fn offload(configuration: &Configuration, advice: &mut Vec<String>) {
    let Err(missing) = moorline_media::offload(&configuration.media) else { return };
    advice.push(match configuration.media.offload {
        OffloadChoice::On => format!("media.offload = true cannot work for this user: {missing}"),
        _ => format!("no flow is relayed in the network driver for this user: {missing}"),
    });
}

fn descriptors(configuration: &Configuration, advice: &mut Vec<String>) {
    let needed = u64::from(configuration.media.capacity) * SOCKETS_PER_SESSION + OTHER_DESCRIPTORS;
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && hard < needed
    {
        let fits = hard.saturating_sub(OTHER_DESCRIPTORS) / SOCKETS_PER_SESSION;
        advice.push(format!(
            "the limit of {hard} open files is enough for {fits} sessions, not for media.capacity = {}: \
             raise LimitNOFILE (systemd) or ulimit -Hn to {needed}",
            configuration.media.capacity
        ));
    }
}

fn io_uring(advice: &mut Vec<String>) {
    let release = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut parts = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if version < (6, 1) {
        advice.push(format!(
            "kernel {} is older than 6.1, which the io_uring datapath needs: media will use epoll",
            release.trim()
        ));
    } else if number("/proc/sys/kernel/io_uring_disabled").is_some_and(|disabled| disabled != 0) {
        advice.push("io_uring is switched off here: media will use epoll; sysctl kernel.io_uring_disabled=0".into());
    }
}

fn af_xdp(configuration: &Configuration, advice: &mut Vec<String>) {
    let media = &configuration.media;
    let tried = media.datapath == DatapathChoice::Auto && !media.xdp.interfaces.is_empty();
    if media.datapath != DatapathChoice::AfXdp && !tried {
        return;
    }
    if let Err(missing) = moorline_media::af_xdp(media) {
        advice.push(match tried {
            true => format!("media will not go by AF_XDP for this user, though media.xdp.interfaces is set: {missing}"),
            false => format!("media.datapath = \"af_xdp\" cannot work for this user: {missing}"),
        });
    }
}

/// The cores of the shards, and whether the configuration names them.
fn cores(configuration: &Configuration) -> (Vec<usize>, bool) {
    let named = &configuration.media.cores;
    if !named.is_empty() {
        return (named.clone(), true);
    }
    let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
    ((0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false)).collect(), false)
}

/// The interfaces that the media ranges come in by: those named, and those that hold an address of a range.
fn interfaces(configuration: &Configuration) -> BTreeSet<String> {
    let ranges = &configuration.media.ranges;
    let mut found: BTreeSet<String> = ranges.iter().filter_map(|range| range.interface.clone()).collect();
    for held in getifaddrs().into_iter().flatten() {
        let address = held.address.as_ref();
        let ip = address.and_then(|address| {
            let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
        });
        let holds = |ip: IpAddr| ranges.iter().any(|range| range.interface.is_none() && range.network.contains(&ip));
        if ip.is_some_and(holds) {
            found.insert(held.interface_name);
        }
    }
    found
}

fn number(path: &str) -> Option<u64> {
    read_to_string(path).ok()?.trim().parse().ok()
}
