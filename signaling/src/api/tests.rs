use std::collections::BTreeSet;

use moorline_b2bua::cdr::{Record, Time, Try};
use moorline_b2bua::inspect::{CallState, HopReach, RegistrationState, TargetReach, TrunkReach};

use super::*;
use crate::command::{
    CallCounts, CallDetail, CallRow, CallsReply, DirectionReply, DrainReply, HungUpReply, ListReply, ListedRow,
    ListenerReply, RecordsReply, SinkReply, StatusReply, StreamFigures, TrunkReply, TrunkState, UserReply,
};
use crate::reload::{Change, ConfigurationReply, ReloadReply, TakenOverBy};

fn document() -> Value {
    serde_json::from_str(OPENAPI).expect("JSON")
}

/// What a reference stands for.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).expect("what is referred to is there"),
        None => schema,
    }
}

/// That a value is as a schema says, with every field that this documents somewhere in it.
fn fits(document: &Value, schema: &Value, value: &Value, at: &str, seen: &mut BTreeSet<String>) {
    let name = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()).unwrap_or(at).to_owned();
    let schema = resolved(document, schema);
    let types: Vec<&str> = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_u64() && !types.contains(&"number") => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(types.contains(&is), "{at} is {value}, and should be {types:?}");
    if let Some(names) = schema["enum"].as_array() {
        assert!(names.contains(value), "{at} is {value}");
    }
    for item in value.as_array().into_iter().flatten() {
        fits(document, &schema["items"], item, &format!("{at}[]"), seen);
    }
    let Some(fields) = value.as_object() else { return };
    let Some(properties) = schema["properties"].as_object() else {
        fields.values().for_each(|value| fits(document, &schema["additionalProperties"], value, at, seen));
        return;
    };
    for (field, value) in fields {
        let documented = properties.get(field).unwrap_or_else(|| panic!("{at}.{field} is not documented"));
        seen.insert(format!("{name}.{field}"));
        fits(document, documented, value, &format!("{at}.{field}"), seen);
    }
    for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        assert!(fields.contains_key(required), "{at} lacks {required}");
    }
}

/// Every field of the answers, with something in it.
fn answers() -> Vec<(&'static str, &'static str, Reply)> {
    let at = "192.0.2.1:5060".parse().ok();
    let time = Time { unix_ms: 1_700_000_000_000 };
    let status = StatusReply {
        version: "1".into(),
        node: 1,
        started: time,
        uptime_s: 1,
        workers: 1,
        draining: false,
        shut: false,
        media_connected: true,
        calls: CallCounts { now: 1, peak: 1, attempts: 1, admitted: 1, answered: 1 },
        subscriptions: 1,
        bindings: 1,
        targets_resting: 1,
        listeners: vec![ListenerReply { listener: "local".into(), bind: at.expect("an address") }],
        records: Some(RecordsReply {
            failing: false,
            lost: 1,
            sinks: vec![SinkReply { sink: "json".into(), failing: false, waiting: 1 }],
        }),
        configuration: ConfigurationReply { source: "/etc/moorline.toml".into(), since: time, by: TakenOverBy::Reload },
    };
    let hop = HopReach { address: at.expect("an address"), rests_ms: Some(1) };
    let reach = TrunkReach {
        trunk: "carrier".into(),
        listener: "local".into(),
        targets: vec![TargetReach { target: "carrier.example".into(), hops: vec![hop] }],
        registration: Some(RegistrationState { registered: true, expires_in_ms: Some(1), failures: 0 }),
    };
    let trunks =
        vec![TrunkState { reach, arrears: false, users_in_arrears: 1, calls_in: 1, calls_out: 1, leaving: true }];
    let row = CallRow {
        call: "1".into(),
        state: CallState::Up,
        since: time,
        seconds: 1,
        from: "pbx".into(),
        to: "carrier".into(),
        caller: "1".into(),
        called: "2".into(),
        called_sent: "2".into(),
    };
    let stream = StreamFigures {
        source: at,
        codec: Some("PCMA".into()),
        payload_type: Some(8),
        packets: 1,
        bytes: 1,
        lost: 1,
        refused: 1,
        jitter_us: 1,
        mos: Some(4.3),
    };
    let mut record = Record { ring: Some(time), tries: vec![Try::default()], ..Record::default() };
    record.caller.media.mos = Some(4.3);
    let call = CallDetail {
        state: CallState::Up,
        seconds: 1,
        ends_in_s: Some(1),
        caller_session_s: Some(1800),
        callee_session_s: Some(1800),
        record,
        media: Some(vec![vec![stream], Vec::new()]),
        media_fault: Some("why".into()),
    };
    let direction = DirectionReply {
        calls: 1,
        peak: 1,
        callers: 1,
        limits: [("calls".to_owned(), "5".to_owned())].into(),
        refused: [("calls".to_owned(), 1)].into(),
    };
    let limits = TrunkReply {
        trunk: "pbx".into(),
        arrears: false,
        users_in_arrears: 1,
        users: vec![UserReply { user: "6000".into(), arrears: true, configured: Some(false) }],
        inbound: direction.clone(),
        outbound: direction,
        set: [("inbound.calls".to_owned(), "5".to_owned())].into(),
    };
    let listed = ListedRow { caller: "1".into(), called: "*".into(), from: Some("pbx".into()), percent: Some(50) };
    let list = ListReply { rows: vec![listed], next: Some(1) };
    let done = Reply::Done { kept: true, replaced: false };
    let drain = DrainReply { draining: true, calls: 1 };
    let change = Change { key: "signaling.trunks[a]".into(), before: Some("1".into()), after: Some("2".into()) };
    let reload = ReloadReply {
        configuration: "/etc/moorline.toml".into(),
        applied: true,
        changes: vec![change],
        more: 1,
        refused: vec!["why".into()],
        notes: vec!["what else".into()],
    };
    vec![
        ("status", "get", Reply::Status(Box::new(status))),
        ("trunks", "get", Reply::Trunks(trunks)),
        ("calls", "get", Reply::Calls(CallsReply { calls: vec![row], next: Some("1-1".into()) })),
        ("calls/{call}", "get", Reply::Call(Box::new(call))),
        ("calls/{call}", "delete", Reply::HungUp(HungUpReply { call: "1".into() })),
        ("drain", "get", Reply::Drain(drain.clone())),
        ("drain", "put", Reply::Drain(drain)),
        ("limits", "get", Reply::Limits(vec![limits])),
        ("limits/{trunk}", "patch", done.clone()),
        ("limits/{trunk}/users/{user}", "patch", done.clone()),
        ("blacklist", "get", Reply::List(list.clone())),
        ("blacklist", "post", done.clone()),
        ("blacklist", "delete", done.clone()),
        ("whitelist", "get", Reply::List(list)),
        ("whitelist", "post", done.clone()),
        ("whitelist", "delete", done),
        ("reload", "post", Reply::Reload(reload.clone())),
        ("rollback", "post", Reply::Reload(reload)),
    ]
}

/// Every operation of the document: its path below the root, and its method.
fn operations(document: &Value) -> Vec<(String, String)> {
    let paths = document["paths"].as_object().expect("paths");
    let operations = paths.iter().flat_map(|(path, methods)| {
        let path = path.strip_prefix(ROOT).expect("below the root").to_owned();
        methods.as_object().expect("methods").keys().map(move |method| (path.clone(), method.clone()))
    });
    operations.collect()
}

#[test]
fn every_answer_is_as_documented_and_every_documented_field_is_answered() {
    let document = document();
    let mut seen = BTreeSet::new();
    let answers = answers();
    for (path, method, reply) in &answers {
        let operation = &document["paths"][format!("{ROOT}{path}")][method];
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        assert!(!schema.is_null(), "{method} {path} is not documented");
        fits(&document, schema, &content(reply), path, &mut seen);
    }
    for (path, method) in operations(&document) {
        assert!(
            answers.iter().any(|known| (known.0, known.1) == (&*path, &*method)),
            "{method} {path} is not answered"
        );
    }
    let error = json!({ "error": "why" });
    fits(&document, &json!({ "$ref": "#/components/schemas/Error" }), &error, "error", &mut seen);
    let drain = json!({ "draining": true });
    fits(&document, &json!({ "$ref": "#/components/schemas/DrainWanted" }), &drain, "drain", &mut seen);
    let reload = json!({ "dry_run": true });
    fits(&document, &json!({ "$ref": "#/components/schemas/ReloadWanted" }), &reload, "reload", &mut seen);
    for path in ["reload", "rollback"] {
        let refused = &document["paths"][format!("{ROOT}{path}")]["post"]["responses"]["409"];
        let schema = &resolved(&document, refused)["content"]["application/json"]["schema"];
        let (_, _, reply) = answers.iter().find(|(known, ..)| *known == path).expect("an answer");
        fits(&document, schema, &content(reply), path, &mut seen);
        assert_eq!(status(reply), StatusCode::CONFLICT);
    }
    for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
        for field in schema["properties"].as_object().into_iter().flat_map(|fields| fields.keys()) {
            assert!(seen.contains(&format!("{name}.{field}")), "{name}.{field} is documented, and never answered");
        }
    }
}

#[test]
fn every_documented_operation_is_taken_with_its_parameters_and_no_others() {
    let document = document();
    let mut taken = BTreeSet::new();
    for (path, method) in operations(&document) {
        let operation = &document["paths"][format!("{ROOT}{path}")][&method];
        let query: Vec<String> = operation["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|parameter| parameter["in"] == "query")
            .map(|parameter| match parameter["name"].as_str().expect("a name") {
                "state" => "state=up".to_owned(),
                name => format!("{name}=1"),
            })
            .collect();
        let body = match method.as_str() {
            "put" => r#"{"draining":true}"#,
            "patch" => r#"{"inbound.calls":"7"}"#,
            "post" if path.starts_with("re") || path.starts_with("ro") => r#"{"dry_run":true}"#,
            "post" => r#"{"caller":"1"}"#,
            _ => "",
        };
        let (upper, sample) = (method.to_uppercase(), path.replace(['{', '}'], ""));
        let request = asked(&upper, &sample, &query.join("&"), body.as_bytes());
        assert!(request.is_ok(), "{method} {path}: {request:?}");
        let unknown = asked(&upper, &sample, "unheard=1", body.as_bytes()).expect_err("refused");
        assert_eq!(unknown.status, StatusCode::BAD_REQUEST, "{method} {path}");
        taken.insert((path, upper));
    }
    let known = RESOURCES.iter().flat_map(|(path, methods)| methods.split(", ").map(move |method| (path, method)));
    let known: BTreeSet<_> = known.map(|(path, method)| ((*path).to_owned(), method.to_owned())).collect();
    assert_eq!(taken, known);
}

/// Who makes requests by the document alone makes none that is refused for its form.
#[test]
fn what_a_parameter_or_a_row_may_say_is_documented() {
    let document = document();
    for (path, method) in operations(&document) {
        let operation = &document["paths"][format!("{ROOT}{path}")][&method];
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let schema = &parameter["schema"];
            match parameter["name"].as_str().expect("a name") {
                "call" => assert_eq!(schema["pattern"], "^[0-9a-f]{22}$", "{method} {path}"),
                "caller" | "called" => assert_eq!(schema["minLength"], 1, "{method} {path}"),
                "from" if schema["type"] == "integer" => {
                    let most = schema["maximum"].as_u64().expect("a bound");
                    assert!(asked("GET", &path, &format!("from={most}"), b"").is_ok(), "{path}");
                    assert!(asked("GET", &path, &format!("from={}0", u64::MAX), b"").is_err(), "{path}");
                }
                _ => {}
            }
        }
    }
    let row = &document["components"]["schemas"]["Row"]["properties"];
    assert_eq!([&row["caller"]["minLength"], &row["called"]["minLength"]], [1, 1]);
    assert_eq!([&row["percent"]["minimum"], &row["percent"]["maximum"]], [1, 100]);
}

#[test]
fn what_is_not_there_or_not_understood_is_refused() {
    let status = |method: &str, path: &str, query: &str, body: &str| {
        asked(method, path, query, body.as_bytes()).expect_err("refused").status
    };
    assert_eq!(status("GET", "nothing", "", ""), StatusCode::NOT_FOUND);
    assert_eq!(status("GET", "calls/1/2", "", ""), StatusCode::NOT_FOUND);
    assert_eq!(status("POST", "calls/1", "", ""), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(asked("POST", "calls/1", "", b"").expect_err("refused").allow, Some("GET, DELETE"));
    for (method, path, query, body) in [
        ("GET", "calls", "limit=many", ""),
        ("GET", "calls", "state=asleep", ""),
        ("GET", "calls", "trunk=a&trunk=b", ""),
        ("GET", "calls", "trunk=%zz", ""),
        ("GET", "calls", "trunk=%ff", ""),
        ("GET", "calls/%2", "", ""),
        ("PUT", "drain", "", "true"),
        ("PUT", "drain", "", r#"{"draining":true,"wait":1}"#),
        ("POST", "blacklist", "", "[]"),
        ("POST", "reload", "", "[]"),
        ("POST", "reload", "dry_run=true", ""),
        ("POST", "rollback", "", r#"{"dry_run":1}"#),
        ("POST", "rollback", "", r#"{"try":true}"#),
        ("POST", "blacklist", "", r#"{"caller":["1"]}"#),
        ("PATCH", "limits/pbx", "", r#"[["inbound.calls","7"]]"#),
        ("PATCH", "limits/pbx", "", r#"{"inbound.calls":7}"#),
    ] {
        assert_eq!(status(method, path, query, body), StatusCode::BAD_REQUEST, "{method} {path}?{query} {body}");
    }
    assert_eq!(asked("POST", "reload", "", b"").expect("taken"), Request::Reload { dry_run: false });
    assert_eq!(
        asked("POST", "rollback", "", br#"{"dry_run":true}"#).expect("taken"),
        Request::Rollback { dry_run: true }
    );
    let request = asked("PATCH", "limits/pbx/users/60%2B00", "", br#"{"arrears":"true"}"#).expect("taken");
    let values = [("arrears".to_owned(), "true".to_owned())].into();
    assert_eq!(request, Request::LimitsSet { trunk: "pbx".into(), user: Some("60+00".into()), values });
    let request = asked("GET", "calls", "number=+8610&trunk=a%20%2Fb", b"").expect("taken");
    let Request::Calls { number, trunk, .. } = request else { panic!("calls were asked for") };
    assert_eq!((number.as_deref(), trunk.as_deref()), (Some("+8610"), Some("a /b")));
}

#[test]
fn only_who_shows_the_token_is_answered_and_changes_need_more() {
    let headers = |value: Option<&str>| {
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).expect("a value"));
        }
        headers
    };
    let judged =
        |guard: &Guard, value, changes| guard.judge(&headers(value), changes).map_err(|refused| refused.status);
    let token = |write| Guard::Token { token: "0123456789abcdef".into(), write };
    let (denied, forbidden) = (Err(StatusCode::UNAUTHORIZED), Err(StatusCode::FORBIDDEN));
    for value in [None, Some("Bearer"), Some("Bearer "), Some("Bearer 0123456789abcdeg"), Some("0123456789abcdef")] {
        assert_eq!(judged(&token(true), value, false), denied, "{value:?}");
        assert_eq!(judged(&Guard::Shut, value, false), forbidden, "{value:?}");
        assert_eq!(judged(&Guard::Open, value, true), Ok(()), "{value:?}");
    }
    let right = Some("bearer 0123456789abcdef");
    assert_eq!(judged(&token(false), right, false), Ok(()));
    assert_eq!(judged(&token(false), right, true), forbidden);
    assert_eq!(judged(&token(true), right, true), Ok(()));
}
