use crate::metrics::{Exposition, Family, Form, Kind};

static HEAT: Family = Family {
    name: "zc_heat_joules_total",
    kind: Kind::Counter,
    unit: Some("joules"),
    labels: &["where", "why"],
    help: "What \"warms\" a\nroom, by C:\\.",
};
static SHARE: Family =
    Family { name: "zc_share", kind: Kind::Gauge, unit: None, labels: &[], help: "A part of it." };
static ROOM: Family =
    Family { name: "zc_room_info", kind: Kind::Info, unit: None, labels: &["name"], help: "The room." };

fn sample() -> Exposition {
    let mut out = Exposition::default();
    out.add(&ROOM, ["größe"], 1);
    out.add(&HEAT, ["a\\b", "\"so\"\nsaid"], u64::MAX);
    out.add(&HEAT, ["", "{,}"], 0.125);
    out.add_plain(&SHARE, 1.0);
    out
}

#[test]
fn prometheus_text_is_as_its_documentation_says() {
    let expected = r#"# HELP zc_room_info The room.
# TYPE zc_room_info gauge
zc_room_info{name="größe"} 1
# HELP zc_heat_joules_total What "warms" a\nroom, by C:\\.
# TYPE zc_heat_joules_total counter
zc_heat_joules_total{where="a\\b",why="\"so\"\nsaid"} 18446744073709551615
zc_heat_joules_total{where="",why="{,}"} 0.125
# HELP zc_share A part of it.
# TYPE zc_share gauge
zc_share 1.0
"#;
    assert_eq!(sample().to_text(Form::Text), expected);
}

#[test]
fn open_metrics_name_families_without_what_tells_the_kind() {
    let expected = r#"# TYPE zc_room info
# HELP zc_room The room.
zc_room_info{name="größe"} 1
# TYPE zc_heat_joules counter
# UNIT zc_heat_joules joules
# HELP zc_heat_joules What \"warms\" a\nroom, by C:\\.
zc_heat_joules_total{where="a\\b",why="\"so\"\nsaid"} 18446744073709551615
zc_heat_joules_total{where="",why="{,}"} 0.125
# TYPE zc_share gauge
# HELP zc_share A part of it.
zc_share 1.0
# EOF
"#;
    assert_eq!(sample().to_text(Form::OpenMetrics), expected);
}

#[test]
fn nothing_is_a_valid_text_too() {
    assert_eq!(Exposition::default().to_text(Form::Text), "");
    assert_eq!(Exposition::default().to_text(Form::OpenMetrics), "# EOF\n");
}

#[test]
fn numbers_are_as_short_as_they_can_be_read_back() {
    let written = |value: f64| {
        let mut out = Exposition::default();
        out.add_plain(&SHARE, value);
        out.to_text(Form::Text).lines().last().and_then(|line| line.split(' ').nth(1)).map(str::to_owned)
    };
    for (value, text) in [
        (0.0, "0.0"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1_772_366_405.25, "1772366405.25"),
        (1e300, "1e300"),
        (5e-324, "5e-324"),
        (f64::INFINITY, "+Inf"),
        (f64::NEG_INFINITY, "-Inf"),
        (f64::NAN, "NaN"),
    ] {
        assert_eq!(written(value).as_deref(), Some(text));
    }
}
