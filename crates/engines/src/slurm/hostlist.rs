//! Slurm's way to write many nodes in one word: `n[1-3,7],gpu[001-010]-ib`.

/// The most nodes that a list is expanded to. A list that names more is cut there.
pub const MOST_NODES: usize = 16_384;
/// The longest number in brackets, in digits.
const MOST_DIGITS: usize = 18;

/// The nodes of a list, one by one, in its order; [`MOST_NODES`] at most. What can't be read as ranges stays as it is
/// written: a name that is odd is better than none.
pub fn expand(list: &str) -> Vec<String> {
    let mut nodes = Vec::new();
    for word in words(list) {
        if !expand_word(word, &mut nodes) {
            put(word.to_owned(), &mut nodes);
        }
    }
    nodes
}

/// Adds one; false when there is no room.
fn put(node: String, nodes: &mut Vec<String>) -> bool {
    let room = nodes.len() < MOST_NODES;
    if room {
        nodes.push(node);
    }
    room
}

/// The parts between the commas that are not in brackets.
fn words(list: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    let outside = move |c: char| {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    };
    list.split(outside).map(str::trim).filter(|word| !word.is_empty())
}

/// Adds the nodes of one word; false, with nothing added, when its brackets are none that Slurm writes.
fn expand_word(word: &str, nodes: &mut Vec<String>) -> bool {
    let Some(parts) = parts(word) else { return false };
    let mut made = vec![String::new()];
    for part in parts {
        made = match part {
            Part::Text(text) => made.into_iter().map(|name| name + text).collect(),
            Part::Ranges(ranges) => {
                let mut next = Vec::new();
                'full: for name in &made {
                    for number in ranges.iter().flat_map(Range::numbers) {
                        if !put(format!("{name}{number}"), &mut next) {
                            break 'full;
                        }
                    }
                }
                next
            }
        };
    }
    for name in made {
        put(name, nodes);
    }
    true
}

enum Part<'a> {
    Text(&'a str),
    Ranges(Vec<Range>),
}

/// Numbers from one to another, with zeros in front up to a width.
struct Range {
    first: u64,
    last: u64,
    width: usize,
}

impl Range {
    fn read(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |digits: &str| {
            let right =
                (1..=MOST_DIGITS).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
            right.then(|| digits.parse::<u64>().ok()).flatten()
        };
        let range = Self { first: number(first)?, last: number(last)?, width: first.len() };
        (range.first <= range.last).then_some(range)
    }

    fn numbers(&self) -> impl Iterator<Item = String> {
        let width = self.width;
        (self.first..=self.last).map(move |number| format!("{number:0width$}"))
    }
}

/// The parts of a word; None when it has brackets that are none of Slurm's.
fn parts(word: &str) -> Option<Vec<Part<'_>>> {
    let mut parts = Vec::new();
    let mut rest = word;
    while let Some((text, after)) = rest.split_once('[') {
        let (inside, after) = after.split_once(']')?;
        let ranges: Option<Vec<Range>> = inside.split(',').map(|range| Range::read(range.trim())).collect();
        parts.push(Part::Text(text));
        parts.push(Part::Ranges(ranges?));
        rest = after;
    }
    parts.push(Part::Text(rest));
    (!rest.contains(']')).then_some(parts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_are_expanded_as_slurm_means_them() {
        let table: [(&str, &[&str]); 9] = [
            ("", &[]),
            ("n1", &["n1"]),
            ("n1,n2", &["n1", "n2"]),
            ("n[1-3,7]", &["n1", "n2", "n3", "n7"]),
            ("gpu[008-010]-ib,login", &["gpu008-ib", "gpu009-ib", "gpu010-ib", "login"]),
            ("r[1-2]n[01-02]", &["r1n01", "r1n02", "r2n01", "r2n02"]),
            ("a.b-c[9-10].d", &["a.b-c9.d", "a.b-c10.d"]),
            ("n[099-101]", &["n099", "n100", "n101"]),
            ("n[1]", &["n1"]),
        ];
        for (list, nodes) in table {
            assert_eq!(expand(list), nodes, "{list}");
        }
    }

    #[test]
    fn what_is_no_range_stays_as_it_is_written() {
        for odd in [
            "n[",
            "n]",
            "n[]",
            "n[a-b]",
            "n[3-1]",
            "n[1-2-3]",
            "n[1-99999999999999999999]",
            "n[[1-2]]",
            "n[-1]",
        ] {
            assert_eq!(expand(odd), [odd], "{odd}");
        }
    }

    #[test]
    fn a_list_is_cut_before_it_fills_the_memory() {
        assert_eq!(expand("n[0-999999999999999]").len(), MOST_NODES);
        assert_eq!(expand("a[0-9999]b[0-9999]c[0-9999],x").len(), MOST_NODES);
    }

    proptest! {
        #[test]
        fn what_is_folded_unfolds_again(
            groups in prop::collection::vec(
                ("[a-z]{1,6}", prop::collection::vec((0_u64..500, 0_u64..20), 1..4), 1_usize..5, "(-ib|\\.x)?"),
                0..5,
            )
        ) {
            let (mut list, mut nodes) = (Vec::new(), Vec::new());
            for (prefix, ranges, width, suffix) in &groups {
                let text = |number: u64| format!("{number:0width$}");
                let ends = ranges.iter().map(|(first, more)| format!("{}-{}", text(*first), text(first + more)));
                list.push(format!("{prefix}[{}]{suffix}", ends.collect::<Vec<_>>().join(",")));
                for (first, more) in ranges {
                    // Slurm pads to the width of the first.
                    nodes.extend((*first..=first + more).map(|n| format!("{prefix}{}{suffix}", text(n))));
                }
            }
            prop_assert_eq!(expand(&list.join(",")), nodes);
        }

        #[test]
        fn no_text_is_too_strange(list in "[a-z0-9,\\[\\]-]{0,40}|\\PC{0,20}") {
            prop_assert!(expand(&list).len() <= MOST_NODES);
        }
    }
}
