use super::*;

#[test]
fn private_addresses_are_those_that_nat_hides() {
    for (address, private) in [
        ("10.1.2.3", true),
        ("172.16.0.1", true),
        ("172.32.0.1", false),
        ("192.168.7.7", true),
        ("100.64.0.1", true),
        ("100.128.0.1", false),
        ("169.254.1.1", true),
        ("47.103.169.65", false),
        ("fd00::1", true),
        ("2001:db8::1", false),
        ("fe80::1", true),
    ] {
        assert_eq!(is_private(address.parse().unwrap()), private, "{address}");
    }
}

#[test]
fn descriptions_that_cannot_be_anchored_say_why() {
    let read = |sdp: &str| remotes(&Session::parse(sdp.as_bytes()).unwrap());
    let head = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";
    let chat = read(&format!("{head}m=message 4000 TCP/MSRP *\r\n")).unwrap_err();
    assert_eq!(chat.0, "Not Acceptable Here - media 1 is neither RTP nor fax");
    assert_eq!(read(&format!("{head}m=image 4000 UDPTL t38\r\n")).unwrap()[0].profile, Profile::Udptl);
    let named =
        read(&format!("{}m=audio 4000 RTP/AVP 0\r\n", head.replace("c=IN IP4 192.0.2.1", "c=IN IP4 host.example")));
    assert_eq!(named.unwrap_err().0, "Not Acceptable Here - media 1 names no IP address");
    let many = read(&format!("{head}{}", "m=audio 4000 RTP/AVP 0\r\n".repeat(9)));
    assert_eq!(many.unwrap_err().0, "Not Acceptable Here - more than 8 media");
    let beside = read(&format!("{head}m=message 4000 TCP/MSRP *\r\nm=audio 4000 RTP/AVP 0\r\n")).unwrap();
    assert_eq!(beside.iter().map(|stream| stream.active).collect::<Vec<_>>(), [false, true]);
    let refused = read(&format!("{head}m=message 4000 TCP/MSRP *\r\nm=audio 0 RTP/AVP 0\r\n"));
    assert_eq!(refused.unwrap_err().0, "Not Acceptable Here - media 1 is neither RTP nor fax");
    // What is refused already may be anything.
    assert!(!read(&format!("{head}m=image 0 udptl t38\r\n")).unwrap()[0].active);
}

fn audio(formats: &str, attributes: &str) -> Remote {
    let head = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";
    let sdp = format!("{head}m=audio 4000 RTP/AVP {formats}\r\n{attributes}");
    remotes(&Session::parse(sdp.as_bytes()).unwrap()).unwrap().remove(0)
}

fn format(payload_type: u8, codec: Codec, clock_rate: u32) -> Format {
    Format { payload_type, codec, clock_rate }
}

#[test]
fn only_formats_that_say_something_are_kept() {
    let attributes = "a=rtpmap:0 PCMU/8000\r\na=rtpmap:9 G722/8000\r\na=rtpmap:111 opus/48000/2\r\n\
        a=rtpmap:97 X-OWN/8000\r\na=rtpmap:98 L16/16000\r\na=rtpmap:101 telephone-event/8000\r\n\
        a=rtpmap:8 G729/8000\r\n";
    let expected = [
        format(111, Codec::Opus, 48_000),
        format(98, Codec::Other, 16_000),
        format(101, Codec::TelephoneEvent, 8_000),
        format(8, Codec::G729, 8_000),
    ];
    assert_eq!(audio("0 9 111 97 98 101 8", attributes).formats, expected);
    let many: String = (96..128).map(|number| format!("a=rtpmap:{number} opus/48000\r\n")).collect();
    assert_eq!(audio("96", &many).formats.len(), MAX_FORMATS);
}

#[test]
fn a_party_sends_by_the_numbers_of_the_other() {
    let a = audio("111 101", "a=rtpmap:111 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n");
    let b = audio("96 111", "a=rtpmap:96 opus/48000/2\r\na=rtpmap:111 telephone-event/8000\r\n");
    let from_a = [
        format(96, Codec::Opus, 48_000),
        format(111, Codec::TelephoneEvent, 8_000),
        format(101, Codec::TelephoneEvent, 8_000),
    ];
    assert_eq!(formats_from(Some(&a), Some(&b)), from_a);
    assert_eq!(formats_from(Some(&a), None), a.formats);
    assert_eq!(formats_from(None, None), []);
}

#[test]
fn who_is_to_be_silent_follows_from_both_directions() {
    for (attribute, silent, held) in
        [("sendrecv", false, false), ("sendonly", false, true), ("recvonly", true, false), ("inactive", true, true)]
    {
        let remote = audio("0", &format!("a={attribute}\r\n"));
        assert_eq!((remote.silent, remote.held), (silent, held), "{attribute}");
    }
}
