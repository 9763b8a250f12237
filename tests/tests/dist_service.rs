//! The daemon as a service and in containers: its unit, what it may do by it, and what is said elsewhere about the same.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
};

use serde_json::Value;
use zc_tests::{
    daemon::{self, Daemon},
    dist::{self, Packages, must, path, unit},
    job::{Done, Job, Running},
    machine::{self, python, require_cmd, require_python, require_root, temp_dir, wait_for},
    venv,
    zc::Zc,
};

const KUBERNETES_VALIDATE: &str = "kubernetes-validate==1.37.0";
/// A user and a group that nobody has; the socket goes to the latter.
const USER: u32 = 54321;

/// A program that reads a file when it is told to, and is another user's.
fn reader() -> Running {
    let script = "import os\n\
        f = os.open('/dev/zero', os.O_RDONLY)\n\
        os.write(1, b'ready\\n')\n\
        while os.read(0, 1): os.read(f, 40961); os.write(1, b'done\\n')";
    let words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", python(), "-c", script];
    let mut running = Job::new(&words).with_input().start();
    running.wait_for_output("ready\n");
    running
}

/// `CAP_SYS_PTRACE` as setpriv calls it.
fn of_setpriv(capability: &str) -> String {
    format!("+{}", capability.trim_start_matches("CAP_").to_lowercase())
}

/// Whether the kernel gives perf events to `CAP_PERFMON`: above level 2, which Debian's kernels have, it is `CAP_SYS_ADMIN` that counts.
fn has_perf_events() -> bool {
    let level = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").expect("its level");
    level.trim().parse::<i32>().expect("a number") <= 2
}

/// zc daemon as the service manager starts it, with these capabilities, in a directory of the user's own.
fn start(zc: &Zc, capabilities: &[String], dir: &Path, settings: &str) -> Running {
    chown(dir, Some(USER), Some(USER)).expect("a directory of its own");
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("its mode");
    let (config, socket) = (path(&dir.join("zc.toml")), path(&dir.join("zc.sock")));
    let history = path(&dir.join("history"));
    // The program is where the user may not go; the socket's group is told by its name.
    let own =
        format!("[api]\nsocket = {socket:?}\ngroup = \"no such group\"\n[history]\ndir = {history:?}\n");
    fs::write(&config, format!("{settings}\n{own}")).expect("it");
    let set: Vec<String> = capabilities.iter().map(|name| of_setpriv(name)).collect();
    let set = ["-all"].into_iter().chain(set.iter().map(String::as_str)).collect::<Vec<_>>().join(",");
    let (bounding, inheritable, ambient) =
        (format!("--bounding-set={set}"), format!("--inh-caps={set}"), format!("--ambient-caps={set}"));
    let user = [format!("--reuid={USER}"), format!("--regid={USER}")];
    let words = [
        "setpriv",
        "--no-new-privs",
        &user[0],
        &user[1],
        "--clear-groups",
        &bounding,
        &inheritable,
        &ambient,
    ];
    Job::new(&[&words[..], &[&path(zc.bin()), "daemon", "--config", &config]].concat()).start()
}

/// The same when it has no reason to run.
fn refused(zc: &Zc, capabilities: &[String]) -> Done {
    let dir = temp_dir();
    start(zc, capabilities, dir.path(), "").finish()
}

/// The unit with a program that is there.
fn unit_of(bin: &Path, dir: &Path) -> String {
    let file = dir.join("zc.service");
    let text = dist::source("zc.service").replace("/usr/bin/zc", &path(bin));
    fs::write(&file, text).expect("the unit");
    path(&file)
}

#[test]
fn systemd_takes_the_unit_and_finds_little_that_it_exposes() {
    if !require_cmd("systemd-analyze") {
        return;
    }
    let dir = temp_dir();
    let file = unit_of(&zc_tests::zc::binary(), dir.path());
    let done =
        Job::new(&["systemd-analyze", "verify", "--man=no", &file]).env("SYSTEMD_COLORS", "0").finish();
    // What it says of other units of the machine is not about ours.
    assert!(done.code() == 0 && !done.stderr.contains("zc.service"), "{}", done.stderr);
    let security = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=26", &file];
    let done = Job::new(&security).finish();
    assert_eq!(done.code(), 0, "{}", done.stdout_text());
}

#[test]
fn the_capabilities_of_the_unit_are_enough_and_none_of_them_is_superfluous() {
    let Some(zc) = Zc::with(&["setpriv", "python3"]) else { return };
    let all = unit("AmbientCapabilities");
    assert_eq!(all, unit("CapabilityBoundingSet"));
    assert_eq!(unit("NoNewPrivileges"), ["yes"]);
    let without =
        |name: &str| -> Vec<String> { all.iter().filter(|other| *other != name).cloned().collect() };

    for missing in &all {
        match missing.as_str() {
            "CAP_BPF" | "CAP_PERFMON" => {
                let done = refused(&zc, &without(missing));
                let told = format!("loading programs into the kernel needs {missing}");
                assert!(done.code() == 4 && done.stderr.contains(&told), "{}", done.stderr);
            }
            "CAP_DAC_READ_SEARCH" if !has_perf_events() => {
                let process = seen(&zc, &without(missing));
                assert!(process["device_read_bytes"].is_null(), "{process}");
            }
            "CAP_DAC_READ_SEARCH" => {
                let done = refused(&zc, &without(missing));
                assert!(done.code() == 4 && done.stderr.contains("tracefs not found"), "{}", done.stderr);
            }
            "CAP_SYS_PTRACE" => {
                let process = seen(&zc, &without(missing));
                assert!(process["exe"].is_null() && process["device_read_bytes"].is_null(), "{process}");
            }
            other => panic!("nobody knows what {other} is for"),
        }
    }
    let process = seen(&zc, &all);
    let exe = process["exe"].as_str().unwrap_or_default();
    assert!(exe.contains("python") && process["device_read_bytes"].is_u64(), "{process}");
}

/// What a daemon with these capabilities says of another user's process that has read 40961 bytes.
fn seen(zc: &Zc, capabilities: &[String]) -> Value {
    let dir = temp_dir();
    let settings = format!("[account]\nscan = \"100ms\"\ncount_calls = {}", !has_perf_events());
    let mut running = start(zc, capabilities, dir.path(), &settings);
    running.wait_for_error(" ready ");
    let status = fs::read_to_string(format!("/proc/{}/status", running.pid())).expect("its status");
    let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).expect("a line").trim();
    assert!(line("Uid:").starts_with(&USER.to_string()) && line("NoNewPrivs:") == "1", "{status}");
    assert_eq!(line("CapEff:"), line("CapBnd:"));
    let daemon = Daemon::of(running, dir);
    let health = daemon.get("/v1/health").json();
    assert!(health["status"] == "ok" && health["hooks_attached"].as_u64() > Some(10), "{health}");

    let mut reader = reader();
    daemon.trace(reader.pid());
    reader.input(b"\n");
    reader.wait_for_output("done\n");
    let process = wait_for("what it has read", || {
        daemon.process(reader.pid()).filter(|process| daemon::bytes(process, &["read"]) >= 40961)
    });
    let hooks = daemon.get("/v1/hooks").json();
    assert!(hooks.to_string().contains("attached"), "{hooks}");
    daemon.stop();
    process
}

/// The calls in groups that systemd knows, such as `@aio`.
fn calls(groups: &[String]) -> BTreeSet<String> {
    let mut calls = BTreeSet::new();
    let mut left: Vec<String> = groups.to_vec();
    while let Some(name) = left.pop() {
        if name.starts_with('@') {
            let listed = must(&["systemd-analyze", "syscall-filter", "--no-pager", &name]);
            let within = listed
                .lines()
                .skip(1)
                .map(str::trim)
                .filter(|line| !line.is_empty() && !line.starts_with('#'));
            left.extend(within.map(str::to_owned));
        } else {
            calls.insert(name);
        }
    }
    calls
}

#[test]
fn the_daemon_makes_no_call_that_the_unit_refuses() {
    let Some(zc) = Zc::with(&["strace", "systemd-analyze", "python3"]) else { return };
    let filter = unit("SystemCallFilter");
    let refused_from = filter.iter().position(|word| word.starts_with('~')).expect("groups that are refused");
    let refused: Vec<String> = filter[refused_from..].iter().map(|word| word.replace('~', "")).collect();
    let mut allowed = calls(&filter[..refused_from]);
    for call in calls(&refused) {
        allowed.remove(&call);
    }
    // systemd lets these pass whatever the list is, to start the program.
    let allowed = &allowed | &calls(&["@default".to_owned()]);

    let dir = temp_dir();
    let (config, log) = (path(&dir.path().join("zc.toml")), dir.path().join("calls"));
    let socket = path(&dir.path().join("zc.sock"));
    let port = machine::free_port();
    let history = path(&dir.path().join("history"));
    let api = format!(
        "[api]\nsocket = {socket:?}\ngroup = \"nogroup\"\nlisten = \"127.0.0.1:{port}\"\n[history]\ndir = {history:?}\n"
    );
    fs::write(&config, format!("[account]\nscan = \"100ms\"\ninterval = \"200ms\"\n{api}")).expect("it");
    let words = ["strace", "-f", "-o", &path(&log), &path(zc.bin()), "daemon", "--config", &config];
    let mut running = Job::new(&words).start();
    running.wait_for_error(" ready ");
    let pid: i32 =
        fs::read_to_string(dir.path().join("zc.sock.lock")).expect("its id").trim().parse().expect("an id");
    let daemon = Daemon::of(running, dir);
    let mut reader = reader();
    daemon.trace(reader.pid());
    reader.input(b"\n");
    for path in ["/v1/report", "/v1/report?format=table", "/v1/flows", "/v1/hooks", "/metrics"] {
        assert_eq!(daemon.get(path).status, 200, "{path}");
    }
    machine::wait_for_port(port);
    // SAFETY: the daemon, which strace has started and which has not ended.
    let tell = |signal| assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    tell(libc::SIGHUP);
    wait_for("the file to be read again", || {
        daemon.get("/v1/selection").json()["pids"].as_array()?.is_empty().then_some(())
    });
    tell(libc::SIGTERM);
    wait_for("its end", || (!Path::new(&socket).exists()).then_some(()));
    let lines = wait_for("the list of calls", || {
        let lines = fs::read_to_string(&log).unwrap_or_default();
        lines.contains("+++ exited with 0 +++").then_some(lines)
    });
    let made: BTreeSet<String> = lines
        .lines()
        .filter_map(|line| line.split_once(' ')?.1.trim_start().split_once('('))
        .map(|(name, _)| name.to_owned())
        .filter(|name| name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_'))
        .collect();
    assert!(made.contains("bpf") && made.contains("perf_event_open") && made.len() > 30, "{made:?}");
    let refused: Vec<&String> = made.difference(&allowed).collect();
    assert!(refused.is_empty(), "the unit refuses {refused:?}");
}

#[test]
fn containers_have_the_capabilities_of_the_unit_and_what_the_daemon_reads() {
    if !require_python("import yaml, json") {
        return;
    }
    let script = "import json, sys, yaml; json.dump(list(yaml.safe_load_all(open(sys.argv[1]))), sys.stdout)";
    let file = path(&dist::workspace().join("xtask/dist/daemonset.yaml"));
    let all: Vec<Value> = serde_json::from_str(&must(&[python(), "-c", script, &file])).expect("JSON");
    let of_kind = |kind: &str| all.iter().find(|one| one["kind"] == kind).expect("an object of this kind");
    let pod = &of_kind("DaemonSet")["spec"]["template"]["spec"];
    assert_eq!(pod["hostPID"], true);
    let container = &pod["containers"][0];
    assert_eq!(container["image"], format!("zc:{}", Packages::version()));
    let context = &container["securityContext"];
    let added = context["capabilities"]["add"].as_array().expect("capabilities");
    let added: BTreeSet<String> =
        added.iter().map(|name| format!("CAP_{}", name.as_str().expect("a name"))).collect();
    assert_eq!(added, unit("CapabilityBoundingSet").into_iter().collect());
    assert_eq!(context["capabilities"]["drop"], serde_json::json!(["ALL"]));
    assert!(context["readOnlyRootFilesystem"] == true && context["allowPrivilegeEscalation"] == false);
    let names = |list: &Value| -> BTreeSet<String> {
        let list = list.as_array().expect("a list").iter();
        list.map(|one| one["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names(&container["volumeMounts"]), names(&pod["volumes"]));
    let mounts = container["volumeMounts"].as_array().expect("mounts");
    for place in ["/sys/kernel/btf", "/sys/kernel/tracing", "/sys/fs/cgroup"] {
        assert!(
            mounts.iter().any(|mount| mount["mountPath"] == place && mount["readOnly"] == true),
            "{place}"
        );
    }

    // Its configuration is one, and its probe a command line of zc.
    let dir = temp_dir();
    let config = path(&dir.path().join("daemon.toml"));
    fs::write(&config, of_kind("ConfigMap")["data"]["daemon.toml"].as_str().expect("a text"))
        .expect("a file");
    let zc = path(&zc_tests::zc::binary());
    must(&[&zc, "daemon", "--config", &config, "--check-config"]);
    let probe = container["livenessProbe"]["exec"]["command"].as_array().expect("a command");
    let words: Vec<&str> = probe.iter().skip(1).map(|word| word.as_str().expect("a word")).collect();
    let socket = path(&dir.path().join("none.sock"));
    let done = Job::new(&[&[zc.as_str()], &words[..], &["--socket", &socket]].concat()).finish();
    assert!(done.code() == 1 && done.stderr.contains("none.sock"), "{}", done.stderr);
}

#[test]
fn kubernetes_takes_the_daemonset() {
    let Some(python) = venv::python_with(KUBERNETES_VALIDATE, "kubernetes_validate") else { return };
    let tool = path(&Path::new(&python).with_file_name("kubernetes-validate"));
    let file = path(&dist::workspace().join("xtask/dist/daemonset.yaml"));
    for version in ["1.30", "1.37"] {
        must(&[&tool, "--strict", "-k", version, &file]);
    }
}

#[test]
fn what_the_container_is_built_of_is_in_the_archive() {
    let Some(packages) = Packages::make() else { return };
    let dir = temp_dir();
    let context = packages.unpack(dir.path());
    let file = dist::source("Containerfile");
    assert!(file.lines().any(|line| line == "ENTRYPOINT [\"zc\"]") && file.contains("\nFROM "), "{file}");
    let mut copied = 0;
    for line in file.lines().filter_map(|line| line.strip_prefix("COPY ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (_, sources) = words.split_last().expect("a destination");
        assert!(!sources.is_empty(), "{line}");
        for source in sources {
            assert!(context.join(source).is_file(), "{source} is not in the archive");
            copied += 1;
        }
    }
    assert!(copied > 2, "{file}");
}

#[test]
fn the_container_is_built() {
    let able = require_root() && require_cmd("buildah");
    let Some(packages) = able.then(Packages::make).flatten() else { return };
    let dir = temp_dir();
    let context = packages.unpack(dir.path());
    let file = dist::source("Containerfile");
    // Without the base, which would come from the network.
    let alone = dir.path().join("Containerfile");
    let base = file.lines().find(|line| line.starts_with("FROM ")).expect("a base");
    fs::write(&alone, file.replace(base, "FROM scratch")).expect("a file");
    let at = |name: &str| path(&dir.path().join(name));
    let (root, run) = (at("storage"), at("run"));
    let buildah = ["buildah", "--root", &root, "--runroot", &run, "--storage-driver", "vfs"];
    let build = [
        "bud",
        "--isolation",
        "chroot",
        "--format",
        "docker",
        "-f",
        &path(&alone),
        "-t",
        "zc",
        &path(&context),
    ];
    must(&[&buildah[..], &build].concat());
    let inspected: Value =
        serde_json::from_str(&must(&[&buildah[..], &["inspect", "--type", "image", "zc"]].concat()))
            .expect("JSON");
    assert_eq!(inspected["OCIv1"]["config"]["Entrypoint"], serde_json::json!(["zc"]));
    assert_eq!(inspected["OCIv1"]["config"]["Cmd"], serde_json::json!(["daemon"]));
}
