use std::fs::{create_dir_all, write};

use super::*;

/// A machine of two nodes with four cores each, and a card on the first with as many queues as given.
fn machine_with(queues: usize) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    put(&root, "sys/devices/system/node/node0/cpulist", "0-3");
    put(&root, "sys/devices/system/node/node1/cpulist", "4-7");
    put(&root, "sys/devices/system/cpu/isolated", "");
    put(&root, "sys/class/net/eth1/device/numa_node", "0");
    put(&root, "sys/class/net/eth1/threaded", "0");
    put(&root, "proc/sys/net/core/netdev_max_backlog", "8192");
    let mut table = String::from("           CPU0       CPU1\n");
    for queue in 0..queues {
        let number = 40 + queue;
        put(&root, &format!("sys/class/net/eth1/queues/rx-{queue}/rps_cpus"), "00");
        put(&root, &format!("sys/class/net/eth1/queues/tx-{queue}/xps_cpus"), &format!("{:02x}", 1 << queue));
        put(&root, &format!("sys/class/net/eth1/device/msi_irqs/{number}"), "msix");
        put(&root, &format!("proc/irq/{number}/smp_affinity_list"), &queue.to_string());
        table += &format!(" {number}:   7   0   PCI-MSIX-0000:00:05.0   {queue}-edge      eth1-TxRx-{queue}\n");
    }
    put(&root, "proc/interrupts", &(table + "NMI:   0   0   Non-maskable interrupts\n"));
    root
}

fn put(root: &tempfile::TempDir, path: &str, text: &str) {
    let path = root.path().join(path);
    create_dir_all(path.parent().unwrap()).unwrap();
    write(path, format!("{text}\n")).unwrap();
}

fn advice_of(root: &tempfile::TempDir, cores: &[usize], named: bool) -> String {
    advice(root.path(), &BTreeSet::from(["eth1".to_owned()]), cores, named).join("\n")
}

#[test]
fn a_card_with_a_queue_for_each_shard_on_its_core_needs_only_its_hash_looked_at() {
    let root = machine_with(4);
    let lines = advice(root.path(), &BTreeSet::from(["eth1".to_owned()]), &[0, 1, 2, 3], false);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("rx-flow-hash"));
}

#[test]
fn interrupts_are_sent_to_the_core_of_their_shard() {
    let root = machine_with(2);
    let text = advice_of(&root, &[2, 3], false);
    assert!(
        text.contains("echo 2 > /proc/irq/40/smp_affinity_list; echo 3 > /proc/irq/41/smp_affinity_list"),
        "{text}"
    );
    assert!(text.contains("echo 4 > /sys/class/net/eth1/queues/tx-0/xps_cpus"), "{text}");
    put(&root, "proc/irq/40/effective_affinity_list", "2");
    let text = advice_of(&root, &[2, 3], false);
    assert!(!text.contains("irq/40") && text.contains("irq/41"), "{text}");
}

#[test]
fn too_few_queues_are_added_to_or_shared() {
    let root = machine_with(1);
    let text = advice_of(&root, &[0, 1, 2], false);
    assert!(text.contains("1 receive queue, media has 3 shards") && text.contains("combined 3"), "{text}");
    assert!(text.contains("echo 7 > /sys/class/net/eth1/queues/rx-0/rps_cpus"), "{text}");
    put(&root, "sys/class/net/eth1/queues/rx-0/rps_cpus", "07");
    assert!(!advice_of(&root, &[0, 1, 2], false).contains("rps_cpus"));
    assert!(advice_of(&root, &[0], false).contains("echo 0 > /sys/class/net/eth1/queues/rx-0/rps_cpus"));
}

#[test]
fn shards_far_from_their_card_are_named() {
    let root = machine_with(2);
    let text = advice_of(&root, &[3, 4], false);
    assert!(text.contains("core 4 is on another memory node than eth1") && text.contains("choose from 0-3"), "{text}");
    assert!(advice_of(&root, &[4, 5], false).contains("cores 4, 5 are"));
}

#[test]
fn what_else_runs_on_the_machine_is_told() {
    let root = machine_with(2);
    put(&root, "proc/77/comm", "irqbalance");
    put(&root, "sys/class/net/eth1/threaded", "1");
    put(&root, "proc/sys/net/core/netdev_max_backlog", "1000");
    let text = advice_of(&root, &[0, 1], true);
    for part in ["irqbalance is running", "napi/eth1-*", "isolcpus=0-1", "netdev_max_backlog is 1000"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    put(&root, "sys/devices/system/cpu/isolated", "0-1");
    assert!(!advice_of(&root, &[0, 1], true).contains("isolcpus"));
}

#[test]
fn an_interface_without_a_card_needs_no_advice() {
    let root = machine_with(2);
    put(&root, "sys/class/net/lo/queues/rx-0/rps_cpus", "0");
    assert_eq!(advice(root.path(), &BTreeSet::from(["lo".to_owned(), "none".to_owned()]), &[0, 1], true), [""; 0]);
}

#[test]
fn masks_and_lists_are_written_as_the_kernel_does() {
    assert_eq!(
        (mask(&[0, 1, 4]), mask(&[33]), mask(&[31, 64])),
        ("13".into(), "2,00000000".into(), "1,00000000,80000000".into())
    );
    assert_eq!(core_list("0-2,8,x,5-"), BTreeSet::from([0, 1, 2, 8]));
    assert_eq!(ranges(&core_list("0-2,8")), "0-2,8");
}
