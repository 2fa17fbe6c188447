//! Call detail records taken by servers from Debian: PostgreSQL and FreeRADIUS.
#![cfg(test)]

mod stand;

use std::collections::BTreeSet;
use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use moorline_bench::load::{self, Plan};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use stand::operator::{edit, moorline, said};
use stand::{Stand, left_out};

/// Ends a server with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself. What it has started ends with it.
        let pid = i32::try_from(self.0.id()).expect("a pid");
        let _ended = kill(Pid::from_raw(pid), Signal::SIGINT);
        let _status = self.0.wait();
    }
}

/// Where Debian has the newest PostgreSQL's programs.
fn postgresql() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let programs = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
    programs.filter(|programs| programs.join("initdb").exists()).max()
}

/// PostgreSQL's programs refuse root.
fn as_somebody(command: &mut Command) -> &mut Command {
    if geteuid().is_root() {
        let user = User::from_name("nobody").expect("asked").expect("there is nobody");
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

/// An empty server's directory.
fn make_postgresql(programs: &Path, folder: &Path) -> PathBuf {
    // Its own user must come through to it.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("set");
    let data = folder.join("data");
    fs::create_dir(&data).expect("made");
    if geteuid().is_root() {
        let user = User::from_name("nobody").expect("asked").expect("there is nobody");
        chown(&data, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("given away");
    }
    let mut initdb = Command::new(programs.join("initdb"));
    initdb.args(["-A", "trust", "-U", "moorline", "--no-sync", "-D"]).arg(&data);
    assert!(as_somebody(&mut initdb).status().expect("initdb runs").success());
    data
}

fn start_postgresql(programs: &Path, data: &Path) -> Server {
    let mut command = Command::new(programs.join("postgres"));
    command.arg("-D").arg(data).args(["-c", "listen_addresses=", "-c", "fsync=off", "-c"]);
    command.arg(format!("unix_socket_directories={}", data.display()));
    Server(as_somebody(&mut command).spawn().expect("PostgreSQL starts"))
}

/// Whether it takes connections.
fn is_ready(programs: &Path, data: &Path) -> bool {
    let mut command = Command::new(programs.join("pg_isready"));
    as_somebody(command.args(["-q", "-h"]).arg(data)).status().expect("it runs").success()
}

/// One value, as text.
fn query(programs: &Path, data: &Path, sql: &str) -> String {
    let mut command = Command::new(programs.join("psql"));
    command.args(["-U", "moorline", "-d", "postgres", "-Atc", sql]).arg("-h").arg(data);
    let output = command.output().expect("psql runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn sink(stand: &Stand, name: &str, sink: &str) -> Option<f64> {
    stand.signaling()?.value(&format!("moorline_cdr_{name}"), &[("sink", sink)])
}

/// A stand with these lines of configuration, and its directory of state.
fn recording(net: u8, lines: &str) -> (Stand, tempfile::TempDir) {
    let state = tempfile::tempdir().expect("a folder");
    let stand = Stand::up_with(net, |text, _| {
        let text = text.replacen("[signaling]\n", &format!("[signaling]\nstate = {:?}\n", state.path()), 1);
        text.replacen("[media]\n", &format!("{lines}\n[media]\n"), 1)
    });
    (stand, state)
}

/// Calls, whose identifiers come of the seed: no other calls at the same stand may have them.
fn call(stand: &Stand, calls: u32, seed: u64) {
    let plan = Plan { seed, ..stand.plan(calls, Duration::from_secs(1)) };
    let report = load::run(&plan, &mut |_| {}).expect("the load runs");
    assert!(report.is_clean(), "{report:#?}\n{}", stand.log());
}

#[test]
fn postgresql_has_each_record_once_though_it_was_away() {
    let Some(programs) = postgresql() else {
        return left_out("records in PostgreSQL", "postgresql");
    };
    let folder = tempfile::tempdir().expect("a folder");
    let data = make_postgresql(&programs, folder.path());

    let lines = format!("[signaling.cdr.postgres]\nhost = {data:?}\ndatabase = \"postgres\"\nuser = \"moorline\"\n");
    let (mut stand, state) = recording(71, &lines);
    call(&stand, 3, 1);
    stand.until("records wait", || sink(&stand, "waiting", "postgres") == Some(3.0));
    assert_eq!(sink(&stand, "failing", "postgres"), Some(1.0));
    assert_eq!(stand.log().matches("call records wait in the journal").count(), 1, "{}", stand.log());

    let server = start_postgresql(&programs, &data);
    stand.until("they are taken", || sink(&stand, "written_total", "postgres") == Some(3.0));
    assert!(stand.log().contains("call records are taken again"), "{}", stand.log());
    call(&stand, 2, 2);
    stand.until("the next are taken", || sink(&stand, "written_total", "postgres") == Some(5.0));
    assert_eq!(sink(&stand, "waiting", "postgres"), Some(0.0));
    // Nothing is known any more of what it has: all of it comes again, and is known again.
    assert_eq!(stand.end(Signal::SIGTERM), Some(0), "{}", stand.log());
    fs::remove_file(state.path().join("cdr/cursor.postgres")).expect("removed");
    let sql = "SELECT count(*) FROM moorline_records WHERE cause LIKE '%_hung_up' AND end_time - answer > '0.9 s' \
               AND caller_packets > 40 AND callee_codec LIKE 'PCM%' AND caller_code = 200 AND caller_trunk = 'caller'";
    assert_eq!(query(&programs, &data, sql), "5");
    let again = Stand::up_with(72, |text, _| {
        let text = text.replacen("[signaling]\n", &format!("[signaling]\nstate = {:?}\n", state.path()), 1);
        text.replacen("[media]\n", &format!("{lines}\n[media]\n"), 1)
    });
    again.until("all are taken again", || sink(&again, "waiting", "postgres") == Some(0.0));
    assert_eq!(query(&programs, &data, "SELECT count(*) FROM moorline_records"), "5");
    // A record that the table never takes is set aside; the next are taken.
    query(&programs, &data, "ALTER TABLE moorline_records ADD CONSTRAINT none CHECK (false) NOT VALID");
    call(&again, 1, 3);
    again.until("it is set aside", || sink(&again, "set_aside_total", "postgres") == Some(1.0));
    let aside = fs::read_to_string(state.path().join("cdr/refused.postgres.jsonl")).expect("it is there");
    assert!(aside.lines().count() == 1 && aside.contains("violates check constraint"), "{aside}");
    query(&programs, &data, "ALTER TABLE moorline_records DROP CONSTRAINT none");
    call(&again, 1, 4);
    again.until("it is taken", || sink(&again, "waiting", "postgres") == Some(0.0));
    assert_eq!(query(&programs, &data, "SELECT count(*) FROM moorline_records"), "6");
    drop(server);
}

const FREERADIUS: &str = "/usr/sbin/freeradius";
const SECRET: &str = "a secret of the test";

/// A port that was free a moment ago: there is no way to have FreeRADIUS choose one and tell.
fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port()
}

/// FreeRADIUS that writes accounts into files, and nothing else; what it mends of Cisco's own gateways is no hindrance.
fn start_freeradius(at: &Path, port: u16) -> Server {
    let at = at.display();
    let config = format!(
        "prefix = /usr\nlocalstatedir = {at}\nlogdir = {at}\nrun_dir = {at}\nraddbdir = {at}\n\
         libdir = /usr/lib/freeradius\nmax_request_time = 30\ncleanup_delay = 5\nmax_requests = 1024\n\
         security {{\nmax_attributes = 200\nreject_delay = 0\nstatus_server = no\n}}\n\
         thread pool {{\nstart_servers = 1\nmax_servers = 4\nmin_spare_servers = 1\nmax_spare_servers = 2\n}}\n\
         client local {{\nipaddr = 127.0.0.1\nsecret = \"{SECRET}\"\n}}\n\
         modules {{\ndetail {{\nfilename = {at}/detail\n}}\n\
         preprocess {{\nhuntgroups = {at}/none\nhints = {at}/none\nwith_cisco_vsa_hack = yes\n}}\n}}\n\
         server default {{\nlisten {{\ntype = acct\nipaddr = 127.0.0.1\nport = {port}\n}}\n\
         preacct {{\npreprocess\n}}\n\
         accounting {{\ndetail\n}}\n}}\n"
    );
    fs::write(Path::new(&at.to_string()).join("radiusd.conf"), config).expect("written");
    fs::write(Path::new(&at.to_string()).join("none"), "").expect("written");
    let log = fs::File::create(Path::new(&at.to_string()).join("log")).expect("a log");
    let process = Command::new(FREERADIUS)
        .args(["-f", "-l", "stdout", "-n", "radiusd", "-d", &at.to_string()])
        .stdout(log.try_clone().expect("a log"))
        .stderr(log)
        .stdin(Stdio::null())
        .spawn()
        .expect("FreeRADIUS starts");
    Server(process)
}

/// The secret's file.
fn keep_secret(folder: &Path) -> PathBuf {
    let secret = folder.join("secret");
    fs::write(&secret, format!("{SECRET}\n")).expect("written");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("its own");
    secret
}

/// The accounts of this status that FreeRADIUS has written.
fn accounts(folder: &Path, status: &str) -> Vec<String> {
    let detail = fs::read_to_string(folder.join("detail")).unwrap_or_default();
    let of = |account: &&str| value(account, "Acct-Status-Type").as_deref() == Some(status);
    detail.split("\n\n").filter(of).map(str::to_owned).collect()
}

fn value(account: &str, name: &str) -> Option<String> {
    let line = account.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(" = "));
    line.map(|value| value.trim_matches('"').to_owned())
}

#[test]
fn freeradius_is_told_of_the_start_and_the_stop_of_each_call() {
    if !Path::new(FREERADIUS).exists() {
        return left_out("accounts for FreeRADIUS", "freeradius");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (secret, port) = (keep_secret(folder.path()), free_port());
    let _server = start_freeradius(folder.path(), port);
    let lines = format!("[signaling.cdr.radius]\nservers = [\"127.0.0.1:{port}\"]\nsecret_file = {secret:?}\n");
    let (stand, _state) = recording(73, &lines);
    call(&stand, 3, 1);
    stand.until("both ends of all calls are told", || sink(&stand, "written_total", "radius") == Some(6.0));
    let (starts, stops) = (accounts(folder.path(), "Start"), accounts(folder.path(), "Stop"));
    let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    assert_eq!((starts.len(), stops.len()), (3, 3), "{log}");
    for stop in &stops {
        let session = value(stop, "Acct-Session-Id").expect("an id");
        assert_eq!(starts.iter().filter(|start| value(start, "Acct-Session-Id").as_ref() == Some(&session)).count(), 1);
        let number = |name: &str| value(stop, name).and_then(|value| value.parse::<u64>().ok()).expect("a number");
        assert!((1..=2).contains(&number("Acct-Session-Time")), "{stop}");
        assert!(number("Acct-Input-Packets") > 40 && number("Acct-Input-Octets") > 40 * 172, "{stop}");
        assert_eq!(value(stop, "User-Name").as_deref(), Some("caller"), "{stop}");
        assert_eq!(value(stop, "Acct-Terminate-Cause").as_deref(), Some("User-Request"), "{stop}");
        assert_eq!(value(stop, "NAS-Identifier").as_deref(), Some("moorline"), "{stop}");
        // What only Cisco's attributes say, by the names that FreeRADIUS's own dictionary has.
        let pair = |name: &str| {
            let begin = format!("Cisco-AVPair = \"{name}=");
            let line = stop.lines().find_map(|line| line.trim().strip_prefix(&begin)?.strip_suffix('"'));
            line.unwrap_or_else(|| panic!("no {name} in {stop}"))
        };
        let called = value(stop, "Called-Station-Id").expect("a number");
        assert_eq!(
            [pair("called_number_sent"), pair("caller_number_sent")],
            [called.as_str(), &value(stop, "Calling-Station-Id").expect("a number")]
        );
        assert_eq!([pair("caller_trunk"), pair("callee_trunk")], ["caller", "callee"]);
        assert_eq!([pair("callee_code"), pair("callee_reason")], ["200", "OK"]);
        assert_eq!(pair("cause"), format!("{}_hung_up", pair("ended_by")));
        for (media, at) in [("caller_media", stand.address(4, 0)), ("callee_media", stand.address(5, 0))] {
            assert!(pair(media).starts_with(&format!("{}:", at.ip())), "{stop}");
        }
        for side in ["caller", "callee"] {
            assert!(pair(&format!("{side}_local_media")).starts_with("127.98.73."), "{stop}");
            assert!(pair(&format!("{side}_codec")).starts_with("PCM"), "{stop}");
            let figure = |name: &str| pair(&format!("{side}_{name}")).parse::<f64>().expect("a number");
            assert!(figure("lost") == 0.0 && figure("mos") > 3.0 && figure("jitter_us") < 1e6, "{stop}");
            assert!([0.0, 8.0].contains(&figure("payload_type")), "{stop}");
        }
        let ms: u64 = pair("duration_ms").parse().expect("a number");
        assert_eq!(ms.div_ceil(1000), number("Acct-Session-Time"), "{stop}");
        let times = ["setup", "connect", "disconnect"].map(|name| value(stop, &format!("h323-{name}-time")));
        let times = times.map(|time| time.unwrap_or_else(|| panic!("no time in {stop}")));
        assert!(times.iter().all(|time| time.get(12..17) == Some(" UTC ")), "{stop}");
        assert_eq!(value(stop, "h323-remote-address"), Some(stand.address(3, 0).ip().to_string()), "{stop}");
    }
}

#[test]
fn records_move_between_files_and_servers_while_calls_are_up() {
    let Some(programs) = postgresql().filter(|_| Path::new(FREERADIUS).exists()) else {
        return left_out("reloads that change where records go", "postgresql and freeradius");
    };
    let folder = tempfile::tempdir().expect("a folder");
    let data = make_postgresql(&programs, folder.path());
    let (secret, port) = (keep_secret(folder.path()), free_port());
    let files = "[signaling.cdr.json]\n[signaling.cdr.csv]\n";
    let servers = format!(
        "[signaling.cdr.postgres]\nhost = {data:?}\ndatabase = \"postgres\"\nuser = \"moorline\"\n\
         [signaling.cdr.radius]\nservers = [\"127.0.0.1:{port}\"]\nsecret_file = {secret:?}\n"
    );
    let (mut stand, state) = recording(74, files);
    let lines =
        |file: &str| fs::read_to_string(state.path().join("cdr").join(file)).unwrap_or_default().lines().count();
    let reload = |old: &str, new: &str| {
        let active = stand.signaling_value("moorline_sip_calls_active");
        edit(&stand, old, new);
        let told = said(&moorline(&stand, &["reload"]));
        assert!(active > Some(0.0), "no call is up: {told}");
        told
    };
    let written = |name: &str, more: f64| {
        let before = sink(&stand, "written_total", name).unwrap_or_default();
        stand.until(name, || sink(&stand, "written_total", name) >= Some(before + more));
    };
    let plan = stand.plan(400, Duration::from_secs(1));
    let (report, running) = thread::scope(|scope| {
        let load = scope.spawn(|| load::run(&plan, &mut |_| {}));
        written("json", 5.0);
        // A server that cannot be reached is told by PostgreSQL's connection alone.
        let told = reload(files, &servers);
        assert!(told.contains("signaling.cdr.postgres cannot be opened: ") && told.contains("refused"), "{told}");
        written("json", 5.0);
        let mut running = vec![start_postgresql(&programs, &data)];
        stand.until("PostgreSQL is there", || is_ready(&programs, &data));
        // What runs is what the file said before.
        let told = said(&moorline(&stand, &["reload"]));
        assert!(told.contains("in force"), "{told}");
        stand.until("it is known that FreeRADIUS is away", || sink(&stand, "failing", "radius") == Some(1.0));
        running.push(start_freeradius(folder.path(), port));
        stand.until("it has been told", || sink(&stand, "failing", "radius") == Some(0.0));
        written("postgres", 5.0);
        written("radius", 5.0);
        for _round in 0..2 {
            let told = reload(&servers, files);
            assert!(told.contains("in force"), "{told}");
            written("csv", 5.0);
            let told = reload(files, &servers);
            assert!(told.contains("in force"), "{told}");
            written("radius", 5.0);
            written("postgres", 10.0);
        }
        let told = reload(&servers, files);
        assert!(told.contains("in force"), "{told}");
        (load.join().expect("no panic").expect("the load runs"), running)
    });
    assert!(report.is_clean(), "{report:#?}\n{}", stand.log());
    assert!(stand.log().contains(&format!("call records wait in the journal: 127.0.0.1:{port}")), "{}", stand.log());
    stand.until_nothing_is_left();
    let rows = || query(&programs, &data, "SELECT count(*) FROM moorline_records").parse::<usize>().expect("a number");
    stand.until("each record is somewhere", || lines("records.jsonl") + rows() >= 400);
    stand.until("in CSV too", || lines("records.csv") > lines("records.jsonl"));
    for name in ["postgres", "radius"] {
        stand.until("those that leave have ended", || sink(&stand, "waiting", name).is_none());
    }
    assert_eq!(stand.end(Signal::SIGTERM), Some(0), "{}", stand.log());

    let text = |file: &str| fs::read_to_string(state.path().join("cdr").join(file)).expect("records");
    let (json, csv) = (text("records.jsonl"), text("records.csv"));
    let json: Vec<String> = json
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a record")["id"].to_string())
        .map(|id| id.trim_matches('"').to_owned())
        .collect();
    let csv = csv.lines().skip(1).map(|line| line.split(',').next().unwrap_or_default().to_owned()).collect();
    let table = query(&programs, &data, "SELECT id FROM moorline_records").lines().map(str::to_owned).collect();
    // It is told again where its answer came late: by the same name.
    let stops: BTreeSet<String> =
        accounts(folder.path(), "Stop").iter().filter_map(|stop| value(stop, "Acct-Session-Id")).collect();
    let sorted = |mut ids: Vec<String>| {
        ids.sort_unstable();
        ids
    };
    let (json, table) = (sorted(json), sorted(table));
    assert!(json == sorted(csv), "the files have the same\n{}", stand.log());
    assert!(table == sorted(stops.into_iter().collect()), "the servers have the same\n{}", stand.log());
    let mut all = sorted([json, table].concat());
    let records = all.len();
    all.dedup();
    assert_eq!((records, all.len()), (400, 400), "{}", stand.log());
    drop(running);
}
