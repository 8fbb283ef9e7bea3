//! What Slurm calls TRES: `cpu=4,mem=2G,node=1,gres/gpu:a100=2`.

use libra_core::hpc::record::Amounts;

use super::value::Field;

/// What GPUs are called, with their model behind a colon where it is told.
const GPU: &str = "gres/gpu";

/// Reads `cpu=1,mem=100M,gres/gpu=2`. A word that can't be read is left out.
pub(super) fn amounts(text: &str) -> Amounts {
    let pairs = text.split(',').filter_map(|pair| pair.trim().split_once('='));
    collect(pairs.filter_map(|(name, amount)| {
        let amount = if name == "mem" { megabytes(amount)? } else { amount.trim().parse().ok()? };
        Some((name.to_owned(), amount))
    }))
}

/// Reads the list of objects that accounting writes instead: `{"type": "gres", "name": "gpu", "count": 2}`; memory in MiB.
pub(super) fn listed(list: Field<'_>) -> Amounts {
    collect(list.each().filter_map(|one| {
        let kind = one.at("type").text()?;
        let name = one.at("name").text().map_or_else(|| kind.clone(), |name| format!("{kind}/{name}"));
        Some((name, one.at("count").number()?))
    }))
}

/// The GPUs of a request or an allocation in Slurm's older words: `gres:gpu:2`, `gres/gpu:a100:2`, `gpu:a100:2(IDX:0-1)`.
/// None where there are none in it.
pub(super) fn gpus(text: &str) -> Option<u64> {
    // Commas are in the brackets as well; what they part there is no GPU's word.
    let each = text.split(',').filter_map(|word| {
        let word = word.trim();
        let word = word.strip_prefix("gres:").or_else(|| word.strip_prefix("gres/")).unwrap_or(word);
        let word = word.split_once('(').map_or(word, |(before, _)| before);
        let count = word.strip_prefix("gpu")?;
        match count.chars().next() {
            None => Some(1),
            // A model without a count is one.
            Some(':' | '=') => Some(count.rsplit([':', '=']).next()?.parse().unwrap_or(1)),
            Some(_) => None,
        }
    });
    each.reduce(u64::saturating_add)
}

fn collect(pairs: impl Iterator<Item = (String, u64)>) -> Amounts {
    let mut amounts = Amounts::default();
    let mut models = None;
    for (name, amount) in pairs {
        match name.as_str() {
            "cpu" => amounts.cpus = Some(amount),
            "mem" => amounts.memory_mb = Some(amount),
            GPU => amounts.gpus = Some(amount),
            // The sum over the models is told as well, as a rule.
            other if other.strip_prefix(GPU).is_some_and(|model| model.starts_with(':')) => {
                models = Some(amount.saturating_add(models.unwrap_or(0)));
            }
            _ => {}
        }
    }
    amounts.gpus = amounts.gpus.or(models);
    amounts
}

/// Memory as Slurm writes it, in MiB: `100M`, `1.50G`, `2T`, `512K`, and MiB where there is no letter.
pub(super) fn megabytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, unit) = match text.char_indices().find(|(_, c)| !(c.is_ascii_digit() || *c == '.')) {
        Some((at, _)) => text.split_at(at),
        None => (text, "M"),
    };
    let megabytes = match unit.to_ascii_uppercase().as_str() {
        "K" => 1.0 / 1024.0,
        "M" => 1.0,
        "G" => 1024.0,
        "T" => 1024.0 * 1024.0,
        "P" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let amount = digits.parse::<f64>().ok()? * megabytes;
    // Whole: a kilobyte is not nothing.
    let whole = amount.ceil();
    (whole.is_finite() && (0.0..=1e15).contains(&whole)).then(|| format!("{whole:.0}").parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(cpus: u64, memory_mb: u64, gpus: Option<u64>) -> Amounts {
        Amounts { cpus: Some(cpus), memory_mb: Some(memory_mb), gpus }
    }

    #[test]
    fn amounts_are_read_from_text() {
        let table = [
            ("cpu=1,mem=100M,node=1,billing=1", of(1, 100, None)),
            ("cpu=64,mem=1.50G,node=2,billing=64,gres/gpu=4", of(64, 1536, Some(4))),
            ("cpu=64,mem=2T,gres/gpu=4,gres/gpu:a100=3,gres/gpu:h100=1", of(64, 2 * 1024 * 1024, Some(4))),
            ("cpu=1,mem=1,gres/gpu:a100=2,gres/gpu:h100=1", of(1, 1, Some(3))),
            ("cpu=1,mem=1K,gres/gpumem=80,license/x=2", of(1, 1, None)),
            ("", Amounts::default()),
            ("cpu=x,mem=9X,,=,gres/gpu=-1", Amounts::default()),
        ];
        for (text, amounts_of_it) in table {
            assert_eq!(amounts(text), amounts_of_it, "{text}");
        }
    }

    #[test]
    fn amounts_are_read_from_a_list() {
        let list = json!([
            {"type": "cpu", "name": null, "id": 1, "count": 2},
            {"type": "mem", "name": "", "id": 2, "count": 200},
            {"type": "gres", "name": "gpu:a100", "id": 1002, "count": 2},
            {"type": "gres", "name": "gpu", "id": 1001, "count": 3},
            {"type": "billing", "count": {}}, {}, 3
        ]);
        assert_eq!(listed(Field::of(&list)), of(2, 200, Some(3)));
        assert_eq!(listed(Field::of(&json!("cpu=1"))), Amounts::default());
    }

    #[test]
    fn gpus_are_read_from_older_words() {
        let table = [
            ("gres:gpu:2", Some(2)),
            ("gres/gpu:a100:2", Some(2)),
            ("gres/gpu=3", Some(3)),
            ("gpu:a100:2(IDX:0,1),gpu:h100:1(IDX:2)", Some(3)),
            ("gres:gpu", Some(1)),
            ("gres/gpu:a100", Some(1)),
            ("gres:gpumem:80", None),
            ("gres:tmpfs:1,license:x", None),
            ("", None),
        ];
        for (text, count) in table {
            assert_eq!(gpus(text), count, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_strange(text in "[a-z/:=,0-9.KMGT]{0,30}|\\PC{0,20}") {
            let _ = (amounts(&text), megabytes(&text), gpus(&text));
        }
    }
}
