use crate::metrics::{Form, negotiate};

#[test]
fn prometheus_gets_open_metrics() {
    let (since_2_5, since_2_39, since_3) = (
        "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
    );
    assert_eq!(negotiate(since_2_5), Form::Text, "another version of OpenMetrics");
    assert_eq!(negotiate(since_2_39), Form::OpenMetrics);
    assert_eq!(negotiate(since_3), Form::OpenMetrics);
}

#[test]
fn everybody_else_gets_text() {
    for accept in [
        "",
        "*/*",
        "text/html,application/xhtml+xml,*/*;q=0.8",
        "image/png",
        "text/*",
        ",;=,q=",
        "text/plain;q=0",
    ] {
        assert_eq!(negotiate(accept), Form::Text, "{accept}");
    }
}

#[test]
fn the_best_liked_form_wins_and_the_first_of_equals() {
    let open = "application/openmetrics-text";
    for (accept, form) in [
        (format!("{open};q=0.4, text/plain;q=0.5"), Form::Text),
        (format!("text/plain;q=0.4,{open};version=\"1.0.0\";q=0.5"), Form::OpenMetrics),
        (format!("text/plain,{open}"), Form::Text),
        (format!("{open},text/plain"), Form::OpenMetrics),
        (format!("{open};q=0"), Form::Text),
        (format!("{open};q=nonsense, */*;q=0.1"), Form::Text),
        ("APPLICATION/OpenMetrics-Text ; Version=1.0.0 ; Q=1".to_owned(), Form::OpenMetrics),
    ] {
        assert_eq!(negotiate(&accept), form, "{accept}");
    }
}

#[test]
fn the_form_says_its_version() {
    assert!(Form::Text.content_type().contains("version=0.0.4"));
    assert!(Form::OpenMetrics.content_type().contains("version=1.0.0"));
}
