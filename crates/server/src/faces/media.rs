//! Which form of an answer a client wants (RFC 9110, §12.5.1).

use axum::http::{HeaderMap, header};

/// The one of `offered` that the `Accept` headers like best; of equals the first. None when they take none of them.
/// Without such a header everything is welcome.
pub(super) fn preferred<'o>(headers: &HeaderMap, offered: &[&'o str]) -> Option<&'o str> {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges: Vec<(String, u16)> = values.flat_map(|value| value.split(',')).filter_map(range).collect();
    if ranges.is_empty() {
        return offered.first().copied();
    }
    let quality = |kind: &str| {
        // The most exact range counts.
        let fits = ranges.iter().filter(|(range, _)| matches(range, kind));
        fits.max_by_key(|(range, _)| (!range.ends_with("/*"), *range != "*/*")).map_or(0, |(_, q)| *q)
    };
    let mut best = None;
    for kind in offered {
        let quality = quality(kind);
        if quality > best.map_or(0, |(_, q)| q) {
            best = Some((*kind, quality));
        }
    }
    best.map(|(kind, _)| kind)
}

/// A media range and its quality in thousandths; None for what is empty.
fn range(text: &str) -> Option<(String, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let kind = parts.next().filter(|kind| !kind.is_empty())?.to_ascii_lowercase();
    let weight = parts.find_map(|p| p.strip_prefix("q=").or_else(|| p.strip_prefix("Q=")));
    // A quality that can't be read is taken for none at all.
    let quality = weight.map_or(1.0, |w| w.parse::<f32>().unwrap_or(1.0).clamp(0.0, 1.0));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1000")]
    let thousandths = (quality * 1_000.0) as u16;
    Some((kind, thousandths))
}

fn matches(range: &str, kind: &str) -> bool {
    range == "*/*" || range == kind || range.strip_suffix('*').is_some_and(|group| kind.starts_with(group))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_best_form_is_chosen() {
        let of = |accepts: &[&'static str]| {
            let headers = accepts.iter().map(|a| (header::ACCEPT, HeaderValue::from_static(a))).collect();
            preferred(&headers, &["application/json", "text/csv"])
        };
        assert_eq!(of(&[]), Some("application/json"));
        assert_eq!(of(&["*/*"]), Some("application/json"));
        assert_eq!(of(&["text/*"]), Some("text/csv"));
        assert_eq!(of(&["Text/CSV; charset=utf-8"]), Some("text/csv"));
        assert_eq!(of(&["application/json;q=0.2, text/csv;q=0.5"]), Some("text/csv"));
        assert_eq!(of(&["application/json;q=0, */*;q=0.1"]), Some("text/csv"));
        assert_eq!(of(&["text/html", "text/csv"]), Some("text/csv"));
        assert_eq!(of(&["text/html"]), None);
    }
}
