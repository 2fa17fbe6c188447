//! Where packets should be received: the cores of the shards, the queues and interrupts of the network cards.
//!
//! A local port belongs to a shard, and the card's hash knows nothing of that: a packet may be received on the core
//! of another shard than the one that relays it. What can be had is that the work of receiving is spread evenly
//! over the shards' cores, on the card's own memory node, and is not moved about.

use std::collections::BTreeSet;
use std::path::Path;

use super::cards::{Card, core_list, names, text};

/// Packets that wait for a core before they are dropped (deploy/sysctl).
const WANTED_BACKLOG: u64 = 8192;

/// One line each: what, and what to do. `cores` are the shards', in their order; `named` if the configuration names
/// them.
pub(super) fn advice(root: &Path, interfaces: &BTreeSet<String>, cores: &[usize], named: bool) -> Vec<String> {
    let cards: Vec<Card> = interfaces.iter().filter_map(|name| Card::read(root, name)).collect();
    if cards.is_empty() {
        return Vec::new();
    }
    let mut advice = Vec::new();
    for card in &cards {
        queues(card, cores, &mut advice);
        interrupts(card, cores, &mut advice);
        steering(root, card, cores, &mut advice);
        memory(card, cores, &mut advice);
    }
    machine(root, &cards, cores, named, &mut advice);
    advice
}

fn queues(card: &Card, cores: &[usize], advice: &mut Vec<String>) {
    let (name, queues, shards) = (&card.name, card.receive_queues, cores.len());
    if queues != shards {
        advice.push(format!(
            "{name} has {queues} receive queue{}, media has {shards} shard{}: one queue for each shard spreads the work \
             of receiving evenly; see ethtool -l {name}, then ethtool -L {name} combined {shards}",
            plural(queues),
            plural(shards)
        ));
    }
    if queues > 1 {
        advice.push(format!(
            "{name}: a carrier sends from few addresses, so its packets should be spread by port too: \
             ethtool -n {name} rx-flow-hash udp4, and if no L4 bytes are named, ethtool -N {name} rx-flow-hash udp4 sdfn"
        ));
    }
}

/// The interrupt of queue N belongs on the core of shard N.
fn interrupts(card: &Card, cores: &[usize], advice: &mut Vec<String>) {
    let misplaced: Vec<String> = card
        .interrupts
        .iter()
        .zip(cores.iter().cycle())
        .filter(|(interrupt, core)| interrupt.cores != BTreeSet::from([**core]))
        .map(|(interrupt, core)| format!("echo {core} > /proc/irq/{}/smp_affinity_list", interrupt.number))
        .collect();
    if !misplaced.is_empty() {
        let name = &card.name;
        advice.push(format!("{name}: queue N is to be received on the core of shard N: {}", misplaced.join("; ")));
    }
    if card.threaded {
        let name = &card.name;
        let list: Vec<String> = cores.iter().map(ToString::to_string).collect();
        advice.push(format!(
            "{name} is received in kernel threads, which run anywhere: pin each with taskset -p, one of napi/{name}-* \
             on each of the cores {}",
            list.join(", ")
        ));
    }
}

/// Receive and transmit steering in software (RPS, XPS).
fn steering(root: &Path, card: &Card, cores: &[usize], advice: &mut Vec<String>) {
    let name = &card.name;
    let path = root.join("sys/class/net").join(name).join("queues");
    let all = mask(cores);
    for queue in 0..card.receive_queues {
        let Some(set) = text(&path.join(format!("rx-{queue}/rps_cpus"))) else { continue };
        let is_set = set.chars().any(|c| !matches!(c, '0' | ','));
        if card.receive_queues >= cores.len() && is_set {
            advice.push(format!(
                "{name}: rps_cpus of queue {queue} moves packets to other cores, with a queue for each there is no need: \
                 echo 0 > /sys/class/net/{name}/queues/rx-{queue}/rps_cpus"
            ));
        } else if card.receive_queues < cores.len() && !is_set {
            advice.push(format!(
                "{name}: if it cannot have more queues, let the shards' cores share the work of receiving: \
                 echo {all} > /sys/class/net/{name}/queues/rx-{queue}/rps_cpus"
            ));
        }
    }
    if card.transmit_queues >= cores.len() && card.transmit_queues > 1 {
        for (queue, core) in cores.iter().enumerate() {
            let own = mask(&[*core]);
            let file = format!("tx-{queue}/xps_cpus");
            if text(&path.join(&file)).is_some_and(|set| set.trim_start_matches(['0', ',']) != own) {
                advice.push(format!(
                    "{name}: shard {queue} is to send by a queue of its own: echo {own} > /sys/class/net/{name}/queues/{file}"
                ));
            }
        }
    }
}

/// Buffers are on the node of the shard's core, so that should be the card's.
fn memory(card: &Card, cores: &[usize], advice: &mut Vec<String>) {
    let Some(near) = &card.near else { return };
    let far: Vec<String> = cores.iter().filter(|core| !near.contains(core)).map(ToString::to_string).collect();
    if !far.is_empty() {
        let name = &card.name;
        advice.push(format!(
            "media.cores: {} on another memory node than {name}, so each packet crosses between them: choose from {}",
            if far.len() == 1 { format!("core {} is", far[0]) } else { format!("cores {} are", far.join(", ")) },
            ranges(near)
        ));
    }
}

fn machine(root: &Path, cards: &[Card], cores: &[usize], named: bool, advice: &mut Vec<String>) {
    let processes = names(&root.join("proc"));
    let is_irqbalance = |id: &String| {
        id.parse::<u32>().is_ok() && text(&root.join("proc").join(id).join("comm")).as_deref() == Some("irqbalance")
    };
    if cards.iter().any(|card| !card.interrupts.is_empty()) && processes.iter().any(is_irqbalance) {
        advice.push("irqbalance is running and moves interrupts again: systemctl disable --now irqbalance".into());
    }
    if named {
        let isolated = core_list(&text(&root.join("sys/devices/system/cpu/isolated")).unwrap_or_default());
        let open: BTreeSet<usize> = cores.iter().copied().filter(|core| !isolated.contains(core)).collect();
        if !open.is_empty() {
            advice.push(format!(
                "other processes may run on the shards' cores {0}: keep them away with AllowedCPUs= of their systemd \
                 slices, or isolcpus={0} on the kernel's command line",
                ranges(&open)
            ));
        }
    }
    let backlog = text(&root.join("proc/sys/net/core/netdev_max_backlog")).and_then(|text| text.parse::<u64>().ok());
    if let Some(backlog) = backlog.filter(|backlog| *backlog < WANTED_BACKLOG) {
        advice.push(format!(
            "net.core.netdev_max_backlog is {backlog}: bursts above that are lost where packets change cores; install \
             deploy/sysctl/90-moorline.conf"
        ));
    }
}

/// The cores as the kernel's masks are written: hexadecimal, groups of 32.
fn mask(cores: &[usize]) -> String {
    let words = cores.iter().max().map_or(1, |core| core / 32 + 1);
    let word =
        |index: usize| cores.iter().filter(|core| *core / 32 == index).fold(0u32, |bits, core| bits | 1 << (core % 32));
    let mut text = format!("{:x}", word(words - 1));
    for index in (0..words - 1).rev() {
        text += &format!(",{:08x}", word(index));
    }
    text
}

/// Cores as people write them: `0-3,8`.
fn ranges(cores: &BTreeSet<usize>) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &core in cores {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == core => *last = core,
            _ => runs.push((core, core)),
        }
    }
    let run = |(first, last): (usize, usize)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    runs.into_iter().map(run).collect::<Vec<_>>().join(",")
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

#[cfg(test)]
mod tests;
