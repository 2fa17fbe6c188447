use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream as Client;
use std::path::{Path, PathBuf};
use std::thread;

use moorline_b2bua::Concurrency;
use tokio::task::{LocalSet, spawn_blocking};

use super::commands::PAGE;
use super::*;
use crate::Config;
use crate::admin::Sources;
use crate::config::ListRowConfig;
use crate::limits::Limits;
use crate::reload::tests::reload_of;

/// Serves commands while `client` runs, on a thread of its own.
fn with_server(client: impl FnOnce(PathBuf) + Send + 'static) {
    let calls = Arc::<Concurrency>::default();
    let config = r#"
        [[trunks]]
        name = "pbx"
        listener = "local"
        sources = ["127.0.0.0/8"]
        limits.inbound.calls = 5
        [trunks.authentication]
        realm = "phones.example"
        users = [{ name = "6000", password = "1234" }, { name = "6001", password = "4321", arrears = true }]
    "#;
    let config: Config = toml::from_str(config).expect("a configuration");
    let policy = config.policy().expect("no faults");
    let limits = Arc::new(Limits::open(&policy, config.lists(), 100, None).expect("limits"));
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("command.sock");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async move {
        let (_socket, listener) = CommandSocket::listen(&path).expect("a socket");
        assert_eq!(fs::metadata(&path).expect("a file").mode() & 0o777, 0o600);
        assert!(CommandSocket::listen(&path).is_err(), "it is served already");
        let listener = UnixListener::from_std(listener).expect("a listener");
        let reload = reload_of(&limits, &config);
        let sources = Sources {
            workers: Vec::new(),
            streams: Arc::default(),
            calls: Arc::clone(&calls),
            records: None,
            limits,
            reloads: reload.outcomes(),
            lost_lines: Arc::new(|| 0),
        };
        let server = spawn_local(serve(listener, Commands::new(sources, reload, &config)));
        let done = spawn_blocking(move || client(path));
        done.await.expect("the client is content");
        server.abort();
    });
}

fn row(caller: &str, percent: Option<u8>) -> ListRowConfig {
    ListRowConfig { caller: Some(caller.into()), called: None, from: None, percent }
}

fn said(path: &Path, request: &Request) -> Reply {
    ask(path, request).expect("an answer").0
}

fn error(path: &Path, request: &Request) -> String {
    match said(path, request) {
        Reply::Error(error) => error,
        other => panic!("an error was expected, not {other:?}"),
    }
}

#[test]
fn a_directory_that_is_made_for_it_can_be_entered_by_other_users() {
    let directory = tempfile::tempdir().expect("a directory");
    let run = directory.path().join("run");
    let _socket = CommandSocket::listen(&run.join("command.sock")).expect("a socket");
    assert_eq!(fs::metadata(&run).expect("a directory").mode() & 0o055, 0o055 & !umask());
}

/// What this process takes away from the modes of files that it makes.
fn umask() -> u32 {
    let status = fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:")).expect("its umask");
    u32::from_str_radix(line.trim(), 8).expect("octal digits")
}

#[test]
fn limits_are_shown_and_set() {
    with_server(|path| {
        let shown = |trunk: Option<&str>| match said(&path, &Request::LimitsShow { trunk: trunk.map(str::to_owned) }) {
            Reply::Limits(mut limits) => limits.remove(0),
            other => panic!("limits were expected, not {other:?}"),
        };
        assert_eq!(shown(None).inbound.limits["calls"], "5");
        let set = |key: &str, value: &str| Request::LimitsSet {
            trunk: "pbx".into(),
            user: None,
            values: [(key.to_owned(), value.to_owned()), ("arrears".into(), "true".into())].into(),
        };
        assert_eq!(said(&path, &set("inbound.calls", "7")), Reply::Done { kept: false, replaced: false });
        let after = shown(Some("pbx"));
        assert_eq!((after.inbound.limits["calls"].as_str(), after.arrears), ("7", true));
        assert_eq!(after.set["inbound.calls"], "5");
        assert!(error(&path, &set("inbound.call", "7")).contains("inbound.calls_per_second"));
        assert!(error(&path, &set("inbound.calls", "many")).contains("a whole number"));
        let unknown = Request::LimitsShow { trunk: Some("pbz".into()) };
        assert_eq!(error(&path, &unknown), "no trunk is called \"pbz\"; there are \"pbx\"");
    });
}

#[test]
fn of_a_user_it_is_said_whether_it_is_in_arrears() {
    with_server(|path| {
        let shown = || match said(&path, &Request::LimitsShow { trunk: None }) {
            Reply::Limits(mut limits) => limits.remove(0),
            other => panic!("limits were expected, not {other:?}"),
        };
        let set = |user: &str, values: &[(&str, &str)]| Request::LimitsSet {
            trunk: "pbx".into(),
            user: Some(user.into()),
            values: values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        };
        let user = |name: &str, arrears, configured| UserReply { user: name.into(), arrears, configured };
        assert_eq!((shown().users_in_arrears, shown().users), (1, vec![user("6001", true, None)]));
        let done = Reply::Done { kept: false, replaced: false };
        assert_eq!(said(&path, &set("6000", &[("arrears", "true")])), done);
        assert_eq!(said(&path, &set("6001", &[("arrears", "false")])), done);
        let expected = vec![user("6000", true, Some(false)), user("6001", false, Some(true))];
        assert_eq!((shown().users_in_arrears, shown().users, shown().arrears), (1, expected, false));
        // All or nothing.
        let wrong = error(&path, &set("6000", &[("arrears", "false"), ("inbound.calls", "7")]));
        assert_eq!(wrong, "inbound.calls is a limit of the trunk; of a user only arrears can be set");
        assert!(error(&path, &set("6000", &[("arrears", "maybe")])).contains("true, false or default"));
        assert!(
            error(&path, &set("6002", &[("arrears", "true")])).contains("no user of trunk \"pbx\" is called \"6002\"")
        );
        assert_eq!(shown().users_in_arrears, 1);
        assert_eq!(said(&path, &set("6000", &[("arrears", "default")])), done);
        assert_eq!(said(&path, &set("6001", &[("arrears", "default")])), done);
        assert_eq!(shown().users, [user("6001", true, None)]);
    });
}

#[test]
fn rows_are_added_listed_by_pages_and_removed() {
    with_server(|path| {
        let count = PAGE + 7;
        let mut stream = Client::connect(&path).expect("connected");
        let mut replies = BufReader::new(stream.try_clone().expect("a second end"));
        for n in 0..count {
            let request = Request::ListAdd { white: false, row: row(&format!("1{n}"), Some(50)) };
            writeln!(stream, "{}", serde_json::to_string(&request).expect("text")).expect("sent");
            let mut reply = String::new();
            replies.read_line(&mut reply).expect("answered");
            assert_eq!(reply.trim_end(), r#"{"done":{"kept":false,"replaced":false}}"#);
        }
        let again = Request::ListAdd { white: true, row: row("10", None) };
        assert_eq!(said(&path, &again), Reply::Done { kept: false, replaced: true });
        let page = |white, from| match said(&path, &Request::ListRows { white, from }) {
            Reply::List(page) => page,
            other => panic!("rows were expected, not {other:?}"),
        };
        let first = page(false, 0);
        assert_eq!((first.rows.len(), first.next), (PAGE, Some(PAGE)));
        let last = page(false, PAGE);
        assert_eq!((last.rows.len(), last.next), (6, None));
        assert_eq!(page(true, 0).rows.len(), 1);
        assert_eq!(error(&path, &Request::ListRemove { white: false, row: row("10", None) }), "there is no such row");
        let gone = Request::ListRemove { white: true, row: row("10", None) };
        assert_eq!(said(&path, &gone), Reply::Done { kept: false, replaced: false });
        for (wrong, why) in [
            (row("0x", Some(101)), "percent"),
            (row("abc", None), "caller"),
            (ListRowConfig { from: Some("pbz".into()), ..row("1", None) }, "pbz"),
        ] {
            let error = error(&path, &Request::ListAdd { white: false, row: wrong });
            assert!(error.contains(why), "{error}");
        }
        // One that names nobody would mean every call.
        let nobody = ListRowConfig { caller: None, from: Some("pbx".into()), ..row("", None) };
        for request in [
            Request::ListAdd { white: false, row: nobody.clone() },
            Request::ListAdd { white: true, row: nobody.clone() },
            Request::ListRemove { white: false, row: nobody },
        ] {
            let error = error(&path, &request);
            assert_eq!(
                error,
                "caller: a row about nobody would mean every call; name `caller`, `called` or both; \"*\" is everybody"
            );
        }
        assert_eq!(page(true, 0).rows.len(), 0, "nothing was added");
        let all = Request::ListAdd { white: false, row: row("*", None) };
        assert_eq!(said(&path, &all), Reply::Done { kept: false, replaced: false }, "who means it may");
    });
}

#[test]
fn over_http_a_row_about_nobody_is_refused_too() {
    with_server(|path| {
        let asked = |method: &str, what: &str, body: &str| {
            let mut stream = Client::connect(&path).expect("connected");
            let length = body.len();
            let head = format!("{method} /api/v1/{what} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n");
            stream.write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes()).expect("sent");
            let mut reply = String::new();
            stream.read_to_string(&mut reply).expect("answered");
            reply
        };
        for (method, what, body) in [
            ("POST", "blacklist", "{}"),
            ("POST", "whitelist", "{}"),
            ("POST", "blacklist", r#"{"from":"pbx","percent":10}"#),
            ("DELETE", "blacklist", ""),
            ("DELETE", "whitelist?from=pbx", ""),
        ] {
            let said = asked(method, what, body);
            assert!(said.starts_with("HTTP/1.1 400 ") && said.contains("name `caller`, `called` or both"), "{said}");
        }
        assert!(asked("GET", "blacklist", "").ends_with("{\"rows\":[]}\n"), "nothing was added");
        assert!(asked("POST", "blacklist", r#"{"caller":"*"}"#).starts_with("HTTP/1.1 200 "), "who means it may");
    });
}

#[test]
fn what_is_no_command_is_told_so_and_too_much_is_cut_off() {
    with_server(|path| {
        let asked = |text: &[u8]| {
            let mut stream = Client::connect(&path).expect("connected");
            stream.write_all(text).expect("sent");
            stream.shutdown(std::net::Shutdown::Write).expect("said");
            let mut reply = String::new();
            stream.read_to_string(&mut reply).expect("answered");
            reply
        };
        for text in [&b"garbage\n"[..], b"{}\n", b"{\"command\":\"limits_show\",\"more\":1}\n", b"\xff\n", b"\n"] {
            assert!(asked(text).starts_with(r#"{"error":"not understood: "#), "{text:?}");
        }
        for list in [
            r#"["limits_show"]"#,
            r#"{"command":"list_add","white":false,"row":[]}"#,
            r#"{"command":"list_add","white":false,"row":["1","2"]}"#,
            r#"{"command":"limits_set","trunk":"pbx","values":[["inbound.calls","7"]]}"#,
            r#"{"command":["status"]}"#,
            r#"{"command":"reload","dry_run":[]}"#,
        ] {
            let said = asked(format!("{list}\n").as_bytes());
            assert!(said.contains("not understood: invalid type: sequence") && said.contains("column"), "{said}");
        }
        assert_eq!(asked(b""), "");
        assert!(asked(&vec![b' '; MAX_LINE + 1]).contains("at most"));
        // As many as there may be, and one more, which is told so; they give their places back.
        let held: Vec<Client> = (0..MAX_CONNECTIONS).map(|_| Client::connect(&path).expect("connected")).collect();
        let show = Request::LimitsShow { trunk: None };
        assert_eq!(error(&path, &show), TOO_MANY);
        let told = asked(b"GET /api/v1/limits HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(told.starts_with("HTTP/1.1 503 ") && told.contains(TOO_MANY), "{told}");
        let more: Vec<Client> = (0..MAX_TURNED_AWAY).map(|_| Client::connect(&path).expect("connected")).collect();
        assert!(ask(&path, &show).is_err(), "nobody is left to tell it");
        drop((held, more));
        let free = (0..500).any(|_| {
            thread::sleep(Duration::from_millis(10));
            matches!(ask(&path, &show), Ok((Reply::Limits(_), _)))
        });
        assert!(free);
    });
}
