use super::*;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("zc.toml")).map_err(|error| error.to_string())
}

#[test]
fn the_template_says_what_holds_without_it() {
    assert_eq!(parse(TEMPLATE), Ok(Config::default()));
    assert_eq!(parse(""), Ok(Config::default()));
    assert_eq!(Sizes::from(Config::default().capacity), Sizes::default());
}

#[test]
fn the_template_names_every_setting() {
    let known: toml::Table = toml::from_str(TEMPLATE).expect("TOML");
    for (section, names) in [
        ("select", ["all", "pids", "comms", "users", "cgroups", "units", "containers"].as_slice()),
        (
            "account",
            &[
                "interval",
                "scan",
                "follow",
                "count_calls",
                "count_faults",
                "self_stats",
                "sample_connections",
            ],
        ),
        ("api", &["socket", "group", "clients_max"]),
        ("capacity", &["rows_max", "objects_max", "threads_max", "ring_bytes", "pair_sets", "flows_max"]),
        ("history", &["enabled", "dir", "max_age", "max_bytes"]),
        ("metrics", &["services", "services_max"]),
        ("log", &["level"]),
    ] {
        let mut listed: Vec<_> =
            known[section].as_table().expect("a table").keys().map(String::as_str).collect();
        let mut expected = names.to_vec();
        listed.sort_unstable();
        expected.sort_unstable();
        assert_eq!(listed, expected, "{section}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (text, expected) in [
        ("[select]\ncomm = [\"x\"]\n", "unknown field `comm`"),
        ("[accounts]\n", "unknown field `accounts`"),
        ("[account]\ninterval = \"fast\"\n", "line 2"),
        ("[account]\ninterval = \"5x\"\n", "unknown unit"),
        ("[account]\ninterval = \"1ms\"\n", "account.interval: must be from 100ms to 1h"),
        ("[account]\nscan = \"2h\"\n", "account.scan"),
        ("[account]\nsample_connections = 0\n", "sample_connections"),
        ("[api]\nsocket = \"zc.sock\"\n", "absolute"),
        ("[api]\nclients_max = 0\n", "clients_max"),
        ("[history]\ndir = \"here\"\n", "history.dir: must be an absolute path"),
        ("[history]\nmax_age = \"5m\"\n", "history.max_age"),
        ("[history]\nmax_bytes = \"lots\"\n", "expected a number"),
        ("[metrics]\nservices = \"all\"\n", "unknown variant `all`"),
        ("[metrics]\nservices_max = 100000\n", "services_max"),
        ("[api]\nlisten = \"0.0.0.0:80\"\n", "loopback"),
        ("[api]\nlisten = \"localhost\"\n", "listen"),
        ("[capacity]\nrows_max = 0\n", "rows_max"),
        ("[capacity]\nring_bytes = 5000\n", "power of two"),
        ("[capacity]\npair_sets = 3\n", "power of two"),
        ("[select]\ncgroups = [\"x\"]\n", "begins with /"),
        ("[log]\nlevel = \"loud\"\n", "unknown variant `loud`"),
        ("select = 1", "line 1"),
    ] {
        let error = parse(text).expect_err("a refusal");
        assert!(error.contains(expected) && error.contains("zc.toml"), "{text:?}: {error}");
    }
}

#[test]
fn a_file_that_was_named_has_to_be_there() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("zc.toml");
    assert!(Config::read(Some(&file)).expect_err("none").to_string().contains("cannot read"));
    std::fs::write(&file, "[api]\nclients_max = 3\n").expect("a file");
    assert_eq!(Config::read(Some(&file)).expect("it").api.clients_max, 3);
    assert!(Config::read(Some(dir.path())).is_err());
    std::fs::write(&file, vec![b'#'; 2 << 20]).expect("a file");
    assert!(Config::read(Some(&file)).expect_err("too large").to_string().contains("1 MiB"));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_text_is_a_configuration_or_an_error(text in "(\\[(select|api|account|log|x)\\]\n)?([a-z_]{1,10} = ([0-9]{1,20}|\"[^\"\n]{0,9}\"|true|\\[\\])\n){0,4}.{0,20}") {
        let _ = parse(&text);
    }
}
