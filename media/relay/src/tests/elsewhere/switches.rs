//! From the relay to the program and back, while packets are on the way between the two.

use super::*;

/// 5,000 packets a second.
const SPACING: u64 = 200_000;

fn fast() -> SessionSpec {
    let ceiling = Some(moorline_control::Ceiling { packets_per_s: 20_000, bytes_per_s: 20_000_000 });
    call(StreamSpec { ceiling, ..stream(Some(ALICE)) }, stream(Some(BOB)))
}

fn numbers(net: &Net) -> Vec<u16> {
    net.left.iter().map(|(_, _, packet)| u16::from_be_bytes([packet[2], packet[3]])).collect()
}

/// So many packets, and the relay takes each in its turn.
fn stream_on(net: &mut Net, packets: usize) {
    for _ in 0..packets {
        net.say(0, 0);
        net.work();
        net.world.pass(SPACING);
    }
}

#[test]
fn a_hundred_switches_with_a_stalled_relay_lose_and_reorder_nothing() {
    let mut net = Net::of(true, &fast());
    stream_on(&mut net, 3_000);
    let mut taken_over = 0;
    for _ in 0..100 {
        let before = net.elsewhere;
        stream_on(&mut net, 50);
        taken_over += usize::from(net.elsewhere > before);
        // Of another payload type: it comes up, and all behind it until the relay has dealt with it, 5 ms later.
        net.say(0, 13);
        for _ in 0..25 {
            net.world.pass(SPACING);
            net.say(0, 0);
        }
        assert_eq!(net.rising.len(), 26);
        net.work();
    }
    assert_eq!(taken_over, 100);
    let sent = 3_000 + 100 * 76;
    assert_eq!(numbers(&net), (0..sent as u16).collect::<Vec<_>>());
    let report = net.report(0);
    assert_eq!((report.packets, report.lost, report.reordered, report.duplicates), (sent, 0, 0, 0));
}

#[test]
fn a_flow_goes_over_only_when_nothing_is_on_the_way() {
    let mut net = Net::new(true);
    net.talk(0, 50);
    let before = net.elsewhere;
    net.say(0, 13);
    net.world.pass(20 * MS);
    net.say(0, 0);
    // The relay takes one of the two.
    let second = net.rising.pop().unwrap();
    net.work();
    net.say(0, 0);
    net.rising.insert(0, second);
    net.work();
    assert_eq!(net.elsewhere, before, "one was on the way");
    net.say(0, 0);
    net.work();
    net.say(0, 0);
    assert!(net.elsewhere > before);
    assert_eq!(numbers(&net), (0..net.left.len() as u16).collect::<Vec<_>>());
}

#[test]
fn packets_lost_on_the_way_up_keep_a_flow_from_the_driver_for_a_second() {
    let mut net = Net::new(true);
    net.talk(0, 50);
    net.say(0, 13);
    net.rising.clear();
    net.world.pass(20 * MS);
    let before = net.elsewhere;
    net.talk(0, 40);
    assert_eq!(net.elsewhere, before, "the lost one may still come");
    net.talk(0, 40);
    assert!(net.elsewhere > before + 20, "it is lost: the flow goes over again");
    assert_eq!(net.report(0).lost, 1);
}

#[test]
fn a_flow_that_joins_late_is_not_taken_over_before_what_came_earlier() {
    let mut net = Net::new(true);
    // Early media: passed up before anybody receives it.
    (0..5).for_each(|_| net.say(0, 0));
    net.rising.clear();
    net.talk(0, 100);
    assert!(net.elsewhere > 20);
    assert_eq!(numbers(&net), (5..105).collect::<Vec<_>>());
}

#[test]
fn a_program_without_room_is_asked_again() {
    let mut net = Net::new(true);
    net.program().full = true;
    net.talk(0, 100);
    assert_eq!((net.elsewhere, net.report(0).packets), (0, 100));
    net.program().full = false;
    net.talk(0, 100);
    assert!(net.elsewhere > 50);
    assert_eq!(net.report(0).packets, 200);
    assert!(net.program().passed() < 200);
}
