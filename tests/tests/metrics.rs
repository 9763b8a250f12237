//! Metrics as those read them who they are for: promtool, and a Prometheus that scrapes them in both forms.
//!
//! Nothing is traced here: the intervals are made up, so that each number is known.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use zc::{
    metrics::{Caps, Exposition, Form, ServiceBy, State, Totals, Value, families, negotiate},
    model::{
        interval::{Interval, ProcessChange, RowChange, RowName, TotalsChange, Who},
        reason::Reason,
        report::{Evidence, Hook, HookStatus, SelfCost, Tool, Via},
    },
};
use zc_common::path::{Kind, Path};
use zc_tests::{
    job::Job,
    machine::{require_cmd, wait_for},
    prometheus::{Prometheus, Target, assert_clean, dashboard_expressions, get, monitoring},
};

/// What was handed on, copied, and is not known.
#[derive(Clone, Copy)]
struct Became {
    by_reference: i64,
    copied: i64,
    unknown: i64,
}

fn row(path: Path, ends: (Kind, Kind), bytes: i64, became: Became, reason: Reason) -> RowChange {
    let Became { by_reference, copied, unknown } = became;
    RowChange {
        name: RowName { path, via: Via::Syscall, source: ends.0, destination: ends.1 },
        transfers: 3,
        syscalls: 5,
        bytes,
        cpu_copied_bytes: Some(copied),
        by_reference_bytes: Some(by_reference),
        unknown_bytes: unknown,
        device_read_bytes: None,
        mode_switches: 10,
        voluntary: Some(1),
        involuntary: Some(0),
        minor_faults: None,
        major_faults: None,
        rchar_bytes: 0,
        wchar_bytes: 0,
        evidence: Evidence::Witnessed,
        reason: Some(reason),
    }
}

/// A web server and a proxy, and a program with a name that is hard to write down.
fn interval(look: i64) -> Interval {
    let server = vec![
        row(
            Path::Sendfile,
            (Kind::File, Kind::Tcp),
            1_000_003 * look,
            Became { by_reference: 900_001 * look, copied: 100_002 * look, unknown: 0 },
            Reason::NoScatterGather,
        ),
        row(
            Path::Write,
            (Kind::Memory, Kind::Tcp),
            77,
            Became { by_reference: 0, copied: 77, unknown: 0 },
            Reason::WrittenFromMemory,
        ),
    ];
    // What waits to be written on is a read, until it is: there is less of it at every second look.
    let waiting = |look: i64| if look % 2 == 1 { 50_000 + look } else { 20_000 };
    let (relayed, read) = (90_009, waiting(look) - if look > 1 { waiting(look - 1) } else { 0 });
    let proxy = vec![
        row(
            Path::ReadWrite,
            (Kind::Tcp, Kind::Tcp),
            relayed,
            Became { by_reference: 0, copied: 2 * relayed, unknown: 0 },
            Reason::ThroughMemory,
        ),
        row(
            Path::Read,
            (Kind::Tcp, Kind::Memory),
            read,
            Became { by_reference: 0, copied: read, unknown: 0 },
            Reason::ReadIntoMemory,
        ),
    ];
    let unknown = vec![row(
        Path::SendZerocopy,
        (Kind::Memory, Kind::Tcp),
        5_001,
        Became { by_reference: 1, copied: 0, unknown: 5_000 },
        Reason::ZerocopyUnreported,
    )];
    let process = |comm: &str, rows| ProcessChange {
        who: Who { comm: Some(comm.to_owned()), ..Who::default() },
        exit_code: (look == 2).then_some(0),
        totals: TotalsChange {
            syscalls: Some(1_001),
            exception_mode_switches: Some(6),
            voluntary: Some(11),
            involuntary: Some(2),
            minor_faults: Some(3),
            major_faults: Some(1),
            device_read_bytes: Some(8_192),
        },
        rows,
    };
    let end = Timestamp::now();
    Interval {
        start: end.checked_sub(SignedDuration::from_secs(5)).expect("a time"),
        end,
        lost: BTreeMap::from([("ring_full".to_owned(), u64::try_from(look).expect("a count") - 1)]),
        processes: vec![
            process("nginx", server),
            process("a\\b \"c\"\n{d}", proxy),
            process("sender", unknown.clone()),
            process("late", unknown),
        ],
    }
}

fn state() -> State {
    let hook = |name: &str, method: Option<&str>, status| Hook {
        name: name.to_owned(),
        method: method.map(Into::into),
        status,
        reason: None,
    };
    State {
        tool: Tool { version: "0.1.0".to_owned(), commit: Some("0123abc".to_owned()) },
        hooks: vec![
            hook("sys_exit", Some("tp_btf"), HookStatus::Attached),
            hook("net_dev_start_xmit", Some("tp_btf"), HookStatus::Attached),
            hook("sched_switch", None, HookStatus::Unavailable),
        ],
        self_cost: SelfCost {
            bpf_runs: Some(123_456_789),
            bpf_ns: Some(987_654_321),
            cpu_seconds: Some(1.25),
            rss_bytes: Some(12 << 20),
        },
        processes: 3,
    }
}

fn totals() -> Totals {
    Totals::new(Caps { service_by: Some(ServiceBy::Comm), services_max: 3 })
}

/// Serves the last exposition that it was given, in one form or in the one that is asked for.
struct Exporter {
    address: SocketAddr,
    shown: Arc<Mutex<Option<Exposition>>>,
}

impl Exporter {
    /// Its thread waits for connections until the test program ends.
    fn start(form: Option<Form>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
        let address = listener.local_addr().expect("its address");
        let shown = Arc::new(Mutex::new(Some(Exposition::default())));
        let shared = Arc::clone(&shown);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let shown = shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
                // Without anything to show it hangs up, as a daemon that is gone.
                let Some(exposition) = shown else { continue };
                answer(&connection, &exposition, form);
            }
        });
        Self { address, shown }
    }

    fn show(&self, exposition: Option<Exposition>) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = exposition;
    }
}

/// One request on one connection; whoever hangs up early is not worth a word.
fn answer(connection: &TcpStream, exposition: &Exposition, form: Option<Form>) {
    drop(connection.set_read_timeout(Some(Duration::from_secs(10))));
    let mut accept = String::new();
    for line in BufReader::new(connection).lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("accept")
        {
            value.clone_into(&mut accept);
        }
    }
    let form = form.unwrap_or_else(|| negotiate(&accept));
    let text = exposition.to_text(form);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        form.content_type(),
        text.len()
    );
    let mut connection = connection;
    drop(connection.write_all(format!("{head}{text}").as_bytes()));
}

/// Name and labels of a sample, without what Prometheus adds.
type Name = (String, Vec<(String, String)>);

fn ours(exposition: &Exposition) -> BTreeMap<Name, f64> {
    let mut samples = BTreeMap::new();
    for (family, values) in exposition.families() {
        for sample in values {
            let labels = family.labels.iter().map(|&name| name.to_owned());
            let mut labels: Vec<_> =
                labels.zip(sample.labels.iter().map(|value| value.clone().into_owned())).collect();
            labels.sort();
            let value = match sample.value {
                Value::Integer(value) => value as f64,
                Value::Float(value) => value,
            };
            samples.insert((family.name.to_owned(), labels), value);
        }
    }
    samples
}

fn theirs(prometheus: &Prometheus, instance: &str) -> BTreeMap<Name, f64> {
    let series = prometheus.query(&format!("{{__name__=~\"zc_.*\",instance=\"{instance}\"}}"));
    let labels_of = |name: &str| {
        let family = families::ALL.iter().find(|family| family.name == name);
        family.unwrap_or_else(|| panic!("{name} is no metric of ours")).labels
    };
    let sample = |one: zc_tests::prometheus::Series| {
        let name = one.label("__name__").to_owned();
        let mut labels: Vec<_> =
            labels_of(&name).iter().map(|&label| (label.to_owned(), one.label(label).to_owned())).collect();
        labels.sort();
        ((name, labels), one.value)
    };
    series.into_iter().map(sample).collect()
}

#[test]
fn promtool_has_nothing_to_say_about_the_text() {
    if !require_cmd("promtool") {
        return;
    }
    let mut totals = totals();
    assert_clean(&totals.expose(&state()).to_text(Form::Text));
    (1..=3).for_each(|look| totals.add(&interval(look)));
    let exposition = totals.expose(&state());
    let written: Vec<_> = exposition.families().map(|(family, _)| family.name).collect();
    let all: Vec<_> = families::ALL.iter().map(|family| family.name).collect();
    assert_eq!(written, all, "every family is in the text");
    assert_clean(&exposition.to_text(Form::Text));
}

#[test]
fn rules_are_valid_and_alerts_fire_when_they_should() {
    if !require_cmd("promtool") {
        return;
    }
    for (words, file) in [(["check", "rules"], "zc.rules.yml"), (["test", "rules"], "zc.rules.test.yml")] {
        let path = monitoring(file);
        let path = path.to_str().expect("a UTF-8 path");
        let done = Job::new(&["promtool", words[0], words[1], path]).finish();
        assert_eq!(done.code(), 0, "{}{}", String::from_utf8_lossy(&done.stdout), done.stderr);
    }
    let rules = std::fs::read_to_string(monitoring("zc.rules.yml")).expect("the rules");
    let tests = std::fs::read_to_string(monitoring("zc.rules.test.yml")).expect("their tests");
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        let cases =
            tests.split("\n      - eval_time").filter(|case| case.contains(&format!("alertname: {alert}\n")));
        let (mut fires, mut does_not) = (false, false);
        for case in cases {
            *(if case.contains("exp_alerts: []") { &mut does_not } else { &mut fires }) = true;
        }
        assert!(fires && does_not, "{alert} is tested firing ({fires}) and not firing ({does_not})");
    }
}

#[test]
fn prometheus_reads_both_forms_and_sees_our_numbers() {
    if !require_cmd("prometheus") {
        return;
    }
    let exporters = [("text", Exporter::start(Some(Form::Text))), ("open", Exporter::start(None))];
    let targets =
        exporters.each_ref().map(|(instance, exporter)| Target { instance, address: exporter.address });
    let accept = "application/openmetrics-text;version=1.0.0,*/*;q=0.1";
    let answer = get(exporters[1].1.address, "/metrics", accept).expect("an answer");
    assert!(answer.head.contains("openmetrics-text") && answer.body == "# EOF\n", "{answer:?}");
    let prometheus = Prometheus::start(&targets);
    let mut totals = totals();
    let mut before = BTreeMap::new();
    for look in 1..=4 {
        totals.add(&interval(look));
        let exposition = totals.expose(&state());
        for (instance, exporter) in &exporters {
            exporter.show(Some(exposition.clone()));
            assert_seen(&prometheus, instance, &ours(&exposition));
        }
        let counters = ours(&exposition);
        for (name, value) in before.iter().filter(|((name, _), _): &(&Name, &f64)| name.ends_with("_total")) {
            assert!(counters[name] >= *value, "{name:?} went back");
        }
        before = counters;
    }
    assert_metadata(&prometheus);
    assert_views_work(&prometheus);
    // The daemon goes away.
    exporters[0].1.show(None);
    let is_down = |instance| prometheus.alerts(instance).iter().any(|alert| alert == "ZcDown");
    wait_for("the alert on the one that is gone", || (is_down("text") && !is_down("open")).then_some(()));
}

/// Waits until Prometheus has these samples and no others. A scrape that took too long is made up for by the next.
fn assert_seen(prometheus: &Prometheus, instance: &str, expected: &BTreeMap<Name, f64>) {
    let mut seen = theirs(prometheus, instance);
    for _ in 0..600 {
        if seen == *expected {
            break;
        }
        thread::sleep(Duration::from_millis(100));
        seen = theirs(prometheus, instance);
    }
    assert_eq!(seen, *expected, "{instance}: {}", prometheus.scrape_error(instance));
}

/// Types and units are as they were written.
fn assert_metadata(prometheus: &Prometheus) {
    let metadata = prometheus.api("targets/metadata");
    let metadata = metadata.as_array().expect("entries");
    for family in families::ALL {
        let of = |instance: &str, name: &str| {
            let found = metadata
                .iter()
                .find(|entry| entry["target"]["instance"] == instance && entry["metric"] == name)
                .unwrap_or_else(|| panic!("{instance} says nothing of {name}"));
            ["type", "unit", "help"].map(|key| found[key].as_str().expect("a text").to_owned())
        };
        let [kind, unit, help] = of("open", family.base_name());
        assert_eq!((kind.as_str(), unit.as_str()), (family.kind.name(), family.unit.unwrap_or("")));
        assert_eq!((help.as_str(), of("text", family.name)[2].as_str()), (family.help, family.help));
    }
}

/// Every panel has something to show, and every rule and alert can be worked out.
fn assert_views_work(prometheus: &Prometheus) {
    let expressions = dashboard_expressions();
    assert!(expressions.len() > 30, "{expressions:?}");
    for (title, expression) in expressions {
        prometheus.wait_for(&expression, &format!("something to show for {title}: {expression}"));
    }
    let rules = prometheus.assert_rules_work();
    for name in rules.iter().filter(|name| name.contains(':')) {
        prometheus.wait_for(name, name);
    }
    // From the data: a counter of losses grew, a hook is missing, a fourth service found no room.
    let (expected, not_expected) =
        (["ZcDataLost", "ZcHookMissing", "ZcServicesFull"], ["ZcDown", "ZcStale", "ZcHookAbsent"]);
    assert!(expected.iter().chain(&not_expected).all(|name| rules.iter().any(|rule| rule == name)));
    wait_for("the alerts that the data asks for, and no others", || {
        let alerts = prometheus.alerts("open");
        let has = |name: &&str| alerts.iter().any(|alert| alert == name);
        (expected.iter().all(has) && !not_expected.iter().any(has)).then_some(())
    });
}
