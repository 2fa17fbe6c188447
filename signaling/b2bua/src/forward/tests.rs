use super::*;

fn hop() -> String {
    "198.51.100.20:5070".parse().unwrap()
}

fn shown(header: &str) -> String {
    let original = NameAddr::parse(header.as_bytes()).unwrap();
    String::from_utf8(party(&original, &hop(), false)).unwrap()
}

#[test]
fn a_party_keeps_its_name_user_and_parameters_but_not_its_host() {
    assert_eq!(
        shown("\"A, \\\"B\\\" C\" <sip:+123;isub=1@10.0.0.1:5060;user=phone>;tag=x;x-p=\"a;b\";flag"),
        "\"A, \\\"B\\\" C\" <sip:+123;isub=1@198.51.100.20:5070;user=phone>;x-p=\"a;b\";flag"
    );
    // Quotes that are missing are put in (RFC 4475 3.1.2.15).
    assert_eq!(shown("Bob (work) <sip:bob@host.example>"), "\"Bob (work)\" <sip:bob@198.51.100.20:5070>");
    assert_eq!(shown("sip:bob@host.example;tag=1"), "<sip:bob@198.51.100.20:5070>");
    assert_eq!(shown("<sip:host.example>"), "<sip:198.51.100.20:5070>");
    assert_eq!(shown("<tel:+123;phone-context=example.com>;tag=1"), "<tel:+123;phone-context=example.com>");
}

#[test]
fn a_request_uri_keeps_what_names_the_called_party() {
    let at = |uri: &str| String::from_utf8(request_uri(uri.as_bytes(), &hop(), false)).unwrap();
    assert_eq!(at("sip:555@10.0.0.1;user=phone;transport=tcp;lr;x=y"), "sip:555@198.51.100.20:5070;user=phone;x=y");
    assert_eq!(at("tel:+4930123"), "sip:+4930123@198.51.100.20:5070;user=phone");
    assert_eq!(at("sip:10.0.0.1"), "sip:198.51.100.20:5070");
    assert_eq!(at("sips:555@10.0.0.1;transport=tcp"), "sips:555@198.51.100.20:5070");
    assert_eq!(request_uri(b"tel:+1", &hop(), true), b"sips:+1@198.51.100.20:5070;user=phone");
}
