use super::*;

#[test]
fn a_slot_is_its_word() {
    for slot in [
        Slot::default(),
        Slot { shard: Some(0), flow: None },
        Slot { shard: None, flow: Some(0) },
        Slot { shard: Some(63), flow: Some(MAX_FLOWS - 1) },
    ] {
        assert_eq!(Slot::of(slot.word()), slot);
    }
    assert_eq!(Slot::default().word(), 0);
    assert_eq!(Slot { shard: Some(1), flow: Some(MAX_FLOWS) }.word(), 2 << 24, "no such flow");
}

#[test]
fn what_is_told_is_its_words() {
    let mut words = [0; 32];
    (0..).zip(&mut words).for_each(|(n, word): (u32, &mut u32)| *word = 0x0102_0304 + n * 0x0111_1111);
    let told = Told::of(&words);
    assert_eq!(told.words(), words);
    assert_eq!((told.armed, told.epoch, told.jitter), (words[1], words[2], words[31]));
    assert_ne!(told.wish, told.version);
}

#[test]
fn what_is_seen_is_its_words() {
    let seen = Seen::of(&core::array::from_fn(|n| ((2 * n as u64 + 1) << 32) | (2 * n as u64)));
    assert_eq!((seen.passed, seen.relaying, seen.epoch, seen.sequence), (0, 1, 2, 3));
    assert_eq!((seen.packets, seen.last_seen), ((5 << 32) | 4, (9 << 32) | 8));
    assert_eq!((seen.skipped, seen.duplicates, seen.came, seen.jitter), (10, 13, 14, 17));
    assert_eq!((seen.window, seen.longest_gap, seen.takeovers, seen.length), (18, 21, 28, 29));
}

#[test]
fn rtcp_and_what_is_short_are_no_rtp() {
    let datagram = |first, second| {
        let mut bytes = [0; 12];
        (bytes[0], bytes[1]) = (first, second);
        bytes
    };
    for (first, second) in [(0x80, 0), (0xbf, 255), (0x80, 191), (0x80, 224)] {
        assert!(is_rtp(&datagram(first, second)), "{first} {second}");
    }
    for (first, second) in [(0x80, 192), (0x81, 200), (0x80, 223), (0x00, 0), (0xc0, 0), (0x7f, 0)] {
        assert!(!is_rtp(&datagram(first, second)), "{first} {second}");
    }
    assert!(!is_rtp(&datagram(0x80, 0)[..11]) && !is_rtp(&[]));
}
