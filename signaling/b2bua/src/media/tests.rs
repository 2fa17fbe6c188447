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
    // What is refused already may be anything.
    assert!(!read(&format!("{head}m=image 0 udptl t38\r\n")).unwrap()[0].active);
}
