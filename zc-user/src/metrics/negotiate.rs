//! Which form a client gets, by its `Accept` header (RFC 9110, 12.5.1).

/// A form of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Prometheus's own, version 0.0.4: what everybody reads.
    Text,
    /// `OpenMetrics` 1.0.
    OpenMetrics,
}

impl Form {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Text, Self::OpenMetrics];

    /// The header `Content-Type` of the answer.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The form that a client likes best, of those that it names the first; without a header, or when it likes none, the text
/// that everybody reads.
pub fn negotiate(accept: &str) -> Form {
    let mut best = (0.0, Form::Text);
    for range in accept.split(',') {
        if let Some((quality, form)) = offer(range)
            && quality > best.0
        {
            best = (quality, form);
        }
    }
    best.1
}

/// What a part of the header asks for, from 0 to 1, and in which form it can be had.
fn offer(range: &str) -> Option<(f64, Form)> {
    let mut parts = range.split(';').map(str::trim);
    let (media, mut quality, mut version) = (parts.next()?.to_ascii_lowercase(), 1.0, None);
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            // What is no number asks for nothing.
            "q" => quality = value.parse().unwrap_or(0.0),
            "version" => version = Some(value.to_owned()),
            _ => {}
        }
    }
    let form = match (media.as_str(), version.as_deref()) {
        ("application/openmetrics-text", None | Some("1.0.0")) => Form::OpenMetrics,
        // Since Prometheus 3 also 1.0.0, of which every text of 0.0.4 with such names is one.
        ("text/plain", None | Some("0.0.4" | "1.0.0")) | ("text/*" | "*/*", _) => Form::Text,
        _ => return None,
    };
    Some((quality, form))
}
